-- What an installed rule said when it was installed, to tell people's changes from it. NULL for rules that people made.
ALTER TABLE rules ADD COLUMN base TEXT;

-- What alerts are filtered and sorted by. SQLite takes it from the document at every write, so the two cannot differ.
CREATE TABLE alerts_2 (
    id TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    rule_id TEXT NOT NULL,
    time INTEGER NOT NULL,
    block_of TEXT,
    document TEXT NOT NULL,
    is_block INTEGER NOT NULL
        AS (block_of IS NOT NULL OR document ->> '$."kibana.alert.building_block_type"' IS NOT NULL) STORED,
    severity TEXT AS (CAST(document ->> '$."kibana.alert.severity"' AS TEXT)) STORED,
    risk REAL NOT NULL AS (CAST(coalesce(document ->> '$."kibana.alert.risk_score"', 0) AS REAL)) STORED,
    status TEXT NOT NULL
        AS (CAST(coalesce(document ->> '$."kibana.alert.workflow_status"', 'open') AS TEXT)) STORED,
    status_user TEXT AS (CAST(document ->> '$."kibana.alert.workflow_user"' AS TEXT)) STORED,
    tags TEXT AS (document -> '$."kibana.alert.workflow_tags"') STORED,
    assignees TEXT AS (document -> '$."kibana.alert.workflow_assignee_ids"') STORED
) STRICT;
INSERT INTO alerts_2 (id, rule, rule_id, time, block_of, document)
    SELECT id, rule, rule_id, time, block_of, document FROM alerts;
DROP TABLE alerts;
ALTER TABLE alerts_2 RENAME TO alerts;
CREATE INDEX alerts_by_time ON alerts (time, id);
CREATE INDEX alerts_by_rule ON alerts (rule, time, id);
CREATE INDEX alerts_by_status ON alerts (is_block, status, time, id);
CREATE INDEX alerts_by_risk ON alerts (risk, time, id);
CREATE INDEX alerts_by_shell ON alerts (block_of) WHERE block_of IS NOT NULL;

CREATE INDEX api_keys_by_owner ON api_keys (owner);
CREATE INDEX audit_by_time ON audit (time);

CREATE TABLE rules (
    id TEXT PRIMARY KEY, rule_id TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL, document TEXT NOT NULL,
    created_at INTEGER NOT NULL, created_by TEXT NOT NULL, updated_at INTEGER NOT NULL, updated_by TEXT NOT NULL
) STRICT;
CREATE TABLE alerts (
    id TEXT PRIMARY KEY, rule TEXT NOT NULL, rule_id TEXT NOT NULL, time INTEGER NOT NULL, status TEXT NOT NULL,
    block_of TEXT, document TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_by_time ON alerts (time, id);
CREATE INDEX alerts_by_rule ON alerts (rule, time);
CREATE INDEX alerts_by_shell ON alerts (block_of) WHERE block_of IS NOT NULL;
CREATE TABLE executions (
    number INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, rule TEXT NOT NULL, rule_id TEXT NOT NULL,
    window_from INTEGER NOT NULL, window_to INTEGER NOT NULL, kind TEXT NOT NULL, scheduled INTEGER NOT NULL,
    started INTEGER NOT NULL, finished INTEGER NOT NULL, status TEXT NOT NULL, matches INTEGER NOT NULL,
    new_alerts INTEGER NOT NULL, known_alerts INTEGER NOT NULL, capped INTEGER NOT NULL,
    late_events INTEGER NOT NULL, missed_events INTEGER NOT NULL, message TEXT NOT NULL
) STRICT;
CREATE INDEX executions_by_rule ON executions (rule, number);
CREATE INDEX executions_by_time ON executions (finished);
CREATE TABLE windows (rule TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE users (
    name TEXT PRIMARY KEY, password TEXT NOT NULL, roles TEXT NOT NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL, owner TEXT NOT NULL, roles TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires INTEGER, invalidated INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

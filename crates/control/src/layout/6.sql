-- When the last window of a rule was due, and not where it ended: that is before, if its `to` is not `now`. When the last
-- one was due that left nothing out; NULL is the same one.
ALTER TABLE windows ADD COLUMN whole INTEGER;
UPDATE windows SET last = max(last, coalesce((SELECT scheduled FROM executions
    WHERE executions.rule = windows.rule AND kind NOT IN ('backfill', 'manual') ORDER BY number DESC LIMIT 1), last));
-- What time meant in a window. NULL where it is not known: then it is taken for the rule's own. Backfills went by the
-- events' own time. Gaps that were filled are not told from these: better they are filled again than not at all.
ALTER TABLE executions ADD COLUMN basis TEXT;
UPDATE executions SET basis = 'timestamp' WHERE kind IN ('manual', 'backfill');

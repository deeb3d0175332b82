-- What the ledger says as a whole is counted without looking at its rows; a window's other executions are found.
DROP INDEX executions_by_time;
CREATE INDEX executions_by_time ON executions (finished, kind, status);
CREATE INDEX executions_by_window ON executions (rule, window_to);
CREATE INDEX executions_failed ON executions (finished) WHERE status = 'failed';

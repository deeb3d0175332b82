-- Patterns of the indices that a key may write to, a JSON list; NULL is all of them, as before.
ALTER TABLE api_keys ADD COLUMN writes TEXT;

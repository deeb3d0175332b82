-- What rules are still to be run over because somebody asked.
CREATE TABLE manual_runs (number INTEGER PRIMARY KEY AUTOINCREMENT, jobs TEXT NOT NULL) STRICT;

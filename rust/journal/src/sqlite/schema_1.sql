-- Schema 1. A later schema is a file of its own that changes the one before.
CREATE TABLE journal (
    -- One row: a commit touches this page and those of its records.
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,   -- grows whenever an engine opens the file
    tokens INTEGER NOT NULL,  -- upper end of the tokens given out
    commits INTEGER NOT NULL,
    head BLOB NOT NULL        -- hash over the last links of all runs
);
INSERT INTO journal VALUES (1, 0, 0, 0, zeroblob(32));
CREATE TABLE definitions (digest BLOB PRIMARY KEY, object BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE workflows (
    name TEXT NOT NULL, version TEXT NOT NULL, hash BLOB NOT NULL, digest BLOB NOT NULL,
    registered INTEGER NOT NULL, PRIMARY KEY (name, version)
) WITHOUT ROWID;
CREATE TABLE runs (
    id BLOB PRIMARY KEY, workflow TEXT NOT NULL, version TEXT NOT NULL, state TEXT NOT NULL,
    degraded INTEGER NOT NULL, priority INTEGER NOT NULL, correlation TEXT, digest BLOB NOT NULL,
    created INTEGER NOT NULL, started INTEGER, ended INTEGER, error TEXT
) WITHOUT ROWID;
-- Most runs complete, and are found without it: what is looked for among many is the others.
CREATE INDEX runs_by_state ON runs (state, id) WHERE state <> 'completed';
CREATE TABLE records (
    run BLOB NOT NULL, first INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (run, first)
) WITHOUT ROWID;
CREATE TABLE blobs (hash BLOB PRIMARY KEY) WITHOUT ROWID; -- files that records name
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, run BLOB NOT NULL, command TEXT NOT NULL, payload BLOB NOT NULL
);

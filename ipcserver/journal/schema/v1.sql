-- Format 1 of the journal.
-- application_id 0x52495043 ("RIPC") and user_version 1 are in the file's header; numbers are big-endian there.

CREATE TABLE store (
    id      BLOB NOT NULL,      -- 16 random bytes: what the chain of digests begins with
    created TEXT NOT NULL       -- UTC, ISO 8601; for people
);

-- The log. Never changed after it was written; deleted once a snapshot contains it.
CREATE TABLE batch (
    number  INTEGER PRIMARY KEY,    -- 1, 2, 3 ... without gaps
    count   INTEGER NOT NULL,       -- commands in the batch
    digest  BLOB NOT NULL,          -- BLAKE2b-128 of the digest before it, number (8 bytes) and body
    body    BLOB NOT NULL           -- XDR: typedef opaque command<>; command batch<>
);

-- States that the log led to. A row is here only if all its parts are; at most one stays.
CREATE TABLE snapshot (
    number  INTEGER PRIMARY KEY,    -- the last batch it contains
    chain   BLOB NOT NULL,          -- that batch's digest, which the next one is linked to
    parts   INTEGER NOT NULL,       -- rows in snapshot_part
    size    INTEGER NOT NULL,       -- bytes of all parts
    digest  BLOB NOT NULL,          -- BLAKE2b-128 of all parts
    created TEXT NOT NULL           -- UTC, ISO 8601; for people
);

CREATE TABLE snapshot_part (
    number  INTEGER NOT NULL,       -- of the snapshot
    part    INTEGER NOT NULL,       -- 0, 1, 2 ...
    body    BLOB NOT NULL,
    PRIMARY KEY (number, part)
);

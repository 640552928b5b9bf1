"""Define the tables of ``server.db``. ``SCHEMA[k]`` upgrades the file from version k to k + 1."""

_FIRST = """
CREATE TABLE clock (last_ms INTEGER NOT NULL);      -- one row: the stamp of the newest change
INSERT INTO clock VALUES (0);

CREATE TABLE accounts (
  id          TEXT PRIMARY KEY,
  public_key  TEXT NOT NULL UNIQUE,                 -- base58
  name        TEXT NOT NULL,
  is_owner    INTEGER NOT NULL,
  disabled    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE refresh_tokens (                       -- not yet used; a used one is deleted
  jti         TEXT PRIMARY KEY,
  account_id  TEXT NOT NULL REFERENCES accounts (id),
  expires_s   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE heaps (
  id          TEXT PRIMARY KEY,
  block_id    TEXT NOT NULL,
  title       TEXT NOT NULL,
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE grants (                  -- what differs from "everybody may do everything"
  heap_id     TEXT NOT NULL REFERENCES heaps (id),
  account_id  TEXT NOT NULL,                        -- '' stands for everybody
  access      TEXT NOT NULL CHECK (access IN ('rw', 'ro', 'none')),
  PRIMARY KEY (heap_id, account_id)
) WITHOUT ROWID;

CREATE TABLE blocks (
  id           TEXT PRIMARY KEY,
  heap_id      TEXT NOT NULL REFERENCES heaps (id),
  type         TEXT NOT NULL,
  row_title    TEXT NOT NULL,          -- as inserted; shown while the document has none
  sync_version INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,                    -- unique: the order of the delta feed
  -- the rest is derived from the document at each change
  title        TEXT NOT NULL DEFAULT '',
  text         TEXT NOT NULL DEFAULT '',
  folded       TEXT NOT NULL DEFAULT '',  -- title and whole text, case-folded, for search
  relations    TEXT NOT NULL DEFAULT '[]',          -- JSON
  files        TEXT NOT NULL DEFAULT '[]',          -- JSON
  deleted_at   INTEGER,
  permanent_at INTEGER
);
CREATE UNIQUE INDEX blocks_feed ON blocks (heap_id, updated_at);
CREATE INDEX blocks_gone ON blocks (heap_id) WHERE permanent_at IS NOT NULL;

CREATE TABLE states (                               -- a document: a state, and the updates since
  block_id     TEXT PRIMARY KEY REFERENCES blocks (id),
  state        BLOB NOT NULL,
  incomplete   INTEGER NOT NULL        -- parts of the log wait for updates not yet seen
);
CREATE TABLE updates (
  seq          INTEGER PRIMARY KEY,
  block_id     TEXT NOT NULL REFERENCES blocks (id),
  data         BLOB NOT NULL
);
CREATE INDEX updates_of_block ON updates (block_id, seq);

CREATE TABLE holdings (                             -- contents that were uploaded into a heap
  hash         TEXT NOT NULL,
  heap_id      TEXT NOT NULL REFERENCES heaps (id),
  size         INTEGER NOT NULL,
  PRIMARY KEY (hash, heap_id)
) WITHOUT ROWID;

CREATE TABLE uploads (
  id           TEXT PRIMARY KEY,                    -- the name of its file below uploads/
  heap_id      TEXT NOT NULL REFERENCES heaps (id),
  block_id     TEXT NOT NULL,
  hash         TEXT NOT NULL,
  name         TEXT NOT NULL,
  mime_type    TEXT NOT NULL,
  size         INTEGER NOT NULL,
  chunk_size   INTEGER NOT NULL,
  touched_at   INTEGER NOT NULL,
  UNIQUE (heap_id, block_id, hash)
);
CREATE TABLE chunks (
  upload_id    TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
  number       INTEGER NOT NULL,
  PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;
"""

_SESSIONS = """
DROP TABLE refresh_tokens;                          -- whoever held one signs in anew

CREATE TABLE sessions (                             -- sign-ins; one that is gone is over
  id          TEXT PRIMARY KEY,
  account_id  TEXT NOT NULL REFERENCES accounts (id),
  jti         TEXT NOT NULL,                        -- its refresh token that was not used yet
  expires_s   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_of_account ON sessions (account_id, expires_s);
"""

_LISTING = """
-- For pages of a heap's live blocks by id: without it, each page sorts and reads all of them.
CREATE INDEX blocks_live ON blocks (heap_id, id, type)
  WHERE deleted_at IS NULL AND permanent_at IS NULL;
"""

SCHEMA: tuple[str, ...] = (_FIRST, _SESSIONS, _LISTING)

"""Define the cache's tables. Each script upgrades the file from one version to the next."""

from typing import Final

SCHEMA: Final = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE heap (
      id         TEXT PRIMARY KEY,
      title      TEXT NOT NULL,
      folder     TEXT NOT NULL UNIQUE,            -- name of its directory in the account's folder
      -- the server's time up to which the delta feed is read
      cursor_ms  INTEGER NOT NULL DEFAULT 0,
      -- the first mirror is through: the marker must be there
      mirrored   INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;

    CREATE TABLE block (
      id            TEXT PRIMARY KEY,
      heap_id       TEXT NOT NULL REFERENCES heap(id) ON DELETE CASCADE,
      kind          TEXT NOT NULL,
      sync_version  INTEGER NOT NULL DEFAULT 0,   -- of the log; 0: nothing received yet
      -- version the server announced and we have not pulled; 0: none
      wanted        INTEGER NOT NULL DEFAULT 0,
      announced_ms  INTEGER NOT NULL DEFAULT 0,   -- updated_at of that announcement
      title         TEXT NOT NULL DEFAULT '',
      folder_id     TEXT,                         -- the folder block it stands in
      deleted_at_ms INTEGER,
      state_vector  BLOB,                         -- of the whole log
      seq           INTEGER NOT NULL DEFAULT 0,   -- the newest log row
      born_here     INTEGER NOT NULL DEFAULT 0,   -- made on this device and unknown to the server
      stale         INTEGER NOT NULL DEFAULT 0,   -- the folder does not show the newest state yet
      problem       TEXT
    ) WITHOUT ROWID;
    CREATE INDEX block_wanted ON block (heap_id) WHERE wanted > 0;
    CREATE INDEX block_stale ON block (heap_id) WHERE stale > 0;
    CREATE INDEX block_born ON block (heap_id) WHERE born_here > 0;
    CREATE INDEX block_heap ON block (heap_id);

    -- The raw updates of a block in the order they came; local: the server has not acknowledged
    -- it.
    CREATE TABLE log (
      block_id  TEXT NOT NULL REFERENCES block(id) ON DELETE CASCADE,
      seq       INTEGER NOT NULL,
      local     INTEGER NOT NULL,
      data      BLOB NOT NULL,
      PRIMARY KEY (block_id, seq)
    ) WITHOUT ROWID;
    CREATE INDEX log_local ON log (block_id) WHERE local > 0;

    -- What stood in the file, with the document state it shows: the log up to seq, and extra on
    -- top.
    -- seq NULL: the text shows a state that shares no history with the log (an earlier
    -- sync_version).
    CREATE TABLE rendition (
      block_id    TEXT NOT NULL REFERENCES block(id) ON DELETE CASCADE,
      number      INTEGER NOT NULL,
      seq         INTEGER,
      extra       BLOB,
      text        BLOB NOT NULL,
      digest      BLOB NOT NULL,
      made_at_ms  INTEGER NOT NULL,
      origin      TEXT NOT NULL,                  -- see renditions.Origin
      PRIMARY KEY (block_id, number)
    ) WITHOUT ROWID;

    -- Everything of a heap's folder that is ours, as we last agreed with the disk.
    CREATE TABLE entry (
      heap_id   TEXT NOT NULL REFERENCES heap(id) ON DELETE CASCADE,
      path      TEXT NOT NULL,
      block_id  TEXT NOT NULL,
      role      TEXT NOT NULL,                    -- note, folder, file, attachment
      key       TEXT,                             -- files_v0 key of a file or attachment
      size      INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER, device INTEGER,
      digest    BLOB,
      todo      TEXT,                             -- download or upload: what is left to do
      PRIMARY KEY (heap_id, path)
    ) WITHOUT ROWID;
    CREATE INDEX entry_block ON entry (block_id);

    -- Files in trouble, so that it is known without a daemon and after a restart.
    CREATE TABLE file_problem (
      heap_id   TEXT NOT NULL REFERENCES heap(id) ON DELETE CASCADE,
      path      TEXT NOT NULL,
      reason    TEXT NOT NULL,
      PRIMARY KEY (heap_id, path)
    ) WITHOUT ROWID;

    -- The tag relations of each block, so that a tag's or folder's change finds them.
    CREATE TABLE tag (
      block_id  TEXT NOT NULL REFERENCES block(id) ON DELETE CASCADE,
      tag_id    TEXT NOT NULL,
      PRIMARY KEY (block_id, tag_id)
    ) WITHOUT ROWID;
    CREATE INDEX tag_id ON tag (tag_id);

    -- Which notes link to which block, so that a rename finds them.
    CREATE TABLE mention (
      block_id  TEXT NOT NULL REFERENCES block(id) ON DELETE CASCADE,
      target    TEXT NOT NULL,
      PRIMARY KEY (block_id, target)
    ) WITHOUT ROWID;
    CREATE INDEX mention_target ON mention (target);

    -- Former names of notes: a link typed with one still finds its note.
    CREATE TABLE alias (
      heap_id   TEXT NOT NULL REFERENCES heap(id) ON DELETE CASCADE,
      name      TEXT NOT NULL,
      block_id  TEXT NOT NULL,
      PRIMARY KEY (heap_id, name)
    ) WITHOUT ROWID;

    -- Texts that no longer stand in the folder: see history.
    CREATE TABLE history (
      id        INTEGER PRIMARY KEY,
      heap_id   TEXT NOT NULL,
      block_id  TEXT NOT NULL,
      path      TEXT NOT NULL,
      why       TEXT NOT NULL,                    -- see history.Why
      text      BLOB NOT NULL,
      made_at_ms INTEGER NOT NULL
    );
    CREATE INDEX history_block ON history (block_id);

    -- Deletions that wait for a person's word. up: files deleted here, their entries are kept;
    -- down: blocks deleted on the server, their files are kept.
    CREATE TABLE hold (
      heap_id    TEXT NOT NULL REFERENCES heap(id) ON DELETE CASCADE,
      direction  TEXT NOT NULL,
      path       TEXT NOT NULL,
      role       TEXT NOT NULL,                   -- as in entry
      block_id   TEXT NOT NULL,
      seq        INTEGER NOT NULL,                -- the block's newest log row at that time
      made_at_ms INTEGER NOT NULL,
      decision   TEXT,                            -- confirm or undo, not yet carried out
      PRIMARY KEY (heap_id, direction, path)
    ) WITHOUT ROWID;
    CREATE INDEX hold_block ON hold (block_id);

    -- Deletions that were let through lately, for the guard's window of an hour.
    CREATE TABLE deletion (
      heap_id    TEXT NOT NULL REFERENCES heap(id) ON DELETE CASCADE,
      direction  TEXT NOT NULL,
      path       TEXT NOT NULL,
      made_at_ms INTEGER NOT NULL,
      PRIMARY KEY (heap_id, direction, path)
    ) WITHOUT ROWID;

    -- The words of every note, for searching offline.
    CREATE VIRTUAL TABLE search USING fts5 (
      block_id UNINDEXED, heap_id UNINDEXED, title, body,
      tokenize = 'unicode61 remove_diacritics 2'
    );
    CREATE TABLE search_row (block_id TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;

    -- Updates yrs could not load, kept raw.
    CREATE TABLE quarantine (
      id        INTEGER PRIMARY KEY,
      block_id  TEXT NOT NULL,
      data      BLOB NOT NULL,
      reason    TEXT NOT NULL,
      made_at_ms INTEGER NOT NULL
    );
    """,
    """
    -- In one row with the numbers of the block's renditions, so that a version has one number.
    ALTER TABLE history ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
    UPDATE history SET number = id + (SELECT coalesce(max(number), 0) FROM rendition);
    -- What a person should look at; NULL: nothing, or they did.
    ALTER TABLE history ADD COLUMN notice TEXT;
    CREATE INDEX history_notice ON history (heap_id) WHERE notice IS NOT NULL;
    """,
    """
    CREATE INDEX block_problem ON block (heap_id) WHERE problem IS NOT NULL;
    """,
    """
    -- Each finder has its own trouble with a path: see problems.
    ALTER TABLE file_problem RENAME TO file_problem_old;
    CREATE TABLE file_problem (
      heap_id   TEXT NOT NULL REFERENCES heap(id) ON DELETE CASCADE,
      path      TEXT NOT NULL,
      finder    TEXT NOT NULL,                    -- see problems.Finder
      reason    TEXT NOT NULL,
      grade     TEXT NOT NULL,                    -- see problems.Grade
      PRIMARY KEY (heap_id, path, finder)
    ) WITHOUT ROWID;
    -- Nobody knows any more who found them: each is taken as found by reading the file, and is to
    -- be read anew at the next look, for its stamps can't agree.
    INSERT INTO file_problem SELECT heap_id, path, 'read', reason, 'left' FROM file_problem_old;
    UPDATE entry SET ctime_ns = -1 WHERE ctime_ns IS NOT NULL
      AND (heap_id, path) IN (SELECT heap_id, path FROM file_problem);
    DROP TABLE file_problem_old;
    """,
    """
    -- Blocks chosen for new files that are not stored yet: links in stored texts mean them.
    CREATE TABLE reserved (
      heap_id   TEXT NOT NULL REFERENCES heap(id) ON DELETE CASCADE,
      path      TEXT NOT NULL,
      block_id  TEXT NOT NULL,
      PRIMARY KEY (heap_id, path)
    ) WITHOUT ROWID;
    """,
    """
    -- The setting `source` with which the files were read last; older versions sent less of them.
    ALTER TABLE heap ADD COLUMN source TEXT NOT NULL DEFAULT '';
    -- What a line end in a paragraph of the text means (model.LineBreaks).
    ALTER TABLE rendition ADD COLUMN line_breaks TEXT NOT NULL DEFAULT 'space';
    """,
    """
    -- The digests of these files: one that is renamed before it is stored is known by its text.
    ALTER TABLE reserved ADD COLUMN digest BLOB;
    """,
    """
    -- The id that the server gave the block, where files show that one: see Fields.public_id.
    ALTER TABLE block ADD COLUMN public_id TEXT NOT NULL DEFAULT '';

    -- Of a service without CRDTs: its items as last seen, each with the document that is its
    -- block. See remote_items.
    CREATE TABLE remote_item (
      heap_id   TEXT NOT NULL,
      block_id  TEXT NOT NULL PRIMARY KEY,
      part      TEXT NOT NULL,                    -- see remote_items.Part
      item_id   TEXT NOT NULL,                    -- '' until the service made the item
      type      TEXT NOT NULL,
      item      BLOB NOT NULL,                    -- the service's JSON; empty for none
      version   INTEGER NOT NULL,                 -- the block's sync_version
      changed   INTEGER NOT NULL,                 -- its place in the feed of changes
      document  BLOB NOT NULL,                    -- the document of this version
      gone      TEXT NOT NULL,                    -- see remote_items.Gone
      intent    BLOB NOT NULL                     -- a creation whose outcome is unknown
    ) WITHOUT ROWID;
    CREATE INDEX remote_item_item ON remote_item (heap_id, item_id, part);
    CREATE INDEX remote_item_changed ON remote_item (heap_id, changed);

    -- Contents of its files: which of our keys of files_v0 each one has.
    CREATE TABLE remote_file (
      heap_id   TEXT NOT NULL,
      file_id   TEXT NOT NULL,
      owner_id  TEXT NOT NULL,                    -- the item it is attached to, or the file item
      key       TEXT NOT NULL,                    -- of files_v0
      size      INTEGER NOT NULL,
      modified  TEXT NOT NULL,
      PRIMARY KEY (heap_id, file_id)
    ) WITHOUT ROWID;
    """,
    """
    -- Which blocks changed last is asked often, and must not take longer in a larger heap.
    CREATE INDEX block_newest ON block (heap_id, announced_ms);
    """,
    """
    -- Updates that removed words which their authors could not know: see crossings.Crossing.
    CREATE TABLE crossing (
      block_id  TEXT NOT NULL REFERENCES block(id) ON DELETE CASCADE,
      seq       INTEGER NOT NULL,                 -- the update's number in the log
      ours      INTEGER NOT NULL,                 -- the number of one of our rows
      PRIMARY KEY (block_id, seq, ours)
    ) WITHOUT ROWID;
    -- When a row was made on this device; NULL: elsewhere, or long ago.
    ALTER TABLE log ADD COLUMN made_at_ms INTEGER;
    CREATE INDEX log_made ON log (made_at_ms) WHERE made_at_ms IS NOT NULL;
    """,
    """
    -- What came and went lately: see activity.
    CREATE TABLE activity (
      id         INTEGER PRIMARY KEY,
      heap_id    TEXT NOT NULL,
      at_ms      INTEGER NOT NULL,
      direction  TEXT NOT NULL,                   -- up or down
      what       TEXT NOT NULL,                   -- see activity.What
      path       TEXT NOT NULL,
      latency_ms INTEGER                          -- NULL: not known
    );
    """,
    """
    -- The texts of the files instead of the words of the documents. Notes of older versions are
    -- indexed when somebody searches: see search.
    DROP TABLE search;
    DROP TABLE search_row;
    CREATE VIRTUAL TABLE search USING fts5 (
      title, names, tags, body, joined, tokenize = 'unicode61 remove_diacritics 2'
    );
    CREATE TABLE search_row (id INTEGER PRIMARY KEY, block_id TEXT NOT NULL UNIQUE);
    """,
    """
    -- The time of the newest deletion that was undone: no confirmation of it counts any more.
    ALTER TABLE block ADD COLUMN revived_ms INTEGER NOT NULL DEFAULT 0;
    -- What was deleted before the guard held the rest, so that it can be brought back with it.
    ALTER TABLE deletion ADD COLUMN role TEXT NOT NULL DEFAULT 'note';
    ALTER TABLE deletion ADD COLUMN block_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE deletion ADD COLUMN key TEXT;             -- of files_v0, of an attachment
    ALTER TABLE deletion ADD COLUMN undo INTEGER NOT NULL DEFAULT 0;
    """,
    """
    -- Who made a text, as far as known: see history.Author.
    ALTER TABLE history ADD COLUMN author TEXT NOT NULL DEFAULT '';
    ALTER TABLE rendition ADD COLUMN author TEXT NOT NULL DEFAULT '';
    -- What changed since a time is asked over all notes.
    CREATE INDEX history_made ON history (made_at_ms);
    CREATE INDEX history_path ON history (heap_id, path);
    CREATE INDEX rendition_made ON rendition (made_at_ms);
    """,
    """
    -- Several blocks may be deleted at one path within the window, one after the other.
    CREATE TABLE deletion_of_block (
      heap_id    TEXT NOT NULL REFERENCES heap(id) ON DELETE CASCADE,
      direction  TEXT NOT NULL,
      path       TEXT NOT NULL,
      role       TEXT NOT NULL,
      block_id   TEXT NOT NULL,                   -- '' in records of older versions
      key        TEXT NOT NULL,                   -- of files_v0, of an attachment, else ''
      made_at_ms INTEGER NOT NULL,
      undo       INTEGER NOT NULL,
      PRIMARY KEY (heap_id, direction, path, block_id, key)
    ) WITHOUT ROWID;
    INSERT INTO deletion_of_block
      SELECT heap_id, direction, path, role, block_id, coalesce(key, ''), made_at_ms, undo
      FROM deletion;
    DROP TABLE deletion;
    ALTER TABLE deletion_of_block RENAME TO deletion;
    """,
)

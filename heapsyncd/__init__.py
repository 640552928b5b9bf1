"""heapsyncd mirrors heaps, workspaces of notes held as CRDT documents, to folders of markdown.

The map
=======
One line of data, five stages, each ignorant of the others::

    wire  ->  cache  ->  document  ->  markdown  ->  folder          (and back)

* ``wire/`` how servers talk; carries updates as opaque bytes (``wire/PROTOCOL.md``).
* ``cache/`` what survives a dead battery: SQLite; carries updates as opaque bytes.
* ``document/`` what a block's Yjs document means; the only importer of pycrdt
  (``document/README.md``).
* ``markdown/`` a block as text: parse, render, patch; the only place that knows syntax
  (``markdown/README.md``).
* ``folder/`` a heap as files; the only hand that writes into the user's folder
  (``folder/README.md``).

Around them: ``backends/`` turns a server's idea of change into ours; ``sync/`` is the only place
that sees the whole line and decides; ``server/`` is the embedded Heaper-compatible server;
``cli/`` the commands; ``daemon`` and its helpers (``supervisor control notify statelock logs``)
the lifetimes. Everybody may import the values: ``ids model errors config tree diff database
backoff own_files``.

The rules (``tests/test_shape.py`` holds them)
==============================================
A stage imports itself and the values. Only the named edges do I/O. Decide first, act second: plans
are pure functions of snapshots. Trouble with one block is a value, shown in ``status``; it never
stops the heap.

The glossary
============
* *heap*: a workspace; *block*: a note, file, folder or tag in it, each with one Yjs *document*.
* *replica*: our copy of a document. *update*: a Yjs change, bytes. *state vector*: what a replica
  has seen. *log*: a block's raw updates in the order they came.
* *view*: the tree of what markdown can say of a document (``tree``). *rendition*: a file text the
  daemon wrote or accepted, with the document state it shows; the newest is the *base* an edit is
  measured from.
* *version*: a kept text of a note, under a number; its renditions and its *history*.
* *cursor*: where the delta feed was read to. *unsent*: what the server has not acknowledged.
* *publish*: replica to file. *ingest*: file to replica. *push*, *pull*: to and from the server.
* *entry*: a path of the folder that is ours, with the disk's stamps as last agreed.
* *problem*: one block's or file's trouble; *minor*: nothing is left undone for it. *notice*:
  something a person should review. *hold*: changes kept back by the guard. *tombstone*: what
  remains of a deleted block. *trash*: where it is restored from.
"""

__version__ = "0.1.0"

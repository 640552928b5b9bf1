"""heapsyncd mirrors heaps, workspaces of notes held as CRDT documents, to folders of markdown files.

The map
=======
One line of data, five stages, each ignorant of the others::

    wire  ->  cache  ->  document  ->  markdown  ->  folder          (and back)

* ``wire/`` how servers talk; carries updates as opaque bytes.
* ``cache/`` what survives a dead battery: SQLite; carries updates as opaque bytes.
* ``document/`` what a block's Yjs document means; the only importer of pycrdt.
* ``markdown/`` a block as text: parse, render, patch; the only place that knows syntax.
* ``folder/`` a heap as files; ``folder/disk.py`` alone writes into the user's folder.

Around them: ``backends/`` turns a server's idea of change into ours, ``sync/`` is the only place that sees the
whole line and decides, ``server/`` is the embedded Heaper-compatible server, ``cli/`` the commands, ``daemon``
the lifetimes. Everybody may import the value modules: ``ids model errors config tree diff database``.

The rules (``tests/test_shape.py`` holds them)
==============================================
A stage imports itself and the value modules. Only the named edges do I/O. Decide first, act second: plans are
pure functions of snapshots. Trouble with one block is a value, shown in ``status``; it never stops the heap.

The glossary
============
* *heap*: a workspace; *block*: a note, file, folder or tag in it, each with one Yjs *document*.
* *replica*: our copy of a document. *update*: a Yjs change, bytes. *state vector*: what a replica has seen.
* *view*: the tree of what markdown can say of a document (``tree``). *rendition*: a file text the daemon wrote
  or accepted, with the document state it shows; the newest is the *base* an edit is measured from.
* *cursor*: where the delta feed was read to. *dirty*: a block with edits the server has not acknowledged.
* *publish*: replica to file. *ingest*: file to replica. *push*, *pull*: replica to and from the server.
* *problem*: one block's trouble. *notice*: something a person should review. *hold*: changes kept back by the guard.
* *tombstone*: what remains of a deleted block. *trash*: where deleted blocks can be restored from.
"""

__version__ = "0.1.0"

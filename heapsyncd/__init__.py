"""heapsyncd mirrors heaps, workspaces of notes held as CRDT documents, to folders of markdown.

The map
=======
Data passes through five stages. None of them knows another::

    wire  ->  cache  ->  document  ->  markdown  ->  folder          (and back)

* ``wire/``: the protocols of the servers. Carries updates as opaque bytes (``wire/PROTOCOL.md``);
  ``wire/oneheap/`` speaks to a service without CRDTs (``wire/ONEHEAP.md``).
* ``cache/``: the SQLite file. Stores updates as opaque bytes.
* ``document/``: the meaning of a block's Yjs document. The only importer of pycrdt
  (``document/README.md``).
* ``markdown/``: a block as text: parse, render, patch. The only place that knows markdown's syntax
  (``markdown/README.md``).
* ``folder/``: a heap as files. The only place that writes into the user's folder
  (``folder/README.md``).

``sync/`` connects the stages and makes all decisions (``sync/README.md``). ``backends/`` adapts a
kind of server to what ``sync/`` expects: ``factory`` chooses by the account's kind; ``oneheap/``
makes documents of items, for which it may import all stages and ``sync.merge``. ``server/`` is the
embedded Heaper-compatible server. ``cli/`` has the commands, ``systemd/`` the units. ``daemon``,
with ``supervisor control control_requests notify dbus desktop logind statelock logs``, runs
accounts and ends them in order. Every module may import the value modules ``ids model errors
config tree diff items database backoff own_files processes tasks``.

Three stages are divided into parts. Each part imports itself and earlier parts, nothing else:

* ``sync/``: ``report cache_file``, ``heap`` (the state of one heap), ``merge`` (pure),
  ``layout`` (paths), ``edits`` (local changes to updates), ``pull`` (server to cache),
  ``deletions`` (holds), ``push`` (cache to server), ``transfers`` (contents of files, both ways),
  ``publish`` (cache to folder), ``scan`` (folder to edits), ``runtime`` (lifetimes), ``offline``
  (answers without a daemon, previews).
* ``document/``: ``xml``, ``encoding``, ``updates``, ``view``, ``inline``, ``plan``, ``construct``,
  ``fields``, ``source``, ``replica``; then ``edit plain_text rebuild``.
* ``markdown/``: ``events escaping style line_ends formulas links frontmatter encoding``, ``source
  attached_files front_lines``, ``item_file``, ``item_merge``, ``style_detection``, ``read``,
  ``write``, ``patch``.

The rules (``tests/test_shape.py`` enforces them)
=================================================
* A stage imports only itself and the value modules. Imports form no cycle.
* Only the listed edges do I/O. Their docstrings begin with "Edge:".
* Decide first, act second: plans are pure functions of snapshots.
* Trouble with one block is a value, shown by ``status``. It never stops the heap.

The glossary
============
* *heap*: a workspace. *block*: a note, file, folder or tag in it, with one Yjs *document*.
  (In ``tree``, a *block* is a markdown block, as in CommonMark.)
* *replica*: our copy of a document. *update*: a Yjs change as bytes. *state vector*: what a
  replica has seen. *log*: a block's raw updates in the order of arrival.
* *view*: the tree of what markdown can express of a document (``tree``).
* *rendition*: a file text that the daemon wrote or accepted, with the document state it shows. An
  edit is measured against a rendition, its *base*, usually the newest.
* *source*: the exact text of a note's file, kept in its document. *rendering*: a file made from
  the document alone.
* *dialect*: how a kind of server differs from a Heaper server (``model.Dialect``).
* *item*: what a server without CRDTs has instead of a block: a text and typed fields. *box*: what
  it keeps items in, a directory in the mirror. *contested
  lines*: lines that two authors changed, so that both versions stand.
* *version*: a numbered text of a note that is kept. The *history* lists versions.
* *cursor*: the position up to which the delta feed was read. *unsent*: not yet acknowledged by the
  server.
* *publish*: replica to file. *ingest*: file to replica. *push*, *pull*: to and from the server.
* *entry*: a known path of the folder, with the stat last agreed on.
* *problem*: something wrong with one block or file. *minor*: nothing is left undone because of it.
  *notice*: something that a person should review.
* *hold*: deletions kept back because they are many. *tombstone*: what remains of a deleted block.
  *trash*: where deleted blocks can be restored from.
"""

__version__ = "0.1.0"

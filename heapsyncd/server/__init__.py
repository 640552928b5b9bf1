"""Run the embedded Heaper-compatible server: for use at home, for the demo and for the tests.

One origin for HTTP and ``/ws`` (PROTOCOL §1), everything in one data directory::

    server.key     the key that signs tokens (base58 ed25519 seed, mode 0600)
    server.db      accounts, heaps, blocks, their documents (SQLite, every commit durable)
    accounts       optional: which keys may sign in (``accounts.parse_list``)
    control.sock   while ``serve`` runs: its owner's commands (``cli/server.py``)
    files/         contents of attachments, named by their sha256
    uploads/       contents that are still arriving

The modules:

* ``service`` the lifetime: ``Server`` (an ``async with``) and ``serve``; ``admin`` what its owner,
  demo and tests do to a server; ``backup`` a copy of its data.
* ``app`` the application: who may call what; ``routes`` the JSON routes, ``uploads`` and
  ``downloads`` those of files; ``page`` what a browser gets; ``input`` strict reading,
  ``refusal`` answers that are errors.
* ``connections`` how many connections there may be, and what one may send before signing in;
  ``addresses`` by which address a request is counted; ``throttle`` how often one may try to sign
  in.
* ``accounts`` who may sign in, ``challenges`` what they have to sign, ``tokens`` what they get,
  ``limits`` every number that bounds something.
* ``documents`` the one writer of blocks: applies updates, commits them in groups, notifies
  ``rooms``; ``loaded_documents`` the documents it works on; ``large_documents`` another process,
  which works on large documents so that the loop stays free.
* ``data`` and ``schema`` SQLite; ``rows`` what a row says of its document; ``feed`` delta, pull,
  push.
* ``rooms`` who follows which document; ``sockets`` one WebSocket, ``document_session`` one
  document on it, ``outbox`` what waits to be sent; ``awareness`` presence.
* ``blobs`` contents on disk, ``transfers`` their tables. ``sample`` the demo's heap.

Who may sign in: on a new server without any configured key, the first key that sends the one-time
code printed by ``serve`` becomes the *owner*. Every other key must be listed: by ``serve --accept
KEY``, or by a line in the data directory's ``accounts`` file, which ``server accept KEY`` writes
(reloaded within a second; ``!KEY`` shuts a key out and closes what it has open). ``--open``
accepts all keys, on this machine only. One server is one household: whoever is accepted sees every
heap, unless a grant says otherwise. A sign-in is a *session*: its tokens stop working when it
ends, by ``sign_out``, by a refresh token that is used twice, or because newer sign-ins displaced
it.

This server never raises a document's ``sync_version`` by itself (PROTOCOL §7): it compacts its own
log without breaking the history that clients share with it. ``Server.compact`` does it on request.
"""

from heapsyncd.server.accounts import Accept
from heapsyncd.server.limits import Limits
from heapsyncd.server.service import Server, serve

__all__ = ["Accept", "Limits", "Server", "serve"]

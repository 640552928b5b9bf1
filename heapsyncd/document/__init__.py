"""What a block's Yjs document means; the only importer of pycrdt.

From outside: ``replica`` holds a document and handles updates, ``fields`` reads what stands beside
its body, ``tree`` shows the body as the markdown view, ``edit`` turns a wish into the smallest
update, ``fresh`` makes a document anew, ``schema`` has the names.

Inside, an edit goes through values (``nodes``): ``goal`` makes the wish fit the document, ``plan``
decides what becomes of what (with ``theirs``, ``identity``, ``sources`` and ``rescue``), ``body``
carries the plan out (with ``leaf``, ``table``, ``new``, ``clones``, ``build``), ``shape`` compares
the result with the goal and judges it by ``rules``, ``write`` turns it into operations. A
textblock is edited by ``leaf`` on ``visible`` strings, put together by ``splice`` and ``styles``.

The measured facts behind it stand in ``README.md`` here.
"""

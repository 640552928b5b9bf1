"""What a block's Yjs document means; the only importer of pycrdt.

From outside: ``replica`` holds a document and handles updates, ``fields`` reads what stands beside
its body, ``view`` shows the body as a tree, ``edit`` turns a target into the smallest update,
``rebuild`` makes a document anew, ``plain_text`` reads its words alone. ``updates`` is the one
door by which bytes of updates reach yrs; ``encoding`` examines them there.

Inside, each level imports only lower ones:

* ``xml`` a document's XML as values (``nodes``), the names in it (``schema``), what an editor
  accepts (``content_model``).
* ``view`` the tree of what markdown can say, from values, from handles, or told from the last one.
* ``inline`` edits of one textblock's content; ``merge`` joins two sides' edits of one text.
* ``plan`` what becomes of what: ``normalise`` makes the target fit the document, ``plan`` aligns
  it with what others did meanwhile.
* ``build`` carries the plan out on values (``checked_body``) and ``apply`` turns it into
  operations.

The measured facts behind it stand in ``README.md`` here.
"""

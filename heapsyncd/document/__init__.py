"""The meaning of a block's Yjs document; the only importer of pycrdt.

Used from outside: ``replica`` holds a document and handles updates, ``fields`` reads what is
beside its body, ``view`` shows the body as a tree, ``edit`` turns a target into the smallest
update, ``rebuild`` makes a document without its history, ``plain_text`` extracts its words.
``updates`` is the only module that passes bytes of updates to yrs; ``encoding`` validates them
first.

Inside, each level imports only lower ones:

* ``xml`` a document's XML as values (``nodes``), its tags and marks (``schema``), what an editor
  accepts (``content_model``).
* ``view`` the tree of what markdown can express: from values, from handles, or updated from the
  previous view.
* ``inline`` edits of one textblock's content; ``merge`` combines two sides' edits of one text.
* ``plan`` which node becomes which: ``normalise`` makes the target fit the document, ``plan``
  aligns it with what others did meanwhile.
* ``construct`` carries the plan out on values (``checked_body``); ``apply`` writes them as
  operations.

The measured facts behind it are in ``README.md`` here.
"""

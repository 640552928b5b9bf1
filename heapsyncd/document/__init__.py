"""What a block's Yjs document means; the only importer of pycrdt.

``replica`` holds a document, ``fields`` reads what stands beside its body, ``tree`` shows the body
as the markdown view, ``edit`` turns a wished-for view into the smallest update. Inside: ``nodes``
the XML as values, ``schema`` names and rules, ``leaf`` and ``body`` the edits, ``write`` their
execution. The measured facts behind it stand in ``README.md`` here.
"""

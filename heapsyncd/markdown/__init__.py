"""A block as text: markdown to the tree of ``heapsyncd.tree`` and back.

``parse`` reads a body, ``render`` writes one, ``patch`` changes one so that only the lines of what
changed differ. ``frontmatter`` reads and edits the YAML block by line, ``encoding`` takes bytes
apart into BOM, text and line ends, ``links`` says how names and ids find each other. All pure:
strings and trees. The decisions stand in ``README.md`` beside this file.
"""

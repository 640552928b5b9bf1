"""Convert between markdown text and the tree of ``heapsyncd.tree``.

``read.parse`` reads a body into a tree. ``write.render`` writes a tree as a body. ``patch.patch``
edits a body so that it reads as another tree and changes only the lines that differ.
``frontmatter`` reads the YAML block and edits it by line. ``encoding`` splits bytes into BOM, text
and line ends. ``links`` is the interface between names in a text and ids in a heap.

Everything here is pure: strings and trees, no I/O. Modules are layered: values, then ``read``,
``write`` and ``patch``, each importing only earlier ones. ``README.md`` beside this file has the
design.
"""

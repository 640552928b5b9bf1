"""Define the markdown view: one kind of tree for a parsed file and for a document.

``markdown.read`` parses a file to it and ``document.view`` shows a document as it, so that they
can be compared: a file shows a document's state if and only if the two trees are equal. Equality
and hash cover only what markdown can express; where a node came from (``path``, ``span``,
``pieces``) is carried along and never compared.

Block kinds and their content:

=============  =============================  ==========================================
kind           attrs                          content
=============  =============================  ==========================================
doc            -                              children: blocks
paragraph      -                              inline
heading        level 1..6                     inline
code           info (language, '' when none)  text, exact, without the last line's newline
quote          -                              children: blocks
bullet_list    -                              children: item
ordered_list   start 0..999999999             children: item
todo_list      -                              children: item
item           checked (todo_list only)       children: blocks
rule           -                              -
table          -                              children: row; first row is the header
row            -                              children: cell, as many in each row
cell           -                              inline
files          -                              attr ``keys``: files_v0 keys, a line each, not empty
opaque         label, digest (6 hex)          -  (a node that markdown cannot express)
=============  =============================  ==========================================

Canonical form (made by ``inline``, used by both sides): adjacent runs with equal marks are one;
no run is empty; there is no whitespace at a mark's edge, at either end of the block or beside a
break; a paragraph without inline content is left out. The whitespace of ``code`` runs is text, and
so are NBSP and the other Unicode spaces everywhere. Text contains no newline, CR or NUL. These
functions make the form of attributes: of an opaque node's label (the node's name, then all
words in it) ``opaque_label``; titles, alt texts and other labels ``one_spaced``; targets
``destination``; a code block's language ``language``.
"""

from heapsyncd.tree.canonical import (
    destination,
    inline,
    is_blank,
    is_canonical,
    language,
    one_spaced,
    opaque_label,
)
from heapsyncd.tree.nodes import (
    CONTAINERS,
    DEEPEST,
    LEAVES,
    LISTS,
    MOST_EMPTY_CELLS,
    Atom,
    AtomType,
    Attrs,
    Block,
    BlockType,
    Inline,
    Mark,
    Marks,
    MarkType,
    Piece,
    Scalar,
    Span,
    Text,
    attrs,
    marks,
    plain,
)

__all__ = [
    "CONTAINERS",
    "DEEPEST",
    "LEAVES",
    "LISTS",
    "MOST_EMPTY_CELLS",
    "Atom",
    "AtomType",
    "Attrs",
    "Block",
    "BlockType",
    "Inline",
    "Mark",
    "MarkType",
    "Marks",
    "Piece",
    "Scalar",
    "Span",
    "Text",
    "attrs",
    "destination",
    "inline",
    "is_blank",
    "is_canonical",
    "language",
    "marks",
    "one_spaced",
    "opaque_label",
    "plain",
]

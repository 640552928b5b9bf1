"""The notation to use where markdown allows several."""

from msgspec import Struct

from heapsyncd.model import LineBreaks


class Style(Struct, frozen=True):
    r"""The notation for newly written text. A patch detects it from the file.

    ``bullet``: ``-``, ``*`` or ``+``. ``delimiter``: ``.`` or ``)`` after a number. ``fence``: a
    backtick or ``~``. ``emphasis`` and ``strong``: ``*`` or ``_``. ``hard_break``: ``\`` or two
    spaces before the newline. ``rule``: the whole line of a thematic break. ``width``: the column
    at which paragraphs are wrapped; None writes each paragraph on one line. ``line_breaks``: what
    a line end inside a paragraph means; if a break, nothing is wrapped. ``newline``: the line end.
    ``indent``: indentation of an item's further lines; empty aligns them with the item's text.
    ``gap`` and ``number_gap``: whitespace between a bullet or a number and the text.
    """

    bullet: str = "-"
    delimiter: str = "."
    fence: str = "`"
    emphasis: str = "*"
    strong: str = "*"
    hard_break: str = "\\"
    rule: str = "***"
    width: int | None = None
    line_breaks: LineBreaks = "space"
    newline: str = "\n"
    indent: str = ""
    gap: str = " "
    number_gap: str = " "


DEFAULT = Style()

SOFT_SPACE = "\0"
"""Stands for a space at which a line may be wrapped, until the block is complete."""
LINE_BREAK = "\0\n"
"""Stands for a break that may need no notation but the line end, until the block is complete."""

"""How a text is written where markdown leaves a choice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Style:
    r"""The choices for what is written anew; a patch learns them from the file.

    ``bullet``: ``-``, ``*`` or ``+``. ``delimiter``: ``.`` or ``)`` after a number. ``fence``: a
    backtick or ``~``. ``emphasis`` and ``strong``: ``*`` or ``_``. ``hard_break``: ``\`` or two
    spaces before the newline. ``rule``: the whole line. ``width``: wrap at so many characters,
    None for one line a paragraph. ``newline``: at the end of each line. ``indent``: of what
    stands below an item's first line, empty for as far as its text. ``gap`` and ``number_gap``:
    between a bullet or number and the text.
    """

    bullet: str = "-"
    delimiter: str = "."
    fence: str = "`"
    emphasis: str = "*"
    strong: str = "*"
    hard_break: str = "\\"
    rule: str = "***"
    width: int | None = None
    newline: str = "\n"
    indent: str = ""
    gap: str = " "
    number_gap: str = " "


DEFAULT = Style()

SOFT_SPACE = "\0"
"""A space where a line may be wrapped, until the block is whole."""

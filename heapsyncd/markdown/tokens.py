"""A leaf's content as a row of characters and atoms, each with its source bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heapsyncd.markdown.source import Trace
from heapsyncd.tree import Atom, Inline, Marks, Text


@dataclass(frozen=True, slots=True)
class Token:
    """A character or an atom (then ``char`` stands for it), and its bytes."""

    char: str
    marks: Marks
    start: int
    end: int


def read_row(
    data: bytes, items: Sequence[Inline], trace: Trace, char_of: Callable[[Atom], str]
) -> list[Token] | None:
    """The content's tokens in order; None when some character has no bytes of its own."""
    row: list[Token] = []
    for item in items:
        if isinstance(item, Text):
            run = _read_run(data, item, trace)
            if run is None:
                return None
            row += run
        elif item.span is None or item.span.start == item.span.end:
            return None
        else:
            row.append(Token(char_of(item), (), item.span.start, item.span.end))
    return row


def _read_run(data: bytes, run: Text, trace: Trace) -> list[Token] | None:
    if not run.pieces or run.pieces[0].at != 0:
        return None
    tokens: list[Token] = []
    ends = [p.at for p in run.pieces[1:]] + [len(run.text)]
    for piece, stop in zip(run.pieces, ends, strict=True):
        text, at = run.text[piece.at : stop], piece.offset
        if data.startswith(text.encode(), at):
            for char in text:
                width = len(char.encode())
                tokens.append(Token(char, run.marks, at, at + width))
                at += width
            continue
        end = trace.ends.get(at)
        if end is None or len(text) != 1:
            return None
        tokens.append(Token(text, run.marks, at, end))
    return tokens

"""Texts of whole and joined characters, paragraphs, and hunks carried out."""

from hypothesis import strategies as st

from heapsyncd.diff import Hunk
from heapsyncd.tree import Block, Text

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FAMILY_2 = "\U0001f468\u200d\U0001f469\u200d\U0001f466"
WORDS = st.lists(
    st.sampled_from(
        ["the", "fox", "foxes", " ", " ", "\n", "é", "e\u0301", FAMILY, FAMILY_2, "."]
    ),
    max_size=30,
).map("".join)
ANY = WORDS | st.text(max_size=30)

LINES = st.lists(
    st.sampled_from(
        ["one two\n", "one two three\n", "* four\n", "\n", "[a][b]\r\n", "\r", "é👋\n", "x"]
    ),
    max_size=12,
).map("".join)
"""Texts made of lines, with every kind of line end."""


def para(text: str, kind: str = "paragraph") -> Block:
    return Block(kind, inline=(Text(text),) if text else ())  # type: ignore[arg-type]


def apply(old: str, hunks: list[Hunk]) -> str:
    for h in reversed(hunks):
        old = old[: h.start] + h.text + old[h.end :]
    return old

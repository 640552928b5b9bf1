"""Everybody writes markdown in a way of their own, and a remote edit leaves it so."""

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.parse import parse
from heapsyncd.tree import Block, Text, inline

_WORD = re.compile(r"\bw\d+\b")


class Author:
    """Somebody with habits, whose words all differ."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._count = 0
        self._definitions: list[str] = []

    def word(self) -> str:
        self._count += 1
        return f"w{100 + self._count}"

    def note(self) -> str:
        """A note of some blocks, with the definitions its links need."""
        blocks = [self.block(0) for _ in range(self.random.randint(1, 5))]
        gaps = [self.random.choice(["\n", "\n", "\n\n", "\n\n\n"]) for _ in blocks]
        text = "".join(b + g for b, g in zip(blocks, gaps, strict=True))
        text += "".join(f"{d}\n" for d in self._definitions)
        return text.replace("\n", self.random.choice(["\n", "\n", "\r\n"]))

    def block(self, depth: int) -> str:
        kinds = [self.paragraph, self.paragraph, self.heading, self.code, self.table, self.odd]
        kinds += [self.footnote] if not depth else []
        nested = [self.quote, self.items]
        if depth < 2 and self.random.random() < 0.3:
            return self.random.choice(nested)(depth)
        return self.random.choice(kinds)()

    def text(self, most: int = 6) -> str:
        """Words on one line, some of them marked."""
        return " ".join(self.piece() for _ in range(self.random.randint(1, most)))

    def piece(self) -> str:
        word = self.word()
        made = self.random.choice(
            [
                *["{}"] * 6,
                *("*{}*", "_{}_", "**{}**", "__{}__", "***{}***", "_**{}**_", "~~{}~~", "~{}~"),
                *("`{}`", "`` {} ` ``", "<u>{}</u>", "[{}](/u)", '[{}](</a b> "t")', "[{}][ref]"),
                *(
                    "({}),",
                    "*{}*.",
                    "{}\\*",
                    "\\#{}",
                    "{} &amp;",
                    "<b>{}</b>",
                    "[^1]{}",
                    "*a {}*",
                    "**{} b**",
                ),
            ]
        )
        if made == "[{}][ref]" and not self._definitions:
            self._definitions.append(self.random.choice(["[ref]: /u", '[REF]: </u>\n  "title"']))
        return made.format(word)

    def paragraph(self) -> str:
        """Hard wraps, and breaks of every kind."""
        wrap = self.random.choice(["\n", "\n", "  \n", "\\\n", "<br>\n", "\n ", "   \n  "])
        return wrap.join(self.text() for _ in range(self.random.randint(1, 3))) + "\n"

    def heading(self) -> str:
        line = self.text(3)
        under = self.random.choice(["==", "---", "======================"])
        return self.random.choice([f"# {line}", f"##  {line} ##", f"{line}\n{under}"]) + "\n"

    def code(self) -> str:
        lines = [self.random.choice(["", "  "]) + self.word() for _ in range(2)]
        if self.random.random() < 0.3:
            return "".join(f"    {line}\n" for line in lines)
        fence = self.random.choice(["```", "~~~", "`````"])
        info = self.random.choice(["", " python", "py title=x"])
        return "\n".join([fence + info, *lines, fence]) + "\n"

    def table(self) -> str:
        width = self.random.randint(2, 3)
        rows = [[self.text(2) for _ in range(width)] for _ in range(self.random.randint(1, 3))]
        line = [self.random.choice(["---", ":--", ":-:", "-----:"]) for _ in range(width)]
        pad = self.random.choice([0, 0, 24])
        left, right = self.random.choice([("| ", " |"), ("|", "|"), ("", "")])
        between = (left[:1] and left[::-1] + right[-1:].strip("|") + left[1:]) or " | "
        return "".join(
            left + between.join(cell.ljust(pad) for cell in row).rstrip() + right + "\n"
            for row in (rows[0], line, *rows[1:])
        )

    def odd(self) -> str:
        kinds = ["***\n", "- - -\n", "<!-- a comment -->\n", "<div>\n{}\n</div>\n", "[^1]: {}\n"]
        return self.random.choice(kinds).format(self.word())

    def footnote(self) -> str:
        """A footnote of several blocks."""
        blocks = [self.random.choice([self.paragraph, self.code])() for _ in range(2)]
        below = "\n".join(blocks).splitlines()
        return f"[^1]: {self.text()}\n\n" + "".join(
            f"    {line}\n" if line else "\n" for line in below
        )

    def quote(self, depth: int) -> str:
        mark = self.random.choice(["> ", ">  "])
        inner = "\n".join(self.block(depth + 1) for _ in range(self.random.randint(1, 2)))
        return "".join(f"{mark}{line}".rstrip(" ") + "\n" for line in inner.splitlines())

    def items(self, depth: int) -> str:
        marks = ["-", "*", "+", "- [ ]", "* [X]", "1.", "7)", "10."]
        mark, space = self.random.choice(marks), self.random.choice([" ", " ", "  ", "   "])
        indent = " " * len(mark.split(" ")[0] + space)
        if len(indent) <= 4 and self.random.random() < 0.2:
            indent = "\t"
        gap = self.random.choice(["", "", "\n"])
        made = []
        for _ in range(self.random.randint(1, 3)):
            lines = self.paragraph()
            if self.random.random() < 0.4:
                lines += "\n" + self.block(depth + 1)
            first, *rest = lines.splitlines()
            below = "".join(f"{indent}{line}\n" if line else "\n" for line in rest)
            made.append(f"{mark}{space}{first.lstrip()}\n{below}")
        return gap.join(made)


def renamed(block: Block, old: str, new: str) -> Block:
    """The tree with a word changed."""
    children = tuple(renamed(c, old, new) for c in block.children)
    items = [
        Text(i.text.replace(old, new), i.marks) if isinstance(i, Text) else i for i in block.inline
    ]
    text = block.text.replace(old, new)
    return Block(block.kind, block.attrs, children, inline(items), text)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["new", "longer-than-before", "é"]))
def test_a_remote_word_changes_that_word_alone(random: Random, new: str) -> None:
    """Whatever the style of a note, another word in its document is another word in its file."""
    source = Author(random).note()
    tree = parse(source, NO_LINKS)
    document = express([], Target(body=tree)).update or EMPTY
    words = sorted(set(_WORD.findall(tree.words())))
    if not words:
        return
    word = random.choice(words)
    update = express([document], Target(body=renamed(tree, word, new))).update or EMPTY
    view = Replica.load([document, update]).view()
    after = patch(source, view, NO_LINKS)
    assert pipes(after) == pipes(source.replace(word, new))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_remote_word_that_comes_changes_one_line(random: Random) -> None:
    """Whatever the style of a note, a word more is in one line, and all lines are still there."""
    source = Author(random).note()
    tree = parse(source, NO_LINKS)
    words = sorted(set(_WORD.findall(tree.words())))
    if not words:
        return
    word = random.choice(words)
    after = patch(source, renamed(tree, word, f"{word} more"), NO_LINKS)
    old, new = pipes(source).split("\n"), pipes(after).split("\n")
    assert len(old) == len(new)
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) == 1
    was, now = ("".join(line.split()) for line in changed[0])
    assert now.replace("more", "", 1) == was


def pipes(text: str) -> str:
    """A text with no space before the pipes: those of a table in columns are kept there by it."""
    return re.sub(r" +\|", "|", text)

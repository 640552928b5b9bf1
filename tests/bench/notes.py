"""Generated notes: the same for the same seed, on every machine."""

import random
import re
from collections.abc import Callable

_TEXT = (
    "boat harbour keel mast sail tide wind anchor rope deck hull the of and a to in is it for on "
    "with as at by from that this which not all will when paint repair winter spring café naïve "
    "Grüße 日本 list plan meeting budget draft review idea question answer soon later"
)
_WORDS = _TEXT.split()
_SIZES = (500, 8_000)
"""From and to how many bytes the notes of a heap are long; short ones are as frequent as long."""
_AREAS = 10
_PLAIN = re.compile(r"[^\W\d_](?:[\w.]* ){7,}[\w.]+")
"""A line of prose that is nothing else: one word of it can be replaced."""


def note(rng: random.Random) -> str:
    """A note as people keep them: some 2 kB of headings, prose, lists, tasks, code and tables."""
    blocks = [f"# {sentence(rng, 3)}"]
    blocks += [_block(rng) for _ in range(rng.randint(4, 24))]
    return "\n\n".join(blocks) + "\n"


def notes(count: int, seed: int = 1) -> list[str]:
    """So many notes."""
    rng = random.Random(seed)
    return [note(rng) for _ in range(count)]


def big_notes(seed: int = 1) -> dict[str, str]:
    """Notes at the edge of what is kept as one: by name."""
    rng = random.Random(seed)
    mixed: list[str] = []
    size = 0
    while size < 1_000_000:
        mixed.append(note(rng))
        size += len(mixed[-1].encode()) + 1
    wrapped = ["\n".join(sentence(rng, 2) for _ in range(9)) for _ in range(10_000)]
    items = [f"- {sentence(rng, 2)}" for _ in range(100_000)]
    return {
        "1 MB": "\n".join(mixed),
        "100,000 lines of prose": "\n\n".join(wrapped) + "\n",
        "a list of 100,000 lines": "\n".join(items) + "\n",
    }


def heap_of_notes(count: int, seed: int = 1) -> dict[str, str]:
    """A heap as people keep one, by path: notes of all sizes in directories, with front matter,
    that link to each other.
    """
    rng = random.Random(seed)
    titles = [f"{sentence(rng, 2)} {k:05}" for k in range(count)]
    return {_path(k, title): _heap_note(rng, titles) for k, title in enumerate(titles)}


def reworded(text: str, turn: int, word: str) -> str:
    """A note with one word of a line in its middle replaced, another one in each turn."""
    lines = text.split("\n")
    plain = [k for k, line in enumerate(lines) if _PLAIN.fullmatch(line)]
    at = plain[len(plain) // 2]
    words = lines[at].split(" ")
    # Not the first: the line goes on beginning with a letter.
    k = 1 + 3 * turn % (len(words) - 1)
    words[k] = word + "." * words[k].endswith(".")
    lines[at] = " ".join(words)
    return "\n".join(lines)


def _path(k: int, title: str) -> str:
    below = "" if k // _AREAS % 2 else f"Topic {k // _AREAS % 3}/"
    return f"Area {k % _AREAS}/{below}{title}.md"


def _heap_note(rng: random.Random, titles: list[str]) -> str:
    size = _SIZES[0] * (_SIZES[1] / _SIZES[0]) ** rng.random()
    text = _front(rng) + f"# {sentence(rng, 3)}\n\n{sentence(rng, 12)}.\n"
    while len(text.encode()) < size:
        block = _block(rng)
        if rng.random() < 0.2:
            block = f"{sentence(rng, 3)} [[{rng.choice(titles)}]] {sentence(rng, 5)}."
        text += f"\n{block}\n"
    return text


def _front(rng: random.Random) -> str:
    lines = []
    if rng.random() < 0.4:
        lines.append(f"tags: [{', '.join(rng.sample(['boat', 'plans', 'home', 'work'], 2))}]")
    if rng.random() < 0.2:
        lines.append(f"status: {rng.choice(['draft', 'done'])}")
    return "\n".join(["---", *lines, "---", "", ""]) if lines else ""


def sentence(rng: random.Random, words: int) -> str:
    """Words that markdown reads as nothing else."""
    return " ".join(rng.choice(_WORDS) for _ in range(words))


def _prose(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randint(1, 5)):
        words = sentence(rng, rng.randint(4, 14))
        marked = rng.choice(
            ["", "", "", " **{}**", " *{}*", " `{}`", " [{}](https://example.org/a)"]
        )
        parts.append(words + marked.format(sentence(rng, 2)) + ".")
    return " ".join(parts)


def _items(rng: random.Random, head: str) -> str:
    lines = []
    for _ in range(rng.randint(2, 7)):
        lines.append(f"{head} {sentence(rng, rng.randint(2, 9))}")
        if head == "-" and rng.random() < 0.2:
            lines.append(f"  - {sentence(rng, 4)}")
    return "\n".join(lines)


def _table(rng: random.Random) -> str:
    rows = [[sentence(rng, 2) for _ in range(3)] for _ in range(rng.randint(2, 5))]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "| --- | --- | --- |", *lines[1:]])


_KINDS: list[Callable[[random.Random], str]] = [
    *[_prose] * 6,
    lambda rng: f"## {sentence(rng, 4)}",
    lambda rng: _items(rng, "-"),
    lambda rng: _items(rng, "-"),
    lambda rng: _items(rng, "- [ ]"),
    lambda rng: _items(rng, "1."),
    lambda rng: f"> {_prose(rng)}",
    lambda rng: f"```python\n{sentence(rng, 5)}\n    {sentence(rng, 3)}\n```",
    _table,
    lambda rng: "---",
]


def _block(rng: random.Random) -> str:
    return rng.choice(_KINDS)(rng)

"""How people change a text: each change brings a word that exists nowhere else."""

import random
import re
from typing import Final

TOKEN: Final = re.compile(r"[\u0391-\u03a9]{6}[\u03b1-\u03c9]")
_CAPITALS: Final = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΤΥΦΧΨΩ"
FILLERS: Final = ("amber", "birch", "cloud", "delta", "ember", "fjord")
STARTS: Final = (
    "",
    "one line\n",
    "# Title\n\namber birch cloud\n\ndelta ember fjord, amber and *birch* too\n",
    "- amber\n- birch\n  - cloud\n- delta\n\nember fjord\n",
    "amber\nbirch\n\n> cloud delta\n\n```py\nember = 1\n```\n\nfjord\n",
    "- [ ] amber birch\n- [x] cloud\n\n| a | b |\n|---|---|\n| delta | ember |\n\nfjord\n",
    "amber **birch** `cloud` delta.\nA second line, ember.\n\n1. fjord\n2. amber\n",
)
_WIKI: Final = re.compile(r"\[\[[^\[\]\n]*\]\]")
_NO_BREAK: Final = "\u2060"
"""What stands for a blank inside a link while words are looked for."""
_STRUCTURE: Final = re.compile(r"^(\s*$|```|\||---|\s*[-*>#\d]+\.?\s*$)")


def word(number: int) -> str:
    """A word that is nowhere else, and not like any other: no merge takes two for one."""
    rng = random.Random(number)
    # Greek, in which nothing else is written here; the small letter ends the word.
    return "".join(rng.choices(_CAPITALS, k=6)) + rng.choice(_CAPITALS).lower()


def tokens(text: str) -> list[str]:
    """The unique words in a text."""
    return TOKEN.findall(text)


def change(body: str, token: str, how: int) -> str:
    """The body with the token written in somewhere, as ``how`` decides; words may go for it, but
    no link is taken apart.
    """
    whole = _WIKI.sub(lambda m: m[0].replace(" ", _NO_BREAK), body)
    return _changed(whole, token, how).replace(_NO_BREAK, " ")


def is_label(how: int) -> bool:
    """Whether the token is the label of the link that ``link`` writes."""
    return how % 3 != 0


def link(body: str, name: str, token: str, how: int) -> str:
    """The body with a link to a name written in at a line's end, or by itself: the token is its
    label, or stands before it.
    """
    rng = random.Random(how)
    written = f"[[{name}|{token}]]" if is_label(how) else f"{token}[[{name}]]"
    lines = body.split("\n")
    prose = [
        k for k, line in enumerate(lines)
        if not _STRUCTURE.match(line) and not _inside_fence(lines, k)
    ]  # fmt: skip
    if not prose or rng.randrange(3) == 0:
        return body.rstrip("\n") + ("\n\n" if body.strip() else "") + f"see {written}\n"
    at = rng.choice(prose)
    lines[at] = f"{lines[at]} {written}"
    return "\n".join(lines)


def _changed(body: str, token: str, how: int) -> str:
    rng = random.Random(how)
    lines = body.split("\n")
    prose = [k for k, line in enumerate(lines) if not _STRUCTURE.match(line)]
    kind = rng.randrange(6)
    if kind == 0 or not prose:
        return body.rstrip("\n") + ("\n\n" if body.strip() else "") + f"{token}\n"
    at = rng.choice(prose)
    if kind == 1:
        fillers = [w for w in FILLERS if w in lines[at]]
        if fillers:
            lines[at] = lines[at].replace(rng.choice(fillers), token, 1)
            return "\n".join(lines)
    if kind == 2 and not _inside_fence(lines, at):
        lines[at:at] = [token, ""]
        return "\n".join(lines)
    if kind == 3:
        lines[at] = f"{lines[at]} {token}"
        return "\n".join(lines)
    words = lines[at].split(" ")
    place = rng.randrange(len(words))
    words[place] = f"{words[place]}{token}" if kind == 4 else f"{words[place]} {token}"
    lines[at] = " ".join(words)
    return "\n".join(lines)


def _inside_fence(lines: list[str], at: int) -> bool:
    return sum(line.startswith("```") for line in lines[:at]) % 2 == 1

"""How people change a text: each change brings a word that exists nowhere else."""

import random
import re
from typing import Final

from heapsyncd.markdown.frontmatter import split

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
STYLED: Final = (
    """---
status: draft
# who reads it
aliases:
  - one
  - 'two: three'
publish: true
---
amber
birch __cloud__

* delta
* ember


+ fjord
""",
    """Amber
=====

<!-- birch -->

1) cloud
2) delta

[ember][ref] fjord

***

[ref]: http://example.org/
""",
    """---
id: my-own
title: The user's
tags: []
---
> [!note]
> amber
> birch

key:: cloud
due:: delta

~~~py x=1
ember = 1
~~~

fjord\x20\x20
end""",
    "|amber|birch|\n|:--|--:|\n|cloud|delta|\n\n* ember\n\n    fjord\n\n\n\n",
    "amber &amp; birch\\\ncloud, <b>delta</b>\n- [ ] ember\n* [X] fjord\n",
)
"""Texts in styles that no rendering has."""
_OURS: Final = re.compile(r"^heaper_id: ([0-9A-Z]{26})$", re.MULTILINE)
_ID: Final = re.compile(r"^id: ([0-9A-Z]{26})$", re.MULTILINE)
_USERS: Final = re.compile(r"(?!id|heaper_id|tags|title)\w+: \S")
_WIKI: Final = re.compile(r"\[\[[^\[\]\n]*\]\]")
_NO_BREAK: Final = "\u2060"
"""What stands for a blank inside a link while words are looked for."""
_STRUCTURE: Final = re.compile(
    r"^(\s*$|```|~~~|\||---|={3}|<!--|\[ref\]:|> \[!|\s*[-*>#\d]+\.?\s*$)"
)


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


def id_in(text: str) -> str | None:
    """The note that a file says it is: by our id, beside the user's own if need be."""
    front = split(text.removeprefix("\ufeff"))[0]
    found = _OURS.search(front.raw) or _ID.search(front.raw)
    return found[1] if found else None


def restyled(body: str, how: int) -> str:
    """The body written in another style, with the same words."""
    rng = random.Random(how)
    lines = body.split("\n")
    match rng.randrange(5):
        case 0:
            mark = rng.choice("*-+")
            lines = [re.sub(r"^(\s*)[*+-] (?!\[)", rf"\1{mark} ", line) for line in lines]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), "")
        case 2:
            at = rng.randrange(len(lines))
            lines[at] += rng.choice([" ", "  ", "\t"]) if lines[at].strip() else ""
        case 3:
            return body.rstrip("\n") + rng.choice(["", "\n", "\n\n\n"])
        case _:
            return re.sub(r"\b(amber|birch|cloud) ", r"\1\n", body, count=1)
    return "\n".join(lines)


def front_changed(raw: str, number: int, how: int) -> str:
    """Front matter in which a key, an item or a comment came, changed or went."""
    rng = random.Random(how)
    lines = raw.splitlines(keepends=True) or ["---\n", "---\n"]
    inner = lines[1:-1]
    keys = [
        k for k, line in enumerate(inner) if re.match(r"(?!id|heaper_id|tags|title)\w+: \S", line)
    ]
    match rng.randrange(4):
        case 0 if keys:
            at = rng.choice(keys)
            inner[at] = f"{inner[at].partition(':')[0]}: v{number}\n"
        case 1 if keys:
            del inner[rng.choice(keys)]
        case 2:
            heads = [k for k, line in enumerate(inner) if not line.startswith((" ", "-"))]
            inner.insert(rng.choice([*heads, len(inner)]), f"# c{number}\n")
        case _:
            inner.append(f"key{how % 3}: v{number}\n")
    return "".join([lines[0], *inner, lines[-1]])


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
    return sum(line.startswith(("```", "~~~")) for line in lines[:at]) % 2 == 1

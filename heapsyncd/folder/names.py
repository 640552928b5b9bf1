"""Titles as file names: safe everywhere, unique, and the title itself wherever that is possible.

A name is never hidden and never ignored by default, so that a mirrored note is never overlooked.
The way back from name to title is not needed: what a name can't carry stands in the front matter.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import count

import regex

from heapsyncd.folder.ignore import NO_RULES

NOTE_SUFFIX = ".md"
ASSETS_SUFFIX = ".assets"
"""``X.assets`` holds the attachments of ``X.md``; nothing else may have such a name."""

MAX_STEM_BYTES = 240
"""UTF-8 bytes before the suffix: with ``.assets`` the name still is below the limit of 255."""

_DECORATION_BYTES = 4
"""What avoiding a reserved or ignored name may add."""

UNTITLED = "Untitled"
SUBSTITUTE = "_"

_SUFFIX = re.compile(r"(?<=[^.])\.[A-Za-z0-9][A-Za-z0-9_-]{0,12}\Z")
_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiner: spelling in Persian and Indic scripts, the glue of family emoji."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(
    r"(?i)(con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin\$|conout\$|clock\$) *(\.|\Z)"
)
_PLAIN = re.compile(r"\w[\w (),&+'-]{0,58}(?<! )")
"""What most titles are, and needs no cleaning: at most 59 characters, so at most 236 bytes."""

_TRAILING = " .\u00a0\u3000"


def safe_name(title: str, *, suffix: str = "") -> str:
    """The file name for a title: at most 255 bytes, allowed on Windows, macOS and Linux.

    Args:
        title: any text, from a stranger's hand.
        suffix: what is appended whole (``.md``). Without one, the title's own suffix is kept when
            the name has to be cut, and names ending in ``.assets`` are avoided.

    A title that is such a name already comes back unchanged.
    """
    if _PLAIN.fullmatch(title) and not _RESERVED.match(title) and not NO_RULES.match(title, False):
        return title + suffix
    stem, own = (_clean(title), "") if suffix else split_suffix(_clean(title))
    name = _decorated(_cut(stem, MAX_STEM_BYTES) + own, suffix)
    if len(name.removesuffix(suffix).encode()) > MAX_STEM_BYTES + len(own):
        # What was added made it too long: once more, with room for it.
        name = _decorated(_cut(stem, MAX_STEM_BYTES - _DECORATION_BYTES) + own, suffix)
    return name


def carries(name: str, title: str) -> bool:
    """Whether a name, without the ``.md`` of a note, alone says the title."""
    return name == title


def unique(name: str, taken: Callable[[str], bool], *, suffix: str | None = None) -> str:
    """The name itself, or the first of ``Name (2).md``, ``Name (3).md`` ... that is not taken.

    Args:
        name: a safe name, suffix included.
        taken: whether a name can't be had; it should look at the ``collision_key``.
        suffix: what stays at the end; None: the name's own suffix, if it looks like one.
    """
    return next(candidate for candidate in variants(name, suffix) if not taken(candidate))


def variants(name: str, suffix: str | None = None) -> Iterator[str]:
    """The name, then ``Name (2).md`` and so on without an end; arguments as for ``unique``."""
    suffix = split_suffix(name)[1] if suffix is None else suffix
    for number in count(1):
        yield variant(name, number, suffix=suffix)


def variant(name: str, number: int, *, suffix: str) -> str:
    """The so many-th of the names that ``variants`` gives, the name itself being the first."""
    if number == 1:
        return name
    mark = f" ({number})"
    return _cut(name.removesuffix(suffix), MAX_STEM_BYTES - len(mark)) + mark + suffix


def number_of(name: str, base: str, *, suffix: str) -> int | None:
    """Which variant of ``base`` a name is; None when it is none."""
    if name == base:
        return 1
    if not (name.endswith(suffix) and base.endswith(suffix)):
        return None
    found = re.search(r" \(([0-9]{1,7})\)\Z", name[: len(name) - len(suffix)])
    if found is None or variant(base, int(found[1]), suffix=suffix) != name:
        return None
    return int(found[1])


def split_suffix(name: str) -> tuple[str, str]:
    """A name before and from its last suffix: ``('a.tar', '.gz')``, ``('Makefile', '')``."""
    found = _SUFFIX.search(name)
    return (name, "") if found is None else (name[: found.start()], found[0])


def collision_key(name: str) -> str:
    """What is equal for names that some file system takes for the same (case, normalisation)."""
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFC", name).casefold()
    # Folding can take a text out of normal form, and normal form can bring new letters to fold.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", folded).casefold())


def _clean(text: str) -> str:
    """Without what is invisible or forbidden, and without dots and spaces at the wrong end."""
    visible = "".join(_visible(text, k) for k in range(len(text)))
    allowed = _FORBIDDEN.sub(SUBSTITUTE, visible).strip().rstrip(_TRAILING)
    dotless = allowed.lstrip(".")
    return allowed if dotless == allowed else SUBSTITUTE + dotless


def _visible(text: str, k: int) -> str:
    char = text[k]
    if char.isascii():
        return " " if char in "\t\n\v\f\r" else char
    if char in _JOINERS:
        between = k + 1 < len(text) and k > 0 and _joins(text[k - 1]) and _joins(text[k + 1])
        return char if between else ""
    category = unicodedata.category(char)
    if category in {"Zl", "Zp"} or char == "\x85":
        return " "
    # Controls, formats (direction, zero width, byte order mark) and halves of surrogate pairs.
    return "" if category in {"Cc", "Cf", "Cs"} else char


def _joins(char: str) -> bool:
    return not char.isascii() and unicodedata.category(char)[0] in "LMS"


def _decorated(stem: str, suffix: str) -> str:
    """The first spelling that is neither reserved, nor ignored, nor kept for attachments."""
    stem = stem or UNTITLED
    if _RESERVED.match(stem):
        stem = SUBSTITUTE + stem
    plain = stem.replace(".", SUBSTITUTE)
    for candidate in (
        stem,
        SUBSTITUTE + stem,
        stem + SUBSTITUTE,
        SUBSTITUTE + stem + SUBSTITUTE,
        SUBSTITUTE + plain + SUBSTITUTE,
    ):
        name = candidate + suffix
        kept = not suffix and name.casefold().endswith(ASSETS_SUFFIX)
        if not kept and not NO_RULES.match(name, is_dir=False):
            return name
    raise AssertionError(f"every spelling of {stem!r} is ignored")


def _cut(text: str, limit: int) -> str:
    """The longest beginning with at most ``limit`` UTF-8 bytes that ends with a whole grapheme."""
    if len(text.encode()) <= limit:
        return text
    kept, size = "", 0
    for grapheme in regex.findall(r"\X", text):
        size += len(grapheme.encode())
        if size > limit:
            break
        kept += grapheme
    if not kept:  # one grapheme of hundreds of marks
        kept = text.encode()[:limit].decode(errors="ignore")
    return kept.rstrip().rstrip(_TRAILING)

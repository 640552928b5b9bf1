"""Turn titles into file names that are safe everywhere and unique.

The name equals the title wherever possible. A name is never hidden and never ignored by default,
so that no mirrored note is overlooked. Names need not be turned back into titles: a title that a
name cannot express is stored in the front matter.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import count

from heapsyncd.folder.ignore import NO_RULES

NOTE_SUFFIX = ".md"
ASSETS_SUFFIX = ".assets"
"""``X.assets`` holds the attachments of ``X.md``. No other block may have such a name."""

MAX_STEM_BYTES = 240
"""UTF-8 bytes before the suffix. With ``.assets`` the name stays below the limit of 255 bytes."""

_AVOIDANCE_BYTES = 4
"""The most that avoiding a reserved or ignored name adds."""

UNTITLED = "Untitled"
SUBSTITUTE = "_"

_SUFFIX = re.compile(r"(?<=[^.])\.[A-Za-z0-9][A-Za-z0-9_-]{0,12}\Z")
_JOINERS = "\u200c\u200d"
"""Zero-width joiner and non-joiner: needed in Persian and Indic scripts and in family emoji."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(
    r"(?i)(con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin\$|conout\$|clock\$) *(\.|\Z)"
)
_PLAIN = re.compile(r"\w[\w (),&+'-]{0,58}(?<! )")
"""Matches most titles, which need no cleaning. At most 59 characters, so at most 236 bytes."""

_TRAILING = " .\u00a0\u3000"


def safe_name(title: str, *, suffix: str = "") -> str:
    """Return the file name for a title, allowed on Windows, macOS and Linux.

    Args:
        title: any text, not trusted.
        suffix: a suffix to append (``.md``). Without one, the title's own suffix is kept if the
            name must be cut, and names that end with ``.assets`` are avoided.

    Returns:
        At most 255 UTF-8 bytes. A title that is already a safe name is returned unchanged.
    """
    if _PLAIN.fullmatch(title) and not _RESERVED.match(title) and not NO_RULES.match(title, False):
        return title + suffix
    stem, own = (_clean(title), "") if suffix else split_suffix(_clean(title))
    name = _avoid_reserved(_cut(stem, MAX_STEM_BYTES) + own, suffix)
    if len(name.removesuffix(suffix).encode()) > MAX_STEM_BYTES + len(own):
        # The additions made it too long. Try again with room for them.
        name = _avoid_reserved(_cut(stem, MAX_STEM_BYTES - _AVOIDANCE_BYTES) + own, suffix)
    return name


def carries(name: str, title: str) -> bool:
    """Return whether a name, without a note's ``.md``, equals the title."""
    return name == title


def unique(name: str, taken: Callable[[str], bool], *, suffix: str | None = None) -> str:
    """Return the name, or the first of ``Name (2).md``, ``Name (3).md`` ... that is free.

    Args:
        name: a safe name with its suffix.
        taken: returns whether a name is in use; it should compare by ``collision_key``.
        suffix: what stays at the end; None uses the name's own suffix.
    """
    return next(candidate for candidate in variants(name, suffix) if not taken(candidate))


def variants(name: str, suffix: str | None = None) -> Iterator[str]:
    """Yield the name, then ``Name (2).md`` and so on, endlessly. Arguments as for ``unique``."""
    suffix = split_suffix(name)[1] if suffix is None else suffix
    for number in count(1):
        yield variant(name, number, suffix=suffix)


def variant(name: str, number: int, *, suffix: str) -> str:
    """Return variant ``number`` of a name; number 1 is the name itself."""
    if number == 1:
        return name
    mark = f" ({number})"
    return _cut(name.removesuffix(suffix), MAX_STEM_BYTES - len(mark)) + mark + suffix


def number_of(name: str, base: str, *, suffix: str) -> int | None:
    """Return which variant of ``base`` a name is, None if it is none."""
    if name == base:
        return 1
    if not (name.endswith(suffix) and base.endswith(suffix)):
        return None
    found = re.search(r" \(([0-9]{1,7})\)\Z", name[: len(name) - len(suffix)])
    if found is None or variant(base, int(found[1]), suffix=suffix) != name:
        return None
    return int(found[1])


def split_suffix(name: str) -> tuple[str, str]:
    """Split a name before its last suffix: ``('a.tar', '.gz')``, ``('Makefile', '')``."""
    found = _SUFFIX.search(name)
    return (name, "") if found is None else (name[: found.start()], found[0])


def collision_key(name: str) -> str:
    """Return a key that is equal for names that some file system treats as equal.

    It ignores case and Unicode normalisation.
    """
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFC", name).casefold()
    # Folding may denormalise a text, and normalising may produce new letters to fold.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", folded).casefold())


def _clean(text: str) -> str:
    """Remove invisible characters, replace forbidden ones, strip dots and spaces at the ends."""
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
    # Drop controls, formats (direction, zero width, byte order mark) and lone surrogates.
    return "" if category in {"Cc", "Cf", "Cs"} else char


def _joins(char: str) -> bool:
    return not char.isascii() and unicodedata.category(char)[0] in "LMS"


def _avoid_reserved(stem: str, suffix: str) -> str:
    """Return the first spelling that is not reserved, not ignored and not an assets name."""
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
    """Return the longest prefix of whole graphemes with at most ``limit`` UTF-8 bytes."""
    if len(text.encode()) <= limit:
        return text
    import regex

    kept, size = "", 0
    for grapheme in regex.findall(r"\X", text):
        size += len(grapheme.encode())
        if size > limit:
            break
        kept += grapheme
    if not kept:  # one grapheme of hundreds of marks
        kept = text.encode()[:limit].decode(errors="ignore")
    return kept.rstrip().rstrip(_TRAILING)

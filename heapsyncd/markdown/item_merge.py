"""Merge three versions of an item's file: the text by lines, the front matter by keys.

What only one side changed is as that side has it. What both changed is never decided silently: of
the text both versions stand (``diff.three``), tags are an ordered set, and of another key ours
stands and a notice has the server's value.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import yaml
from msgspec import Struct

from heapsyncd.diff import lines_of
from heapsyncd.diff.three import Contested, merge_texts, with_one_line_end
from heapsyncd.items.changes import merge_lists
from heapsyncd.items.kinds import FIELDS
from heapsyncd.items.notation import Around
from heapsyncd.items.values import Item
from heapsyncd.markdown import front_lines, frontmatter
from heapsyncd.markdown.encoding import SourceText, decode, encode
from heapsyncd.markdown.front_lines import END, START, Owner, key_of
from heapsyncd.markdown.item_file import comments_above, front_above, key_lines, read_lines
from heapsyncd.model import Lines, MergedFile

_FAST: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NO_KEYS_OF_OURS: Final = Owner(lambda _: False)
_NOBODY: Final = Item("", "note")
_QUOTED_CHARS: Final = 1_000
_T = TypeVar("_T", bytes, str)
_Sides = tuple[str, str, str]
"""The base, our version, and the server's."""
_BOTH: Final = "changed both here and on the server"
_NO_BASE: Final = "different here and on the server, with no earlier version to compare"


class _Front(Struct, frozen=True):
    """One version's front matter. ``chunks``: its keys' lines in order, with the comments above.

    Of equal keys the last counts, so they are numbered from the last to the first.
    """

    raw: str
    chunks: Mapping[str, str]
    fences: tuple[str, str] | None

    @classmethod
    def of(cls, raw: str) -> "_Front":
        """Cut raw front matter; '' for none."""
        keys = front_lines.cut(raw, _NO_KEYS_OF_OURS)
        count: dict[str, int] = {}
        found = []
        for name in reversed([*keys.front]):
            key = key_of(name)
            count[key] = count.get(key, 0) + 1
            again = key if count[key] == 1 else f"#{count[key]}:{key}"
            found.append((again, keys.front[name].text))
        return cls(raw, dict(reversed(found)), keys.fences if raw else None)


def merge_files(base: bytes, ours: bytes, theirs: bytes) -> MergedFile:
    """Merge our version of an item's file with the server's.

    A key that one side deleted and the other changed stays. Line ends, the byte order mark, the
    fences and the order of the keys are as the side has them that changed them, ours if both did.

    Args:
        base: the version that both came from; b"" if it is not known. Then all lines and keys of
            both stand.
        ours: our version.
        theirs: the server's.

    Raises:
        UnreadableFile: one of three that differ is not text.
    """
    if (data := _unless_both(base, ours, theirs)) is not None:
        return MergedFile(data)
    was, our, their = (decode(data) for data in (base, ours, theirs))
    texts, newline = with_one_line_end(was.text, our.text, their.text)
    added = "\n" if newline else our.newline
    (front, body), (our_front, our_body), (their_front, their_body) = map(_split, texts)
    how = _BOTH if base else _NO_BASE
    raw, notices = _merge_front((front, our_front, their_front), added, how)
    merged = merge_texts(body if base else None, their_body, our_body)
    raw = front_above(raw, merged.text, added)
    above = len(lines_of(raw))
    notices += [_about_lines(contested, above, how) for contested in merged.contested]
    text = raw + merged.text
    bom = their.bom if base and our.bom == was.bom else our.bom
    text = text.replace("\n", newline) if newline else text
    return MergedFile(encode(SourceText(bom, text, added)), tuple(notices))


def _unless_both(was: _T, our: _T, their: _T) -> _T | None:
    """Return what counts unless both sides changed it, each differently."""
    if our == was:
        return their
    return our if their in {was, our} else None


def _split(text: str) -> tuple[str, str]:
    front, body = frontmatter.split(text)
    return front.raw, body


def _about_lines(contested: Contested, above: int, how: str) -> str:
    """Return the notice about contested lines of the text below a front matter."""
    first = contested.line + above
    last = first + len(lines_of(contested.first)) + len(lines_of(contested.second)) - 1
    where = f"line {first}" if first == last else f"lines {first} to {last}"
    if not contested.first:
        return f"{where}: removed on the server and changed here; your change stands"
    if not contested.second:
        return f"{where}: removed here and changed on the server; the server's change stands"
    return f"{where}: {how}; both versions stand, the server's first"


# ---- front matter -----------------------------------------------------------------------------


def _merge_front(sides: _Sides, newline: str, how: str) -> tuple[str, list[str]]:
    """Merge raw front matter; also return notices.

    Args:
        sides: the three versions, '' for none.
        newline: the line end of a line that is written anew.
        how: says for people why a value has to be chosen.
    """
    if (found := _unless_both(*sides)) is not None:
        return found, []
    was, our, their = map(_Front.of, sides)
    chunks: dict[str, str] = {}
    notices: list[str] = []
    for name in dict.fromkeys([*our.chunks, *their.chunks]):
        texts = (was.chunks.get(name, ""), our.chunks.get(name, ""), their.chunks.get(name, ""))
        chunks[name], notice = _merge_chunk(name, texts, newline, how)
        notices += [notice] if notice else []
    inner = "".join(chunks[name] for name in _order(was, our, their))
    fences = their.fences if our.fences == was.fences else our.fences
    fences = fences or our.fences or their.fences if inner else fences
    raw = f"{fences[0]}{inner}{fences[1]}" if fences else ""
    if frontmatter.split(raw)[0].raw != raw:
        # Broken YAML that lost the key above it would be read as text, and be sent as text.
        reason = "the changes made here and on the server do not fit together"
        notice = f"front matter: {reason}; yours stands, the server has: {_quoted(their.raw)}"
        return our.raw or their.raw, [notice]
    return raw, notices


def _order(base: _Front, ours: _Front, theirs: _Front) -> Iterator[str]:
    """Yield the names of all chunks of both sides in the merged order."""
    our, their = ([n for n in f.chunks if n not in {START, END}] for f in (ours, theirs))
    # What only one side has stands in any case: the order is not to delete it.
    shared = [n for n in base.chunks if n in ours.chunks and n in theirs.chunks]
    both = {*ours.chunks, *theirs.chunks}
    yield from {START} & both
    yield from merge_lists(shared, our, their)
    yield from {END} & both


def _merge_chunk(name: str, sides: _Sides, newline: str, how: str) -> tuple[str, str | None]:
    """Merge the lines of one key, '' where it is absent; also return a notice."""
    if (found := _unless_both(*sides)) is not None:
        return found, None
    was, our, their = sides
    if name in {START, END}:
        return merge_texts(was or None, their, our).text, None
    first, second, third = map(comments_above, sides)
    comments = merge_texts(first if was else None, third, second).text
    values = (was[len(first) :], our[len(second) :], their[len(third) :])
    lines, notice = _merge_values(name, values, newline, how)
    if not lines and not (our and comments.strip()):  # they went with the key that we removed
        return "", notice
    return comments + lines, notice


def _merge_values(name: str, sides: _Sides, newline: str, how: str) -> tuple[str, str | None]:
    """Merge the lines of one key without the comments above it."""
    if (found := _unless_both(*sides)) is not None:
        return found, None
    was, our, their = sides
    key = key_of(name)
    before, mine, other = (_value(key, text) for text in (was, our, their))
    if other in {before, mine}:  # written differently, and no other value
        return our, None
    if mine == before:
        lost = f"`{key}`: changed on the server; you had written: {_quoted(our)}"
        return their, lost if "#" in our else None
    if name == "tags" and not any(isinstance(value, Lines) for value in (mine, other)):
        known = () if isinstance(before, Lines) else before or ()
        merged = merge_lists(known, mine or (), other or ())
        if merged in {mine, other}:
            return (our if merged == mine else their), None
        comments = [v for v in lines_of(our) if v.lstrip().startswith("#")]
        lines = key_lines("tags", list(merged), newline) if merged else ""
        return "".join([*comments, lines]), None
    if mine is None:
        return their, f"`{key}`: removed here and changed on the server; the server's stands"
    if other is None:
        return our, f"`{key}`: removed on the server and changed here; yours stands"
    return our, f"`{key}`: {how}; yours stands, the server has: {_shown(key, their)}"


def _value(key: str, text: str) -> Any:
    """Return what the lines of a key say, to be compared; None for nothing.

    A field's value is typed, so that another way of writing it is no change. Lines that cannot be
    understood, are nested, or are too long for YAML, are compared as they are.
    """
    if not text:
        return None
    if len(text) > frontmatter.MAX_CHARS:
        return Lines(text, is_exact=True)
    if key in FIELDS:
        with suppress(ValueError):
            value = read_lines(FIELDS[key], text, _NOBODY, Around())
            return None if value in {"", ()} else value
    plain = _text(text)
    return Lines(text, is_exact=True) if plain is None else plain or None


def _text(text: str) -> str | None:
    """Return the one string that the lines of a key say; None if they say anything else."""
    try:
        (value,) = yaml.load(text, Loader=_FAST).values()  # noqa: S506 - strings only
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError):
        return None
    is_comment = value == "" and "#" in text  # to YAML; who wrote it may have meant a value
    return value if isinstance(value, str) and not is_comment else None


def _shown(key: str, text: str) -> str:
    """Return what the lines of a key say, for people."""
    return _quoted(_text(text) or text.removeprefix(f"{key}:"))


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line[:_QUOTED_CHARS]}{"…" if len(line) > _QUOTED_CHARS else ""}"'

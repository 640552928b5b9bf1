"""The source of a note, the exact text of its file, in a root of its own (``markdown_v0``).

Nobody but heapsyncd knows the root, and nobody else's editor touches it. All of it are keys of one
map, for of two texts that two devices make at once under a key one is left, while a root text
would hold both:

* ``body``: a text, edited by characters;
* ``front:<key>``: a text, of which only whole lines come and go; a plain string where the lines of
  two authors must not be mixed. Taken out, a text is emptied, so that a line somebody else writes
  into it meanwhile stays;
* ``order``: a text, a key of the front matter a line;
* ``bom``, ``fences``, ``line_breaks``: plain values, only where they differ from the usual. So is
  ``open_end``: the file's last line has no end. In the text it has, or what others write behind it
  would become one with it.

Texts and no lists of lines: yrs searches forever in a list into which somebody put a text with an
emoji (README). What others wrote there is read with care, and refused with a reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pycrdt import Doc, Map, Text

from heapsyncd.diff import Hunk, line_hunks, lines_of, without_convergent
from heapsyncd.document.xml.offsets import Offsets
from heapsyncd.model import FENCES, Lines, Source, StoredSource

ROOT: Final = "markdown_v0"
_BODY, _ORDER, _BOM, _FENCES, _BREAKS = "body", "order", "bom", "fences", "line_breaks"
_OPEN: Final = "open_end"
_FRONT: Final = "front:"

LEAST_BYTES: Final = 65_536
"""So much a source may have, however short its note is."""


class _Refused(Exception):
    """What stands there is no source."""


def read(doc: "Doc[Any]", most_bytes: int) -> StoredSource:
    """The source that a document holds.

    Args:
        doc: the document.
        most_bytes: a longer one is refused before it is read.
    """
    root = _root(doc)
    members = dict(_members(root))
    if not members:
        # Roots have no type of their own: one that is a text shows no keys as a map.
        is_other = len(doc.get(ROOT, type=Text)) > 0
        doc.get(ROOT, type=Map)
        return StoredSource(None, "it is of another type" if is_other else None)
    if size(doc) > most_bytes:
        return StoredSource(None, f"it is longer than {most_bytes} bytes")
    try:
        return StoredSource(_source(members))
    except _Refused as refused:
        return StoredSource(None, str(refused))


def size(doc: "Doc[Any]") -> int:
    """How long a document's source is, in bytes, without reading it."""
    return sum(len(key) + _length(value) for key, value in _members(_root(doc)))


def write(doc: "Doc[Any]", old: Source | None, new: Source, live: Source | None = None) -> None:
    """Change a document's source; the caller has a transaction open.

    Args:
        doc: the document.
        old: what it holds now.
        new: what it is to hold.
        live: what it will hold with others' edits; what they did alike is not done twice.
    """
    root = _root(doc)
    before = old or Source("")
    if old is None:
        root[_BODY] = Text(_ended(new.body))
    elif old.body != new.body:
        now = _text(root[_BODY])
        hunks = line_hunks(now, _ended(new.body))
        if live is not None:
            hunks = without_convergent(hunks, line_hunks(now, _ended(live.body)))
        _edit(root[_BODY], now, hunks)
    for key in sorted(before.front.keys() | new.front.keys()):
        _write_lines(root, _FRONT + key, before.front.get(key), new.front.get(key), live, key)
    _write_order(root, before.order, new.order)
    for name, was, wanted in (
        (_OPEN, root.get(_OPEN) is True, _is_open(new.body)),
        (_BOM, before.bom, new.bom),
        (_FENCES, before.fences, new.fences),
        (_BREAKS, before.line_breaks, new.line_breaks),
    ):
        if was != wanted:
            _write_value(root, name, wanted)


def _root(doc: "Doc[Any]") -> Map[Any]:
    found: Map[Any] = doc.get(ROOT, type=Map)
    return found


def _members(root: Map[Any]) -> Iterable[tuple[str, Any]]:
    for key in sorted(root.keys()):
        # yrs names a key that holds a format, and gives no value for it.
        with suppress(KeyError):
            yield key, root[key]


def _length(value: Any) -> int:
    if isinstance(value, Text):
        return len(value)
    return len(value.encode("utf-8", "replace")) if isinstance(value, str) else 1


# ---- reading ----------------------------------------------------------------------------------


def _source(members: Mapping[str, Any]) -> Source:
    body = members.get(_BODY)
    if not isinstance(body, Text):
        raise _Refused("its body is no text")
    front: dict[str, Lines] = {}
    for name in (n for n in members if n.startswith(_FRONT)):
        key, value = name.removeprefix(_FRONT), members[name]
        lines = Lines(value, is_exact=True) if isinstance(value, str) else Lines(_text(value))
        if any(map(_is_fence, lines_of(lines.text))):
            raise _Refused("a line of its front matter would end it")
        if lines.text:
            front[key] = lines
    order = members.get(_ORDER)
    text = _text(body)
    return Source(
        text[:-1] if members.get(_OPEN) is True and text.endswith("\n") else text,
        front,
        tuple(dict.fromkeys(_text(order).split("\n")[:-1])) if order is not None else (),
        _fences(members.get(_FENCES)),
        members.get(_BOM) is True,
        "break" if members.get(_BREAKS) == "break" else "space",
    )


def _text(value: Any) -> str:
    """A text that holds nothing but text, and can stand in a file."""
    if not isinstance(value, Text):
        raise _Refused("its front matter is no lines")
    parts = [part for part, _ in value.diff()]
    if not all(isinstance(part, str) for part in parts):
        raise _Refused("there is something in it that is no text")
    text = "".join(parts)
    if "\0" in text:
        raise _Refused("it holds a NUL")
    return text


def _fences(value: Any) -> tuple[str, str]:
    if value is None:
        return FENCES
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_fence, value)):
        raise _Refused("its fences are none")
    return value[0], value[1]


def _is_fence(line: Any) -> bool:
    is_rule = isinstance(line, str) and line.startswith("---") and not line[3:].strip(" \t\r\n")
    return is_rule and len(lines_of(line)) == 1


def _is_open(body: str) -> bool:
    return bool(body) and not body.endswith(("\n", "\r"))


def _ended(body: str) -> str:
    return f"{body}\n" if _is_open(body) else body


# ---- writing ----------------------------------------------------------------------------------


def _edit(text: Any, old: str, hunks: Sequence[Hunk]) -> None:
    offsets = Offsets(old)
    for hunk in reversed(hunks):
        start, end = offsets.byte(hunk.start), offsets.byte(hunk.end)
        if start < end:
            del text[start:end]
        if hunk.text:
            text.insert(start, hunk.text)


def _write_lines(
    root: Map[Any],
    name: str,
    old: Lines | None,
    new: Lines | None,
    live: Source | None,
    key: str,
) -> None:
    if old == new:
        return
    if new is not None and (new.is_exact or old is None or old.is_exact):
        stands = root.get(name) if not new.is_exact else None
        if isinstance(stands, Text) and not len(stands):
            stands.insert(0, new.text)  # it was taken out before
        else:
            root[name] = new.text if new.is_exact else Text(new.text)
        return
    if old is not None and old.is_exact:
        del root[name]
        return
    assert old is not None, "one of them is there"
    hunks = line_hunks(old.text, "" if new is None else new.text, whole=True)
    there = None if live is None else live.front.get(key)
    if there is not None and not there.is_exact:
        hunks = without_convergent(hunks, line_hunks(old.text, there.text, whole=True))
    _edit(root[name], old.text, hunks)


def _write_order(root: Map[Any], old: Sequence[str], new: Sequence[str]) -> None:
    if tuple(old) == tuple(new):
        return
    text = "".join(f"{key}\n" for key in new)
    stands = root.get(_ORDER)
    if not isinstance(stands, Text):
        root[_ORDER] = Text(text)
        return
    # What stands there may name a key twice: both had moved it.
    now = _text(stands)
    _edit(stands, now, line_hunks(now, text, whole=True))


def _write_value(root: Map[Any], name: str, value: Any) -> None:
    if not value or value in {FENCES, "space"}:
        del root[name]
    else:
        root[name] = list(value) if isinstance(value, tuple) else value

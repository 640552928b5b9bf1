"""Read and write a note's source, the exact text of its file, in the root map ``markdown_v0``.

Only heapsyncd knows this root. Its keys:

* ``body``: a text, edited by characters;
* ``front:<key>``: a text with the raw lines of one key of the front matter, edited by whole lines;
  a plain string where the lines of two authors must not be mixed (``Lines.is_exact``);
* ``order``: a text with the keys of the front matter, one a line;
* ``bom``, ``fences``, ``line_breaks``: plain values, written only where they are not the default;
* ``open_end``: True where the file's last line has no line end. The stored body always has one:
  text that another author appends must not join that line.

Everything is a key of one map, because two devices may create the source at once: of two texts
under one key Yjs keeps one, while a root text would hold both. A key of the front matter is
removed by emptying its text, so that a line that another author adds to it at the same time is
kept. Lines are stored in texts and not in arrays: yrs never returns from a search in an array into
which a text with an emoji was put.

What is read is foreign data. An invalid source is refused with a reason, and left as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pycrdt import Doc, Map, Text

from heapsyncd.diff import Hunk, line_hunks, lines_of, without_convergent
from heapsyncd.document.fields import members, root_map
from heapsyncd.document.xml.offsets import Offsets
from heapsyncd.model import FENCES, Lines, Source, StoredSource

ROOT: Final = "markdown_v0"
_BODY, _ORDER, _BOM, _FENCES, _BREAKS = "body", "order", "bom", "fences", "line_breaks"
_OPEN: Final = "open_end"
_FRONT: Final = "front:"

ALLOWED_BYTES: Final = 1 << 20
"""A source may always have this size, however short its note is: some files have little but link
definitions or front matter.
"""


class _InvalidSource(Exception):
    """The root does not hold a source; the message says why."""


def read(doc: Doc[Any], most_bytes: int) -> StoredSource:
    """Return the source that a document holds.

    Args:
        doc: the document.
        most_bytes: a longer source is refused before it is read.
    """
    found = members(root_map(doc, ROOT))
    if not found:
        # A root has no type until it is asked for: read as a map, a text has no keys.
        is_other = len(doc.get(ROOT, type=Text)) > 0
        doc.get(ROOT, type=Map)
        return StoredSource(None, "the root is not a map" if is_other else None)
    if size(doc) > most_bytes:
        return StoredSource(None, f"it is longer than {most_bytes} bytes")
    try:
        return StoredSource(_source(found))
    except _InvalidSource as error:
        return StoredSource(None, str(error))


def size(doc: Doc[Any]) -> int:
    """Return the size of a document's source in bytes, without reading its texts.

    It has nearly the size of the file: its body and the lines of its front matter.
    """
    found = members(root_map(doc, ROOT)).items()
    return sum(_length(value) for key, value in found if key != _ORDER)


def length(source: Source) -> int:
    """Return the size of a source in bytes, as ``size`` does for a stored one."""
    texts = (source.body, *(lines.text for lines in source.front.values()))
    return sum(len(text.encode("utf-8", "replace")) for text in texts)


def write(doc: Doc[Any], old: Source | None, new: Source, live: Source | None = None) -> None:
    """Change a document's source; the caller has opened a transaction.

    Args:
        doc: the document.
        old: the source that it holds now.
        new: the source that it is to hold.
        live: the source that it has with others' edits. Edits that those contain already are not
            made again.
    """
    root = root_map(doc, ROOT)
    before = old or Source("")
    if old is None:
        root[_BODY] = Text(_with_line_end(new.body))
    elif old.body != new.body:
        now = _text(root[_BODY])
        hunks = line_hunks(now, _with_line_end(new.body))
        if live is not None:
            # A body that another program stored without a line end has none in ``live`` either.
            theirs = live.body if _lacks_line_end(now) else _with_line_end(live.body)
            hunks = without_convergent(hunks, line_hunks(now, theirs))
        _edit(root[_BODY], now, hunks)
    for key in sorted(before.front.keys() | new.front.keys()):
        _write_lines(root, _FRONT + key, before.front.get(key), new.front.get(key), live, key)
    _write_order(root, before.order, new.order)
    for name, was, wanted in (
        (_OPEN, root.get(_OPEN) is True, _lacks_line_end(new.body)),
        (_BOM, before.bom, new.bom),
        (_FENCES, before.fences, new.fences),
        (_BREAKS, before.line_breaks, new.line_breaks),
    ):
        if was != wanted:
            _write_value(root, name, wanted)


def _length(value: Any) -> int:
    if isinstance(value, Text):
        return len(value)
    return len(value.encode("utf-8", "replace")) if isinstance(value, str) else 1


# ---- reading ----------------------------------------------------------------------------------


def _source(found: Mapping[str, Any]) -> Source:
    body = found.get(_BODY)
    if not isinstance(body, Text):
        raise _InvalidSource("its body is not a text")
    front: dict[str, Lines] = {}
    for name in sorted(n for n in found if n.startswith(_FRONT)):
        key, value = name.removeprefix(_FRONT), found[name]
        lines = Lines(value, is_exact=True) if isinstance(value, str) else Lines(_text(value))
        if any(map(_is_fence, lines_of(lines.text))):
            raise _InvalidSource("a line of its front matter is a fence")
        if lines.text:
            front[key] = lines
    order = found.get(_ORDER)
    text = _text(body)
    return Source(
        text[:-1] if found.get(_OPEN) is True and text.endswith("\n") else text,
        front,
        tuple(dict.fromkeys(_text(order).split("\n")[:-1])) if order is not None else (),
        _fences(found.get(_FENCES)),
        found.get(_BOM) is True,
        "break" if found.get(_BREAKS) == "break" else "space",
    )


def _text(value: Any) -> str:
    """Return the characters of a text.

    Raises:
        _InvalidSource: it is not a text, or a file can't contain it.
    """
    if not isinstance(value, Text):
        raise _InvalidSource("a part of it is not a text")
    parts = [part for part, _ in value.diff()]
    if not all(isinstance(part, str) for part in parts):
        raise _InvalidSource("there is an embedded object in it")
    text = "".join(parts)
    if "\0" in text:
        raise _InvalidSource("there is a NUL character in it")
    return text


def _fences(value: Any) -> tuple[str, str]:
    if value is None:
        return FENCES
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_fence, value)):
        raise _InvalidSource("its fences are not valid")
    return value[0], value[1]


def _is_fence(line: Any) -> bool:
    is_rule = isinstance(line, str) and line.startswith("---") and not line[3:].strip(" \t\r\n")
    return is_rule and len(lines_of(line)) == 1


def _lacks_line_end(body: str) -> bool:
    return bool(body) and not body.endswith(("\n", "\r"))


def _with_line_end(body: str) -> str:
    return f"{body}\n" if _lacks_line_end(body) else body


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
        existing = root.get(name) if not new.is_exact else None
        if isinstance(existing, Text) and not len(existing):
            existing.insert(0, new.text)  # the key was removed before, by emptying its text
        else:
            root[name] = new.text if new.is_exact else Text(new.text)
        return
    if old is not None and old.is_exact:
        del root[name]
        return
    assert old is not None, "they differ, so one of them exists"
    hunks = line_hunks(old.text, "" if new is None else new.text, whole=True)
    theirs = None if live is None else live.front.get(key)
    if theirs is not None and not theirs.is_exact:
        hunks = without_convergent(hunks, line_hunks(old.text, theirs.text, whole=True))
    _edit(root[name], old.text, hunks)


def _write_order(root: Map[Any], old: Sequence[str], new: Sequence[str]) -> None:
    if tuple(old) == tuple(new):
        return
    text = "".join(f"{key}\n" for key in new)
    existing = root.get(_ORDER)
    if not isinstance(existing, Text):
        root[_ORDER] = Text(text)
        return
    # Compared with the stored text, not with ``old``: after two authors moved one key at once it
    # names that key twice.
    now = _text(existing)
    _edit(existing, now, line_hunks(now, text, whole=True))


def _write_value(root: Map[Any], name: str, value: Any) -> None:
    if not value or value in {FENCES, "space"}:
        del root[name]
    else:
        root[name] = list(value) if isinstance(value, tuple) else value

"""Read front matter as YAML and edit it by line.

Front matter is a block at the very start of a text, enclosed by ``---`` lines and holding a YAML
mapping. What of it is ours and what is the user's is decided in ``front_lines``. Edits touch only
the lines of the keys they are about; every other line stays byte for byte.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from heapsyncd.ids import is_ulid

_OPENING = re.compile(r"---[ \t]*(\r\n|\n|\r)")
_CLOSING = re.compile(r"(?<=[\r\n])---[ \t]*(?:\r\n|\n|\r|\Z)")
"""Searched separately from the opening: a single pattern for both backtracks badly on CRLF."""
_KEY_LINE = re.compile(r"\s*+(?:#[^\r\n]*+\s*+)*+[\w\"'.-][^\r\n:]*+:(?:\s|\Z)")
_PLAIN = re.compile(r"\w(?:[\w ./()+&'-]*[\w.)+'])?")
_TYPED = re.compile(
    r"(?i:true|false|yes|no|on|off|null|y|n|~)|[-+.\d][\d_,.:eExXoOa-fA-F+-]*|\d{4}-\d\d?-\d\d?.*"
)
ID_KEYS = ("id", "heaper_id")
"""The keys that may hold a block's id: the first one that the user does not use for himself."""
_ID_LINE = re.compile(r"^(?:heaper_)?id:[ \t]*([^\s#]+)[ \t]*$", re.MULTILINE)
MAX_CHARS = 65_536
"""Longer front matter is kept but not parsed:

YAML is slow, and nobody writes this much by hand.
"""


@dataclass(frozen=True, slots=True)
class Front:
    """The front matter of a text.

    ``ids``: the ULIDs in it that may be the note's block; the blocks need not be known. ``tags``:
    None if the key is absent.
    ``raw``: the exact block with both fences and the final newline, '' if there is none.
    ``problem``: for people, why the block cannot be used; such a block is never edited.
    ``id_values``: all values under the keys that may hold an id, ULIDs or not.
    """

    ids: tuple[str, ...]
    tags: tuple[str, ...] | None
    raw: str
    problem: str | None
    id_values: tuple[str, ...] = field(default=(), compare=False)


NONE = Front((), None, "", None)


def split(text: str) -> tuple[Front, str]:
    """Split a text (without BOM) into its front matter and the exact rest, the body."""
    found = _fences(text)
    if found is None:
        return NONE, text
    opening, closing = found
    raw, inner = text[: closing.end()], text[opening.end() : closing.start()]
    front = _read(raw, inner)
    return (NONE, text) if front is None else (front, text[len(raw) :])


def looks_like(text: str) -> str:
    """Return what looks like the front matter of a text (without BOM), '' if nothing does.

    It is not read as YAML, which takes longer: it may be text between two rules.
    """
    found = _fences(text)
    return text[: found[1].end()] if found else ""


def _fences(text: str) -> "tuple[re.Match[str], re.Match[str]] | None":
    """Find the two lines that enclose the front matter."""
    opening = _OPENING.match(text)
    closing = _CLOSING.search(text, opening.end()) if opening else None
    return (opening, closing) if opening and closing else None


def _read(raw: str, inner: str) -> Front | None:
    """Parse the block. Returns None if it is no front matter but text between two rules."""
    if len(inner) > MAX_CHARS:
        return Front(
            (),
            None,
            raw,
            f"front matter is too long to be read (limit: {MAX_CHARS} characters)",
        )
    try:
        values = yaml.load(inner, Loader=_FastLoader)  # noqa: S506 - strings, lists and dicts only
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        if not _KEY_LINE.match(inner):
            return None
        lines = _ID_LINE.findall(inner)
        values = tuple(line.strip("\"'") for line in lines)
        return Front(_ulids(lines), None, raw, _explain(error), values)
    if values is None or (values == "" and not inner.strip()):
        values = {}
    if not isinstance(values, dict):
        return None
    tags, problem = None, None
    if "tags" in values:
        tags = _tags(values["tags"])
        problem = (
            None if tags is not None else "`tags` in the front matter must be a list of words"
        )
    found = tuple(v for v in (_scalar(values.get(key)) for key in ID_KEYS) if v)
    return Front(_ulids(found), tags, raw, problem, found)


def _ulids(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(value for value in values if is_ulid(value))


_FastLoader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Loads every scalar as a string. Uses libyaml if available, which is 15 times faster."""


def _explain(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 2}" if mark is not None else ""
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "too deep"
    return f"front matter is not YAML{where}: {reason}"


def _scalar(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _tags(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        return None
    words = (" ".join(v.split()) for v in value)
    return tuple(dict.fromkeys(w for w in words if w))


def with_tags(front: Front, tags: Sequence[str], newline: str = "\n") -> str:
    """Return the front matter with other tags, touching only the lines of ``tags``.

    Args:
        front: the result of ``split``.
        tags: in any order; tags already in the file keep their order. None of them empties an
            existing key, and adds no new one.
        newline: line end for a block that is created.

    Returns:
        The new raw block, '' if it would be empty. ``front.raw`` unchanged if the block has a
        problem or its notation cannot be edited safely.
    """
    wanted = tuple(dict.fromkeys(tags))
    if front.problem:
        return front.raw
    if not front.raw:
        return f"---{newline}{_tags_line(wanted)}{newline}---{newline}" if wanted else ""
    if set(front.tags or ()) == set(wanted):
        return front.raw
    editor = _Editor(front.raw)
    try:
        editor.set_tags(front.tags, wanted)
    except (yaml.YAMLError, RecursionError):
        # libyaml accepts texts that the pure Python reader, needed for exact marks, rejects.
        return front.raw
    raw = editor.text()
    found, rest = split(raw)
    # Guards against any editing mistake.
    reads_well = not rest and set(found.tags or ()) == set(wanted) and found.ids == front.ids
    return raw if reads_well else front.raw


def key_line(key: str, value: str | None) -> str:
    """Return the line for a key, '' if there is no value."""
    return "" if value is None else f"{key}: {_quoted(value)}"


def _tags_line(tags: tuple[str, ...]) -> str:
    return f"tags: [{', '.join(map(_quoted, tags))}]"


def _quoted(value: str) -> str:
    """Write a string as a YAML scalar: plain where every reader sees a string, else quoted."""
    if _PLAIN.fullmatch(value) and not _TYPED.fullmatch(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(
        r"[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]", lambda m: f"\\u{ord(m[0]):04x}", text
    )


class _Editor:
    """Edits one block. Each key is located again, so offsets always match the current text."""

    def __init__(self, raw: str) -> None:
        found = _fences(raw)
        assert found is not None, "a Front's raw is what split matched"
        opening, closing = found
        self._newline = opening[1]
        self._head = raw[: opening.end()]
        self._inner = raw[opening.end() : closing.start()]
        self._tail = raw[closing.start() :]

    def text(self) -> str:
        """Return the whole block, '' if nothing is left inside it."""
        return self._head + self._inner + self._tail if self._inner.strip() else ""

    def set_tags(self, old: tuple[str, ...] | None, new: tuple[str, ...]) -> None:
        node = self._find("tags")
        kept = [t for t in old or () if t in new]
        added = [t for t in new if t not in kept]
        if node is None:
            self._inner += _tags_line(new) + self._newline
        elif kept and isinstance(node[1], yaml.SequenceNode) and not node[1].flow_style:
            self._edit_rows(node[1], set(kept), added)
        else:
            self._replace(node, _tags_line((*kept, *added)))

    def _edit_rows(self, node: yaml.SequenceNode, kept: set[str], added: list[str]) -> None:
        """Edit a list with one tag per line: remove lines, insert new ones after the last."""
        lines = self._inner.splitlines(keepends=True)
        rows = [(item.start_mark.line, _tags([item.value]) or ()) for item in node.value]
        last = rows[-1][0]
        prefix = lines[rows[0][0]][: node.value[0].start_mark.column]
        prefix = prefix if prefix.strip() == "-" else "  - "
        if not lines[last].endswith(("\n", "\r")):
            lines[last] += self._newline
        more = [prefix + _quoted(t) + self._newline for t in added]
        lines[last] += "".join(more)
        for line, words in rows:
            if not set(words) <= kept:
                lines[line] = "".join(more) if line == last else ""
        self._inner = "".join(lines)

    def _find(self, key: str) -> tuple[yaml.Node, yaml.Node] | None:
        """Return the key's nodes with exact marks.

        The last duplicate wins, as in every YAML reader.
        """
        root = yaml.compose(self._inner, Loader=yaml.BaseLoader)
        pairs = root.value if isinstance(root, yaml.MappingNode) else []
        return next((pair for pair in reversed(pairs) if pair[0].value == key), None)

    def _span(self, pair: tuple[yaml.Node, yaml.Node]) -> tuple[int, int]:
        """Return the offsets of the pair's lines.

        The end mark of a YAML collection lies at the next key, so the last element's mark is used.
        """
        end = last = pair[1]
        while isinstance(last, yaml.CollectionNode) and last.value and not last.flow_style:
            last = last.value[-1]
            last = last[1] if isinstance(last, tuple) else last
        stop = end.end_mark.index if end is last else last.end_mark.index
        start = self._inner.rfind("\n", 0, pair[0].start_mark.index) + 1
        if stop and stop > start and self._inner[stop - 1] in "\r\n":
            return start, stop
        cut = self._inner.find("\n", stop)
        return start, len(self._inner) if cut < 0 else cut + 1

    def _replace(self, pair: tuple[yaml.Node, yaml.Node], line: str) -> None:
        start, end = self._span(pair)
        self._inner = self._inner[:start] + line + self._newline + self._inner[end:]

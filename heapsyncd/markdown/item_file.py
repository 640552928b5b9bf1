"""Write an item as a file and read the file back: fields as front matter, the text below exact.

The text is opaque: it is neither parsed nor changed by a byte. A file that exists keeps its own
lines: only those of keys whose values changed are replaced. Keys that no field has stay in the
file and are reported.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml
from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.diff import lines_of
from heapsyncd.items.kinds import FIELDS, KINDS, NEW_TYPES, Field, is_writable
from heapsyncd.items.notation import Around, Written, read, written
from heapsyncd.items.values import Item, Reminder
from heapsyncd.markdown import front_lines, frontmatter
from heapsyncd.markdown.encoding import SourceText, decode, encode
from heapsyncd.markdown.front_lines import TITLE_KEYS, Keys, OurKeys, Owner
from heapsyncd.markdown.frontmatter import ID_KEYS
from heapsyncd.model import Lines, Source

_FAST: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_MOST_CHARS: Final = 8_000
"""A longer field is not shown, and not cleared by its absence: YAML is slow, and front matter that
is too long is not read at all."""
_NOT_YAML: Final = re.compile("[\ufffe\uffff]")
"""Characters that YAML refuses and the quotes of ``frontmatter`` leave as they are."""
_PLAIN: Final = re.compile(r"[0-9]{1,3}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\+0000")
_COMMENT: Final = re.compile(r"[^\r\n:]*:[ \t]+#[^\r\n]*\S")


class Remark(Struct, frozen=True):
    """Something in a file's front matter that is not sent.

    ``key``: '' for the whole block. ``line``: in the file, from 1. ``is_unknown``: it is the
    user's own, and stays in the file; else something is wrong with it.
    """

    key: str
    line: int
    reason: str
    is_unknown: bool = False


class ItemFile(Struct, frozen=True):
    """What a file says: its item, and what of it is not sent."""

    item: Item
    remarks: tuple[Remark, ...] = ()


def file_id(data: bytes, is_id: Callable[[str], bool]) -> str | None:
    """Return the item's id in a file; None if it has none that is known.

    Args:
        data: the file.
        is_id: tells whether a value is an item's id. Another ``id`` is the user's.

    Raises:
        UnreadableFile: it is not text.
    """
    front, _ = frontmatter.split(decode(data).text)
    return front_lines.cut(front.raw, Owner(is_id)).id


def write_file(item: Item, around: Around, onto: bytes | None = None) -> bytes:
    """Return the file of an item.

    Args:
        item: the item.
        around: the file's surroundings.
        onto: the file as it is; its own lines and comments are kept where they say the same.

    Raises:
        UnreadableFile: ``onto`` is not text.
    """
    kind = KINDS[item.type]
    body = str(getattr(item, kind.text))
    old = SourceText(False, "", decode(body.encode()).newline) if onto is None else decode(onto)
    front, rest = frontmatter.split(old.text)
    if onto is not None and _is_same_text(rest, body):
        body = rest
    title = item.name if item.name != around.named and _is_title(item.name) else None
    keys, _ = _keys(front.raw, around, lambda value: value == item.id)
    source = _with_fields(keys, item, around, old.newline)
    tags = source.front.get("tags")
    shown = frontmatter.split(f"---\n{tags.text}---\n")[0].tags if tags is not None else None
    raw = front_lines.join(source, OurKeys(item.id or None, title, shown or ()), old.newline)
    raw = front_above(raw, body, old.newline)
    return encode(SourceText(old.bom, raw + body, old.newline))


def front_above(raw: str, body: str, newline: str) -> str:
    """Return front matter such that a text below it is read as the text."""
    if raw and body and not raw.endswith(("\n", "\r")):
        return raw + newline
    if not raw and (frontmatter.split(body)[0].raw or body.startswith("\ufeff")):
        return f"---{newline}---{newline}"  # or the text's own beginning would be read so
    return raw


def read_file(data: bytes, known: Item | None, around: Around) -> ItemFile:
    """Return the item that a file says.

    A value that cannot be understood leaves its field as it is; so does front matter that is
    missing or broken. An absent key clears its field.

    Args:
        data: the file.
        known: the item that the file showed before; None for a new one.
        around: the file's surroundings.

    Raises:
        UnreadableFile: it is not text.
    """
    text = decode(data)
    front, body = frontmatter.split(text.text)
    remarks: list[Remark] = []
    try:
        values = yaml.load(_inner(front.raw), Loader=_FAST) or {}  # noqa: S506 - strings only
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        values = None
    if values is None or len(front.raw) > frontmatter.MAX_CHARS:
        values = None
        remarks.append(Remark("", 1, front.problem or "front matter cannot be read"))
    keys, title = _keys(front.raw, around, lambda value: known is not None and value == known.id)
    lines = _LinesOf(front.raw)
    before = known or _new_item(values or {}, around, lines, remarks)
    named = before.name if around.named is None else around.named
    item = before
    if values is not None and front.raw:
        item = _with_values(before, values, around, lines, remarks, is_new=known is None)
        remarks += _strangers(before, values, keys, around, lines, is_new=known is None)
        said = values.get(title or "")
        named = said if isinstance(said, str) and said.strip() else named
    if known is not None and (values is None or not front.raw or not _is_title(known.name)):
        named = known.name if around.owns_title else named  # its title could not be read
    kind = KINDS[item.type]
    if known is not None and _is_same_text(body, str(getattr(known, kind.text))):
        body = str(getattr(known, kind.text))
    texts: dict[str, Any] = {"name": named, kind.text: body}
    return ItemFile(replace(item, **texts), tuple(remarks))


def _is_title(name: str) -> bool:
    """Tell whether a name can be written as a title."""
    return bool(name.strip()) and len(name) <= _MOST_CHARS and not _NOT_YAML.search(name)


def _is_same_text(a: str, b: str) -> bool:
    """Tell whether two texts are equal but for one final line end."""
    return a == b or any(x in {f"{y}\n", f"{y}\r\n"} for x, y in ((a, b), (b, a)))


def _inner(raw: str) -> str:
    return "".join(lines_of(raw)[1:-1])


def _keys(raw: str, around: Around, is_id: Callable[[str], bool]) -> tuple[Keys, str | None]:
    """Cut front matter with our keys apart, as far as they are ours; also the key of our title."""
    title = None
    if around.owns_title:
        found = front_lines.cut(raw, Owner(is_id)).front
        title = next((key for key in reversed(TITLE_KEYS) if key in found), None)
    return front_lines.cut(raw, Owner(is_id, title)), title


# ---- writing ----------------------------------------------------------------------------------


def _with_fields(keys: Keys, item: Item, around: Around, newline: str) -> Source:
    """Return the chunks of a file's front matter with the lines of an item's fields."""
    kind = KINDS[item.type]
    front, order = dict(keys.front), list(keys.order)
    if not front.get("type") and item.type != around.default_type:
        front["type"] = Lines(f"type: {item.type}{newline}")
        order.append("type")
    for key in kind.keys:
        if not _is_shown(item, FIELDS[key], around):
            continue
        wanted = written(FIELDS[key], item, around)
        if wanted is None and not is_writable(kind, FIELDS[key], is_new=False):
            continue  # what the user wrote there is told, and stays his
        names = [n for n in front if n == key or re.fullmatch(rf"#[0-9]+:{key}", n)]
        last = names[-1] if names else key
        if names and not _is_replaced(front[last].text, FIELDS[key], item, around):
            continue
        lines = "" if wanted is None else key_lines(key, wanted, newline)
        comments = comments_above(front[last].text) if names else ""
        for name in names if wanted is None else names[-1:]:
            del front[name]
        if comments or lines:
            front[last] = Lines(comments + lines)
        if last not in order and last in front:
            order.append(last)
    return Source("", front, tuple(order), keys.fences)


def _is_shown(item: Item, field: Field, around: Around) -> bool:
    value = written(field, item, around)
    return value is None or len(key_lines(field.key, value, "\n")) <= _MOST_CHARS


def _is_replaced(text: str, field: Field, item: Item, around: Around) -> bool:
    """Tell whether lines say another value; what cannot be understood is left to the user."""
    try:
        value = read_lines(field, text, item, around)
    except ValueError:
        return False
    return bool(value != getattr(item, field.attribute))


def comments_above(text: str) -> str:
    """Return the comments and blank lines above the lines of a key."""
    lines = lines_of(text)
    first = next((k for k, v in enumerate(lines) if v.strip() and v.lstrip()[0] != "#"), 0)
    return "".join(lines[:first])


def key_lines(key: str, value: Written, newline: str) -> str:
    """Return the lines of a key. A list stands in one line if it is of words."""
    if isinstance(value, str):
        is_text = FIELDS[key].notation == "text"
        return f"{key}: {_quoted(value) if is_text else _scalar(value)}{newline}"
    if key == "tags":
        return f"{key}: [{', '.join(_quoted(str(v)) for v in value)}]{newline}"
    rows = [{"": v} if isinstance(v, str) else v for v in value]
    out = [f"{key}:"]
    for row in rows:
        pairs = [
            f"{name}: {_scalar(v) if name == 'date' else _quoted(v)}" if name else _scalar(v)
            for name, v in row.items()
        ]
        out += [f"  {'  ' if k else '- '}{pair}" for k, pair in enumerate(pairs)]
    return newline.join([*out, ""])


def _scalar(value: str) -> str:
    """Write a number or date plainly, as people do, and anything else as a text."""
    return value if _PLAIN.fullmatch(value) else _quoted(value)


def _quoted(value: str) -> str:
    """Write a text as a YAML scalar that every reader sees as a text."""
    line = frontmatter.key_line("", value).removeprefix(": ")
    return _NOT_YAML.sub(lambda m: f"\\u{ord(m[0]):04x}", line)


def _value(field: Field, value: object, line: str, known: Item, around: Around) -> Any:
    """Read the value of a key. A text that YAML takes for a comment is none that was cleared.

    Raises:
        ValueError: it cannot be understood.
    """
    if value == "" and _COMMENT.match(line):
        raise ValueError("begins with #, a comment: put it in quotes")
    return read(field, value, known, around)


# ---- reading ----------------------------------------------------------------------------------


def read_lines(field: Field, text: str, known: Item, around: Around) -> Any:
    """Return the value that the lines of a field's key say.

    Raises:
        ValueError: they cannot be understood.
    """
    line = text.removeprefix(comments_above(text))
    try:
        found = yaml.load(text, Loader=_FAST)[field.key]  # noqa: S506 - strings only
    except (yaml.YAMLError, RecursionError, TypeError, KeyError) as error:
        raise ValueError("cannot be read as YAML") from error
    return _value(field, found, line, known, around)


class _LinesOf:
    """Finds the lines of keys, only when one is asked for."""

    def __init__(self, raw: str) -> None:
        self._raw = raw
        self._lines: dict[str, int] | None = None

    def of(self, key: str) -> int:
        """Return the number of a key's line in the file, from 1."""
        if self._lines is None:
            root = yaml.compose(_inner(self._raw), Loader=_FAST)
            pairs = root.value if isinstance(root, yaml.MappingNode) else []
            self._lines = {str(k.value): k.start_mark.line + 2 for k, _ in pairs}
        return self._lines.get(key, 1)

    def text(self, key: str) -> str:
        """Return that line."""
        return lines_of(self._raw)[self.of(key) - 1]


def _new_item(
    values: Mapping[str, object], around: Around, lines: _LinesOf, remarks: list[Remark]
) -> Item:
    """Return an empty item of the type that a new file says, or that its place says."""
    if around.default_type == "comment":
        empty = Item("", "comment", target_id=around.owner_id)
    else:
        empty = Item("", around.default_type)
    said = values.get("type", empty.type)
    if said == empty.type:
        return empty
    found = next((name for name in NEW_TYPES if name == said), None)
    if found is not None and empty.type == "note":
        return replace(empty, type=found)
    reason = f"is none of {', '.join(NEW_TYPES)}: this is a {empty.type}"
    if found is not None:
        reason = f"cannot be {found} here: this is a {empty.type}"
    remarks.append(Remark("type", lines.of("type"), f"`type` {reason}", is_unknown=True))
    return empty


def _with_values(
    known: Item,
    values: Mapping[str, object],
    around: Around,
    lines: _LinesOf,
    remarks: list[Remark],
    *,
    is_new: bool,
) -> Item:
    """Return an item with the fields that front matter has; what is wrong becomes a remark."""
    kind = KINDS[known.type]
    made: dict[str, Any] = {}
    for field in (FIELDS[key] for key in kind.keys):
        if field.key not in values and not _is_shown(known, field, around):
            continue
        old = getattr(known, field.attribute)
        try:
            line = lines.text(field.key) if values.get(field.key) == "" else ""
            value = _value(field, values.get(field.key, ""), line, known, around)
        except ValueError as error:
            remarks.append(Remark(field.key, lines.of(field.key), f"`{field.key}` {error}"))
            continue
        if value == old:
            continue
        if not is_writable(kind, field, is_new=is_new):
            remarks.append(Remark(field.key, lines.of(field.key), _refusal(known, field)))
            continue
        made[field.attribute] = _with_ids(known.reminders, value)
    return replace(known, **made)


def _with_ids(known: tuple[Reminder, ...], value: Any) -> Any:
    if not isinstance(value, tuple) or not all(isinstance(v, Reminder) for v in value):
        return value
    ids = {r: r.id for r in known}
    return tuple(Reminder(r.date, r.type, r.description, ids.get(r, "")) for r in value)


def _refusal(item: Item, field: Field) -> str:
    return f"the service does not let `{field.key}` of a {item.type} be changed: it is not sent"


def _strangers(
    item: Item,
    values: Mapping[str, object],
    keys: Keys,
    around: Around,
    lines: _LinesOf,
    *,
    is_new: bool,
) -> list[Remark]:
    """Return what of front matter no field has."""
    known = {*KINDS[item.type].keys, "type"}
    out = []
    said = values.get("type", around.default_type)
    if not is_new and said != item.type:
        reason = f"`type` cannot be changed: this is a {item.type}"
        out.append(Remark("type", lines.of("type"), reason, is_unknown=said not in KINDS))
    for key in values:
        is_ours = key in {*ID_KEYS, *TITLE_KEYS} and key not in keys.front
        if key in known or is_ours:
            continue
        what = "a field of other types" if key in FIELDS else "no field of the service"
        reason = f"`{key}` is {what}: it stays in this file and is not sent"
        out.append(Remark(key, lines.of(key), reason, is_unknown=True))
    return out

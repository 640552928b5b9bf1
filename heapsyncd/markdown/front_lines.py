"""Front matter cut at its keys into raw lines, and put together again.

It is cut by lines, not by YAML, so that broken YAML stays exact too. A chunk is a line ``key:`` at
the margin with what follows it; comments and blank lines belong to what stands below them. Chunks
of two authors merge by line; what such a merge leaves behind (a key without its first line, or
with two of them) is put right when it is read, by everybody alike.

Two keys in the file are ours, ``id`` and ``title``, and stand beside the user's: where he has a
key of that name, ours has another. They are no chunks, only places among them.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from heapsyncd.diff import lines_of
from heapsyncd.markdown import frontmatter
from heapsyncd.model import FENCES, Lines, Source

OUR_ID: Final = "#id"
OUR_TITLE: Final = "#title"
"""The places of our keys, and the names of their chunks where they are written in an own way. No
key begins with ``#``: that is a comment.
"""
_START: Final = "#start"
"""What stands before the first key and is no comment."""
_END: Final = "#end"
"""Comments and blank lines below the last key."""
ID_KEYS: Final = ("id", "heaper_id")
TITLE_KEYS: Final = ("title", "heaper_title")
_OURS: Final = {OUR_ID: ID_KEYS, OUR_TITLE: TITLE_KEYS}
"""What our keys are called: the first one that the user has not."""

_KEY = re.compile(
    r"(?![\s#]|[-?](?:\s|\Z))([^\r\n:]++(?::(?![ \t\r\n]|\Z)[^\r\n:]*+)*+):(?:\s|\Z)"
)
_AGAIN = re.compile(r"#[0-9]++:")
"""Before the name of a key that the file has more than once."""
_FAST: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, slots=True)
class OurKeys:
    """What our keys in a note's front matter say. ``title`` None: the file's name carries it."""

    id: str
    title: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """Which keys of a file are ours.

    ``is_id``: whether a value is an id that we wrote there, or the id of a block here.
    ``title``: under which key we wrote the title; None: we did not, a ``title`` is the user's.
    """

    is_id: Callable[[str], bool]
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """A file's front matter, the user's apart from ours.

    ``id``, ``title``: what our keys say; None where they are absent.
    """

    front: Mapping[str, Lines]
    order: tuple[str, ...]
    fences: tuple[str, str]
    id: str | None = None
    title: str | None = None


def cut(raw: str, owner: Owner) -> Keys:
    """Take a file's front matter apart.

    Args:
        raw: the block with both fences, as ``frontmatter.split`` has it; '' for none.
        owner: which keys are ours.
    """
    if not raw:
        return Keys({}, (), FENCES)
    opening, *inner, closing = lines_of(raw)
    chunks = dict(_named(_cut(inner)))
    found = {OUR_ID: _our_id(chunks, owner), OUR_TITLE: _our_title(chunks, owner)}
    values = {place: _value(chunks[name]) for place, name in found.items() if name is not None}
    places = {name: place for place, name in found.items() if name is not None}
    order = [places.get(name, name) for name in chunks if name != _END]
    users = {_key_of(name) for name in chunks if name not in places}
    front: dict[str, Lines] = {}
    for name, text in chunks.items():
        place = places.get(name)
        own = ""
        if place is not None:
            own = _our_line(_free(_OURS[place], users), values[place], _end_of(opening))
        if text != own:
            front[place or name] = Lines(text, is_exact=settled(place or name, text) != text)
    if _is_sound("".join(inner)):
        order = _without_default_places(order)
    return Keys(front, tuple(order), (opening, closing), values.get(OUR_ID), values.get(OUR_TITLE))


def joined(source: Source, ours: OurKeys, newline: str) -> str:
    """The front matter of a note's file, with both fences; '' when nothing is in it.

    Args:
        source: with the user's lines; merged ones are put right.
        ours: what our keys are to say.
        newline: for a block that the source does not have.
    """
    chunks = standing(source)
    has_block = bool(chunks) or source.fences != FENCES or bool(source.order)
    newline = _end_of(source.fences[0]) if has_block else newline
    users = {_key_of(name) for name in chunks if not name.startswith("#") or _AGAIN.match(name)}
    says = {OUR_ID: ours.id, OUR_TITLE: ours.title}
    own = {p: _own(p, chunks.pop(p, None), users, says[p], newline) for p in _OURS}
    end = chunks.pop(_END, "")
    placed = [k for k in dict.fromkeys(source.order) if k in chunks or k in own]
    rest = sorted(chunks.keys() - set(placed))
    users_text = "".join(chunks.get(k) or own.get(k, "") for k in [*placed, *rest]) + end
    opening, closing = source.fences if has_block else (f"---{newline}", f"---{newline}")
    if users_text.strip() and not _is_sound(users_text):
        block = opening + users_text + closing  # what can't be read is not changed
        if frontmatter.split(block)[0].raw == block:
            return block
        # Merged, it begins with what is no key, and would be text: our key stands before it.
        users_text = "".join(chunks.get(k, "") for k in [*placed, *rest]) + end
        return opening + own[OUR_ID] + users_text + closing
    # Of a key that is there twice a reader takes the last.
    last = max(
        (k for k in chunks if _key_of(k) == "tags"), key=lambda k: (len(k), k), default=None
    )
    chunks[last or "tags"] = _tags_text(chunks.get(last or "tags"), ours.tags, newline)
    keys = _with_default_places(placed, rest)
    inner = "".join(own[k] if k in own else chunks[k] for k in keys) + end
    return opening + inner + closing if inner or (has_block and source.fences != FENCES) else ""


def standing(source: Source) -> dict[str, str]:
    """The user's chunks by key, merged ones put right; those that were taken out are not there."""
    front = {k: source.front[k] for k in sorted(source.front)}
    texts = {k: lines.text for k, lines in front.items()}
    is_clean = all(lines.is_exact or _is_clean(k, lines.text) for k, lines in front.items())
    if is_clean and _is_sound("".join(texts.values())):
        return texts
    return {k: v.text if v.is_exact else settled(k, v.text) for k, v in front.items()}


def settled(name: str, text: str) -> str:
    """A chunk as it is read: of lines that two authors' edits left, those that make sense.

    Lines whose key was taken away while somebody wrote below it get it again; of two first lines
    the last counts. Comments are kept.
    """
    text = _ended(text)
    if name in {_END, _START}:
        return text
    if name in {OUR_ID, OUR_TITLE}:
        lines = lines_of(text)
        last = max((k for k, line in enumerate(lines) if not _is_comment(line)), default=-1)
        return "".join(v for k, v in enumerate(lines) if k == last or _is_comment(v))
    if _is_clean(name, text) and _is_sound(text):
        return text
    key, lines = _key_of(name), lines_of(text)
    if all(_is_comment(line) for line in lines):
        return text
    heads = [k for k, line in enumerate(lines) if _head(line) == key]
    for kept in _readings(key, lines, heads):
        if _is_sound(made := "".join(kept)):
            return made
    return text


def _readings(key: str, lines: Sequence[str], heads: Sequence[int]) -> Iterator[list[str]]:
    """What merged lines may mean, the likeliest first."""
    if not heads:
        first = next(k for k, line in enumerate(lines) if not _is_comment(line))
        yield [*lines[:first], f"{key}:{_end_of(lines[0])}", *lines[first:]]
        return
    edges = [*heads, len(lines)]
    comments = [line for line in lines[: heads[0]] if _is_comment(line)]
    parts = [list(lines[a:b]) for a, b in zip(heads, edges[1:], strict=True)]
    for k in reversed(range(len(parts))):
        others = [
            line
            for n, part in enumerate(parts)
            for line in part
            if n < k and line.lstrip().startswith("#")
        ]
        yield [*comments, *others, *parts[k]]
    for part in reversed(parts):
        notes = [line for line in lines if line.lstrip().startswith("#")]
        yield [*notes, part[0]]
        items = [line for line in lines if line.lstrip().startswith("- ")]
        if items:
            yield [*notes, f"{key}:{_end_of(part[0])}", *items]


def _cut(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Cut lines before their keys: pairs of a key and all its lines."""
    name, chunk, waiting = _START, list[str](), list[str]()
    for line in lines:
        key = _head(line)
        if key is not None:
            if chunk:
                yield name, "".join(chunk)
            name, chunk, waiting = key, [*waiting, line], []
        elif _is_comment(line):
            waiting.append(line)
        else:
            chunk += [*waiting, line]
            waiting = []
    if chunk:
        yield name, "".join(chunk)
    if waiting:
        yield _END, "".join(waiting)


def _named(pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Chunks under names that occur once."""
    count: dict[str, int] = {}
    for key, text in pairs:
        count[key] = count.get(key, 0) + 1
        yield (key if count[key] == 1 else f"#{count[key]}:{key}"), text


def _key_of(name: str) -> str:
    found = _AGAIN.match(name)
    return name[found.end() :] if found else name


def _head(line: str) -> str | None:
    found = _KEY.match(line)
    return found[1] if found else None


def _is_comment(line: str) -> bool:
    text = line.strip()
    return not text or text.startswith("#")


def _is_clean(name: str, text: str) -> bool:
    """Whether a chunk has the lines of its key alone, the first one first."""
    if name in {_END, _START}:
        return True
    key = _OURS.get(name, (_key_of(name),))
    lines = lines_of(text)
    heads = [line for line in lines if _head(line) is not None]
    first = next((line for line in lines if not _is_comment(line)), "")
    return heads == [first] and _head(first) in key and text.endswith(("\n", "\r"))


def _is_sound(text: str) -> bool:
    """Whether lines are a mapping in YAML, and few enough to be read."""
    if len(text) > frontmatter.MAX_CHARS:
        return False
    try:
        return isinstance(yaml.load(text, Loader=_FAST), dict | None)  # noqa: S506 - strings only
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return False


def _ended(text: str) -> str:
    return text if not text or text.endswith(("\n", "\r")) else f"{text}\n"


def _end_of(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :] or "\n"


# ---- our keys ---------------------------------------------------------------------------------


def _our_id(chunks: Mapping[str, str], owner: Owner) -> str | None:
    """The chunk that holds our id. A value that nobody here knows is the user's own."""
    for name in chunks:
        if _key_of(name) in ID_KEYS:
            value = _value(chunks[name])
            if value is not None and owner.is_id(value):
                return name
    return None


def _our_title(chunks: Mapping[str, str], owner: Owner) -> str | None:
    name = owner.title
    return name if name and name in chunks and _value(chunks[name]) is not None else None


def _value(text: str) -> str | None:
    """What one chunk says, when that is one word or text."""
    try:
        values = yaml.load(text, Loader=_FAST)  # noqa: S506 - strings only
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return None
    found = next(iter(values.values()), None) if isinstance(values, dict) else None
    return found.strip() or None if isinstance(found, str) else None


def _our_line(key: str | None, value: str | None, newline: str) -> str:
    if key is None or value is None:
        return ""
    return frontmatter.key_line(key, value) + newline


def _own(
    place: str, text: str | None, users: Collection[str], value: str | None, newline: str
) -> str:
    """One of our keys: as somebody wrote it where it says that, else below its comments."""
    comments = ""
    if text is not None:
        first = next((line for line in lines_of(text) if not _is_comment(line)), "")
        if _head(first) in _OURS[place] and _value(text) == value:
            return text
        comments = "".join(line for line in lines_of(text) if _is_comment(line))
    return comments + _our_line(_free(_OURS[place], users), value, newline)


def _free(keys: Sequence[str], users: Collection[str]) -> str | None:
    return next((key for key in keys if key not in users), None)


def _tags_text(text: str | None, tags: Sequence[str], newline: str) -> str:
    """The lines of the tags: as written where they say the same, else changed in their style."""
    if text is None:
        empty = frontmatter.split("")[0]
        block = frontmatter.update(empty, id=None, title=None, tags=tags, newline=newline)
    else:
        front, _ = frontmatter.split(f"---{newline}{text}---{newline}")
        if front.tags is None or set(front.tags) == set(tags):
            return text
        block = frontmatter.update(front, id=None, title=None, tags=tags)
    return "".join(lines_of(block)[1:-1])


def _without_default_places(order: list[str]) -> list[str]:
    """The order without our keys where they stand as they would by themselves."""
    if order[:1] == [OUR_ID]:
        order = order[1:]
    elif OUR_ID in order:
        return order
    return order[1:] if order[:1] == [OUR_TITLE] else order


def _with_default_places(placed: Sequence[str], rest: Sequence[str]) -> list[str]:
    keys = [*placed, *rest]
    keys += ["tags"] if "tags" not in keys else []
    keys = keys if OUR_ID in keys else [OUR_ID, *keys]
    if OUR_TITLE not in keys:
        keys.insert(keys.index(OUR_ID) + 1, OUR_TITLE)
    return keys

"""Cut front matter at its keys into raw lines, and join it again.

It is cut by lines and not by YAML, so that broken YAML stays byte for byte. A chunk is a line
``key:`` at the margin with all lines up to the next one; comments and blank lines belong to the
key below them. Two authors' edits of one chunk merge by lines. A merge can leave a chunk without
its first line, or with two of them; every reader normalises it to the same lines.

Two keys in the file are ours, ``id`` and ``title``. Where the user has a key of that name, ours is
called ``heaper_id`` or ``heaper_title``. Our keys are not chunks: only their places are kept.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import yaml
from msgspec import Struct

from heapsyncd.diff import lines_of
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.frontmatter import ID_KEYS
from heapsyncd.model import FENCES, Lines, Source

OUR_ID: Final = "#id"
OUR_TITLE: Final = "#title"
"""Our keys in ``Source.order``, and in ``Source.front`` where somebody wrote them differently than
we do (quotes, comments). A user's key can't begin with ``#``: that would be a comment.
"""
START: Final = "#start"
"""Lines before the first key, unless they are comments."""
END: Final = "#end"
"""Comments and blank lines below the last key."""
TITLE_KEYS: Final = ("title", "heaper_title")
_OURS: Final = {OUR_ID: ID_KEYS, OUR_TITLE: TITLE_KEYS}
"""The names that our keys may have; the first one that the user does not use is taken."""

_KEY = re.compile(
    r"(?![\s#]|[-?](?:\s|\Z))([^\r\n:]++(?::(?![ \t\r\n]|\Z)[^\r\n:]*+)*+):(?:\s|\Z)"
)
_AGAIN = re.compile(r"#[0-9]++:")
"""The prefix of the second and later chunks of one key, with their number."""
_FAST: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class OurKeys(Struct, frozen=True):
    """The values of our keys in a note's front matter.

    ``id``: None for a file that is to have none. ``title``: None where the file's name already is
    the title. ``tags``: None where ``tags`` is a key of the user's.
    """

    id: str | None
    title: str | None
    tags: tuple[str, ...] | None


class Owner(Struct, frozen=True):
    """What tells which keys of a file are ours.

    ``is_id``: tells whether a value is an id that we wrote into the file, or the id of a block in
    this heap. ``title``: the key under which we wrote the title; None if we did not, so that a
    ``title`` is the user's.
    """

    is_id: Callable[[str], bool]
    title: str | None = None


class Keys(Struct, frozen=True):
    """A file's front matter, the user's keys separate from ours.

    ``front``, ``order``, ``fences``: as in ``Source``. ``id``, ``title``: the values of our keys;
    None where they are absent.
    """

    front: Mapping[str, Lines]
    order: tuple[str, ...]
    fences: tuple[str, str]
    id: str | None = None
    title: str | None = None


def cut(raw: str, owner: Owner) -> Keys:
    """Cut a file's front matter into chunks.

    Args:
        raw: the block with both fences, as ``frontmatter.split`` returns it; '' for none.
        owner: tells which keys are ours.
    """
    if not raw:
        return Keys({}, (), FENCES)
    opening, *inner, closing = lines_of(raw)
    chunks = dict(_named(_cut(inner)))
    found = {OUR_ID: _our_id(chunks, owner), OUR_TITLE: _our_title(chunks, owner)}
    values = {place: _value(chunks[name]) for place, name in found.items() if name is not None}
    places = {name: place for place, name in found.items() if name is not None}
    order = [places.get(name, name) for name in chunks if name != END]
    users = {key_of(name) for name in chunks if name not in places}
    front: dict[str, Lines] = {}
    for name, text in chunks.items():
        place = places.get(name)
        own = ""
        if place is not None:
            own = _our_line(_free(_OURS[place], users), values[place], _end_of(opening))
        if text != own:
            front[place or name] = Lines(text, is_exact=normalise(place or name, text) != text)
    if _is_mapping("".join(inner)):
        order = _without_default_places(order)
    return Keys(front, tuple(order), (opening, closing), values.get(OUR_ID), values.get(OUR_TITLE))


def text_of(raw: str, keys: Collection[str]) -> str:
    """Return the raw lines below and behind some keys of front matter, without reading it."""
    chunks = _cut(lines_of(raw)[1:-1])
    return "".join(text.partition(f"{key}:")[2] for key, text in chunks if key in keys)


def join(source: Source, ours: OurKeys, newline: str) -> str:
    """Return the front matter of a note's file, with both fences; '' when it would be empty.

    Args:
        source: contains the user's chunks, which are normalised.
        ours: the values of our keys.
        newline: the line end of a block that the source does not have.
    """
    chunks = user_chunks(source)
    has_block = bool(chunks) or source.fences != FENCES or bool(source.order)
    newline = _end_of(source.fences[0]) if has_block else newline
    users = {key_of(name) for name in chunks if not name.startswith("#") or _AGAIN.match(name)}
    values = {OUR_ID: ours.id, OUR_TITLE: ours.title}
    own = {p: _own(p, chunks.pop(p, None), users, values[p], newline) for p in _OURS}
    end = chunks.pop(END, "")
    placed = [k for k in dict.fromkeys(source.order) if k in chunks or k in own]
    rest = sorted(chunks.keys() - set(placed))
    users_text = "".join(chunks.get(k) or own.get(k, "") for k in [*placed, *rest]) + end
    opening, closing = source.fences if has_block else (f"---{newline}", f"---{newline}")
    if users_text.strip() and not _is_mapping(users_text):
        block = opening + users_text + closing  # broken YAML is not edited
        if frontmatter.split(block)[0].raw == block:
            return block
        # After a merge it does not begin with a key, so the block would be read as text. Our key
        # before it makes it front matter.
        users_text = "".join(chunks.get(k, "") for k in [*placed, *rest]) + end
        return opening + own[OUR_ID] + users_text + closing
    # YAML readers take the last of two equal keys, so that one has to show the tags.
    if ours.tags is not None:
        last = max(
            (k for k in chunks if key_of(k) == "tags"), key=lambda k: (len(k), k), default=None
        )
        chunks[last or "tags"] = _tags_text(chunks.get(last or "tags"), ours.tags, newline)
    keys = [k for k in _with_default_places(placed, rest) if k in chunks or k in own]
    inner = "".join(own[k] if k in own else chunks[k] for k in keys) + end
    return opening + inner + closing if inner or (has_block and source.fences != FENCES) else ""


def user_chunks(source: Source) -> dict[str, str]:
    """Return the chunks of a source by name, normalised; those that read well byte for byte."""
    front = {k: source.front[k] for k in sorted(source.front)}
    texts = {k: lines.text for k, lines in front.items()}
    is_clean = all(lines.is_exact or _is_clean(k, lines.text) for k, lines in front.items())
    if is_clean and _is_mapping("".join(texts.values())):
        return texts
    return {k: v.text if v.is_exact else normalise(k, v.text) for k, v in front.items()}


def normalise(name: str, text: str) -> str:
    """Return a chunk without what a merge of two authors' edits left wrong in it.

    A chunk that lost its first line, because one author removed the key while another added a line
    below it, gets that line again. Of two first lines the last counts. Comments are kept. The
    result is a fixed point; a chunk that no reading makes valid YAML is returned unchanged.
    """
    text = _with_line_end(text)
    if name in {END, START}:
        return text
    if name in {OUR_ID, OUR_TITLE}:
        lines = lines_of(text)
        last = max((k for k, line in enumerate(lines) if not _is_comment(line)), default=-1)
        return "".join(v for k, v in enumerate(lines) if k == last or _is_comment(v))
    if _is_clean(name, text) and _is_mapping(text):
        return text
    key, lines = key_of(name), lines_of(text)
    if all(_is_comment(line) for line in lines):
        return text
    heads = [k for k, line in enumerate(lines) if _head(line) == key]
    for kept in _readings(key, lines, heads):
        if _is_mapping(made := "".join(kept)):
            return made
    return text


def _readings(key: str, lines: Sequence[str], heads: Sequence[int]) -> Iterator[list[str]]:
    """Yield the possible meanings of a merged chunk's lines, the most likely first."""
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
    """Yield each key with its chunk; ``START`` and ``END`` for lines that belong to no key."""
    name, chunk, waiting = START, list[str](), list[str]()
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
        yield END, "".join(waiting)


def _named(pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the chunks under unique names: the second one of ``key`` is called ``#2:key``."""
    count: dict[str, int] = {}
    for key, text in pairs:
        count[key] = count.get(key, 0) + 1
        yield (key if count[key] == 1 else f"#{count[key]}:{key}"), text


def key_of(name: str) -> str:
    """Return the key of a chunk, which may be the second one of that key."""
    found = _AGAIN.match(name)
    return name[found.end() :] if found else name


def _head(line: str) -> str | None:
    found = _KEY.match(line)
    return found[1] if found else None


def _is_comment(line: str) -> bool:
    text = line.strip()
    return not text or text.startswith("#")


def _is_clean(name: str, text: str) -> bool:
    """Tell whether a chunk is whole: one key line, its own, above the rest; a line end below."""
    if name in {END, START}:
        return True
    key = _OURS.get(name, (key_of(name),))
    lines = lines_of(text)
    heads = [line for line in lines if _head(line) is not None]
    first = next((line for line in lines if not _is_comment(line)), "")
    return heads == [first] and _head(first) in key and text.endswith(("\n", "\r"))


def _is_mapping(text: str) -> bool:
    """Tell whether lines are a YAML mapping (or empty), and few enough to be parsed."""
    if len(text) > frontmatter.MAX_CHARS:
        return False
    try:
        return isinstance(yaml.load(text, Loader=_FAST), dict | None)  # noqa: S506 - strings only
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return False


def _with_line_end(text: str) -> str:
    return text if not text or text.endswith(("\n", "\r")) else f"{text}\n"


def _end_of(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :] or "\n"


# ---- our keys ---------------------------------------------------------------------------------


def _our_id(chunks: Mapping[str, str], owner: Owner) -> str | None:
    """Return the name of the chunk with our id; an unknown id is the user's."""
    for name in chunks:
        if key_of(name) in ID_KEYS:
            value = _value(chunks[name])
            if value is not None and owner.is_id(value):
                return name
    return None


def _our_title(chunks: Mapping[str, str], owner: Owner) -> str | None:
    name = owner.title
    return name if name and name in chunks and _value(chunks[name]) is not None else None


def _value(text: str) -> str | None:
    """Return the value of a chunk if it is a string that is not blank."""
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
    """Return the lines of one of our keys.

    They stay as somebody wrote them where they have the right value. Otherwise only their comments
    are kept.
    """
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
    """Return the lines of the tags: unchanged if they name these, else edited in their style."""
    if text is None:
        empty = frontmatter.split("")[0]
        block = frontmatter.with_tags(empty, tags, newline)
    else:
        front, _ = frontmatter.split(f"---{newline}{text}---{newline}")
        if front.tags is None or set(front.tags) == set(tags):
            return text
        block = frontmatter.with_tags(front, tags)
    return "".join(lines_of(block)[1:-1])


def _without_default_places(order: list[str]) -> list[str]:
    """Return the order without our keys where they are at their default places, the first ones."""
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

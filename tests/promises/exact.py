"""Devices whose files are compared byte by byte, and hands that change one word."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from heapsyncd.document.edit import Target, express
from heapsyncd.ids import BlockId
from heapsyncd.model import Source
from heapsyncd.tree import Block, Text
from tests.sync.rig import Device, World

_OUR_LINE: Final = re.compile(rb"^(?:id|heaper_id): [0-9A-HJKMNP-TV-Z]{26}\r?\n", re.MULTILINE)
_EMPTY_FRONT: Final = re.compile(rb"\A(\xef\xbb\xbf)?---\r?\n---\r?\n")
_FRONT: Final = re.compile(
    rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n.*?^---[ \t]*(?:\r?\n|\Z)", re.MULTILINE | re.DOTALL
)
_WORD: Final = re.compile(rb"(?<![\w\[(/`<&#.:@=\"'{-])[A-Za-z]{3,}(?![\w\])/`>;:.=\"'}-])")
_TYPED: Final = re.compile(r"(?<![\w`*_~<>\[\]()&#/.:-])[A-Za-z]{3,}(?![\w`*_~<>\[\]()&#/.:-])")
LARGE: Final = 1 << 30


def exact(device: Device) -> dict[str, bytes]:
    """The bytes of every note, by path."""
    return {
        str(path.relative_to(device.root)): path.read_bytes()
        for path in sorted(device.root.rglob("*.md"))
    }


def put(device: Device, files: Mapping[str, bytes]) -> None:
    """Write files into the heap's folder."""
    for path, data in files.items():
        place = device.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


async def round_trip(*devices: Device) -> None:
    """One pass of each device, in turn."""
    for device in devices:
        await device.synced()


def unsigned(data: bytes) -> bytes:
    """A file without our id, and without front matter that has nothing else."""
    return _EMPTY_FRONT.sub(rb"\1", _OUR_LINE.sub(b"", data, count=1))


def is_only_signed(data: bytes, original: bytes) -> bool:
    """Tell whether a file is the original with, at most, our id."""
    return original in {data, _OUR_LINE.sub(b"", data, count=1), unsigned(data)}


def differing(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> dict[str, str]:
    """The files that differ, with how."""
    return {
        path: diff(one.get(path, b"(no file)"), other.get(path, b"(no file)"))
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    }


def diff(one: bytes, other: bytes) -> str:
    """What differs, for people."""
    lines = [repr(line) for line in one.splitlines(keepends=True)]
    others = [repr(line) for line in other.splitlines(keepends=True)]
    return "\n".join(difflib.unified_diff(lines, others, "one", "other", n=1, lineterm=""))


def reworded(data: bytes, word: bytes) -> bytes | None:
    """A file with the word in the middle of its body replaced; None where it has none."""
    front = _FRONT.match(data)
    start = front.end() if front else 0
    found = list(_WORD.finditer(data, start))
    if not found:
        return None
    at = found[len(found) // 2]
    return data[: at.start()] + word + data[at.end() :]


def typed(view: Block, data: bytes, word: str) -> tuple[Block, bytes] | None:
    """A tree in which one word of its text is replaced, and the file in which it is.

    None: no word of its plain text stands in the file exactly once.
    """
    for path, leaf in _leaves(view):
        for k, item in enumerate(leaf.inline):
            if not isinstance(item, Text) or item.marks:
                continue
            for found in _TYPED.finditer(item.text):
                old = found[0].encode()
                if data.count(old) != 1:
                    continue
                text = f"{item.text[: found.start()]}{word}{item.text[found.end() :]}"
                items = (*leaf.inline[:k], replace(item, text=text), *leaf.inline[k + 1 :])
                changed = _with(view, path, replace(leaf, inline=items))
                return changed, data.replace(old, word.encode())
    return None


def _leaves(block: Block, path: tuple[int, ...] = ()) -> Iterable[tuple[tuple[int, ...], Block]]:
    if block.inline:
        yield path, block
    for k, child in enumerate(block.children):
        yield from _leaves(child, (*path, k))


def _with(block: Block, path: tuple[int, ...], leaf: Block) -> Block:
    if not path:
        return leaf
    children = list(block.children)
    children[path[0]] = _with(children[path[0]], path[1:], leaf)
    return block.with_children(children)


async def type_in_app(world: World, block: BlockId, tree: Block) -> None:
    """Change a document's body as the app does, which knows nothing of the source."""
    replica = await world.server.document(block)
    made = express([replica.state()], Target(body=tree))
    assert made.update is not None
    await world.server.apply(block, made.update)


async def source_of(world: World, block: BlockId) -> Source | None:
    """The source that a document on the server has."""
    stored = (await world.server.document(block)).source(LARGE)
    assert stored.problem is None
    return stored.source


async def fingerprints(world: World) -> dict[BlockId, bytes]:
    """What every document on the server is: changes with every update."""
    return {b: (await world.server.document(b)).fingerprint() for b in await world.blocks()}

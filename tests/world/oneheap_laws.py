"""What must be true of a oneheap service and its mirrors when all has come to rest."""

import base64
import re
from collections import Counter
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import yaml

from heapsyncd.cache import history
from heapsyncd.database import Tx
from heapsyncd.folder.ignore import TEMP
from heapsyncd.folder.names import carries
from heapsyncd.ids import BlockId
from heapsyncd.markdown.frontmatter import split
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.report import Verdict
from tests.oneheap.service import EMAIL
from tests.world.player import Player
from tests.world.text import tokens

if TYPE_CHECKING:
    from tests.world.oneheap import OneheapGame

Item = dict[str, Any]
_STRAY: Final = re.compile(
    rf"{re.escape(EMAIL)}/(.*): (there is no note|no box has this name: items are archived)"
)


def encoded(content: bytes) -> str:
    """A content as the service takes it."""
    return base64.b64encode(content).decode()


def strays(verdict: Verdict | None, what: str) -> set[str]:
    """The paths of what no request can take, of a pass in which all else was done: attachments
    whose notes went elsewhere, and after a lost cache the former directories of archived items.
    """
    assert verdict is not None
    lines = [line for line in verdict.left if not line.endswith(" not yet sent")]
    found = [_STRAY.search(line) for line in lines]
    assert lines or not verdict.left, f"{what}: {verdict}"
    assert all(found), f"{what}: {verdict}"
    return {match[1] for match in found if match is not None}


async def hold(game: "OneheapGame") -> None:
    """Hold every law; AssertionError names the one that is broken."""
    store = game.service.store
    kept = set[str]()
    for player in game.players:
        kept |= await _kept(player)
        _folder_shows(player, list(store.items.values()), store.contents, game.strays[player.name])
    _nothing_doubled(game)
    words = {w for i in store.items for w in game.service.words(i)}
    lost = game.spoken - words - kept - game.excused - game.service.overwritten
    assert not lost, f"lost: {sorted(lost)}"
    late = game.player("late")
    for player in [*game.players, late]:
        game.service.requests.clear()
        verdict = await player.once()
        strays(verdict, player.name)
        sent = [
            (r.method, r.path, r.arguments) for r in game.service.requests
            if r.method != "GET" and r.path not in {"/Searches/", "/Authentications/"}
        ]  # fmt: skip
        assert not sent, f"{player.name} sent {sent}"
    _folder_shows(late, list(store.items.values()), store.contents)


async def _kept(player: Player) -> set[str]:
    """The words of all that ``history`` shows on a device."""

    def read(tx: Tx) -> list[bytes]:
        found = [BlockId(r[0]) for r in tx.execute("SELECT id FROM block")]
        return [
            v.data for b in found for v in [*history.versions(tx, b), *history.of_block(tx, b)]
        ]

    async with await open_cache(player.device.account, player.device.base / "state") as db:
        texts = await db.read(read)
    return {w for text in texts for w in tokens(text.decode("utf-8", "replace"))}


def _nothing_doubled(game: "OneheapGame") -> None:
    """A word stands in one item, and there once, but for contested lines; a content likewise."""
    store = game.service.store
    everywhere: Counter[str] = Counter()
    for item in store.items.values():
        lines = str(item.get("body") or "").split("\n")
        for word in set(tokens("\n".join(lines))):
            where = [line for line in lines if word in line]
            assert len(set(where)) == len(where), f"{word} stands twice:\n{item['body']}"
            assert all(line.count(word) == 1 for line in where), item["body"]
        tags = item.get("tags") or []
        assert len(set(tags)) == len(tags), f"{item['id']}: {tags}"
        everywhere += Counter(game.service.words(item["id"]))
    twice = [w for w, n in everywhere.items() if n > 1 and w not in game.copied]
    assert not twice, f"in two items: {twice}"
    contents = Counter(store.contents[i["id"]] for i in store.of("file"))
    again = [c for c, n in contents.items() if n > 1]
    assert not again, f"two files with the content {again}"
    boxes = Counter(b["name"] for b in store.of("box"))
    assert max(boxes.values(), default=1) == 1, f"boxes made twice: {boxes}"


def _folder_shows(
    player: Player, items: list[Item], contents: dict[str, bytes], left: Collection[str] = ()
) -> None:
    """Every item has exactly one file, in the directory of its box, under its name, and it says
    what the item says; nothing else is there.
    """
    boxes = {i["id"]: i["name"] for i in items if i["type"] == "box"}
    notes = {i["id"]: i for i in items if i["type"] in {"note", "task"}}
    found: dict[str, str] = {}
    for path in player.notes():
        front, body = split(player.read(path))
        fields = yaml.safe_load(front.raw.strip().strip("-")) or {}
        # After a lost cache, the id of an item that is gone is taken for the user's.
        own = "heaper_id" if player.forgot and "heaper_id" in fields else "id"
        id_ = str(fields.get(own))
        assert id_ in notes, f"{player.name}: {path} says {id_}, no item"
        assert id_ not in found, f"{player.name}: {path} and {found[id_]}"
        found[id_] = path
        item, where = notes[id_], f"{player.name}: {path} of {id_}"
        assert body.removesuffix("\n") == item["body"].removesuffix("\n"), (
            f"{where}: {body!r}, item {item['body']!r}"
        )
        assert fields.get("tags", []) == item["tags"], f"{where}: {fields} {item['tags']}"
        assert fields.get("type", "note") == item["type"], where
        assert fields.get("progress", 0) == item.get("progress", 0), where
        place = PurePosixPath(path)
        named = item["name"] in {fields.get("title"), ""} or carries(place.stem, item["name"])
        assert named, f"{where} is called {item['name']!r}"
        assert str(place.parent) == _directory(item, boxes), f"{where} in {item['boxId']}"
    missing = {i: n["name"] for i, n in notes.items() if i not in found}
    assert not missing, f"{player.name}: without a file: {missing}"
    top = {p.name for p in player.root.iterdir() if p.is_dir() and not p.name.endswith(".assets")}
    assert top - {"Archive"} == set(boxes.values()), f"{player.name}: {top}, {boxes}"
    wanted = {}
    for item in items:
        if item["type"] == "file":
            owner = item["parentId"]
            above = _directory(item, boxes) if owner is None else f"{found[owner][:-3]}.assets"
            wanted[str(PurePosixPath(above) / item["filename"])] = contents[item["id"]]
    here = {
        str(p.relative_to(player.root)): p.read_bytes()
        for p in player.root.rglob("*")
        if p.is_file() and p.suffix != ".md"
        and p.name != ".heapsyncd" and not TEMP.fullmatch(p.name)
    }  # fmt: skip
    # An attachment that arrived while its note was deleted stays, and belongs to nothing.
    there = {f"{path[:-3]}.assets" for path in found.values()}
    alone = {p for p in here if p not in wanted and _is_alone(p, there)}
    here = {p: data for p, data in here.items() if p not in {*left, *alone}}
    assert here == wanted, f"{player.name}: files {here}, wanted {wanted}"


def _is_alone(path: str, directories: Collection[str]) -> bool:
    above = str(PurePosixPath(path).parent)
    return above.endswith(".assets") and above not in directories


def _directory(item: Item, boxes: dict[str, str]) -> str:
    """Where an item's file is to be."""
    above = PurePosixPath("Archive" if item["archived"] else ".")
    return str(above / boxes.get(item["boxId"] or "", ""))

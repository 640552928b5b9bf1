"""A game of devices that mirror a oneheap service, which has no CRDTs: people at their editors,
somebody at the service, and everything that goes wrong between them; then quiet, and the laws.
"""

import contextlib
import random
import re
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec.structs import replace

from heapsyncd.errors import PeerError, TryLater
from heapsyncd.markdown.frontmatter import split
from tests.oneheap.mirror import Mirror
from tests.oneheap.service import Answer, Oneheap, Request
from tests.world import oneheap_laws as laws
from tests.world.base import TITLES, BaseGame
from tests.world.fast import FAST
from tests.world.moves import Move, drawn
from tests.world.player import Player
from tests.world.text import STARTS, change, tokens

ROUNDS: Final = 10
"""So many rounds of passes are enough for everything to come to rest."""
TIMING: Final = replace(FAST, give_up_s=3.0)
WEIGHTS: Final = {
    # an editor on a device
    "save": 14,
    "load": 3,
    "save_stale": 5,
    "new_note": 4,
    "edit_front": 4,
    "attach": 2,
    "rename": 3,
    "move": 4,
    "delete": 2,
    "make_folder": 1,
    "rename_folder": 1,
    "delete_folder": 1,
    # somebody at the service
    "service_edit": 12,
    "service_new": 2,
    "service_box": 1,
    "service_name": 2,
    "service_tag": 2,
    "service_move": 2,
    "service_archive": 2,
    "service_attach": 1,
    "service_remove": 2,
    # a device
    "start": 8,
    "stop": 3,
    "kill": 6,
    "pass_once": 4,
    "lose_cache": 1,
    # the service, and time
    "server_down": 2,
    "server_up": 4,
    "fault": 5,
    "expire": 1,
    "limit": 1,
    "wait": 5,
    "settle": 3,
}
_FAULTS: Final = ("refuse", "code", "drop", "lose", "cut", "page", "empty", "bare")


def moves_of(seed: int, length: int = 40) -> list[Move]:
    """The moves of a seed."""
    return drawn(random.Random(seed), WEIGHTS, length)


class Service(Oneheap):
    """The service; it knows which words were written over between two requests of a device.

    Nothing can prevent that: the service has no versions.
    """

    def __init__(self) -> None:
        super().__init__(limit=1_000_000)
        self.overwritten: set[str] = set()
        self._read: dict[tuple[str, str], set[str]] = {}

    def words(self, id_: str) -> set[str]:
        """The unique words of an item."""
        return words_of(self.store.items.get(id_, {}))

    def _answer(self, request: Request) -> Answer:
        found = re.fullmatch(r"/\w+/(\w+)/", request.path)
        if found is None:
            return super()._answer(request)
        id_ = found[1]
        key, before = (request.headers.get("Auth-Token", ""), id_), self.words(id_)
        answer = super()._answer(request)
        if request.method == "GET":
            self._read[key] = before
        elif (seen := self._read.pop(key, None)) is not None:
            self.overwritten |= before - self.words(id_) - seen
        return answer


def words_of(item: dict[str, Any]) -> set[str]:
    """The unique words of an item."""
    texts = [str(item.get(name) or "") for name in ("name", "body", "description")]
    return {w for text in [*texts, *item.get("tags", ())] for w in tokens(text)}


@dataclass
class OneheapGame(BaseGame):
    """The state of play. ``play`` is all there is to call."""

    service: Service = field(default_factory=Service)
    attached: dict[bytes, str] = field(default_factory=dict)
    """Contents that somebody attached, with where."""
    strays: dict[str, set[str]] = field(default_factory=dict)
    """Files whose notes went elsewhere before a mirror saw them, by device."""
    _up: bool = False
    _made: int = 0

    async def play(self, moves: Sequence[Move]) -> None:
        """Carry the moves out, wait for quiet, and hold the laws."""
        rng = random.Random(self.seed)
        async with self.begun("ab"[: rng.choice((1, 2, 2))], rng.sample(STARTS, 3)):
            await self._carry_out(moves)
            await self._come_to_rest()
            await laws.hold(self)

    @contextlib.asynccontextmanager
    async def begun(self, names: Iterable[str], starts: Sequence[str]) -> AsyncIterator[None]:
        """A service with some items, and devices that mirrored it once."""
        await self.server_up(Move("server_up"))
        try:
            box = self.service.add("box", name="Projects")
            for number, (title, start) in enumerate(zip(TITLES, starts, strict=False)):
                place = {"boxId": box} if number else {}
                self.service.add(
                    "task" if number == 1 else "note", name=title, body=start, **place
                )
            for name in names:
                self.players.append(self.player(name))
                await self.players[-1].once()
            yield
        finally:
            for player in self.players:
                await player.end()
            await self.server_down(Move("server_down"))

    def player(self, name: str) -> Player:
        """One more device."""
        device = Mirror.of(self.service, self.base / name, poll_interval_s=0.2, timing=TIMING)
        return Player(name, device)

    @property
    def is_up(self) -> bool:
        """Whether the service can be reached."""
        return self._up

    async def _in_documents(self) -> set[str]:
        return {w for id_ in self.service.store.items for w in self.service.words(id_)}

    def _number(self) -> int:
        self._made += 1
        return self._made

    # ---- an editor on a device ----------------------------------------------------------------

    async def new_note(self, move: Move) -> None:
        """A new file, in the root or in a directory: a note or a task."""
        player = self._player(move)
        folders = ["", *player.folders()]
        title = f"{TITLES[move.which % len(TITLES)]} {self._number()}"
        path = str(Path(folders[move.how % len(folders)]) / f"{title}.md")
        front = "---\ntype: task\nprogress: 5\n---\n" if move.how % 3 == 0 else ""
        text = STARTS[move.which % len(STARTS)]
        with contextlib.suppress(FileNotFoundError):
            text = front + change(text, self.word(player.name, path), move.how)
            player.save(path, text, move.how % 2)

    async def edit_front(self, move: Move) -> None:
        """Add a tag, or change a task's progress."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            with contextlib.suppress(FileNotFoundError):
                front, body = split(player.read(path))
                fields = yaml.safe_load(front.raw.strip().strip("-")) if front.raw else {}
                if fields.get("type") == "task" and move.how % 2:
                    fields["progress"] = move.how % 99 + 1
                else:
                    new = self.word(player.name, path, "tag")
                    fields["tags"] = [*fields.get("tags", ()), new]
                raw = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
                player.save(path, f"---\n{raw}---\n{body}", move.how)
                self._tell(player.name, path, "front")

    async def attach(self, move: Move) -> None:
        """Put a file beside a note, or at the top."""
        player, number = self._player(move), self._number()
        chosen = self._note(move)
        place = "" if chosen is None or move.how % 4 == 0 else chosen[1][:-3] + ".assets"
        content = f"content {number}".encode()
        path = player.root / place / f"file{number}.bin"
        with contextlib.suppress(FileNotFoundError):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            self.attached[content] = f"{player.name} {place}"
            self._tell(player.name, path.relative_to(player.root))

    async def make_folder(self, move: Move) -> None:
        """A new directory at the top, which is a box."""
        player = self._player(move)
        if player.root.is_dir():
            (player.root / f"Dir{self._number()}").mkdir()
            self._tell(player.name, f"Dir{self._made}")

    def _boxes_of(self, player: Player) -> list[str]:
        """The directories of boxes."""
        return [f for f in player.folders() if "/" not in f and f != "Archive"]

    async def rename_folder(self, move: Move) -> None:
        """Give a box's directory another name."""
        player = self._player(move)
        if folders := self._boxes_of(player):
            old = folders[move.which % len(folders)]
            await self._move(player, old, f"Dir{self._number()}")

    async def _move(self, player: Player, old: str, new: str) -> None:
        """Who moves a note moves its attachments along."""
        assets = [player.root / f"{path.removesuffix('.md')}.assets" for path in (old, new)]
        if old.endswith(".md") and not (player.root / new).exists():
            with contextlib.suppress(OSError):
                assets[0].rename(assets[1])
        await super()._move(player, old, new)

    async def _forget(self, player: Player, path: str, text: str) -> set[str]:
        shutil.rmtree(player.root / f"{path.removesuffix('.md')}.assets", ignore_errors=True)
        return await super()._forget(player, path, text)

    # ---- somebody at the service --------------------------------------------------------------

    def _item(self, move: Move, *types: str) -> dict[str, Any] | None:
        items = self.service.store.items.values()
        found = [i for i in items if i["type"] in (types or ("note", "task"))]
        return found[move.which % len(found)] if found else None

    async def service_edit(self, move: Move) -> None:
        """Type into an item."""
        if (item := self._item(move)) is not None:
            body = change(item["body"], self.word("app", item["id"]), move.how)
            self.service.edit(item["id"], body=body)

    async def service_new(self, move: Move) -> None:
        """Make an item."""
        body = change(STARTS[move.how % len(STARTS)], self.word(), move.how)
        boxes = [None, *self.service.store.of("box")]
        box = boxes[move.which % len(boxes)]
        place = {} if box is None else {"boxId": box["id"]}
        name = TITLES[move.which % len(TITLES)]
        self.service.add(("note", "task")[move.how % 2], name=name, body=body, **place)

    async def service_box(self, move: Move) -> None:
        """Make a box."""
        self.service.add("box", name=f"Box{self._number()}")

    async def service_name(self, move: Move) -> None:
        """Give an item or a box another name."""
        item = self._item(move, "note", "task", "box")
        if item is not None:
            name = f"Named {self._number()}"
            self.service.edit(item["id"], name=name)
            self._tell(item["id"], name)

    async def service_tag(self, move: Move) -> None:
        """Tag an item, or change a task's progress."""
        if (item := self._item(move)) is not None:
            if item["type"] == "task" and move.how % 2:
                self.service.edit(item["id"], progress=move.how % 99 + 1)
            else:
                new = self.word("app", item["id"], "tag")
                self.service.edit(item["id"], tags=[*item["tags"], new])

    async def service_move(self, move: Move) -> None:
        """Put an item into another box, or out of all of them."""
        if (item := self._item(move)) is not None:
            boxes = [None, *(box["id"] for box in self.service.store.of("box"))]
            box = boxes[move.how % len(boxes)]
            self.service.edit(item["id"], boxId=box)
            self._tell(item["id"], box)

    async def service_archive(self, move: Move) -> None:
        """Put an item into the archive, or out of it."""
        if (item := self._item(move)) is not None:
            self.service.archive(item["id"], archived=not item["archived"])
            self._tell(item["id"], item["archived"])

    async def service_attach(self, move: Move) -> None:
        """Attach a file to an item."""
        if (item := self._item(move)) is not None:
            content, number = b"from the app", self._number()
            content += str(number).encode()
            (file,) = self.service.store.attach(item, [laws.encoded(content)])
            self.service.edit(file["id"], name=f"app{number}.bin", filename=f"app{number}.bin")
            self.attached[content] = item["id"]
            self._tell(item["id"], file["id"])

    async def service_remove(self, move: Move) -> None:
        """Delete an item for good; who edited it and had not heard of that makes it anew."""
        if (item := self._item(move, "note", "task", "note", "box")) is not None:
            words = self.service.words(item["id"])
            self.excused |= words
            self.copied |= words
            self.service.remove(item["id"])
            self._tell(item["id"], item["name"], words)

    # ---- the service, and time ----------------------------------------------------------------

    async def server_down(self, move: Move) -> None:
        """The service cannot be reached."""
        if self._up:
            self._up = False
            self._tell()
            await self.service.__aexit__(None, None, None)

    async def server_up(self, move: Move) -> None:
        """The service is back."""
        if not self._up:
            await self.service.__aenter__()
            self._up = True
            self._tell()

    async def fault(self, move: Move) -> None:
        """Some of the next requests go wrong."""
        kind = _FAULTS[move.how % len(_FAULTS)]
        method = ("POST", "POST", "", "GET", "DELETE")[move.which % 5]
        self.service.fail(kind, method, times=move.who % 3 + 1)
        self._tell(kind, method)

    async def expire(self, move: Move) -> None:
        """No token is good any more."""
        if move.how % 2:
            self.service.expire_tokens()
        else:
            self.service.forget_tokens()

    async def limit(self, move: Move) -> None:
        """The rate limit is almost reached; it is renewed at rest, or after some moves."""
        self.service.spend(move.how % 6)
        self._tell(move.how % 6)

    async def pass_once(self, move: Move) -> None:
        """One pass and no more, if the sign-in works."""
        with contextlib.suppress(TryLater, PeerError):
            await super().pass_once(move)

    async def wait(self, move: Move) -> None:
        """A moment passes; at the service, more."""
        self.service.advance((0, 0, 3, 3700)[move.which % 4])
        await super().wait(move)

    # ---- quiet --------------------------------------------------------------------------------

    async def _come_to_rest(self) -> None:
        """Nobody does anything any more; wait until nothing changes."""
        self._now = "rest"
        self.service.faults.clear()
        self.service.advance(3700)
        await self.server_up(Move("server_up"))
        for player in self.players:
            await player.stop()
        before = None
        for number in range(ROUNDS):
            for player in self.players:
                verdict = await player.once()
                self.strays[player.name] = laws.strays(verdict, f"{player.name}, round {number}")
            now = self._traces()
            if now == before:
                return
            before = now
        raise AssertionError(f"no rest after {ROUNDS} rounds")

    def _traces(self) -> object:
        """What every write would change."""
        items = {i: repr(item) for i, item in self.service.store.items.items()}
        return items, [p.stamps() for p in self.players]

"""A game: devices, people at their editors, people in the app, a server, and everything that goes
wrong between them; then quiet, and the laws.
"""

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.markdown.frontmatter import split
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.write.render import render
from heapsyncd.server import Server
from heapsyncd.server.limits import Limits
from tests.sync.rig import Device, World
from tests.world import laws
from tests.world.base import TITLES, BaseGame
from tests.world.moves import CONTESTS_FROM, EXACT_FROM, Move
from tests.world.player import Player
from tests.world.text import (
    STARTS,
    STYLED,
    change,
    front_changed,
    id_in,
    is_label,
    link,
    restyled,
    tokens,
)

ROUNDS = 10
"""So many rounds of passes are enough for everything to come to rest."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link that somebody wrote into a file: who, to which path, and to which note if its file
    said so.
    """

    who: str
    path: str
    block: str | None


@dataclass
class Game(BaseGame):
    """The state of play. ``play`` is all there is to call."""

    links: dict[str, Link] = field(default_factory=dict)
    """The links written into files, by the word in (or before) each."""
    linking: set[str] = field(default_factory=set)
    """The words that were written before a link without a label, here or in the app."""
    gone: set[str] = field(default_factory=set)
    """Notes that somebody deleted once: others may not have heard of it when they link to them."""
    loose: set[str] = field(default_factory=set)
    """Those whose names nobody had any more when a mirror could read them."""
    _server: Server | None = None
    _port: int = 0

    async def play(self, moves: Sequence[Move]) -> None:
        """Carry the moves out, wait for quiet, and hold the laws."""
        rng = random.Random(self.seed)
        most = rng.choice((2, 2, 3) if self.is_contest else (1, 2, 2, 3))
        names, starts = "abc"[:most], rng.sample(STARTS, 3)
        async with self.begun(names, starts[: 1 if self.is_exact else 3]):
            if self.is_exact:
                await self._write(rng.sample(STYLED, 3))
            await self._carry_out(moves)
            await self._come_to_rest(live=self.seed % 2 == 0)
            await laws.hold(self)

    @contextlib.asynccontextmanager
    async def begun(self, names: Iterable[str], starts: Sequence[str]) -> AsyncIterator["Game"]:
        """A server with a heap and some notes in it, and devices that mirrored it once."""
        await self.server_up(Move("server_up"))
        try:
            self.world = World(self.server, await self.server.add_heap("Home"), self.base)
            for title, start in zip(TITLES, starts, strict=False):
                await self.world.add(title, start)
            for name in names:
                player = Player(name, Device(self.server, self.base / name, poll_interval_s=0.2))
                self.players.append(player)
                await player.once()
            yield self
        finally:
            for player in self.players:
                await player.end()
            await self.server_down(Move("server_down"))

    @property
    def is_up(self) -> bool:
        """Whether the server can be reached."""
        return self._server is not None

    @property
    def heap(self) -> HeapId:
        """The one heap."""
        return self.world.heap

    @property
    def is_contest(self) -> bool:
        """Whether it is about edits against deletions."""
        return CONTESTS_FROM <= self.seed < EXACT_FROM

    @property
    def is_exact(self) -> bool:
        """Whether it is about files in their authors' own styles."""
        return self.seed >= EXACT_FROM

    async def _write(self, texts: Iterable[str]) -> None:
        """The first device writes notes, and all mirror them."""
        for title, text in zip(TITLES[1:], texts, strict=False):
            self.players[0].save(f"{title}.md", text, 0)
        for player in self.players:
            await player.once()

    @property
    def server(self) -> Server:
        """The server, which must be up."""
        assert self._server is not None
        return self._server

    # ---- an editor on a device ------------------------------------------------------------

    async def _in_documents(self) -> set[str]:
        if self._server is None:
            return set()
        return {w for b in await self.world.blocks() for w in tokens(await self.world.text(b))}

    async def link(self, move: Move) -> None:
        """Write a link to another note into a note."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            others = [p for p in player.notes() if p != path]
            if others:
                with contextlib.suppress(FileNotFoundError):
                    await self._link(player, path, others[move.how % len(others)], move.how)

    async def _link(self, player: Player, path: str, target: str, how: int) -> None:
        front, body = split(player.read(path))
        meant = Link(player.name, target, id_in(player.read(target)))
        new = self.word(player.name, path, "to", target)
        self.links[new] = meant
        if not is_label(how):
            self.linking.add(new)
        if meant.block in self.gone:
            self.loose.add(new)
        player.save(path, front.raw + link(body, target.removesuffix(".md"), new, how), how)

    async def _let_go(self, path: str, player: Player | None = None, block: str = "") -> None:
        """What stands at a path (or below it) on a device, or everywhere a block, gets another
        name or is deleted: links to it which no mirror has read yet mean nothing any more.
        """
        unread = self.links.keys() - self.loose - await self._in_documents()
        for new in unread:
            to = self.links[new]
            here = player is not None and to.who == player.name
            if to.block in {block, None} or (here and f"{to.path}/".startswith(f"{path}/")):
                self.loose.add(new)

    async def styled_note(self, move: Move) -> None:
        """A new file in somebody's own style."""
        player = self._player(move)
        path = f"Styled{move.how}.md"
        if player.root.is_dir() and not (player.root / path).exists():
            front, body = split(STYLED[move.which % len(STYLED)])
            text = change(body, self.word(player.name, path), move.how)
            player.save(path, front.raw + text, move.how)

    async def restyle(self, move: Move) -> None:
        """Write a note's words in another style."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            with contextlib.suppress(FileNotFoundError):
                front, body = split(player.read(path))
                player.save(path, front.raw + restyled(body, move.how), move.how)
                self._tell(player.name, path)

    async def edit_front(self, move: Move) -> None:
        """Change a note's front matter."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            with contextlib.suppress(FileNotFoundError):
                front, body = split(player.read(path))
                raw = front_changed(front.raw, len(self.told), move.how)
                player.save(path, raw + body, move.how)
                self._tell(player.name, path)

    async def copy(self, move: Move) -> None:
        """Copy a file."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            new = player.root / Path(path).with_name(f"Copy{move.how}.md")
            if not new.exists():
                with contextlib.suppress(FileNotFoundError):
                    self.copied |= set(tokens(player.read(path)))
                    shutil.copy(player.root / path, new)

    async def _forget(self, player: Player, path: str, text: str) -> set[str]:
        self.gone.add(id_in(text) or "")
        return await super()._forget(player, path, text)

    async def make_folder(self, move: Move) -> None:
        """A new directory."""
        player = self._player(move)
        folders = ["", *player.folders()]
        with contextlib.suppress(OSError):
            (player.root / folders[move.how % len(folders)] / f"Dir{move.which % 4}").mkdir()

    async def move_folder(self, move: Move) -> None:
        """Put a directory into another one."""
        player = self._player(move)
        if folders := player.folders():
            old = Path(folders[move.which % len(folders)])
            above = [Path(), *(Path(f) for f in folders if not Path(f).is_relative_to(old))]
            await self._move(player, str(old), str(above[move.how % len(above)] / old.name))

    # ---- somebody in the app -----------------------------------------------------------------

    async def _chosen(self, move: Move, kind: str = "document") -> BlockId | None:
        if self._server is None:
            return None
        found = await self._of_kind(kind)
        return found[move.which % len(found)] if found else None

    async def _of_kind(self, kind: str, *, deleted: bool = False) -> list[BlockId]:
        found = []
        for block in await self.world.blocks():
            row = await self.server.row(block)
            if row.type == kind and (row.deleted_at is not None) == deleted:
                found.append(block)
        return sorted(found)

    async def edit_in_app(
        self, block: BlockId, wanted: Target, seen: Replica | None = None
    ) -> None:
        """Change a document as the app does; ``seen``: as it was when the change was thought of,
        for it may arrive after somebody else's.
        """
        self._tell(block, "" if wanted.body is not None else wanted)
        seen = seen or await self.server.document(block)
        made = express([seen.state()], wanted)
        if made.update is not None:
            await self.server.apply(block, made.update)

    async def app_edit(self, move: Move) -> None:
        """Type into a document."""
        if (block := await self._chosen(move)) is not None:
            seen = await self.server.document(block)
            body = change(render(seen.view(), NO_LINKS), self.word(block), move.how)
            await self.edit_in_app(block, Target(body=parse(body, NO_LINKS)), seen)

    async def app_link(self, move: Move) -> None:
        """Write a link to a note into a document, with a label or without one."""
        block, to = await self._chosen(move), await self._chosen(Move("", which=move.how))
        if block is not None and to is not None:
            view = (await self.server.document(block)).view()
            new = self.word(block, "to", to)
            if not is_label(move.how):
                self.linking.add(new)
            body = link(render(view, NO_LINKS), to, new, move.how)
            await self.edit_in_app(block, Target(body=parse(body, NO_LINKS)))

    async def app_new(self, move: Move) -> None:
        """Make a note."""
        if self._server is not None:
            body = change(STARTS[move.how % len(STARTS)], self.word(), move.how)
            await self.world.add(TITLES[move.which % len(TITLES)], body)

    async def app_title(self, move: Move) -> None:
        """Give a note another title."""
        if (block := await self._chosen(move)) is not None:
            await self._let_go("", block=block)
            await self.edit_in_app(
                block, Target(title=f"{TITLES[move.how % len(TITLES)]} {move.how % 3}")
            )

    async def app_folder(self, move: Move) -> None:
        """Make a folder."""
        if self._server is not None:
            await self.world.add_named("folder", f"Dir{move.which % 4}")

    async def app_move(self, move: Move) -> None:
        """Put a note into another folder, or out of all of them."""
        block = await self._chosen(move)
        if block is None:
            return
        await self._let_go("", block=block)
        folders = await self._of_kind("folder")
        now = frozenset((await self.server.document(block)).fields().tags) & frozenset(folders)
        folder = [None, *folders][move.how % (len(folders) + 1)]
        wanted = frozenset() if folder is None else frozenset({folder})
        await self.edit_in_app(block, Target(add_tags=wanted - now, remove_tags=now - wanted))

    async def app_delete(self, move: Move) -> None:
        """Put a note into the trash."""
        if (block := await self._chosen(move)) is not None:
            self.dropped |= set(tokens(await self.world.text(block)))
            self.gone.add(block)
            await self._let_go("", block=block)
            await self.edit_in_app(block, Target(deleted_at_ms=1_760_000_000_000 + move.how))

    async def app_restore(self, move: Move) -> None:
        """Take a note out of the trash."""
        if self._server is not None:
            gone = await self._of_kind("document", deleted=True)
            if gone:
                await self.edit_in_app(gone[move.which % len(gone)], Target(deleted_at_ms=None))

    async def compact(self, move: Move) -> None:
        """The server gives a document another history."""
        if (block := await self._chosen(move)) is not None:
            await self.server.compact(block)
            self._tell(block)

    async def compact_to_known_roots(self, move: Move) -> None:
        """The server gives a document another history, and leaves out what no app knows."""
        if (block := await self._chosen(move)) is not None:
            await self.world.compact_to_known_roots(block)
            self._tell(block)

    # ---- devices, the server, and time --------------------------------------------------------

    async def keep_cache(self, move: Move) -> None:
        """A backup is made of a device's state."""
        player = self._player(move)
        await player.stop()
        if (player.device.base / "state").is_dir():
            shutil.rmtree(player.device.base / "kept", ignore_errors=True)
            shutil.copytree(player.device.base / "state", player.device.base / "kept")
            self._tell(player.name)

    async def restore_cache(self, move: Move) -> None:
        """A device's state is put back from the backup."""
        player = self._player(move)
        if (player.device.base / "kept").is_dir():
            await player.stop()
            shutil.rmtree(player.device.base / "state", ignore_errors=True)
            shutil.copytree(player.device.base / "kept", player.device.base / "state")
            await self._forgot(player)

    async def _forgot(self, player: Player) -> None:
        for to in [t for t in self.links.values() if t.who == player.name]:
            if not (player.root / to.path).exists():
                await self._let_go(to.path, player)
        await super()._forgot(player)

    async def server_down(self, move: Move) -> None:
        """The server goes away."""
        if self._server is not None:
            server, self._server = self._server, None
            self._tell()
            await server.__aexit__(None, None, None)

    async def server_up(self, move: Move) -> None:
        """The server is back."""
        if self._server is None:
            limits = Limits(auth_calls=1_000_000)
            server = Server(
                self.base / "server", port=self._port, open_registration=True, limits=limits
            )
            await server.__aenter__()
            self._tell()
            self._server, self._port = server, int(server.url.rsplit(":", 1)[1])
            for player in self.players:
                self.world.server = player.device.server = server

    # ---- quiet --------------------------------------------------------------------------------

    async def _come_to_rest(self, *, live: bool) -> None:
        """Nobody does anything any more; wait until nothing changes."""
        await self.server_up(Move("server_up"))
        if live:
            await self._rest_live()
        for player in self.players:
            await player.stop()
        before = None
        for number in range(ROUNDS):
            for player in self.players:
                verdict = await player.once()
                assert verdict is not None
                assert verdict.exit_code == 0, f"{player.name}, round {number}: {verdict}"
            now = await self._traces()
            if now == before:
                return
            if live:
                assert before is None, f"live mirrors said in sync, and were not: {now} {before}"
            before = now
        raise AssertionError(f"no rest after {ROUNDS} rounds")

    async def _rest_live(self) -> None:
        for player in self.players:
            await player.start()
        before, since = None, asyncio.get_running_loop().time()
        async with asyncio.timeout(30):
            while asyncio.get_running_loop().time() - since < 1.0 or before is None:
                await asyncio.sleep(0.2)
                for player in self.players:
                    assert player.runs, f"{player.name} ended by itself"
                now = await self._traces()
                if now != before or any(p.device.report.state != "in sync" for p in self.players):
                    before, since = now, asyncio.get_running_loop().time()

    async def _traces(self) -> object:
        """What every write would change."""
        documents = {
            b: (await self.server.document(b)).fingerprint() for b in await self.world.blocks()
        }
        return documents, [p.stamps() for p in self.players]

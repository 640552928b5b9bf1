"""A game: devices, people at their editors, people in the app, a server, and everything that goes
wrong between them; then quiet, and the laws.
"""

import asyncio
import contextlib
import random
import shutil
from collections import Counter
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
from tests.sync.rig import Device, World, until
from tests.world import laws
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
    word,
)

ROUNDS = 10
"""So many rounds of passes are enough for everything to come to rest."""
TITLES = ("Boat", "Log", "Plan", "Été", "a.b", "Same")


@dataclass(frozen=True, slots=True)
class Link:
    """A link that somebody wrote into a file: who, to which path, and to which note if its file
    said so.
    """

    who: str
    path: str
    block: str | None


@dataclass
class Game:
    """The state of play. ``play`` is all there is to call."""

    base: Path
    seed: int
    players: list[Player] = field(default_factory=list)
    spoken: set[str] = field(default_factory=set)
    """Every unique word that anybody wrote."""
    excused: set[str] = field(default_factory=set)
    """Words that a person took away before any mirror could see them."""
    replaced: set[str] = field(default_factory=set)
    """Words of files that a person deleted to write another under the same name: a mirror that did
    not look in between sees a text put for another. They must be in the note's versions then.
    """
    copied: set[str] = field(default_factory=set)
    """Words that a person wrote into more than one note."""
    dropped: set[str] = field(default_factory=set)
    """Words that stood in a note which a person deleted, who saw them there."""
    links: dict[str, Link] = field(default_factory=dict)
    """The links written into files, by the word in (or before) each."""
    linking: set[str] = field(default_factory=set)
    """The words that were written before a link without a label, here or in the app."""
    gone: set[str] = field(default_factory=set)
    """Notes that somebody deleted once: others may not have heard of it when they link to them."""
    loose: set[str] = field(default_factory=set)
    """Those whose names nobody had any more when a mirror could read them."""
    told: list[str] = field(default_factory=list)
    """What happened, for whoever has to find out why."""
    _origin: dict[str, str] = field(default_factory=dict)
    """Where each word was written."""
    _deleted: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """The words of a deleted file, by device and path."""
    _server: Server | None = None
    _port: int = 0
    _now: str = "begin"

    async def play(self, moves: Sequence[Move]) -> None:
        """Carry the moves out, wait for quiet, and hold the laws."""
        rng = random.Random(self.seed)
        most = rng.choice((2, 2, 3) if self.is_contest else (1, 2, 2, 3))
        names, starts = "abc"[:most], rng.sample(STARTS, 3)
        async with self.begun(names, starts[: 1 if self.is_exact else 3]):
            if self.is_exact:
                await self._write(rng.sample(STYLED, 3))
            for number, move in enumerate(moves):
                self._now = f"{number} {move.verb}"
                await getattr(self, move.verb)(move)
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

    def _player(self, move: Move) -> Player:
        return self.players[move.who % len(self.players)]

    def _tell(self, *facts: object) -> None:
        self.told.append(f"{self._now}: {' '.join(map(str, facts))}")

    def word(self, *where: object) -> str:
        """A word that must not be lost from now on."""
        new = word(len(self.spoken))
        self.spoken.add(new)
        self._origin[new] = str(where[0]) if where else "app"
        self._tell(new, *where)
        return new

    # ---- an editor on a device ------------------------------------------------------------

    def _note(self, move: Move) -> tuple[Player, str] | None:
        player = self._player(move)
        notes = player.notes() if player.root.is_dir() else []
        return (player, notes[move.which % len(notes)]) if notes else None

    async def save(self, move: Move) -> None:
        """Load, change and save a note."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            with contextlib.suppress(FileNotFoundError):  # the mirror moved it just now
                await self._save(player, path, player.read(path), move.how)

    async def load(self, move: Move) -> None:
        """Open a note in an editor that keeps its text."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            player.buffers[path] = player.read(path)

    async def save_stale(self, move: Move) -> None:
        """Change what an editor loaded some time ago, and save it over what is there now."""
        player = self._player(move)
        if player.buffers:
            path = sorted(player.buffers)[move.which % len(player.buffers)]
            if not (player.root / path).exists():
                del player.buffers[path]
                return
            with contextlib.suppress(FileNotFoundError):
                if id_in(player.read(path)) is None:
                    # No mirror may have read what was there: it sees a new file with the id of
                    # another note's, as a copy is.
                    self.copied |= set(tokens(player.buffers[path]))
                await self._save(player, path, player.buffers[path], move.how)
                self._tell(player.name, "was stale")
                player.buffers[path] = player.read(path)

    async def _save(self, player: Player, path: str, loaded: str, how: int) -> None:
        front, body = split(loaded)
        text = front.raw + change(body, self.word(player.name, path), how)
        await self._excuse(set(tokens(player.read(path))) - set(tokens(text)), player)
        player.save(path, text, how)

    async def _excuse(self, words: set[str], player: Player) -> None:
        """These words left a file by a person's hand: only those must survive that came from
        elsewhere, where the mirror knew them already.
        """
        if words:
            new = {w for w in words if self._origin.get(w) == player.name}
            new |= words - await self._in_documents()
            self._tell(player.name, "took away", words, "unread", new)
            self.excused |= new

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

    async def new_note(self, move: Move) -> None:
        """A new file, in the root or in a folder."""
        player = self._player(move)
        folders = ["", *player.folders()]
        place = folders[move.how % len(folders)]
        name = f"{TITLES[move.which % len(TITLES)]}{'' if move.how % 3 else move.how}.md"
        path = f"{place}/{name}" if place else name
        if not (player.root / path).exists():
            self.replaced |= self._deleted.get((player.name, path), set())
            text = STARTS[move.which % len(STARTS)]
            with contextlib.suppress(FileNotFoundError):
                player.save(
                    path, change(text, self.word(player.name, path), move.how), move.how % 2
                )

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

    async def rename(self, move: Move) -> None:
        """Give a file another name."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            await self._move(player, path, str(Path(path).with_name(f"Named{move.how % 7}.md")))

    async def move(self, move: Move) -> None:
        """Put a file into another folder."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            folders = ["", *player.folders()]
            target = Path(folders[move.how % len(folders)]) / Path(path).name
            await self._move(player, path, str(target))

    async def _move(self, player: Player, old: str, new: str) -> None:
        if not (player.root / new).exists():
            await self._let_go(old, player)
            with contextlib.suppress(OSError):
                (player.root / old).rename(player.root / new)
                self._tell(player.name, old, "->", new)
                if old in player.buffers:
                    player.buffers[new] = player.buffers.pop(old)

    async def copy(self, move: Move) -> None:
        """Copy a file."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            new = player.root / Path(path).with_name(f"Copy{move.how}.md")
            if not new.exists():
                with contextlib.suppress(FileNotFoundError):
                    self.copied |= set(tokens(player.read(path)))
                    shutil.copy(player.root / path, new)

    async def delete(self, move: Move) -> None:
        """Delete a file."""
        if (chosen := self._note(move)) is not None:
            player, path = chosen
            with contextlib.suppress(FileNotFoundError):
                text = player.read(path)
                (player.root / path).unlink()  # at once: a mirror may write a newer text
                words = await self._forget(player, path, text)
                self._deleted.setdefault((player.name, path), set()).update(words)
                self._tell(player.name, "rm", path)
                if player.forgot:
                    # The mirror may never have seen the text that an editor loaded, and can't tell
                    # a save of it from one of the text it put there since.
                    player.buffers.pop(path, None)

    async def _forget(self, player: Player, path: str, text: str) -> set[str]:
        """A person deleted a file, and with it what stood in it; the words."""
        words, block = set(tokens(text)), id_in(text) or ""
        await self._excuse(words, player)
        self.dropped |= words
        self.gone.add(block)
        await self._let_go(path, player, block)
        return words

    async def make_folder(self, move: Move) -> None:
        """A new directory."""
        player = self._player(move)
        folders = ["", *player.folders()]
        with contextlib.suppress(OSError):
            (player.root / folders[move.how % len(folders)] / f"Dir{move.which % 4}").mkdir()

    async def rename_folder(self, move: Move) -> None:
        """Give a directory another name."""
        player = self._player(move)
        if folders := player.folders():
            path = Path(folders[move.which % len(folders)])
            await self._move(player, str(path), str(path.with_name(f"Dir{move.how % 9}")))

    async def move_folder(self, move: Move) -> None:
        """Put a directory into another one."""
        player = self._player(move)
        if folders := player.folders():
            old = Path(folders[move.which % len(folders)])
            above = [Path(), *(Path(f) for f in folders if not Path(f).is_relative_to(old))]
            await self._move(player, str(old), str(above[move.how % len(above)] / old.name))

    async def delete_folder(self, move: Move) -> None:
        """Delete a directory with everything in it."""
        player = self._player(move)
        if folders := player.folders():
            path = player.root / folders[move.which % len(folders)]
            texts = {n: n.read_text("utf-8") for n in path.rglob("*.md") if n.is_file()}
            shutil.rmtree(path, ignore_errors=True)
            for note, text in texts.items():
                await self._forget(player, str(note.relative_to(player.root)), text)
            self._tell(player.name, "rm -r", path)

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

    async def start(self, move: Move) -> None:
        """Start a mirror."""
        player = self._player(move)
        if not player.runs:
            await player.start()
            self._tell(player.name)

    async def stop(self, move: Move) -> None:
        """Stop a mirror in order."""
        await self._player(move).stop()
        self._tell(self._player(move).name)

    async def kill(self, move: Move) -> None:
        """Kill a mirror, now or some steps later."""
        after = 0 if move.which % 4 == 0 else move.how % 60
        await self._player(move).kill(after)
        self._tell(self._player(move).name, "after", after)

    async def pass_once(self, move: Move) -> None:
        """One pass and no more."""
        if self._server is not None:
            await self._player(move).once()
            self._tell(self._player(move).name)

    async def lose_cache(self, move: Move) -> None:
        """A device's state is gone, and what only it knew."""
        player = self._player(move)
        await player.stop()
        shutil.rmtree(player.device.base / "state", ignore_errors=True)
        await self._forgot(player)

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
        """What only a device's state knew is gone; so are the former names of files."""
        player.buffers.clear()
        player.forgot = True
        self._tell(player.name)
        texts = [player.read(path) for path in player.notes()]
        for block, count in Counter(map(id_in, texts)).items():
            if block is not None and count > 1:
                # What was saved under a former name looks like a copy from now on.
                self.copied |= {w for text in texts if id_in(text) == block for w in tokens(text)}
        for to in [t for t in self.links.values() if t.who == player.name]:
            if not (player.root / to.path).exists():
                await self._let_go(to.path, player)
        on_disks: set[str] = set()

        def read() -> bool:
            on_disks.update(w for p in self.players for n in p.notes() for w in tokens(p.read(n)))
            return True

        await until(read, "every file is read, none of which a mirror moves meanwhile")
        if self._server is not None:
            self.excused |= self.spoken - on_disks - await self._in_documents()
        else:
            self.excused |= self.spoken - on_disks

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

    async def wait(self, move: Move) -> None:
        """A moment passes."""
        await asyncio.sleep(move.how % 40 / 100)

    async def settle(self, move: Move) -> None:
        """Whoever runs gets everything done, if the server is there."""
        if self._server is not None:
            player = self._player(move)
            with contextlib.suppress(AssertionError):
                await until(
                    lambda: not player.runs or player.device.report.state == "in sync", "", 3.0
                )

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

"""What people do at their editors, and what happens to devices, whichever server there is."""

import asyncio
import contextlib
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heapsyncd.markdown.frontmatter import split
from tests.sync.rig import until
from tests.world.moves import Move
from tests.world.player import Player
from tests.world.text import STARTS, change, id_in, tokens, word

TITLES = ("Boat", "Log", "Plan", "Été", "a.b", "Same")


@dataclass
class BaseGame(ABC):
    """The devices of a game and what was written there. A game adds its server, and the laws."""

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
    """Words that may stand in more than one note, as a person copied one."""
    nameless: set[str] = field(default_factory=set)
    """Words of files without an id whose device lost its cache. Only the name tells which note
    such a file is: under another name than its note has by now, it is a new note.
    """
    dropped: set[str] = field(default_factory=set)
    """Words that stood in a note which a person deleted, who saw them there."""
    told: list[str] = field(default_factory=list)
    """What happened, for whoever has to find out why."""
    _origin: dict[str, str] = field(default_factory=dict)
    """Where each word was written."""
    _deleted: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """The words of a deleted file, by device and path."""
    _now: str = "begin"

    @abstractmethod
    async def play(self, moves: Sequence[Move]) -> None:
        """Carry the moves out, wait for quiet, and hold the laws."""

    @property
    @abstractmethod
    def is_up(self) -> bool:
        """Whether the server can be reached."""

    @abstractmethod
    async def _in_documents(self) -> set[str]:
        """The words that the server has; none while it is away."""

    async def _let_go(self, path: str, player: Player | None = None, block: str = "") -> None:
        """What stands at a path (or below it) on a device, or everywhere a block, gets another
        name or is deleted. A game of links overrides this.
        """
        return

    async def _carry_out(self, moves: Sequence[Move]) -> None:
        for number, move in enumerate(moves):
            self._now = f"{number} {move.verb}"
            await getattr(self, move.verb)(move)

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
        words = set(tokens(text))
        await self._excuse(words, player)
        self.dropped |= words
        await self._let_go(path, player, id_in(text) or "")
        return words

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

    async def rename_folder(self, move: Move) -> None:
        """Give a directory another name."""
        player = self._player(move)
        if folders := player.folders():
            path = Path(folders[move.which % len(folders)])
            await self._move(player, str(path), str(path.with_name(f"Dir{move.how % 9}")))

    # ---- devices and time ---------------------------------------------------------------------

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

    async def wait(self, move: Move) -> None:
        """A moment passes."""
        await asyncio.sleep(move.how % 40 / 100)

    async def pass_once(self, move: Move) -> None:
        """One pass and no more."""
        if self.is_up:
            await self._player(move).once()
            self._tell(self._player(move).name)

    async def settle(self, move: Move) -> None:
        """Whoever runs gets everything done, if the server is there."""
        if self.is_up:
            player = self._player(move)
            with contextlib.suppress(AssertionError):
                await until(
                    lambda: not player.runs or player.device.report.state == "in sync", "", 3.0
                )

    async def lose_cache(self, move: Move) -> None:
        """A device's state is gone, and what only it knew."""
        player = self._player(move)
        await player.stop()
        shutil.rmtree(player.device.base / "state", ignore_errors=True)
        await self._forgot(player)

    async def _forgot(self, player: Player) -> None:
        """What only a device's state knew is gone."""
        player.buffers.clear()
        player.forgot = True
        self._tell(player.name)
        texts = [player.read(path) for path in player.notes()]
        self.nameless |= {w for text in texts if id_in(text) is None for w in tokens(text)}
        for block, count in Counter(map(id_in, texts)).items():
            if block is not None and count > 1:
                # What was saved under a former name looks like a copy from now on.
                self.copied |= {w for text in texts if id_in(text) == block for w in tokens(text)}
        on_disks: set[str] = set()

        def read() -> bool:
            on_disks.update(w for p in self.players for n in p.notes() for w in tokens(p.read(n)))
            return True

        await until(read, "every file is read, none of which a mirror moves meanwhile")
        self.excused |= self.spoken - on_disks - await self._in_documents()

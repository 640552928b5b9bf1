"""Every step between a change and its arrival is a place to be killed at, or for the disk to fail.

Each scenario is carried out again and again, with words of its own, and ends one step later each
time. Whatever the step, the next start puts everything right.
"""

import errno
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from heapsyncd.document.edit import Target
from heapsyncd.errors import FolderTrouble, leaf_errors
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.report import Verdict
from tests.server.rig import with_map
from tests.world import laws
from tests.world.fast import fast
from tests.world.life import SYSCALLS, Life, watched
from tests.world.play import Game
from tests.world.player import Player
from tests.world.power import Loss, PowerCuts

LONG: Final = "HEAPSYNCD_LONG" in os.environ
"""Whether every statement fails once and every loss follows every change: takes minutes."""
SAMPLED: Final = 13
"""Else one of so many statements fails, others in each scenario, ..."""
LOSSES: Final[tuple[Loss, ...]] = ("bytes", "names", "both")
"""... and these take turns."""
MOST = 2000
"""A scenario with more steps than this does not end."""


class Stage:
    """A game with one device in it, and one note that is always there."""

    def __init__(self, game: Game, note: BlockId) -> None:
        self.game, self.note = game, note
        self.player: Player = game.players[0]

    @property
    def root(self) -> Path:
        """The heap's folder."""
        return self.player.root

    def word(self) -> str:
        """A word that must not be lost from now on."""
        return self.game.word()

    def path(self) -> Path:
        """Where the note's file is."""
        (found,) = [p for p in self.player.notes() if self.note in self.player.read(p)]
        return self.root / found

    async def app(self, block: BlockId, body: str | None = None, **target: object) -> None:
        """Somebody types in the app: the body's end, or the fields."""
        tree = None
        if body is not None:
            text = await self.game.world.text(block)
            tree = parse(f"{text}\n\n{body}\n".replace("\n", "\n\n"), NO_LINKS)
        await self.game.edit_in_app(block, Target(body=tree, **target))  # type: ignore[arg-type]

    async def run(self, life: Life) -> Verdict | None:
        """One pass of this life; None when it ended in it, or the disk's trouble ended it."""
        try:
            return await self.player.once(life)
        except BaseException as error:
            if all(isinstance(e, FolderTrouble) for e in leaf_errors(error)):
                return None
            raise

    async def put_right(self) -> None:
        """The next start: all is in sync, and the laws hold; one more writes nothing."""
        verdict = await self.run(Life())
        assert verdict is not None
        assert verdict.exit_code == 0, verdict
        await laws.hold(self.game)


Scenario = Callable[[Stage, int], Awaitable[None]]


async def a_save(stage: Stage, k: int) -> None:
    """A note's file is saved."""
    path = stage.path()
    path.write_text(f"{path.read_text()}\n{stage.word()} typed\n")


async def a_new_file(stage: Stage, k: int) -> None:
    """A file is made, in a new directory."""
    (stage.root / f"Dir{k}").mkdir()
    (stage.root / f"Dir{k}" / f"New{k}.md").write_text(f"{stage.word()}\n")


async def a_rename_with_an_edit(stage: Stage, k: int) -> None:
    """A file is renamed and edited at once."""
    path = stage.path()
    path.write_text(f"{path.read_text()}\n{stage.word()} typed\n")
    path.rename(path.with_name(f"Named{k}.md"))


async def a_deletion(stage: Stage, k: int) -> None:
    """A new note came by, and its file is deleted."""
    await a_new_file(stage, k)
    await stage.put_right()
    (stage.root / f"Dir{k}" / f"New{k}.md").unlink()
    (stage.root / f"Dir{k}").rmdir()


async def an_edit_in_the_app(stage: Stage, k: int) -> None:
    """Somebody types in the app."""
    await stage.app(stage.note, stage.word())


async def edits_on_both_sides(stage: Stage, k: int) -> None:
    """The file is saved while somebody types in the app."""
    await a_save(stage, k)
    await an_edit_in_the_app(stage, k)


async def a_title_and_an_unread_save(stage: Stage, k: int) -> None:
    """The app renames the note while its file is being saved."""
    await a_save(stage, k)
    await stage.app(stage.note, title=f"Titled {k}")


async def a_compaction_over_an_edit(stage: Stage, k: int) -> None:
    """The server takes up another history while an edit waits to be sent."""
    await edits_on_both_sides(stage, k)
    await stage.game.server.compact(stage.note)


async def a_new_note_in_the_app(stage: Stage, k: int) -> None:
    """A note is made in the app, in a new folder."""
    folder = await stage.game.world.add_named("folder", f"Place {k}")
    await stage.game.world.add(f"App {k}", f"{stage.word()}\n", add_tags=frozenset({folder}))


async def a_deletion_in_the_app(stage: Stage, k: int) -> None:
    """A note is deleted in the app."""
    block = await stage.game.world.add(f"App {k}", f"{stage.word()}\n")
    await stage.put_right()
    await stage.app(block, deleted_at_ms=1_760_000_000_000)


async def a_deletion_against_an_edit(stage: Stage, k: int) -> None:
    """A note is deleted in the app while its file is being saved."""
    await a_save(stage, k)
    await stage.app(stage.note, deleted_at_ms=1_760_000_000_000)


async def a_lost_cache_over_links(stage: Stage, k: int) -> None:
    """The cache of notes that link to one another is gone; one was edited since, one is new."""
    one, two = (stage.root / "Linked" / f"{name}.md" for name in ("One", "Two"))
    if not one.exists():
        one.parent.mkdir(exist_ok=True)
        one.write_text(f"see [[Two]] and [[Two|{stage.word()}]]\n")
        two.write_text(f"see [[One]] and [[One|{stage.word()}]]\n")
        await stage.put_right()
    shutil.rmtree(stage.player.device.base / "state")
    typed = f"{stage.word()} typed"
    if k % 4 == 0:
        (stage.root / f"New{k}.md").write_text(f"{stage.word()}, see [[One]]\n")
        typed += f", to [[New{k}]]"
    one.write_text(f"{one.read_text()}\n{typed}\n")


async def an_edit_after_a_deletion(stage: Stage, k: int) -> None:
    """A note in a folder is deleted here, and then edited by somebody who has not heard of it."""
    await a_new_file(stage, k)
    await stage.put_right()
    path = stage.root / f"Dir{k}" / f"New{k}.md"
    block = stage.player.device.id_of(f"Dir{k}/New{k}.md")
    path.unlink()
    path.parent.rmdir()
    await stage.put_right()
    await stage.app(block, stage.word())


async def deleted_for_good_over_an_edit(stage: Stage, k: int) -> None:
    """A note is deleted for good in the app while its file is being saved."""
    await a_new_file(stage, k)
    await stage.put_right()
    path = stage.root / f"Dir{k}" / f"New{k}.md"
    block = stage.player.device.id_of(f"Dir{k}/New{k}.md")
    path.write_text(f"{path.read_text()}\n{stage.word()} typed\n")
    gone = with_map("meta_v0", {"permanently_deleted_at": 1_760_000_000_000})
    await stage.game.server.apply(block, gone)


SCENARIOS: list[Scenario] = [
    a_save,
    a_new_file,
    a_rename_with_an_edit,
    a_deletion,
    an_edit_in_the_app,
    edits_on_both_sides,
    a_title_and_an_unread_save,
    a_compaction_over_an_edit,
    a_new_note_in_the_app,
    a_deletion_in_the_app,
    a_deletion_against_an_edit,
    a_lost_cache_over_links,
    an_edit_after_a_deletion,
    deleted_for_good_over_an_edit,
]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    with fast():
        async with Game(tmp_path, 0).begun(("a",), ("# Note\n\namber birch\n",)) as game:
            (note,) = await game.world.blocks()
            yield Stage(game, note)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
async def test_kills(stage: Stage, scenario: Scenario) -> None:
    """Killed before any transaction or change of the folder: the next start loses and doubles
    nothing."""
    with watched():
        for k in count():
            assert k < MOST
            await scenario(stage, k)
            life = Life(ends_at=k)
            await stage.run(life)
            await stage.put_right()
            if not life.dead:
                return


def _disk_full(_life: Life, name: str) -> Exception:
    if name.startswith("sql"):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        return error
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _failing_at(k: int) -> Life:
    return Life(
        fails=lambda life, name: _disk_full(life, name) if len(life.steps) == k + 1 else None
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
async def test_failures(stage: Stage, scenario: Scenario) -> None:
    """A statement or a call that fails (disk full): nothing is lost, memory is not ahead of what
    was stored, "in sync" is only said when it is true, and the next pass puts it right."""
    with watched(statements=True):
        for k in count(0 if LONG else SCENARIOS.index(scenario), 1 if LONG else SAMPLED):
            assert k < MOST
            await scenario(stage, k)
            life = _failing_at(k)
            verdict = await stage.run(life)
            await laws.memory_is_what_was_stored(stage.player)
            if verdict is not None and verdict.exit_code == 0:
                # A temporary file that could not be removed is left until the next pass.
                is_left = life.steps[k : k + 1] == ["unlink"]
                await laws.hold(stage.game, may_leave_temporary=is_left)
            await stage.put_right()
            if len(life.steps) <= k:
                return


def _ending_after(call: int) -> Life:
    """A life that ends after so many changes of the folder."""
    calls = count(1)

    def look(life: Life, name: str) -> None:
        if name in SYSCALLS and next(calls) == call:
            life.ends_at = len(life.steps)

    return Life(fails=look)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
async def test_power_cuts(stage: Stage, scenario: Scenario) -> None:
    """The power fails after any change of the folder, and what was not synced is gone, be it bytes
    or names: no empty file is taken for an edit, nothing is lost or doubled."""
    power = PowerCuts(stage.game.base / "aside")
    with power.watched(), watched():
        for k in count():
            assert k < MOST
            await scenario(stage, k)
            life = _ending_after(1 + (k // len(LOSSES) if LONG else k))
            await stage.run(life)
            if life.dead:
                power.cut(LOSSES[k % len(LOSSES)])
            await stage.put_right()
            power.all_safe()
            if not life.dead:
                return

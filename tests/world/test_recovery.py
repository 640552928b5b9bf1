"""Old states, lost answers, odd saves: what goes wrong around a mirror, one thing at a time."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.cache import heaps
from heapsyncd.document.edit import Target
from heapsyncd.errors import OtherServer, Unreachable
from heapsyncd.model import ChangePage
from heapsyncd.server import Server
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.edits import create
from heapsyncd.sync.merge.link_meanings import mentions
from heapsyncd.sync.scan import scanner
from tests.server.rig import with_map
from tests.sync.rig import Device, until
from tests.world import laws
from tests.world.fast import fast
from tests.world.life import Killed
from tests.world.moves import Move
from tests.world.play import Game
from tests.world.player import Player
from tests.world.text import tokens

START = "# Note\n\namber birch\n\ncloud delta\n"


@pytest.fixture
async def game(tmp_path: Path) -> AsyncIterator[Game]:
    with fast():
        async with Game(tmp_path, 0).begun(("a",), (START,)) as game:
            yield game


@pytest.fixture
def one(game: Game) -> Player:
    return game.players[0]


async def quiet(game: Game) -> None:
    """One pass of every device puts everything right, and the laws hold."""
    for player in [*game.players, *game.players[:-1]]:  # who came first hears of who came last
        verdict = await player.once()
        assert verdict is not None
        assert verdict.exit_code == 0, verdict
    await laws.hold(game)


async def edit(game: Game, player: Player, path: str = "Boat.md") -> str:
    """Write a new word at the end of a file."""
    word = game.word(player.name)
    player.save(path, player.read(path).rstrip("\n") + f" {word}\n", 1)
    return word


async def in_app(game: Game) -> None:
    """Write a new word into the first note, in the app."""
    await game.app_edit(Move("app_edit", how=3))


async def test_older_cache(game: Game, one: Player) -> None:
    """A cache put back from a backup is old: nothing is pushed or doubled again."""
    state, backup = one.device.base / "state", one.device.base / "backup"
    await edit(game, one)
    await quiet(game)
    shutil.copytree(state, backup)
    await edit(game, one)
    await in_app(game)
    await quiet(game)
    await edit(game, one)
    shutil.rmtree(state)
    backup.rename(state)
    await quiet(game)


@contextlib.asynccontextmanager
async def restored(game: Game) -> AsyncIterator[None]:
    """What happens within, the server forgets: it is put back as it was before."""
    await game.server_down(Move("server_down"))
    shutil.copytree(game.base / "server", game.base / "backup")
    await game.server_up(Move("server_up"))
    yield
    await game.server_down(Move("server_down"))
    shutil.rmtree(game.base / "server")
    (game.base / "backup").rename(game.base / "server")
    await game.server_up(Move("server_up"))


async def test_server_from_a_backup(game: Game, one: Player) -> None:
    """A server put back from a backup gets again what it lost; nothing is deleted here."""
    await quiet(game)
    async with restored(game):
        await edit(game, one)
        one.save("New.md", f"{game.word(one.name)}\n", 0)
        await quiet(game)
    await edit(game, one)
    await quiet(game)


@pytest.mark.parametrize("live", ["all", "off"])
async def test_server_from_a_backup_while_it_runs(game: Game, one: Player, live: str) -> None:
    """A running mirror notices it too, and what was edited there since hides nothing."""
    one.device.live = live
    async with restored(game):
        await one.start()
        await edit(game, one)
        one.save("New.md", f"{game.word(one.name)}\n", 0)
        await until(lambda: "id:" in one.read("New.md"), "the note is known")
        await one.device.in_sync()
    for _ in range(5):
        await in_app(game)
    await one.device.in_sync()
    await one.stop()
    await quiet(game)


async def test_server_from_a_backup_that_others_went_on_with(game: Game, one: Player) -> None:
    """A note that was edited on the restored server before it was heard of again lacks nothing."""
    await quiet(game)
    async with restored(game):
        await edit(game, one)
        await quiet(game)
    await in_app(game)
    await quiet(game)


@pytest.mark.parametrize("others", [False, True])
async def test_server_from_a_backup_of_an_earlier_version(
    game: Game, one: Player, others: bool
) -> None:
    """A document that was compacted after the backup was made: what it forgot is said again, and
    what was typed on either side since stands beside it.
    """
    (block,) = await game.world.blocks()
    await quiet(game)
    async with restored(game):
        await edit(game, one)
        await quiet(game)
        await game.server.compact(block)
        await quiet(game)
        await edit(game, one)
        await quiet(game)
    if others:
        await in_app(game)
    await edit(game, one)
    await quiet(game)
    assert await game.server.version(block) == 1
    assert game.spoken <= set(tokens(await game.world.text(block)))
    assert (await game.world.text(block)).count("amber") == 1


async def test_an_earlier_version_while_it_runs(game: Game, one: Player) -> None:
    """A running mirror tells it again at once."""
    (block,) = await game.world.blocks()

    async def told() -> bool:
        return game.spoken <= set(tokens(await game.world.text(block)))

    async with restored(game):
        await one.start()
        await one.device.in_sync()
        await game.server.compact(block)
        await edit(game, one)
        await until(told, "the later version has it")
    await edit(game, one)
    await until(told, "the earlier version has both")
    await one.stop()
    await quiet(game)


async def test_deleted_for_good_on_the_server(game: Game, one: Player) -> None:
    """What the server deleted for good is not created there again."""
    await quiet(game)
    (block,) = await game.world.blocks()
    await game.server.apply(block, with_map("meta_v0", {"permanently_deleted_at": 5}))
    for _ in range(2):
        verdict = await one.once()
        assert verdict is not None
        assert verdict.exit_code == 0, verdict
    assert one.notes() == []


async def test_full_folder_meets_full_server(game: Game, one: Player) -> None:
    """A folder copied from another device, an edit in it: its notes are known by their ids."""
    await quiet(game)
    other = Player("b", Device(game.server, game.base / "b"))
    shutil.copytree(one.device.base / "folder", other.device.base / "folder")
    game.players.append(other)
    await edit(game, other)
    await in_app(game)
    await quiet(game)
    await quiet(game)


async def test_a_copy_beside_its_renamed_original(game: Game, one: Player) -> None:
    """A lost cache, a note renamed in the app and a copy of its file: the older file is the note,
    and links to its former name still mean it.
    """
    (block,) = await game.world.blocks()
    await game.world.add("Log", f"see {game.word()}[[{block}]]\n")
    await quiet(game)
    shutil.copy(one.root / "Boat.md", one.root / "A copy.md")
    game.copied |= set(tokens(one.read("Boat.md")))
    shutil.rmtree(one.device.base / "state")
    await game.app_title(Move("app_title", how=4))
    await quiet(game)
    log = (await game.world.titles())["Log"]
    assert mentions((await game.server.document(log)).view()) == {block}


async def test_plain_files_meet_their_notes(game: Game, one: Player) -> None:
    """A folder of files without ids: the same texts in the same places are the same notes."""
    other = Player("b", Device(game.server, game.base / "b"))
    other.root.mkdir(parents=True)
    (other.root / "Boat.md").write_text(START)
    game.players.append(other)
    await quiet(game)


async def test_another_server(game: Game, one: Player, tmp_path: Path) -> None:
    """A cache is not used for another server, whose notes do not get here, nor ours there."""
    async with Server(tmp_path / "other", open_registration=True) as other:
        await other.add_block(await other.add_heap("Home"), "document", "Foreign")
        one.device.server = other
        word = await edit(game, one)
        with pytest.raises(OtherServer):
            await one.once()
    one.device.server = game.server
    assert word in one.read("Boat.md")
    await quiet(game)
    assert one.notes() == ["Boat.md"]


async def test_deleted_on_both_sides(game: Game, one: Player) -> None:
    """A note deleted in the app and in the folder is deleted."""
    await game.app_delete(Move("app_delete"))
    (one.root / "Boat.md").unlink()
    await quiet(game)
    assert one.notes() == []


async def test_made_on_both_sides(game: Game, one: Player) -> None:
    """Two notes made under one name, here and there, are two notes."""
    await game.world.add("Plan", f"{game.word()}\n")
    one.save("Plan.md", f"{game.word(one.name)}\n", 0)
    await quiet(game)
    assert len(one.notes()) == 3


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"one\r\n\r\ntwo three\r\n", id="CRLF"),
        pytest.param(b"\xef\xbb\xbfone\n\ntwo three\n", id="BOM"),
        pytest.param(b"one\n\ntwo three", id="no last newline"),
        pytest.param(b"one\r\n\ntwo three\n", id="mixed"),
    ],
)
async def test_line_ends(game: Game, one: Player, text: bytes) -> None:
    """Line ends, a BOM and a missing newline stay as they are, through an edit in the app too."""
    (one.root / "Odd.md").write_bytes(text)
    await quiet(game)
    body = text.removeprefix(b"\xef\xbb\xbf")
    assert (one.root / "Odd.md").read_bytes().endswith(body)
    block = (await game.world.titles())["Odd"]
    word = game.word()
    await game.world.change(block, body=f"one {word}\n\ntwo three\n")
    await quiet(game)
    changed = (one.root / "Odd.md").read_bytes()
    assert changed.endswith(body.replace(b"one", f"one {word}".encode()))
    assert changed.startswith(b"\xef\xbb\xbf") == text.startswith(b"\xef\xbb\xbf")


async def test_a_save_in_two_halves(game: Game, one: Player) -> None:
    """A file that is empty for a while in the midst of a save deletes nothing."""
    block = (await game.world.titles())["Boat"]
    await one.start()
    await one.device.in_sync()
    text = one.read("Boat.md")
    (one.root / "Boat.md").write_text("")
    await asyncio.sleep(0.15)  # shorter than the grace: this is the situation, not a wait for it
    assert "amber" in await game.world.text(block)
    word = game.word(one.name)
    (one.root / "Boat.md").write_text(f"{text}\n{word}\n")
    await until(lambda: one.device.report.state == "in sync", "in sync")
    await one.stop()
    await quiet(game)
    assert "amber" in await game.world.text(block)


async def test_gone_for_a_moment(game: Game, one: Player) -> None:
    """A file that is gone for a moment and comes back is not deleted."""
    block = (await game.world.titles())["Boat"]
    await one.start()
    await one.device.in_sync()
    (one.root / "Boat.md").rename(game.base / "away.md")
    await asyncio.sleep(0.05)  # shorter than the patience with what is gone
    (game.base / "away.md").rename(one.root / "Boat.md")
    await until(lambda: one.device.report.state == "in sync", "in sync")
    await one.stop()
    assert (await game.server.document(block)).fields().deleted_at_ms is None
    await quiet(game)


async def test_the_folder_is_renamed_while_it_runs(game: Game, one: Player) -> None:
    """A folder that is gone holds everything up; nothing is deleted, nothing made anew."""
    block = (await game.world.titles())["Boat"]
    await one.start()
    await one.device.in_sync()
    aside = one.root.with_name("Elsewhere")
    one.root.rename(aside)
    await until(lambda: one.device.report.state == "error", "an error")
    await in_app(game)
    assert not one.root.exists()
    assert (await game.server.document(block)).fields().deleted_at_ms is None
    aside.rename(one.root)
    await until(lambda: one.device.report.state == "in sync", "in sync")
    await one.stop()
    await quiet(game)


async def test_an_answer_is_lost(game: Game, one: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has the push, its answer never came: sent again, and nothing is doubled."""
    push = HeaperBackend.push
    lost: list[object] = []

    async def unheard(self: HeaperBackend, *args: object) -> object:
        results = await push(self, *args)  # type: ignore[arg-type]
        if len(lost) < 2:
            lost.append(results)
            raise Unreachable("the answer got lost")
        return results

    monkeypatch.setattr(HeaperBackend, "push", unheard)
    await edit(game, one)
    one.save("New.md", f"{game.word(one.name)}\n", 0)
    await quiet(game)
    assert len(lost) == 2


@pytest.mark.parametrize(
    "cursor", [0, 1, 1 << 45, 1 << 60], ids=["lost", "regressed", "ahead", "refused"]
)
async def test_a_cursor_that_lies(game: Game, one: Player, cursor: int) -> None:
    """A cursor that went astray costs a look at everything at most, never a note."""
    async with await open_cache(one.device.account, one.device.base / "state") as db:
        await db.write(lambda tx: heaps.set_cursor(tx, game.heap, cursor))
    await in_app(game)
    await edit(game, one)
    await quiet(game)
    assert one.notes() == ["Boat.md"]


async def test_an_empty_answer_deletes_nothing(
    game: Game, one: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that lists nothing (any more) is not believed to have deleted everything."""

    async def nothing(*_: object) -> ChangePage:
        return ChangePage((), (), 1, more=False)

    async def no_rows(*_: object) -> AsyncIterator[object]:
        empty: tuple[object, ...] = ()
        for row in empty:
            yield row

    with monkeypatch.context() as patch:
        patch.setattr(HeaperBackend, "changes", nothing)
        patch.setattr(HeaperBackend, "rows", no_rows)
        await one.once()
    assert one.notes() == ["Boat.md"]
    await quiet(game)


async def test_own_writes_are_no_edits(game: Game, one: Player) -> None:
    """What the mirror writes itself is not sent back, however late it is noticed."""
    await in_app(game)
    await one.start()
    await one.device.in_sync()
    block = (await game.world.titles())["Boat"]
    before = (await game.server.document(block)).fingerprint()
    (one.root / "Boat.md").touch()
    await until(lambda: one.device.report.state == "in sync", "in sync")
    await one.stop()
    await quiet(game)
    assert (await game.server.document(block)).fingerprint() == before


async def test_http_alone(game: Game, one: Player) -> None:
    """Without a live connection everything converges all the same."""
    one.device.live = "off"
    await one.start()
    await in_app(game)
    word = await edit(game, one)
    block = (await game.world.titles())["Boat"]

    async def there() -> bool:
        return word in await game.world.text(block)

    await until(there, "the word in the document")
    await one.stop()
    await quiet(game)


async def test_the_server_restarts(game: Game, one: Player) -> None:
    """A server that restarts in the midst of live edits gets each once."""
    await one.start()
    await one.device.in_sync()
    for _ in range(3):
        await in_app(game)
        await edit(game, one)
        await game.server_down(Move("server_down"))
        await edit(game, one)
        await game.server_up(Move("server_up"))
        await until(lambda: one.device.report.state == "in sync", "in sync")
    await one.stop()
    await quiet(game)


async def killed_at(one: Player, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A pass that ends when it comes to a step of the scanner."""
    reached: list[str] = []

    async def killed(*_: object) -> None:
        reached.append(step)
        raise Killed(step)

    with monkeypatch.context() as patch:
        patch.setattr(scanner, step, killed)
        await one.once()
    assert reached


@pytest.mark.parametrize(("edited", "killed"), [(False, False), (True, False), (True, True)])
async def test_deleted_elsewhere_while_the_cache_was_lost(
    game: Game, one: Player, monkeypatch: pytest.MonkeyPatch, *, edited: bool, killed: bool
) -> None:
    """Its file goes as well; one that was edited comes back as the note it was, also if the first
    pass was killed before it looked at the files.
    """
    (block,) = await game.world.blocks()
    await quiet(game)
    shutil.rmtree(one.device.base / "state")
    await game.app_delete(Move("app_delete"))
    if edited:
        await edit(game, one)
    if killed:
        await killed_at(one, monkeypatch, "bind_or_create")
    await quiet(game)
    assert await game.world.blocks() == [block]
    assert one.notes() == (["Boat.md"] if edited else [])


async def test_renamed_before_it_was_read_after_a_lost_cache(
    game: Game, one: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was known to be a note, and not read when the pass was killed, is renamed: it is
    no copy.
    """
    (block,) = await game.world.blocks()
    await quiet(game)
    shutil.rmtree(one.device.base / "state")
    await edit(game, one)
    await killed_at(one, monkeypatch, "notes_saved")
    (one.root / "Boat.md").rename(one.root / "Named.md")
    await edit(game, one, "Named.md")
    await quiet(game)
    assert await game.world.blocks() == [block]
    assert one.notes() == ["Named.md"]


async def test_copies_while_the_cache_was_lost(game: Game, one: Player) -> None:
    """Of two files with one id, one is the note and the other becomes a note of its own."""
    shutil.rmtree(one.device.base / "state")
    await edit(game, one)
    shutil.copy(one.root / "Boat.md", one.root / "Copy.md")
    game.copied |= game.spoken
    await quiet(game)
    assert sorted(one.notes()) == ["Boat.md", "Copy.md"]


@pytest.mark.parametrize("copy", ["A copy.md", "Dir/Boat.md"])
async def test_which_copy_is_the_note_while_the_cache_was_lost(
    game: Game, one: Player, copy: str
) -> None:
    """The file with the note's title, in its folder, is the note; the other one is new."""
    (block,) = await game.world.blocks()
    shutil.rmtree(one.device.base / "state")
    (one.root / "Dir").mkdir()
    shutil.copy(one.root / "Boat.md", one.root / copy)
    word = await edit(game, one)
    for path in ("Boat.md", copy):
        os.utime(one.root / path, (0, 0))  # both are read at once
    await quiet(game)
    assert one.device.id_of("Boat.md") == block
    assert word in await game.world.text(block)
    assert sorted(one.notes()) == sorted(["Boat.md", copy])


async def test_the_copy_that_is_kept_up_to_date_is_the_note(game: Game, one: Player) -> None:
    """Where names decide nothing: a mirror wrote news into the original, and not into the copy,
    which may be the older file.
    """
    (block,) = await game.world.blocks()
    copy = one.read("Boat.md")
    await edit(game, one)
    await game.edit_in_app(block, Target(title="Renamed elsewhere"))
    await one.stop()
    assert (await one.once()) is not None
    (one.root / "Renamed elsewhere.md").rename(one.root / "Boat.md")
    one.save("A copy.md", copy, 0)
    os.utime(one.root / "A copy.md", (0, 0))
    shutil.rmtree(one.device.base / "state")
    await quiet(game)
    assert one.device.id_of("Renamed elsewhere.md") == block


async def test_a_new_note_that_could_not_be_stored(
    game: Game, one: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed transaction is not taken for done: "in sync" means that the file has its id."""
    store = create._store_created
    failed: list[sqlite3.Error] = []

    def full(*args: object) -> None:
        store(*args)  # type: ignore[arg-type]
        if not failed:
            failed.append(sqlite3.OperationalError("database or disk is full"))
            failed[0].sqlite_errorcode = sqlite3.SQLITE_FULL
            raise failed[0]

    monkeypatch.setattr(create, "_store_created", full)
    one.save("New.md", f"{game.word(one.name)}\n", 0)
    await quiet(game)
    assert failed
    assert "id:" in one.read("New.md")


async def test_deleted_before_its_id_was_written(
    game: Game, one: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new note that was sent but has no id in its file yet is deleted with its file: what we
    wrote into the document ourselves is no edit of others."""

    async def not_yet(*_: object, **__: object) -> bool:
        return False

    with monkeypatch.context() as patch:
        patch.setattr("heapsyncd.sync.runtime.heap.publish", not_yet)
        patch.setattr("heapsyncd.sync.edits.create.write_planned", not_yet)
        await one.start()
        one.save("New.md", f"{game.word(one.name)}\n", 0)
        path = one.root / "New.md"

        async def titled() -> bool:
            return "New" in await game.world.titles()

        await until(titled, "the note on the server")
        await until(lambda: not one.device.report.heaps[game.heap].pending_up, "sent")
        await one.end()
    assert "id:" not in path.read_text()
    path.unlink()
    await quiet(game)
    assert list(await game.world.titles()) == ["Boat"]

"""What happens on either side while devices can't reach each other, and what becomes of it."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heapsyncd.document.edit import Target
from heapsyncd.folder.disk import HeapFolder, PathChanged
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from tests.sync.rig import until
from tests.world import laws
from tests.world.fast import fast
from tests.world.moves import Move
from tests.world.play import Game
from tests.world.player import Player

START = "amber birch\n\ncloud delta\n\nember fjord\n"


@pytest.fixture
async def game(tmp_path: Path) -> AsyncIterator[Game]:
    with fast():
        async with Game(tmp_path, 0).begun(("a", "b"), (START,)) as game:
            yield game


async def offline(game: Game, player: Player, path: str, body: str) -> None:
    """A device that can't reach the server reads a save; it is not sent."""
    await game.server_down(Move("server_down"))
    await player.start()
    front = player.read(path).removesuffix(START)
    player.save(path, front + body, 1)
    await until(lambda: any(h.pending_up for h in player.device.report.heaps.values()), "read")
    await player.stop()
    await game.server_up(Move("server_up"))


async def quiet(game: Game) -> None:
    """Passes of every device put everything right, and the laws hold."""
    for player in [*game.players, *game.players[:-1]]:
        verdict = await player.once()
        assert verdict is not None
        assert verdict.exit_code == 0, verdict
    await laws.hold(game)


async def test_a_paragraph_deleted_here_is_edited_there(game: Game) -> None:
    """A paragraph that was deleted offline, while somebody typed into it, comes back with that."""
    a, _ = game.players
    await offline(game, a, "Boat.md", "amber birch\n\nember fjord\n")
    (block,) = await game.world.blocks()
    body = START.replace("cloud", f"cloud {game.word('app')}")
    await game.edit_in_app(block, Target(body=parse(body, NO_LINKS)))
    await quiet(game)
    assert await game.world.text(block) == body.replace("\n\n", "\n").strip()


async def test_a_paragraph_deleted_there_is_edited_here(game: Game) -> None:
    """What was typed offline into a paragraph that was deleted meanwhile is kept."""
    a, _ = game.players
    word = game.word(a.name)
    await offline(game, a, "Boat.md", START.replace("cloud", f"cloud {word}"))
    (block,) = await game.world.blocks()
    await game.edit_in_app(block, Target(body=parse("amber birch\n\nember fjord\n", NO_LINKS)))
    await quiet(game)
    assert await game.world.text(block) == f"amber birch\ncloud {word} delta\nember fjord"


async def test_both_know_nothing_of_each_other(game: Game) -> None:
    """Two devices offline, one deletes what the other types into: the word is there once."""
    a, b = game.players
    word = game.word(b.name)
    await offline(game, a, "Boat.md", "ember fjord\n")
    await offline(game, b, "Boat.md", START.replace("cloud", f"cloud {word}"))
    await quiet(game)
    (block,) = await game.world.blocks()
    assert (await game.world.text(block)).count(word) == 1


@pytest.mark.parametrize("text", ["quite another text, {}\n", f"{START}\n{{}}\n"])
async def test_a_number_used_again(game: Game, text: str) -> None:
    """A new file that got the inode of a deleted one is a new note, also if both began as the same
    template.
    """
    a, _ = game.players
    (block,) = await game.world.blocks()
    word = game.word(a.name)
    (a.root / "Boat.md").write_text(text.format(word))
    (a.root / "Boat.md").rename(a.root / "New.md")
    await quiet(game)
    assert (await game.server.document(block)).fields().deleted_at_ms is not None
    assert "amber" in await game.world.text(block)
    assert list(await game.world.titles()) == ["New"]
    assert word in a.read("New.md")


async def test_a_place_that_is_taken_still(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note whose place another has, which can't be moved yet, waits; it overwrites nothing."""
    a, _ = game.players
    await game.world.add("Plan", f"{game.word()}\n")
    await game.server_down(Move("server_down"))
    await a.start()
    a.save("Plan.md", f"{game.word(a.name)}\n", 0)
    await until(lambda: any(h.pending_up for h in a.device.report.heaps.values()), "read")
    await a.stop()
    await game.server_up(Move("server_up"))
    move = HeapFolder.move
    refused: list[str] = []

    async def moved(self: HeapFolder, old: str, new: str) -> None:
        if old == "Plan.md" and not refused:
            refused.append(new)
            raise PathChanged(old, "it changed in the meantime")
        await move(self, old, new)

    monkeypatch.setattr(HeapFolder, "move", moved)
    await quiet(game)
    assert refused == ["Plan (2).md"]


async def test_two_versions_without_a_base(game: Game) -> None:
    """A lost cache: what stands in both is there once, in code too; what either has is kept."""
    a, _ = game.players
    (block,) = await game.world.blocks()
    code = "```py\n{} = {} + 1\n```\n"
    await game.world.change(block, body=code.format("ember", "fjord"))
    await quiet(game)
    shutil.rmtree(a.device.base / "state")
    front = a.read("Boat.md").removesuffix(code.format("ember", "fjord"))
    a.save("Boat.md", front + code.format(game.word(a.name), "fjord"), 1)
    await game.world.change(block, body=code.format("ember", game.word()))
    await quiet(game)
    assert (await game.world.text(block)).count("+ 1") == 1

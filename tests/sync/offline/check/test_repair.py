"""Damage of the cache, the folder and the server is found and repaired, and no text is lost."""

import contextlib
import hashlib
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heapsyncd.cache import history
from heapsyncd.cache.crash_marks import AtWork
from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.server import Server
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.offline.check.account import check
from heapsyncd.sync.offline.check.findings import Checked
from heapsyncd.sync.offline.check.repair import repair
from tests.oneheap.mirror import Mirror
from tests.oneheap.service import Oneheap
from tests.sync.rig import Device, World
from tests.world.fast import fast


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


async def looked(device: Device, offline: str | None = None) -> Checked:
    state = device.base / "state"
    return await check(device.account, state, lambda _: None, offline=offline, is_running=False)


async def mended(device: Device, checked: Checked) -> list[str]:
    """What was repaired, by path."""
    done, _ = await repair(device.account, device.base / "state", checked, offline=None)
    return [f.path for f in done]


def cache(device: Device) -> sqlite3.Connection:
    """The cache, for hands that damage it: references are not checked."""
    return sqlite3.connect(device.base / "state" / "home.sqlite3", isolation_level=None)


def stored(device: Device) -> list[str]:
    """Everything in the cache."""
    with contextlib.closing(cache(device)) as db:
        return list(db.iterdump())


Damage = Callable[[Device, sqlite3.Connection, BlockId, Path], None]


def _sql(*statements: str) -> Damage:
    def work(_device: Device, db: sqlite3.Connection, block: BlockId, _file: Path) -> None:
        for statement in statements:
            db.execute(statement, {"block": block} if ":block" in statement else {})

    return work


def _rot(_device: Device, db: sqlite3.Connection, block: BlockId, file: Path) -> None:
    """Another content, and nothing that says so: the stamps are those that the cache knows."""
    file.write_bytes(file.read_bytes().replace(b"text", b"TEXT"))
    stat = file.stat()
    db.execute(
        "UPDATE entry SET mtime_ns = ?, ctime_ns = ? WHERE block_id = ?",
        (stat.st_mtime_ns, stat.st_ctime_ns, block),
    )


def _vanish(_device: Device, db: sqlite3.Connection, block: BlockId, file: Path) -> None:
    db.execute("DELETE FROM entry WHERE block_id = ?", (block,))
    file.unlink()


DAMAGE: dict[str, tuple[str, Damage]] = {
    "Unreadable": (
        "can't be read",
        _sql("UPDATE log SET data = x'0102ff' WHERE block_id = :block"),
    ),
    "Gap": (
        "updates of its document are missing",
        _sql("DELETE FROM log WHERE block_id = :block"),
    ),
    "Vector": (
        "not those that it should have",
        _sql("UPDATE block SET state_vector = x'010105' WHERE id = :block"),
    ),
    "Text": (
        "its last text in the cache is damaged",
        _sql("UPDATE rendition SET text = x'00' WHERE block_id = :block"),
    ),
    "Title": ("another title", _sql("UPDATE block SET title = 'Wrong' WHERE id = :block")),
    "Number": ("a number in use", _sql("UPDATE block SET seq = 0 WHERE id = :block")),
    "Orphan": ("not its block", _sql("DELETE FROM block WHERE id = :block")),
    "Rot": ("nothing says that it was saved", _rot),
    "Vanished": ("it has no file", _vanish),
    "Unknown": (
        "the server has it and the cache does not",
        _sql(
            "DELETE FROM entry WHERE block_id = :block",
            *(
                f"DELETE FROM {t} WHERE block_id = :block"
                for t in ("log", "rendition", "search_row")
            ),
            "DELETE FROM block WHERE id = :block",
        ),
    ),
}


async def test_every_damage_is_found_and_repaired(world: World) -> None:
    """One note each: what is wrong is said, the repair keeps every text, and the next pass ends
    clean; also where the file has an edit that was not read yet.
    """
    device = world.device()
    blocks = {name: await world.add(name, f"The text of {name}.") for name in DAMAGE}
    await world.add("Untouched", "The text of Untouched.")
    await device.synced()
    assert (await looked(device)).findings == []
    with cache(device) as db:
        for name, (_, damage) in DAMAGE.items():
            damage(device, db, blocks[name], device.root / f"{name}.md")
    db.close()
    with (device.root / "Unreadable.md").open("a") as file:
        file.write("\nTyped before the repair.\n")
    checked = await looked(device)
    found: dict[str, list[str]] = {}
    for finding in checked.findings:
        found.setdefault(finding.path.removesuffix(".md"), []).append(finding.what)
    for name, (what, _) in DAMAGE.items():
        assert any(what in one for one in found.get(name, [])), (name, found)
    assert "Untouched" not in found
    await mended(device, checked)
    assert (await looked(device)).damage == []
    await device.synced()
    assert (await looked(device)).findings == []
    notes = device.notes()
    for name in (*DAMAGE, "Untouched"):
        said = f"The {'TEXT' if name == 'Rot' else 'text'} of {name}."
        assert notes[f"{name}.md"].count(said) == 1, notes
        assert (await world.text(blocks.get(name) or (await world.titles())[name])).count(
            said
        ) == 1
    assert len(notes) == len(DAMAGE) + 1
    assert notes["Unreadable.md"].endswith("\nTyped before the repair.\n")
    assert (await world.titles()).keys() == {*DAMAGE, "Untouched"}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE log SET data = x'0102ff'",
        "UPDATE rendition SET text = x'00' WHERE number = (SELECT max(number) FROM rendition)",
        "UPDATE rendition SET seq = 99",
    ],
)
async def test_earlier_texts_stay_in_the_history(world: World, damage: str) -> None:
    """No edit is measured against them after a repair; they are texts of the user all the same."""
    device = world.device()
    block = await world.add("Note", "first")
    await device.synced()
    path = device.root / "Note.md"
    for old, new in (("first", "second"), ("second", "third")):
        path.write_text(path.read_text().replace(old, new))
        await device.synced()
    with cache(device) as db:
        db.execute(damage)
    db.close()
    await mended(device, await looked(device))
    await device.synced()
    assert (await looked(device)).findings == []
    async with await open_cache(device.account, device.base / "state") as opened:
        kept = await opened.read(lambda tx: history.versions(tx, block))
    assert {b"first", b"second", b"third"} <= {v.data.split()[-1] for v in kept}
    assert device.notes() == {"Note.md": "third\n"}


async def whats(device: Device) -> list[str]:
    return [f.what for f in (await looked(device)).findings]


async def two_notes(world: World) -> Device:
    """A mirror of two notes and an attachment."""
    device = world.device()
    await world.add("One", "The text of One.")
    await world.add("Two", "The text of Two.")
    await device.synced()
    (device.root / "photo.jpg").write_bytes(b"a photo")
    await device.synced()
    assert await whats(device) == []
    return device


async def repaired(device: Device) -> None:
    """Repair, and see that nothing is damaged then, and that a pass ends clean."""
    await mended(device, await looked(device))
    await device.synced()
    assert await whats(device) == []
    assert device.notes() == {"One.md": "The text of One.\n", "Two.md": "The text of Two.\n"}


async def test_what_waits_is_no_damage(world: World) -> None:
    """Edits that were not read or sent, and news of the server, are named as waiting."""
    device = await two_notes(world)
    (device.root / "One.md").write_text("changed\n")
    (device.root / "Two.md").unlink()
    (device.root / "New.md").write_text("new\n")
    await world.add("Theirs", "The text of Theirs.")
    before = stored(device)
    checked = await looked(device)
    assert stored(device) == before
    assert checked.findings == []
    assert checked.waiting == [
        "Home: 1 changed in the folder, not read yet",
        "Home: 1 new in the folder, not read yet",
        "Home: 1 deleted in the folder, not read yet",
        "Home: 1 changes on the server, not received yet",
    ]


async def test_a_oneheap_account_is_compared_with_its_service(tmp_path: Path) -> None:
    """What is new, changed and gone there is counted, and nothing is stored. A damaged document is
    made anew, and the next pass has it all.
    """
    async with Oneheap() as service:
        device = Mirror.of(service, tmp_path)
        box = service.add("box", name="Projects")
        ids = {n: service.add("note", name=n, body=f"{n}\n", boxId=box) for n in ("A", "B", "C")}
        service.add("file", name="me.jpg", filename="me.jpg", data="aGVsbG8=")
        await device.synced()
        before = stored(device)
        checked = await looked(device)
        assert [heap.server for heap in checked.heaps] == [None]
        assert (checked.findings, checked.waiting, stored(device)) == ([], [], before)
        service.edit(ids["A"], body="A and more\n")
        service.remove(ids["B"])
        service.add("note", name="New", body="new\n", boxId=service.add("box", name="Other"))
        with cache(device) as db:
            its = "SELECT block_id FROM remote_item WHERE item_id = ?"
            sql = f"UPDATE log SET data = x'0102ff' WHERE block_id = ({its})"
            db.execute(sql, (ids["C"],))
        before = stored(device)
        checked = await looked(device)
        assert stored(device) == before
        assert [finding.path for finding in checked.findings] == ["Projects/C.md"]
        news = [line for line in checked.waiting if "on the server" in line]
        assert news == ["j.doe@example.com: 4 changes on the server, not received yet"]
        assert await mended(device, checked) == ["Projects/C.md"]
        await device.synced()
        assert await whats(device) == []
        assert device.read("Projects/C.md") == "C\n"
        assert device.read("Projects/A.md") == "A and more\n"


async def test_a_broken_cache_is_put_aside_and_made_anew(world: World) -> None:
    """A file that SQLite can't read is kept under another name; an edit that was not read yet is
    merged as after a lost cache.
    """
    device = await two_notes(world)
    path = device.base / "state" / "home.sqlite3"
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    note = device.root / "One.md"
    note.write_text(note.read_text() + "\nTyped before the repair.\n")
    (what,) = await whats(device)
    assert what.startswith("the cache is damaged")
    _, aside = await repair(
        device.account, device.base / "state", await looked(device), offline=None
    )
    assert Path(aside).read_bytes()[4096:] == b"\xff" * (len(data) - 4096)
    assert not path.exists()
    await device.synced()
    assert await whats(device) == []
    assert device.notes() == {
        "One.md": "The text of One.\n\nTyped before the repair.\n",
        "Two.md": "The text of Two.\n",
    }


def _without_index(device: Device) -> None:
    """Change rows while the schema does not name one of their indexes."""
    with cache(device) as db:
        db.execute("PRAGMA writable_schema = ON")
        row = db.execute("SELECT * FROM sqlite_master WHERE name = 'block_newest'").fetchone()
        db.execute("DELETE FROM sqlite_master WHERE name = 'block_newest'")
    db.close()
    with cache(device) as db:
        db.execute("UPDATE block SET announced_ms = announced_ms + 1")
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
    db.close()


async def test_what_can_be_made_anew_in_the_cache_is(world: World) -> None:
    """Indexes, the search index, and rows that refer to nothing: no document is touched."""
    device = await two_notes(world)
    with cache(device) as db:
        db.execute("UPDATE search_data SET block = x'00' WHERE id > 10")
        db.execute("INSERT INTO tag VALUES ('nobody', 'nothing')")
        db.execute(
            "INSERT INTO hold VALUES ((SELECT id FROM heap), 'up', 'x', 'note', 'y', 1, 1, NULL)"
        )
    db.close()
    assert await whats(device) == [
        "1 rows of the table hold refer to nothing",
        "1 rows of the table tag refer to nothing",
        "the search index is damaged",
    ]
    await repaired(device)
    _without_index(device)
    (what,) = await whats(device)
    assert "index block_newest" in what
    await repaired(device)


async def test_the_folder_is_compared(world: World) -> None:
    """A lost marker is written again if every file is there; leftovers are removed; an attachment
    whose content rotted is left to its owner.
    """
    device = await two_notes(world)
    (device.root / ".heapsyncd").unlink()
    (device.root / ".heapsyncd-0000-aa.tmp").touch()
    checked = await looked(device)
    assert [(f.path, f.is_damage) for f in checked.findings] == [
        (".heapsyncd", True),
        (".heapsyncd-0000-aa.tmp", False),
    ]
    (device.root / "One.md").rename(device.base / "One.md")
    (finding,) = (await looked(device)).findings
    assert "mount its disk, or bring back the 1 files" in finding.advice
    (device.base / "One.md").rename(device.root / "One.md")
    await repaired(device)
    with cache(device) as db:
        block = db.execute("SELECT block_id FROM entry WHERE path = 'photo.jpg'").fetchone()[0]
        file = device.root / "photo.jpg"
        file.write_bytes(b"a PHOTO")
        _rot(device, db, block, file)
    db.close()
    (finding,) = (await looked(device)).findings
    assert finding.path == "photo.jpg"
    assert "`touch` it" in finding.advice
    assert await mended(device, await looked(device)) == []


async def test_the_id_of_another_note_is_replaced(world: World) -> None:
    """A file that names another note's block gets its own id again."""
    device = await two_notes(world)
    one, two = device.root / "One.md", device.root / "Two.md"
    ids = device.id_of("One.md"), device.id_of("Two.md")
    with cache(device) as db:
        data = two.read_bytes().replace(ids[1].encode(), ids[0].encode())
        two.write_bytes(data)
        stat, digest = two.stat(), hashlib.sha256(data).digest()
        db.execute(
            "UPDATE entry SET mtime_ns = ?, ctime_ns = ?, digest = ? WHERE path = 'Two.md'",
            (stat.st_mtime_ns, stat.st_ctime_ns, digest),
        )
        db.execute(
            "UPDATE rendition SET text = ?, digest = ? WHERE block_id = ?",
            (zlib.compress(data), digest, ids[1]),
        )
    db.close()
    (what,) = await whats(device)
    assert what == "the id in it is that of One.md"
    await repaired(device)
    assert (device.id_of("One.md"), device.id_of("Two.md")) == ids
    assert one.exists()


async def test_a_document_that_kills_is_not_loaded(world: World) -> None:
    """As in a mirror: it is named, and neither read nor compared with the server."""
    device = await two_notes(world)
    block = device.id_of("One.md")
    with cache(device) as db:
        db.execute("UPDATE log SET data = x'ff' WHERE block_id = ?", (block,))
    db.close()
    marks = device.base / "state" / "home.atwork"
    for _ in range(2):
        with AtWork.open(marks) as at_work, at_work.on(block):
            killed = marks.read_bytes()
        marks.write_bytes(killed)
    (what,) = await whats(device)
    assert what.startswith("heapsyncd died too often while working on it")
    assert await mended(device, await looked(device)) == []


async def test_two_paths_of_one_note_become_two_notes(world: World) -> None:
    """One of them keeps the block, the other is taken for a copy."""
    device = await two_notes(world)
    copy = device.root / "Copy.md"
    copy.write_bytes((device.root / "One.md").read_bytes())
    stat = copy.stat()
    with cache(device) as db:
        db.execute(
            "INSERT INTO entry SELECT heap_id, 'Copy.md', block_id, role, key, size, ?, ?, ?,"
            " device, digest, todo FROM entry WHERE path = 'One.md'",
            (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino),
        )
    db.close()
    assert any(what.startswith("the cache has the note at") for what in await whats(device))
    await mended(device, await looked(device))
    await device.synced()
    assert await whats(device) == []
    assert device.notes() == {
        "Copy.md": "The text of One.\n",
        "One.md": "The text of One.\n",
        "Two.md": "The text of Two.\n",
    }
    assert len({device.id_of(path) for path in device.notes()}) == 3


async def test_what_the_server_lost_is_sent_again(world: World) -> None:
    """Edits that it had acknowledged."""
    device = await two_notes(world)
    block = device.id_of("One.md")
    with cache(device) as db:
        rows = db.execute("SELECT data FROM log WHERE block_id = ?", (block,)).fetchall()
        made = express(
            [r[0] for r in rows], Target(body=parse("The text of One. More.", NO_LINKS))
        )
        assert made.update is not None
        vector = Replica.load([*(r[0] for r in rows), made.update]).state_vector()
        db.execute(
            "INSERT INTO log VALUES (?, 1 + (SELECT seq FROM block WHERE id = ?), 0, ?, NULL)",
            (block, block, made.update),
        )
        db.execute(
            "UPDATE block SET seq = seq + 1, state_vector = ? WHERE id = ?", (vector, block)
        )
    db.close()
    assert "its text is another one than its document's" in await whats(device)
    await mended(device, await looked(device))
    await device.synced()
    assert await world.text(block) == "The text of One. More."


async def test_what_a_server_from_a_backup_lacks_is_sent_again(tmp_path: Path) -> None:
    """A note that it had, and does not know any more."""
    async with Server(tmp_path / "server", open_registration=True) as server:
        world = World(server, await server.add_heap("Home"), tmp_path)
        device = world.device()
        await world.add("One", "The text of One.")
        await device.synced()
    shutil.copytree(tmp_path / "server", tmp_path / "backup")
    async with Server(tmp_path / "server", open_registration=True) as server:
        device.server = server
        (device.root / "Two.md").write_text("The text of Two.\n")
        await device.synced()
    async with Server(tmp_path / "backup", open_registration=True) as server:
        device.server = world.server = server
        checked = await looked(device)
        found = [(f.path, f.what, f.repair) for f in checked.findings]
        assert found == [("Two.md", "the server does not have it any more", "list")]
        await repaired(device)
        assert (await world.titles()).keys() == {"One", "Two"}

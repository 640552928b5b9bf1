"""A oneheap account as a folder: what a user sees, both ways, and when things go wrong."""

import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from heapsyncd.errors import NotHeaper, SignInRefused
from heapsyncd.sync.offline.versions import undo_alone
from heapsyncd.sync.report import UndoRequest
from tests.oneheap.mirror import Mirror
from tests.oneheap.service import Oneheap
from tests.sync.rig import until
from tests.world.fast import fast


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


@pytest.fixture
async def service() -> AsyncIterator[Oneheap]:
    """An empty service."""
    async with Oneheap() as running:
        yield running


@pytest.fixture
def mirror(service: Oneheap, tmp_path: Path) -> Mirror:
    """A device of its account."""
    return Mirror.of(service, tmp_path / "a")


def item(service: Oneheap, name: str) -> dict[str, object]:
    """The one item with a name."""
    (found,) = [i for i in service.store.items.values() if i["name"] == name]
    return found


async def test_a_folder_shows_all_kinds_of_items(mirror: Mirror, service: Oneheap) -> None:
    """Boxes, notes, tasks, appointments, days, stickies, comments, files, the archive."""
    box = service.add("box", name="Projects")
    boat = service.add("note", name="Boat", body="* one\n", tags=["b", "a"], boxId=box)
    service.add("task", name="Paint", body="x", progress=5, boxId=box)
    service.add("appointment", name="Pub", description="At 8\n", location="Rose")
    service.add("day", name="", date="2026-12-01T00:00:00+0000", description="Rain\n")
    service.add("sticky", name="", body="Buy milk\n", color="red", parentId=box)
    service.add("comment", name="", body="Fine\n", targetId=boat)
    service.store.attach(service.store.get(boat), ["aGVsbG8="])
    service.add("file", name="Me", filename="me.jpg", data="aGVsbG8=", tags=["x"])
    service.archive(service.add("note", name="Old", body="old\n", boxId=box))
    await mirror.synced()
    attached = next(p for p in mirror.files_here() if ".assets/" in p)
    assert set(mirror.files_here()) == {
        "Archive/Projects/Old.md", "Projects/Boat.md", "Projects/Paint.md", "Pub.md",
        "2026-12-01.md", "Projects/Buy milk.md", "Projects/Boat.comments/Fine.md", "me.jpg",
        "me.jpg.md", attached,
    }  # fmt: skip
    assert mirror.read("Projects/Boat.md") == "---\ntags: [b, a]\n---\n* one\n"
    assert mirror.read("Pub.md") == "---\ntype: appointment\nlocation: Rose\n---\nAt 8\n"
    assert mirror.read("me.jpg.md") == "---\ntitle: Me\ntags: [x]\n---\n"
    assert (mirror.root / attached).read_bytes() == b"hello"


async def test_undo_deletes_nothing_for_good(mirror: Mirror, service: Oneheap) -> None:
    """There is no trash: what is new is left and named, and what was deleted comes back, but for a
    content.
    """
    service.add("note", name="Old", body="old\n")
    service.add("file", name="Me", filename="me.jpg", data="aGVsbG8=")
    await mirror.synced()
    since_ms = time.time_ns() // 1_000_000
    (mirror.root / "me.jpg").unlink()
    (mirror.root / "New.md").write_text("new\n")
    (mirror.root / "Fresh").mkdir()
    (mirror.root / "Fresh/pic.png").write_bytes(b"PNG")
    (mirror.root / "Old.md").unlink()
    await mirror.synced()
    for _ in range(2):
        done = await undo_alone(mirror.account, mirror.base / "state", UndoRequest(since_ms))
        left = {one["path"] for one in done if one["action"] == "left"}
        assert left >= {"New.md", "Fresh", "Fresh/pic.png", "me.jpg"}
        await mirror.synced()
        names = sorted(str(i["name"]) for i in service.store.items.values())
        assert names == ["Fresh", "New", "Old", "pic.png"]
        assert mirror.read("Old.md").endswith("old\n")


async def test_everything_goes_both_ways(mirror: Mirror, service: Oneheap, tmp_path: Path) -> None:
    """What one device makes, renames, moves, archives and deletes, another one shows."""
    service.add("box", name="Projects")
    service.add("note", name="Old", body="old\n")
    service.add("note", name="Gone", body="gone\n")
    other = Mirror.of(service, tmp_path / "b")
    await mirror.synced()
    await other.synced()
    (mirror.root / "New.md").write_text("---\ntype: task\nprogress: 7\n---\nhello\n")
    (mirror.root / "Home").mkdir()
    (mirror.root / "Home/pic.png").write_bytes(b"PNG")
    (mirror.root / "Gone.md").unlink()
    await mirror.synced()
    (mirror.root / "New.md").rename(mirror.root / "Projects/Newer.md")
    (mirror.root / "Projects/Newer.assets").mkdir()
    (mirror.root / "Projects/Newer.assets/plan.pdf").write_bytes(b"%PDF")
    (mirror.root / "Archive").mkdir()
    (mirror.root / "Old.md").rename(mirror.root / "Archive/Old.md")
    await mirror.synced()
    await other.synced()
    assert set(other.files_here()) == {
        "Projects/Newer.md", "Projects/Newer.assets/plan.pdf", "Home/pic.png", "Archive/Old.md",
    }  # fmt: skip
    assert other.files_here() == mirror.files_here()
    names = Counter(i["name"] for i in service.store.items.values())
    assert names == Counter(["Projects", "Newer", "Home", "pic.png", "plan.pdf", "Old"])
    assert item(service, "Old")["archived"]
    assert item(service, "Newer")["progress"] == 7


async def test_edits_of_both_sides_merge(mirror: Mirror, service: Oneheap) -> None:
    """Different lines merge; of one line both versions stand, the server's first, and are told."""
    note = service.add("note", name="Boat", body="one\ntwo\nthree\n", tags=["x"])
    await mirror.synced()
    service.advance(5)
    service.edit(note, body="One\ntwo\nserver\n", tags=["x", "y"])
    mirror.edit("Boat.md", "three\n", "mine\n")
    mirror.edit("Boat.md", "tags: [x]", "tags: [x, z]")
    await mirror.synced()
    assert service.store.items[note]["body"] == "One\ntwo\nserver\nmine\n"
    assert set(service.store.items[note]["tags"]) == {"x", "y", "z"}
    assert mirror.read("Boat.md").endswith("One\ntwo\nserver\nmine\n")
    (heap,) = mirror.report.heaps.values()
    assert any("both versions stand" in str(notice) for notice in heap.notices), heap.notices


async def test_an_edit_wins_over_a_deletion(mirror: Mirror, service: Oneheap) -> None:
    """Deleted here and edited there: it stays. Edited here and deleted there: it is made anew."""
    one = service.add("note", name="One", body="1\n")
    two = service.add("note", name="Two", body="2\n")
    await mirror.synced()
    service.advance(5)
    service.edit(one, body="1 more\n")
    (mirror.root / "One.md").unlink()
    service.remove(two)
    mirror.edit("Two.md", "2\n", "2 more\n")
    await mirror.synced()
    assert mirror.read("One.md") == "1 more\n"
    assert item(service, "One")["body"] == "1 more\n"
    assert item(service, "Two")["body"] == "2 more\n"
    assert mirror.read("Two.md") == "2 more\n"


async def test_a_lost_cache_changes_nothing(mirror: Mirror, service: Oneheap) -> None:
    """Files are known by their ids, contents by their bytes; nothing is sent."""
    box = service.add("box", name="Projects")
    boat = service.add("note", name="Boat", body="* one\n", boxId=box)
    service.store.attach(service.store.get(boat), ["aGVsbG8="])
    await mirror.synced()
    (mirror.root / "New.md").write_text("---\nmine: 1\n---\nnew\n")
    await mirror.synced()
    before, items = mirror.files_here(), len(service.store.items)
    shutil.rmtree(mirror.base / "state")
    service.requests.clear()
    await mirror.synced()
    assert (mirror.files_here(), len(service.store.items)) == (before, items)
    sent = {r.path for r in service.requests if r.method != "GET"}
    assert sent == {"/Authentications/", "/Searches/"}


async def test_a_pass_without_changes_costs_four_requests(
    mirror: Mirror, service: Oneheap
) -> None:
    """However much there is: the sign-in, what searches take, and the two newest pages."""
    for k in range(60):
        service.add("note", name=f"Note {k}", body="x\n")
    await mirror.synced()
    service.advance(60)
    service.requests.clear()
    await mirror.synced()
    assert len(service.requests) <= 4


@pytest.mark.slow
async def test_the_first_mirror_takes_a_dozen_requests(mirror: Mirror, service: Oneheap) -> None:
    """For 1,200 notes: pages of 500, and no request for an item."""
    for k in range(1200):
        service.add("note", name=f"Note {k}", body=f"text {k}\n")
    service.advance(60)
    await mirror.synced()
    assert len(mirror.files_here()) == 1200
    assert {r.path for r in service.requests} == {"/Authentications/", "/Searches/"}
    pages = [r.arguments["limit"]["limit"] for r in service.requests if "limit" in r.arguments]
    assert Counter(pages)[500] == 4
    assert set(pages) <= {1, 3, 500}  # beside the pages of idle polls while files are written


async def test_what_the_service_has_no_place_for_is_told(mirror: Mirror, service: Oneheap) -> None:
    """A folder in a box, an unknown type, a wrong field, tags of a sticky: the rest goes on."""
    box = service.add("box", name="Projects")
    service.add("sticky", name="S", body="s\n", parentId=box)
    await mirror.synced()
    (mirror.root / "Projects/Inner").mkdir()
    (mirror.root / "Projects/Inner/Lost.md").write_text("lost\n")
    (mirror.root / "Odd.md").write_text("---\ntype: recipe\n---\nodd\n")
    (mirror.root / "Task.md").write_text("---\ntype: task\nprogress: much\n---\ntask\n")
    mirror.edit("Projects/S.md", "type: sticky\n", "type: sticky\ntags: [x]\n")
    verdict = await mirror.once()
    told = "\n".join([*verdict.left, *verdict.minor])
    assert "boxes at the top only" in told
    assert "`type` is none of" in told
    assert "`progress` must be a whole number" in told
    assert "`tags`" in told
    assert item(service, "Odd")["body"] == "odd\n"
    assert item(service, "Task")["body"] == "task\n"
    assert (mirror.root / "Projects/Inner/Lost.md").read_text() == "lost\n"
    assert "tags: [x]" in mirror.read("Projects/S.md")


async def test_tokens_limits_and_troubles_pass(mirror: Mirror, service: Oneheap) -> None:
    """An expired token, a forgotten one, errors of the service: the edit arrives all the same."""
    note = service.add("note", name="Boat", body="0\n")
    troubles: tuple[Callable[[], None], ...] = (
        service.expire_tokens,
        service.forget_tokens,
        partial(service.fail, "refuse", times=2, status=500),
        partial(service.fail, "page", "POST", "/Notes/"),
        partial(service.fail, "drop", times=2),
    )
    async with mirror.running():
        await mirror.in_sync()
        for k, trouble in enumerate(troubles):
            trouble()
            mirror.edit("Boat.md", f"{k}\n", f"{k + 1}\n")
            await until_body(service, note, f"{k + 1}\n")


async def until_body(service: Oneheap, note: str, text: str) -> None:
    """Wait for a text on the service."""
    await until(lambda: service.store.items[note]["body"] == text, f"the body {text!r}")


async def test_a_shared_item_that_is_read_only_is_told(mirror: Mirror, service: Oneheap) -> None:
    """A 403 concerns its item; the file is kept, and the others go on."""
    note = service.add("note", name="Boat", body="b\n")
    service.add("note", name="Car", body="c\n")
    await mirror.synced()
    service.fail("refuse", "POST", f"/Notes/{note}/", times=9, status=403, message="Read only.")
    mirror.edit("Boat.md", "b\n", "b!\n")
    mirror.edit("Car.md", "c\n", "c!\n")
    verdict = await mirror.once()
    assert verdict.exit_code == 1
    assert "Read only." in "".join(verdict.left)
    assert mirror.read("Boat.md") == "b!\n"
    assert item(service, "Car")["body"] == "c!\n"


async def test_a_wrong_password_and_a_wrong_address(service: Oneheap, tmp_path: Path) -> None:
    """Both are said, and nothing is written."""
    with pytest.raises(SignInRefused):
        await Mirror.of(service, tmp_path / "a", password="wrong").once()
    service.fail("page", times=9)
    with pytest.raises(NotHeaper):
        await Mirror.of(service, tmp_path / "b").once()


async def test_too_large_a_file_is_told_and_kept(mirror: Mirror, service: Oneheap) -> None:
    """A 413 concerns its file, which is not sent again before it changes."""
    service.store.max_bytes = 10
    await mirror.synced()
    (mirror.root / "big.bin").write_bytes(b"x" * 100)
    verdict = await mirror.once()
    assert "no file as large" in "".join(verdict.left)
    assert (mirror.root / "big.bin").read_bytes() == b"x" * 100


async def test_a_refused_folder_can_be_taken_away(mirror: Mirror, service: Oneheap) -> None:
    """What the service has no place for is no trouble any more when it is deleted or moved."""
    service.add("box", name="Projects")
    await mirror.synced()
    (mirror.root / "Projects/Deep").mkdir()
    (mirror.root / "Projects/Deep/x.md").write_text("x\n")
    (mirror.root / "Projects/Deep/y.md").write_text("y\n")
    assert (await mirror.once()).exit_code == 1
    (mirror.root / "Projects/Deep/x.md").rename(mirror.root / "x.md")
    shutil.rmtree(mirror.root / "Projects/Deep")
    await mirror.synced()
    assert set(mirror.files_here()) == {"x.md"}
    assert [i["name"] for i in service.store.of("note")] == ["x"]
    assert not (mirror.root / "Projects/Deep").exists()


async def test_an_item_that_cannot_be_read_is_told(mirror: Mirror, service: Oneheap) -> None:
    """The others go on; it is no problem any more when it can be read."""
    note = service.add("note", name="Boat", body="b\n")
    service.add("note", name="Car", body="c\n")
    service.store.items[note]["tags"] = {"no": "list"}
    verdict = await mirror.once()
    assert set(mirror.files_here()) == {"Car.md"}
    assert f"item {note}" in "".join(verdict.left)
    service.advance(5)
    service.edit(note, tags=["a"])
    await mirror.synced()
    assert set(mirror.files_here()) == {"Boat.md", "Car.md"}


async def test_two_devices_change_one_file(
    mirror: Mirror, service: Oneheap, tmp_path: Path
) -> None:
    """The one that comes second stands; the other is kept as a file beside it."""
    (mirror.root).mkdir(parents=True, exist_ok=True)
    await mirror.synced()
    (mirror.root / "a.bin").write_bytes(b"v0")
    await mirror.synced()
    other = Mirror.of(service, tmp_path / "b")
    await other.synced()
    (mirror.root / "a.bin").write_bytes(b"first")
    await mirror.synced()
    service.advance(5)
    (other.root / "a.bin").write_bytes(b"second")
    for device in (other, mirror, other):
        await device.synced()
    kept = {bytes(content) for content in service.store.contents.values()}
    assert kept == {b"first", b"second"}
    assert set(mirror.files_here().values()) == kept
    assert mirror.files_here() == other.files_here()


async def test_a_note_that_nobody_can_show_is_not_written_over(
    mirror: Mirror, service: Oneheap
) -> None:
    """A text with a character that no file can hold is told, and an edit of it waits."""
    note = service.add("note", name="Boat", body="b\n")
    await mirror.synced()
    service.advance(5)
    service.edit(note, body="theirs \0\n")
    mirror.edit("Boat.md", "b\n", "ours\n")
    verdict = await mirror.once()
    assert "cannot be shown" in "".join(verdict.left)
    assert service.store.items[note]["body"] == "theirs \0\n"
    assert mirror.read("Boat.md") == "ours\n"


async def test_what_no_box_asks_for_stays_in_the_folder(service: Oneheap, tmp_path: Path) -> None:
    """A new note outside the configured boxes is not sent, and told."""
    service.add("box", name="Projects")
    mirror = Mirror.of(service, tmp_path / "a", heaps=("Projects",))
    await mirror.synced()
    (mirror.root / "Loose.md").write_text("loose\n")
    verdict = await mirror.once()
    assert "does not ask for this place" in "".join(verdict.left)
    assert (mirror.root / "Loose.md").read_text().endswith("loose\n")
    assert not service.store.of("note")

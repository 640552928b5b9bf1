"""What edits of documents become on the service."""

from pathlib import Path

import pytest

from heapsyncd.backends.oneheap.documents import Shown, document
from heapsyncd.document.edit import Target
from heapsyncd.errors import OutcomeUnknown
from heapsyncd.ids import new_block_id
from heapsyncd.model import Push
from tests.oneheap.device import Device, device_of
from tests.oneheap.service import Oneheap


async def test_a_save_sends_only_what_changed(device: Device, service: Oneheap) -> None:
    """The text and the fields that differ are sent, after the item was read."""
    note = service.add("note", name="Boat", body="a\n", tags=["x"])
    await device.poll()
    service.requests.clear()
    result = await device.save("Boat", "---\ntags: [x]\n---\nb\n")
    assert result.status == "ok"
    assert [r.method for r in service.requests] == ["GET", "POST"]
    assert service.requests[1].arguments == {"body": "b\n"}
    result = await device.save("Boat", "---\ntags: [x, y]\n---\nb\n")
    assert service.requests[3].arguments == {"tags": ["x", "y"]}
    service.advance(60)
    assert await device.poll() == set()
    assert service.store.items[note]["body"] == "b\n"


async def test_removed_keys_clear_their_fields(device: Device, service: Oneheap) -> None:
    """Also when nothing is left beside the id, which the mirror writes."""
    note = service.add("task", name="Paint", body="a\n", tags=["x"], progress=5)
    await device.poll()
    result = await device.save("Paint", "a\n")
    assert result.status == "ok"
    assert (service.store.items[note]["tags"], service.store.items[note]["progress"]) == ([], 0)
    await device.poll()
    assert device.text("Paint") == "---\ntype: task\n---\na\n"


async def test_a_new_note_gets_the_services_id(device: Device, service: Oneheap) -> None:
    """A new block becomes an item once, and its document then tells the item's id."""
    result = await device.create("Boat", "---\ntype: task\nprogress: 10\n---\nhello\n")
    assert (result.status, result.remarks) == ("ok", ())
    (item,) = service.store.items.values()
    assert (item["type"], item["name"], item["body"]) == ("task", "Boat", "hello\n")
    assert item["progress"] == 10
    await device.poll()
    assert device.shown(device.named("Boat")).public_id == item["id"]
    assert await device.poll() == set()
    assert len(service.store.items) == 1


async def test_somebodys_change_makes_a_push_stale(device: Device, service: Oneheap) -> None:
    """What changed on the service since is not written over: it is announced instead."""
    note = service.add("note", name="Boat", body="a\n")
    await device.poll()
    service.advance(5)
    service.edit(note, body="A\n")
    result = await device.save("Boat", "b\n")
    assert result.status == "stale"
    assert service.store.items[note]["body"] == "A\n"
    await device.poll()
    assert device.text("Boat") == "A\n"


async def test_a_deletion_is_sent_unless_somebody_edited(device: Device, service: Oneheap) -> None:
    """An edit wins over a deletion that did not know of it."""
    one, two = service.add("note", name="One"), service.add("note", name="Two")
    await device.poll()
    assert (await device.edit("One", Target(deleted_at_ms=5))).status == "ok"
    assert one not in service.store.items
    service.advance(5)
    service.edit(two, body="new\n")
    assert (await device.edit("Two", Target(deleted_at_ms=5))).status == "stale"
    assert two in service.store.items


async def test_a_rename_and_a_move(device: Device, service: Oneheap) -> None:
    """A title is the name, a folder the box, and the archive a folder."""
    box = service.add("box", name="Projects")
    note = service.add("note", name="Boat")
    old = service.add("note", name="Old", boxId=box)
    service.archive(old)
    await device.poll()
    result = await device.edit(
        "Boat", Target(title="Ship", add_tags=frozenset({device.named("Archive")}))
    )
    assert result.status == "ok"
    assert service.store.items[note]["name"] == "Ship"
    assert service.store.items[note]["archived"]


async def test_a_lost_answer_creates_nothing_twice(device: Device, service: Oneheap) -> None:
    """A creation without an answer is looked for before it is repeated."""
    service.fail("lose", "POST", "/Notes/")
    with pytest.raises(OutcomeUnknown):
        await device.create("Boat", "hello\n")
    block = device.named("")
    made = document(Shown("document", "Boat", None, "", b"hello\n"))
    (result,) = await device.push((block, made))
    assert result.status in {"ok", "stale"}
    assert [i["name"] for i in service.store.items.values()] == ["Boat"]


async def test_new_boxes_and_refused_folders(device: Device, service: Oneheap) -> None:
    """A folder at the top is a box; one inside a box is refused with words."""
    assert (await device.create("Projects", kind="folder")).status == "ok"
    assert [i["type"] for i in service.store.items.values()] == ["box"]
    await device.poll()
    result = await device.create("Inner", folder="Projects", kind="folder")
    assert result.status == "invalid"
    assert "at the top only" in result.remarks[0]
    assert (await device.create("Boat", "x\n", folder="Projects")).status == "ok"
    note = next(i for i in service.store.items.values() if i["type"] == "note")
    box = next(i for i in service.store.items.values() if i["type"] == "box")
    assert note["boxId"] == box["id"]


async def test_fields_that_are_wrong_are_told(device: Device, service: Oneheap) -> None:
    """A field of the wrong type is not sent and told; the rest is sent."""
    service.add("task", name="Paint", body="a\n", progress=10)
    await device.poll()
    result = await device.save("Paint", "---\ntype: task\nprogress: much\n---\nb\n")
    assert result.status == "ok"
    assert "progress" in result.remarks[0]
    (item,) = service.store.items.values()
    assert (item["progress"], item["body"]) == (10, "b\n")


async def test_comments(device: Device, service: Oneheap) -> None:
    """A note in X.comments is a comment on X."""
    note = service.add("note", name="Boat")
    await device.poll()
    assert (await device.create("Boat.comments", kind="folder")).status == "ok"
    result = await device.create("Fine", "Nice work\n", folder="Boat.comments")
    assert result.status == "ok"
    comment = next(i for i in service.store.items.values() if i["type"] == "comment")
    assert (comment["targetId"], comment["body"]) == (note, "Nice work\n")
    await device.poll()
    assert device.shown(device.named("Fine")).public_id == comment["id"]


async def test_what_has_requests_of_its_own(device: Device, service: Oneheap) -> None:
    """Reminders, the parent task and the archive are sent by their own routes."""
    parent = service.add("task", name="Paint")
    child = service.add("task", name="Sand", body="x\n")
    await device.poll()
    head = '---\ntype: task\nparent: "[[Paint]]"\nreminders:\n  - 2026-12-01T14:00:00+0000\n'
    result = await device.save("Sand", head + "completed: true\n---\nx\n")
    assert (result.status, result.remarks) == ("ok", ())
    item = service.store.items[child]
    assert item["parentId"] == parent
    assert [r["date"] for r in item["reminders"]] == ["2026-12-01T14:00:00+0000"]
    assert item["completed"]


async def test_a_deleted_note_is_created_anew_when_it_is_restored(
    device: Device, service: Oneheap
) -> None:
    """Deleting is final on the service; the block lives on in another item."""
    service.add("note", name="Boat", body="x\n")
    await device.poll()
    block = device.named("Boat")
    await device.edit("Boat", Target(deleted_at_ms=5))
    assert not service.store.items
    (result,) = await device.push((block, device.update(block, Target(deleted_at_ms=None))))
    assert result.status == "ok"
    assert [(i["name"], i["body"]) for i in service.store.items.values()] == [("Boat", "x\n")]


async def test_one_failing_item_does_not_stop_the_others(device: Device, service: Oneheap) -> None:
    """The others are carried out and acknowledged."""
    one = service.add("note", name="One", body="1\n")
    service.add("note", name="Two", body="2\n")
    await device.poll()
    service.fail("refuse", "GET", f"/Notes/{one}/", status=403, message="Shared.")
    first, second = device.named("One"), device.named("Two")
    pushes = [
        Push(b, device.versions[b], device.saving(b, text))
        for b, text in ((first, "1!\n"), (second, "2!\n"))
    ]
    results = await device.backend.push(device.heap, pushes)
    assert [r.status for r in results] == ["forbidden", "ok"]
    assert "Shared." in results[0].remarks[0]
    service.fail("refuse", "GET", f"/Notes/{one}/", status=500)
    results = await device.backend.push(
        device.heap,
        [pushes[0], Push(second, device.versions[second], device.saving(second, "3!\n"))],
    )
    assert [r.status for r in results] == ["stale", "ok"]  # the first is to be sent again


async def test_a_comment_is_put_back(device: Device, service: Oneheap) -> None:
    """No route moves it; what was tried is told."""
    note = service.add("note", name="Boat")
    service.add("comment", body="Fine", targetId=note)
    await device.poll()
    fine = device.shown(device.named("Fine"))
    assert fine.folder is not None
    result = await device.edit("Fine", Target(remove_tags=frozenset({fine.folder})))
    assert result.status == "ok"
    assert "put back" in result.remarks[0]
    await device.poll()
    assert device.shown(device.named("Fine")).folder == fine.folder


async def test_a_renamed_note_takes_its_comments_along(device: Device, service: Oneheap) -> None:
    """The directory of the comments follows."""
    note = service.add("note", name="Boat")
    service.add("comment", body="Fine", targetId=note)
    await device.poll()
    await device.edit("Boat", Target(title="Ship"))
    await device.poll()
    assert device.titles() == ["Fine", "Ship", "Ship.comments"]


async def test_only_chosen_boxes_are_mirrored(service: Oneheap, tmp_path: Path) -> None:
    """Globs choose boxes; what is in no box is then left out."""
    work, home = service.add("box", name="Work"), service.add("box", name="Home")
    service.add("note", name="A", boxId=work)
    service.add("note", name="B", boxId=home)
    service.add("note", name="C")
    for boxes, titles in ((["Wo*"], ["A", "Work"]), ([home], ["B", "Home"])):
        async with device_of(service, tmp_path / "c.sqlite3", boxes) as device:
            assert device.titles() == titles


async def test_a_new_process_knows_everything_again(service: Oneheap, tmp_path: Path) -> None:
    """What was found is in the cache: nothing is announced again, and nothing created twice."""
    service.add("note", name="A", body="a\n")
    async with device_of(service, tmp_path / "c.sqlite3") as device:
        await device.create("B", "b\n")
        cursor, versions = device.cursor, device.versions
    async with device_of(service, tmp_path / "c.sqlite3") as again:
        assert again.titles() == ["A", "B"]
        assert cursor <= again.cursor
        assert {b: v for b, v in versions.items() if again.versions[b] == v}
    assert len(service.store.items) == 2


async def test_what_is_in_a_refused_folder_does_not_wait_for_it(
    service: Oneheap, tmp_path: Path
) -> None:
    """A note waits for a new box; for a folder that is refused it does not, in a later run too."""
    async with device_of(service, tmp_path / "c.sqlite3") as device:
        await device.create("Projects", kind="folder")
        inner, boat = new_block_id(), new_block_id()
        await device.backend.insert(device.heap, inner, "folder", "Inner")
        await device.backend.insert(device.heap, boat, "document", "Boat")
        note = Push(boat, 1, document(Shown("document", "Boat", inner, "", b"x\n")))
        (result,) = await device.backend.push(device.heap, [note])
        assert result.status == "stale"
        place = device.named("Projects")
        folder = Push(inner, 1, document(Shown("folder", "Inner", place)))
        (result,) = await device.backend.push(device.heap, [folder])
        assert result.status == "invalid"
    async with device_of(service, tmp_path / "c.sqlite3") as again:
        (result,) = await again.backend.push(again.heap, [note])
        assert result.status == "invalid"
        assert "no box" in result.remarks[0]


async def test_a_deletion_of_what_is_gone_is_done(device: Device, service: Oneheap) -> None:
    """Nothing is left to be sent, and nothing was."""
    note = service.add("note", name="Boat", body="x\n")
    await device.poll()
    block = device.named("Boat")
    update = device.update(block, Target(deleted_at_ms=5))
    service.remove(note)
    push = Push(block, device.versions[block], update)
    await device.poll()
    service.requests.clear()
    (result,) = await device.backend.push(device.heap, [push])
    assert result.status == "ok"
    assert not service.requests

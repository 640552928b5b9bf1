"""What the folder shows of the service's items."""

from tests.oneheap.device import Device
from tests.oneheap.service import Oneheap


async def test_items_become_blocks(device: Device, service: Oneheap) -> None:
    """Boxes are folders; every type of note has its fields in front matter and its text exact."""
    box = service.add("box", name="Projects")
    service.add("note", name="Boat", body="# Plan\n* one\n", tags=["b", "a"], boxId=box)
    service.add("task", name="Paint", body="twice", progress=30, boxId=box, priority=70)
    service.add("sticky", body="Buy *paint* now", color="red", parentId=box)
    await device.poll()
    assert device.titles() == ["Boat", "Buy *paint* now", "Paint", "Projects"]
    assert device.text("Boat") == "---\ntags: [b, a]\n---\n# Plan\n* one\n"
    assert device.text("Paint") == ("---\ntype: task\nprogress: 30\npriority: 70\n---\ntwice")
    projects = device.named("Projects")
    assert device.shown(device.named("Boat")).folder == projects
    assert device.shown(device.named("Buy *paint* now")).folder == projects


async def test_a_change_arrives(device: Device, service: Oneheap) -> None:
    """Another text is another version of the block, and only of it."""
    one, _ = service.add("note", name="One", body="1\n"), service.add("note", name="Two")
    await device.poll()
    service.advance(10)
    service.edit(one, body="1!\n")
    service.requests.clear()
    assert await device.poll() == {device.named("One")}
    assert device.text("One") == "1!\n"
    assert len(service.requests) == 2


async def test_a_deletion_arrives(device: Device, service: Oneheap) -> None:
    """A deleted item is gone for good, and so are its comments."""
    note = service.add("note", name="Boat")
    service.add("comment", body="Fine", targetId=note)
    await device.poll()
    assert device.titles() == ["Boat", "Boat.comments", "Fine"]
    service.remove(note)
    await device.poll()
    assert device.titles() == []


async def test_the_archive_is_a_folder(device: Device, service: Oneheap) -> None:
    """Archived items stand below Archive, in their box's directory."""
    box = service.add("box", name="Projects")
    old = service.add("note", name="Old", boxId=box)
    await device.poll()
    service.advance(10)
    service.archive(old)
    await device.poll()
    folder = device.shown(device.named("Old")).folder
    assert folder is not None
    assert device.shown(folder).title == "Projects"
    assert device.shown(folder).folder == device.named("Archive")


async def test_polls_read_only_what_is_new(device: Device, service: Oneheap) -> None:
    """An idle poll is two requests of three items."""
    for k in range(30):
        service.add("note", name=f"Note {k}", body="x" * 100)
    await device.poll()
    service.advance(60)
    await device.poll()
    service.requests.clear()
    assert await device.poll() == set()
    assert len(service.requests) == 2
    assert {r.arguments["limit"]["limit"] for r in service.requests} == {3}

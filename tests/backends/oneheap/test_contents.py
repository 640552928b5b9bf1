"""Contents of files, attached and alone, in both directions."""

import pytest

from heapsyncd.document.edit import Target
from heapsyncd.errors import OutcomeUnknown, RequestRefused
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from tests.oneheap.device import Device, Source
from tests.oneheap.service import Oneheap


async def attach(device: Device, block: BlockId, source: Source) -> None:
    """Attach a content as the mirror does: its entry first, then its bytes."""
    update = device.update(block, Target(put_files=(source.entry,)))
    (result,) = await device.push((block, update))
    assert result.status == "ok"
    await device.backend.upload(device.heap, block, source)
    await device.poll()


async def fetched(device: Device, block: BlockId, file: FileEntry) -> bytes:
    """A content, downloaded."""
    pieces = device.backend.download(device.heap, block, file.hash, file.size_bytes)
    return b"".join([piece async for piece in pieces])


async def test_an_attachment_goes_up_and_comes_down(device: Device, service: Oneheap) -> None:
    """It gets its name, and another device gets its bytes."""
    note = service.add("note", name="Boat")
    await device.poll()
    boat = device.named("Boat")
    await attach(device, boat, Source("plan.pdf", b"%PDF"))
    (file,) = [i for i in service.store.items.values() if i["type"] == "file"]
    assert (file["filename"], file["parentId"]) == ("plan.pdf", note)
    assert service.store.contents[file["id"]] == b"%PDF"
    (shown,) = device.shown(boat).files
    assert (shown.name, shown.is_uploaded) == ("plan.pdf", True)
    service.advance(60)
    assert await device.poll() == set()
    assert await fetched(device, boat, shown) == b"%PDF"


async def test_a_remote_attachment_has_a_key_of_its_own(device: Device, service: Oneheap) -> None:
    """Its bytes are fetched by that key; another content gets another key."""
    note = service.add("note", name="Boat")
    service.store.attach(service.store.get(note), ["aGVsbG8="])
    await device.poll()
    (file,) = device.shown(device.named("Boat")).files
    assert (file.size_bytes, file.is_uploaded) == (5, True)
    assert await fetched(device, device.named("Boat"), file) == b"hello"


async def test_attachments_are_renamed_and_removed(device: Device, service: Oneheap) -> None:
    """A rename keeps the content; a removed one is detached."""
    service.add("note", name="Boat")
    await device.poll()
    boat = device.named("Boat")
    source = Source("plan.pdf", b"%PDF")
    await attach(device, boat, source)
    (entry,) = device.shown(boat).files
    renamed = FileEntry(entry.key, entry.hash, "new.pdf", entry.size_bytes, is_uploaded=True)
    result = await device.edit("Boat", Target(put_files=(renamed,)))
    assert (result.status, result.remarks) == ("ok", ())
    (file,) = [i for i in service.store.items.values() if i["type"] == "file"]
    assert file["filename"] == "new.pdf"
    await device.poll()
    (entry,) = device.shown(boat).files
    assert (entry.name, entry.key) == ("new.pdf", source.entry.key)
    await device.edit("Boat", Target(drop_files=(entry.key,)))
    assert [i["type"] for i in service.store.items.values()] == ["note"]


async def test_a_lost_answer_attaches_nothing_twice(device: Device, service: Oneheap) -> None:
    """After an attachment without an answer its content is looked for."""
    service.add("note", name="Boat")
    await device.poll()
    boat, source = device.named("Boat"), Source("plan.pdf", b"%PDF")
    await device.push((boat, device.update(boat, Target(put_files=(source.entry,)))))
    service.fail("lose", "POST", "/Notes/")
    with pytest.raises(OutcomeUnknown):
        await device.backend.upload(device.heap, boat, source)
    await device.backend.upload(device.heap, boat, source)
    files = [i for i in service.store.items.values() if i["type"] == "file"]
    assert [f["filename"] for f in files] == ["plan.pdf"]


async def test_a_file_item(device: Device, service: Oneheap) -> None:
    """A new file is made without its content, which follows; then it is as any file."""
    result = await device.create("photo.jpg", kind="file")
    assert result.status == "ok"
    photo = device.named("photo.jpg")
    source = Source("photo.jpg", b"JPEG")
    await attach(device, photo, source)
    (item,) = service.store.items.values()
    assert (item["filename"], service.store.contents[item["id"]]) == ("photo.jpg", b"JPEG")
    assert [f.key for f in device.shown(photo).files] == [source.entry.key]


async def test_a_file_with_something_to_say_has_a_sidecar(
    device: Device, service: Oneheap
) -> None:
    """Its tags, description and other name stand in a note beside it."""
    file = service.add("file", name="Me", filename="photo.jpg", data="aGVsbG8=", tags=["a"])
    await device.poll()
    notes = [b for b in device.documents if device.rows[b].kind == "document"]
    (note,) = notes
    data = device.shown(note).data
    assert data == b"---\ntitle: Me\ntags: [a]\n---\n"
    (result,) = await device.push(
        (note, device.saving(note, "---\ntitle: You\ntags: [a]\n---\nnice\n"))
    )
    assert (result.status, result.remarks) == ("ok", ())
    item = service.store.items[file]
    assert (item["name"], item["filename"], item["description"]) == ("You", "photo.jpg", "nice\n")


async def test_too_large_a_file_is_not_sent(device: Device, service: Oneheap) -> None:
    """More than the most is refused before anything is sent."""
    service.add("note", name="Boat")
    await device.poll()
    source = Source("big.bin", b"")
    source.size_bytes = 26 << 20
    service.requests.clear()
    with pytest.raises(RequestRefused) as caught:
        await device.backend.upload(device.heap, device.named("Boat"), source)
    assert caught.value.status == 413
    assert not service.requests

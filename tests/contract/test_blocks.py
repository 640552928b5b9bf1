"""What every backend does with heaps, rows, changes and documents."""

import asyncio

import pytest
from msgspec.structs import replace

from heapsyncd.backends.contract import MAX_PUSH_UPDATE_BYTES, Backend
from heapsyncd.errors import RequestRefused, SignInRefused
from heapsyncd.ids import BlockId, HeapId, Seed, new_block_id
from heapsyncd.model import BlockKind, BlockRow, Changed, PullAsk, Push
from tests.contract.worlds import Document, World, pulled, said, speak


async def changed_since(
    backend: Backend, heap_id: HeapId, cursor_ms: int
) -> tuple[set[Changed], set[BlockId], int]:
    """Everything the feed says from a cursor, and the cursor after it."""
    changed: dict[BlockId, Changed] = {}
    gone: set[BlockId] = set()
    for _ in range(1000):
        page = await backend.changes(heap_id, cursor_ms)
        changed |= {block.id: block for block in page.changed}
        gone |= {block.id for block in page.gone}
        cursor_ms = page.cursor_ms
        if not page.more:
            return set(changed.values()), gone, cursor_ms
    raise AssertionError("the feed never ends")


async def test_signing_in_twice_is_signing_in_once(world: World, backend: Backend) -> None:
    """It may be asked for at any time, also by two at once: the server hears of it once."""
    assert await world.sign_ins() == 0
    await asyncio.gather(backend.sign_in(), backend.sign_in())
    await backend.sign_in()
    await backend.heaps()
    assert await world.sign_ins() == 1


async def test_an_unknown_key_is_refused(world: World) -> None:
    """With the error that says whom to ask, for every call."""
    async with world.another(Seed(bytes(32))) as stranger:
        for _ in range(2):
            with pytest.raises(SignInRefused):
                await stranger.heaps()


async def test_heaps_are_those_the_account_may_see(world: World, backend: Backend) -> None:
    """A heap whose rights are taken away is listed no more, and refused when asked for."""
    world.needs("heaps")
    first, second = await world.add_heap("Home"), await world.add_heap("Ärger & Söhne")
    assert {(h.id, h.title) for h in await backend.heaps()} == {
        (first, "Home"),
        (second, "Ärger & Söhne"),
    }
    await world.hide(second)
    assert [heap.id for heap in await backend.heaps()] == [first]
    with pytest.raises(RequestRefused) as error:
        await backend.changes(second, 0)
    assert error.value.status in {403, 404}
    assert not (await backend.changes(first, 0)).changed


async def test_rows_are_the_live_blocks(world: World, backend: Backend, heap_id: HeapId) -> None:
    """All of them over all pages, with kind and title; the trash is left out."""
    wanted = {
        await world.add_block(heap_id, "document", f"Note {number}", "x") for number in range(30)
    }
    folder = await world.add_block(heap_id, "folder", "Projects", "")
    trashed = await world.add_block(heap_id, "document", "Gone", "x")
    await world.delete(trashed, 1_760_000_000_000)
    rows = [row async for page in backend.rows(heap_id) for row in page]
    assert {row.id for row in rows} == wanted | {folder}
    assert [(row.title, row.kind) for row in rows if row.id == folder] == [("Projects", "folder")]


async def test_a_row_is_found_or_none(world: World, backend: Backend, heap_id: HeapId) -> None:
    """An unknown block is no error."""
    block = await world.add_block(heap_id, "document", "Note", "x")
    row = await backend.row(heap_id, block)
    assert row is not None
    assert replace(row, public_id="") == BlockRow(block, heap_id, "document", "Note")
    assert await backend.row(heap_id, new_block_id()) is None


async def test_the_feed_from_zero_lists_everything(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """Live blocks as changed, with their versions."""
    blocks = [await world.add_block(heap_id, "document", "N", "x") for _ in range(5)]
    changed, gone, _ = await changed_since(backend, heap_id, 0)
    assert {(block.id, block.sync_version) for block in changed} == {(b, 1) for b in blocks}
    assert not gone


async def test_the_feed_misses_nothing(world: World, backend: Backend, heap_id: HeapId) -> None:
    """From each cursor on, what changed after it is listed; repeated blocks are harmless."""
    blocks = [await world.add_block(heap_id, "document", "N", "x") for _ in range(3)]
    _, _, cursor_ms = await changed_since(backend, heap_id, 0)
    for block in blocks:
        await world.write(block, "more ")
        changed, _, cursor_ms = await changed_since(backend, heap_id, cursor_ms)
        assert block in {entry.id for entry in changed}


async def test_the_trash_and_back(world: World, backend: Backend, heap_id: HeapId) -> None:
    """A trashed block is gone and nothing else; restored it is changed."""
    block = await world.add_block(heap_id, "document", "N", "x")
    _, _, cursor_ms = await changed_since(backend, heap_id, 0)
    await world.delete(block, 1_760_000_000_000)
    for since in (cursor_ms, 0):
        changed, gone, _ = await changed_since(backend, heap_id, since)
        assert (block in {entry.id for entry in changed}, block in gone) == (False, True)
    await world.delete(block, None)
    changed, gone, _ = await changed_since(backend, heap_id, cursor_ms)
    assert (block in {entry.id for entry in changed}, block in gone) == (True, False)


async def test_a_pull_is_full_or_the_difference(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """Without a state vector everything, with one what it lacks."""
    world.needs("history")
    block = await world.add_block(heap_id, "document", "N", "long text " * 200)
    doc = Document()
    whole = await pulled(backend, heap_id, block)
    assert (whole.full, whole.sync_version) == (True, 1)
    doc.apply_update(whole.update)
    assert said(doc) == "long text " * 200
    await world.write(block, "new ")
    rest = await pulled(backend, heap_id, block, doc)
    assert not rest.full
    assert len(rest.update) < 200
    doc.apply_update(rest.update)
    assert said(doc).startswith("new long")


async def test_a_pull_of_many_ends(world: World, backend: Backend, heap_id: HeapId) -> None:
    """What did not fit is asked again until nothing is left; unknown blocks are missing."""
    blocks = {await world.add_block(heap_id, "document", "N", f"text {n}") for n in range(230)}
    unknown = new_block_id()
    asked, found, missing = {*blocks, unknown}, set(), set()
    for _ in range(20):
        answer = await backend.pull(heap_id, [PullAsk(block, 1) for block in sorted(asked)])
        found |= {block.id for block in answer.blocks}
        missing |= set(answer.missing)
        asked -= found | missing
        if not asked:
            break
    assert (found, missing) == (blocks, {unknown})
    assert (await backend.pull(heap_id, [])).blocks == ()


async def test_a_push_reaches_the_document(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """Acknowledged means applied; pushing again is harmless."""
    block = await world.add_block(heap_id, "document", "N", "world")
    doc = Document()
    doc.apply_update((await pulled(backend, heap_id, block)).update)
    update = speak(doc, "hello ")
    for _ in range(2):
        (result,) = await backend.push(heap_id, [Push(block, 1, update)])
        assert (result.id, result.status, result.sync_version) == (block, "ok", 1)
        assert await world.text(block) == "hello world"


async def test_each_push_has_its_own_result(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """In the order of the pushes; trouble with one leaves the others alone."""
    good = await world.add_block(heap_id, "document", "N", "x")
    stale = await world.add_block(heap_id, "document", "N", "x")
    await world.compact(stale)
    update = speak(Document(), "y")
    pushes = [
        Push(stale, 1, update),
        Push(new_block_id(), 1, update),
        Push(good, 1, b"no update"),
        Push(good, 7, update),
        Push(good, 1, update),
    ]
    results = await backend.push(heap_id, pushes)
    assert [result.id for result in results] == [push.id for push in pushes]
    assert [r.status for r in results] == ["stale", "not_found", "invalid", "invalid", "ok"]
    assert results[0].sync_version == 2
    assert await world.text(stale) == "x"


async def test_many_pushes_are_split_into_requests(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """More than a request takes, in number and in bytes, at once."""
    world.needs("limits")
    blocks = [await world.add_block(heap_id, "document", "N", "") for _ in range(3)]
    docs = [Document() for _ in blocks]
    small = [
        Push(block, 1, speak(doc, f"{n} "))
        for n in range(150)
        for block, doc in zip(blocks, docs, strict=True)
    ]
    large = [Push(blocks[0], 1, speak(Document(), c * 3_000_000)) for c in "abc"]
    results = await backend.push(heap_id, small + large)
    assert {result.status for result in results} == {"ok"}
    assert len(await world.text(blocks[0])) > 9_000_000
    assert await world.text(blocks[1]) == said(docs[1])


async def test_an_update_too_large_to_push_is_refused_before_anything(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """It goes over the live feed; nothing of the call was sent."""
    world.needs("limits")
    block = await world.add_block(heap_id, "document", "N", "x")
    pushes = [
        Push(block, 1, speak(Document(), "small ")),
        Push(block, 1, bytes(MAX_PUSH_UPDATE_BYTES + 1)),
    ]
    with pytest.raises(RequestRefused) as error:
        await backend.push(heap_id, pushes)
    assert error.value.status == 413
    assert await world.text(block) == "x"


async def test_a_compacted_block_is_loaded_in_full(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """A newer version: the feed tells it, a pull with the old state answers everything."""
    block = await world.add_block(heap_id, "document", "N", "text")
    _, _, cursor_ms = await changed_since(backend, heap_id, 0)
    doc = Document()
    doc.apply_update((await pulled(backend, heap_id, block)).update)
    assert await world.compact(block) == 2
    changed, _, _ = await changed_since(backend, heap_id, cursor_ms)
    assert {(entry.id, entry.sync_version) for entry in changed} == {(block, 2)}
    answer = await pulled(backend, heap_id, block, doc, version=1)
    assert (answer.full, answer.sync_version) == (True, 2)
    fresh = Document()
    fresh.apply_update(answer.update)
    assert said(fresh) == "text"


@pytest.mark.parametrize("kind", ["document", "file", "tag", "folder"])
async def test_a_block_is_created_once(
    world: World, backend: Backend, heap_id: HeapId, kind: BlockKind
) -> None:
    """Repeating it with the same id answers the same block; it takes pushes at once."""
    if kind == "tag":
        world.needs("tags")
    block = new_block_id()
    rows = [await backend.insert(heap_id, block, kind, "Ü") for _ in range(2)]
    assert rows[0] == rows[1] == BlockRow(block, heap_id, kind, "Ü")
    update = speak(Document(), "x")
    (result,) = await backend.push(heap_id, [Push(block, rows[0].sync_version, update)])
    assert result.status == "ok"
    changed, _, _ = await changed_since(backend, heap_id, 0)
    assert {entry.id for entry in changed} == {block}
    if kind != "document":
        world.needs("texts")
    assert await world.text(block) == "x"


async def test_a_created_block_is_in_the_feed(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """Before anything is pushed to it."""
    world.needs("empty blocks")
    block = new_block_id()
    await backend.insert(heap_id, block, "document", "Ü")
    changed, _, _ = await changed_since(backend, heap_id, 0)
    assert {entry.id for entry in changed} == {block}


async def test_calls_may_run_at_once(world: World, backend: Backend, heap_id: HeapId) -> None:
    """From the first moment on, when nobody is signed in yet."""
    block = await world.add_block(heap_id, "document", "N", "x")
    rows = await asyncio.gather(*(backend.row(heap_id, block) for _ in range(30)))
    assert {row.id for row in rows if row is not None} == {block}

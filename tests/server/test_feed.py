"""Delta, pull and push over HTTP."""

import asyncio
import base64
import gc
import json
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, XmlFragment

from heapsyncd.ids import HeapId, new_block_id
from heapsyncd.server import Limits, Server
from heapsyncd.server.loaded_documents import Batch, LoadedDocument
from tests.server.rig import (
    Client,
    Clock,
    b64,
    loaded,
    paragraph,
    said,
    serving,
    titled,
    with_map,
)


async def whole_delta(
    client: Client, heap: str, since: int = 0
) -> tuple[list[str], list[str], int]:
    """All pages: live ids, gone ids, the cursor."""
    live: list[str] = []
    gone: list[str] = []
    while True:
        page = await client.delta(heap, since)
        live += [b["id"] for b in page["blocks"]]
        gone += [b["id"] for b in page["deleted"]]
        assert page["timestamp"] > since or not page["has_more"]
        since = page["timestamp"]
        if not page["has_more"]:
            return live, gone, since


async def test_pushed_document_is_pulled(client: Client, heap_id: HeapId) -> None:
    """What was pushed to a block is what a pull of it gives."""
    block = await client.insert(heap_id)
    assert await client.statuses(heap_id, (block, paragraph("hé 👋"))) == ["ok"]
    assert said(await client.pulled(heap_id, block)) == "hé 👋"


async def test_difference(client: Client, heap_id: HeapId) -> None:
    """With a state vector of the current version only what is lacking comes, not the whole."""
    block = await client.insert(heap_id)
    doc: Doc[Any] = Doc()
    await client.push(heap_id, (block, paragraph("one " * 500, doc)))
    vector, held = doc.get_state(), doc.get_update()
    await client.push(heap_id, (block, paragraph("two", doc)))
    ask = {"id": block, "sync_version": 1, "state_vector": b64(vector)}
    answer = (await client.pull(heap_id, ask))["blocks"][0]
    update = base64.b64decode(answer["update"])
    assert answer["full"] is False
    assert len(update) < 100
    assert said(loaded(held, update)) == said(doc)


@pytest.mark.parametrize("version", [0, 2])
async def test_other_version_is_full(client: Client, heap_id: HeapId, version: int) -> None:
    """Asked with a state vector of another version, the full state comes."""
    block = await client.insert(heap_id)
    update = paragraph("text")
    await client.push(heap_id, (block, update))
    vector = b64(loaded(update).get_state())
    ask = {"id": block, "sync_version": version, "state_vector": vector}
    answer = (await client.pull(heap_id, ask))["blocks"][0]
    assert answer["full"] is True
    assert answer["sync_version"] == 1
    assert said(loaded(base64.b64decode(answer["update"]))) == "text"


async def test_missing_blocks(client: Client, server: Server, heap_id: HeapId) -> None:
    """Unknown blocks, blocks of another heap and permanently deleted ones are missing."""
    other = await server.add_block(await server.add_heap("Other"))
    gone = await client.insert(heap_id)
    await client.push(heap_id, (gone, with_map("meta_v0", {"permanently_deleted_at": 5})))
    ids = [new_block_id(), other, gone, "nonsense"]
    answer = await client.pull(heap_id, *({"id": i, "sync_version": 1} for i in ids))
    assert answer == {"blocks": [], "missing": ids}


async def test_pull_is_bounded(client: Client, server: Server, heap_id: HeapId) -> None:
    """At most 200 blocks come at once; asking again for the rest gives the rest."""
    ids = [await server.add_block(heap_id) for _ in range(230)]
    wanted = set(ids)
    counts = []
    while wanted:
        answer = await client.pull(heap_id, *({"id": i, "sync_version": 1} for i in wanted))
        counts.append(len(answer["blocks"]))
        wanted -= {b["id"] for b in answer["blocks"]}
    assert counts == [200, 30]


async def test_pull_is_bounded_in_bytes(tmp_path: Path) -> None:
    """What does not fit into one answer is left out, but one block always comes."""
    limits = Limits(auth_calls=99, pull_bytes=10_000)
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        big = await server.add_block(heap, "document", "", paragraph("x" * 20_000))
        small = await server.add_block(heap, "document", "", paragraph("small"))
        asks = [{"id": i, "sync_version": 1} for i in (big, small)]
        assert [b["id"] for b in (await client.pull(heap, *asks))["blocks"]] == [big]
        answer = await client.pull(heap, *reversed(asks))
        assert [b["id"] for b in answer["blocks"]] == [small]


async def test_delta_order_and_cursor(client: Client, heap_id: HeapId) -> None:
    """Changes come in their order; from the cursor on only later ones come."""
    one, two, three = [await client.insert(heap_id) for _ in range(3)]
    live, gone, cursor = await whole_delta(client, heap_id)
    assert (live, gone) == ([one, two, three], [])
    assert await whole_delta(client, heap_id, cursor) == ([], [], cursor)
    await client.push(heap_id, (two, paragraph("later")))
    assert (await whole_delta(client, heap_id, cursor))[0] == [two]
    assert (await whole_delta(client, heap_id))[0] == [one, three, two]


async def test_delta_pages(tmp_path: Path) -> None:
    """Pages of the feed, followed to the end, give every block once."""
    limits = Limits(auth_calls=99, delta_rows=7)
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        ids = [await server.add_block(heap) for _ in range(50)]
        assert (await whole_delta(client, heap))[0] == ids
        assert (await client.delta(heap))["has_more"] is True


async def test_trashed_and_restored(client: Client, heap_id: HeapId) -> None:
    """A trashed block is listed as deleted only, a restored one as live only."""
    block = await client.insert(heap_id)
    doc: Doc[Any] = Doc()
    await client.push(heap_id, (block, with_map("meta_v0", {"deleted_at": 1234}, doc)))
    page = await client.delta(heap_id)
    assert page["blocks"] == []
    assert page["deleted"] == [{"id": block, "deleted_at": 1234, "permanent": False}]
    await client.push(heap_id, (block, with_map("meta_v0", {"deleted_at": None}, doc)))
    page = await client.delta(heap_id)
    assert [b["id"] for b in page["blocks"]] == [block]
    assert page["deleted"] == []


async def test_stamps_are_unique_and_monotone(tmp_path: Path) -> None:
    """Each change has a stamp of its own, later ones larger, even when the clock jumps back over
    a restart; a cursor handed out before misses nothing.
    """
    clock, keys_client = Clock(2_000_000_000_000), None
    async with serving(tmp_path, now_ms=clock) as (server, client):
        keys_client = client.keys
        await client.sign_in()
        heap = await server.add_heap("H")
        before = [await server.add_block(heap) for _ in range(5)]
        page = await client.delta(heap)
        assert len({b["updated_at"] for b in page["blocks"]}) == 5
        cursor = page["timestamp"]
    clock.now_ms -= 10_000_000
    async with serving(tmp_path, now_ms=clock, keys=keys_client) as (server, client):
        await client.sign_in()
        assert await whole_delta(client, heap, cursor) == ([], [], cursor)
        after = [await server.add_block(heap) for _ in range(3)]
        assert (await whole_delta(client, heap, cursor))[0] == after
        assert (await whole_delta(client, heap))[0] == [*before, *after]


async def test_push_statuses(client: Client, server: Server, heap_id: HeapId) -> None:
    """Each update of a push has a status of its own."""
    good, old = await client.insert(heap_id), await client.insert(heap_id)
    await server.compact(old)
    foreign = await server.add_block(await server.add_heap("Other"))
    update = paragraph("x")
    results = await client.push(
        heap_id,
        (good, update),
        (old, update, 1),
        (good, update, 2),
        (good, b"\x01\x02garbage"),
        (good, b""),
        (foreign, update),
        ("no such id", update),
    )
    assert [r["status"] for r in results] == [
        "ok",
        "stale",
        "invalid",
        "invalid",
        "invalid",
        "not_found",
        "not_found",
    ]
    assert [r["sync_version"] for r in results[:3]] == [1, 2, 1]
    assert said(await client.pulled(heap_id, good)) == "x"


async def test_repeated_push_is_no_change(client: Client, server: Server, heap_id: HeapId) -> None:
    """An update pushed again is ok, and changes neither the document nor the feed."""
    block = await client.insert(heap_id)
    update = paragraph("once")
    await client.push(heap_id, (block, update))
    _, _, cursor = await whole_delta(client, heap_id)
    state = (await server.document(block)).fingerprint()
    assert await client.statuses(heap_id, (block, update), (block, update)) == ["ok", "ok"]
    assert await whole_delta(client, heap_id, cursor) == ([], [], cursor)
    assert (await server.document(block)).fingerprint() == state


async def test_empty_update_is_no_change(client: Client, heap_id: HeapId) -> None:
    """The update in which nothing happened is ok and leaves no trace."""
    block = await client.insert(heap_id)
    _, _, cursor = await whole_delta(client, heap_id)
    assert await client.statuses(heap_id, (block, b"\0\0")) == ["ok"]
    assert await whole_delta(client, heap_id, cursor) == ([], [], cursor)


async def test_deletion_alone_is_a_change(client: Client, heap_id: HeapId) -> None:
    """An update that only deletes, which moves no state vector, shows in the feed."""
    block = await client.insert(heap_id)
    doc: Doc[Any] = Doc()
    await client.push(heap_id, (block, paragraph("gone", doc)))
    _, _, cursor = await whole_delta(client, heap_id)
    before = doc.get_state()
    del doc.get("content_v0", type=XmlFragment).children[0]
    await client.push(heap_id, (block, doc.get_update(before)))
    assert (await whole_delta(client, heap_id, cursor))[0] == [block]
    assert said(await client.pulled(heap_id, block)) == ""


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
async def test_updates_out_of_order(tmp_path: Path, restart: bool) -> None:
    """An update that builds on one not yet pushed is kept, also over a restart, and comes to
    light with the other; until then nothing changes.
    """
    doc: Doc[Any] = Doc()
    first = paragraph("first", doc)
    second = paragraph("second", doc)
    before = doc.get_state()
    del doc.get("content_v0", type=XmlFragment).children[1]
    deletion = doc.get_update(before)
    async with serving(tmp_path) as (server, client):
        keys = client.keys
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await client.insert(heap)
        _, _, cursor = await whole_delta(client, heap)
        for late in (deletion, second, second):
            assert await client.statuses(heap, (block, late)) == ["ok"]
        assert await whole_delta(client, heap, cursor) == ([], [], cursor)
        assert said(await client.pulled(heap, block)) == ""
        if not restart:
            await client.push(heap, (block, first))
            assert said(await client.pulled(heap, block)) == "second"
    async with serving(tmp_path, keys=keys) as (server, client):
        await client.sign_in()
        if restart:
            await client.push(heap, (block, first))
        assert said(await client.pulled(heap, block)) == "second"


async def test_concurrent_pushes(client: Client, server: Server, heap_id: HeapId) -> None:
    """Pushes at the same time, to the same and to other blocks, all arrive; stamps differ."""
    blocks = [await client.insert(heap_id) for _ in range(4)]

    async def push(k: int) -> None:
        assert (
            await client.statuses(heap_id, *((b, paragraph(f"w{k}")) for b in blocks))
            == ["ok"] * 4
        )

    await asyncio.gather(*(push(k) for k in range(25)))
    for block in blocks:
        words = said(await client.pulled(heap_id, block)).split("|")
        assert sorted(words) == sorted(f"w{k}" for k in range(25))
    page = await client.delta(heap_id)
    assert len({b["updated_at"] for b in page["blocks"]}) == 4


async def test_long_history_stays_small(tmp_path: Path) -> None:
    """Folding the log loses nothing, and keeps what is stored in proportion to the document."""
    limits = Limits(auth_calls=99, log_updates=10)
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await client.insert(heap)
        doc: Doc[Any] = Doc()
        for k in range(35):
            await server.apply(block, paragraph(f"p{k}", doc))
        stored = await server._stored(block)
        assert len(stored.log) <= 10
        assert said(await client.pulled(heap, block)) == said(doc)


async def test_documents_beyond_the_loaded_ones(tmp_path: Path) -> None:
    """Blocks whose documents are no longer loaded take changes as the others."""
    limits = Limits(auth_calls=99, replicas=3)
    async with serving(tmp_path, limits=limits) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        docs: dict[str, Doc[Any]] = {await client.insert(heap): Doc() for _ in range(12)}
        for k in range(3):
            updates = [(b, paragraph(f"{k}", d)) for b, d in docs.items()]
            assert set(await client.statuses(heap, *updates)) == {"ok"}
        for block in docs:
            assert said(await client.pulled(heap, block)) == "2|1|0"


async def test_those_of_a_push_take_the_place_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never are more documents loaded than allowed, but for what one group of changes needs."""
    most, loaded_at_once = 12, 0
    real = Batch.effects

    def count() -> int:
        return sum(isinstance(o, LoadedDocument) for o in gc.get_objects())

    def effects(self: Batch) -> Any:
        nonlocal loaded_at_once
        loaded_at_once = max(loaded_at_once, count() - before)
        return real(self)

    monkeypatch.setattr(Batch, "effects", effects)
    gc.collect()
    before = count()
    async with serving(tmp_path, limits=Limits(auth_calls=99, replicas=most)) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        blocks = [await client.insert(heap) for _ in range(2 * most)]
        for some in (blocks[:most], blocks[most:]):
            updates = [(b, paragraph("text")) for b in some]
            assert set(await client.statuses(heap, *updates)) == {"ok"}
    assert 0 < loaded_at_once <= most


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"updates": []}, 400),
        ({"workspace_id": 5, "updates": []}, 400),
        ({"workspace_id": "H", "updates": {}}, 400),
        ({"workspace_id": "H", "updates": [{"block_id": "b", "sync_version": 1}]}, 400),
        (
            {
                "workspace_id": "H",
                "updates": [{"block_id": "b", "sync_version": "1", "update": ""}],
            },
            400,
        ),
        (
            {
                "workspace_id": "H",
                "updates": [{"block_id": "b", "sync_version": 1, "update": "A_-"}],
            },
            400,
        ),
        (
            {
                "workspace_id": "H",
                "updates": [{"block_id": "b", "sync_version": -1, "update": ""}],
            },
            400,
        ),
        (
            {
                "workspace_id": "H",
                "updates": [{"block_id": "b", "sync_version": 1, "update": ""}] * 201,
            },
            413,
        ),
        ({"workspace_id": "H", "updates": [], "x": "y" * (8 << 20)}, 413),
        ({"workspace_id": "01J00000000000000000000000", "updates": []}, 404),
    ],
    ids=[
        "no heap",
        "heap no text",
        "updates no list",
        "no update",
        "version a text",
        "urlsafe base64",
        "version negative",
        "201 updates",
        "more than 8 MiB",
        "unknown heap",
    ],
)
async def test_push_refusals(client: Client, heap_id: HeapId, body: Any, status: int) -> None:
    """A push that the contract does not allow is refused as a whole, with its reason."""
    if body.get("workspace_id") == "H":
        body = {**body, "workspace_id": heap_id}
    raw, head = json.dumps(body).encode(), {"Content-Type": "application/json"}
    found, answer = await client.ask("POST", "/api/sync/push", data=raw, headers=head)
    assert (found, bool(answer["error"])) == (status, True)


async def test_pull_refuses_bad_vectors(client: Client, heap_id: HeapId) -> None:
    """A state vector that is none is a bad request, not an empty answer."""
    block = await client.insert(heap_id)
    for vector in (b"\x01", b"\x00\x00", b"\xff" * 9, b"\x02\x01\x01"):
        ask = {"id": block, "sync_version": 1, "state_vector": b64(vector)}
        body = {"workspace_id": heap_id, "blocks": [ask]}
        assert (await client.ask("POST", "/api/sync/pull", json=body))[0] == 400


@pytest.mark.parametrize("since", ["", "-1", "x", "1.5", "9" * 16, "٣"])
async def test_delta_refuses_bad_cursors(client: Client, heap_id: HeapId, since: str) -> None:
    """A cursor that is no number of milliseconds is a bad request."""
    path = f"/api/sync/delta?workspace_id={heap_id}&since={since}"
    assert (await client.ask("GET", path))[0] == 400


async def test_read_only_heap(client: Client, server: Server, heap_id: HeapId) -> None:
    """In a heap granted for reading, pushes are forbidden one by one and inserts as a whole."""
    block = await server.add_block(heap_id, "document", "", titled("T"))
    await server.grant(heap_id, "ro")
    assert await client.statuses(heap_id, (block, paragraph("x"))) == ["forbidden"]
    body = {"workspace_id": heap_id, "id": new_block_id(), "type": "document"}
    assert (await client.ask("POST", "/api/insert_block", json=body))[0] == 403
    assert (await client.delta(heap_id))["blocks"][0]["id"] == block


async def test_heap_without_access(client: Client, server: Server, heap_id: HeapId) -> None:
    """A heap that is not granted is neither listed nor readable."""
    block = await server.add_block(heap_id)
    await server.grant(heap_id, "none")
    assert (await client.post("/api/heaps"))["heaps"] == []
    path = f"/api/sync/delta?workspace_id={heap_id}&since=0"
    assert (await client.ask("GET", path))[0] == 403
    assert (await client.ask("POST", f"/api/block/{block}", json={}))[0] == 404
    body = {"workspace_id": heap_id, "updates": []}
    assert (await client.ask("POST", "/api/sync/push", json=body))[0] == 403

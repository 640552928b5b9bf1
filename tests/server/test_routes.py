"""Heaps, blocks, query, search; how requests are refused; CORS."""

from typing import Any

import pytest

from heapsyncd.ids import HeapId, new_block_id
from heapsyncd.server import Server
from tests.server.rig import Client, paragraph, titled, with_map


async def test_heaps(client: Client, server: Server) -> None:
    """Heaps are listed with what the contract names, oldest first."""
    ids = [await server.add_heap(t) for t in ("B", "A")]
    heaps = (await client.post("/api/heaps"))["heaps"]
    assert [(h["id"], h["title"]) for h in heaps] == [(ids[0], "B"), (ids[1], "A")]
    assert heaps[0]["encrypted"] is False
    assert set(heaps[0]) >= {"block_id", "icon", "type", "created_at", "updated_at"}


async def test_insert_is_idempotent(client: Client, heap_id: HeapId) -> None:
    """Inserting an id again gives the block as it is; nothing is changed by it."""
    id_ = new_block_id()
    body = {"workspace_id": heap_id, "id": id_, "type": "document", "title": "One"}
    first = await client.post("/api/insert_block", body)
    again = await client.post("/api/insert_block", {**body, "title": "Two", "type": "tag"})
    assert again == first
    assert first["block"]["title"] == "One"
    assert first["block"]["sync_version"] == 1
    assert first["block"]["created_at"] == first["block"]["updated_at"]


async def test_insert_of_a_taken_id(client: Client, server: Server, heap_id: HeapId) -> None:
    """An id of a block of another heap is a conflict."""
    taken = await server.add_block(await server.add_heap("Other"))
    body = {"workspace_id": heap_id, "id": taken, "type": "document"}
    assert (await client.ask("POST", "/api/insert_block", json=body))[0] == 409


async def test_row_follows_the_document(client: Client, server: Server, heap_id: HeapId) -> None:
    """Title, text, relations, files and deletion of a row are those of the document."""
    block = await server.add_block(heap_id, "document", "row title", paragraph("Some text"))
    tag, hash_ = new_block_id(), "ab" * 32
    row = (await client.post(f"/api/block/{block}"))["block"]
    assert (row["title"], row["text"]) == ("row title", "Some text")
    await server.apply(block, titled("Title"))
    await server.apply(block, with_map("relations_v1", {tag: {"type": "tag"}}))
    entry = {"name": "a.txt", "hash": hash_, "file_size": 3, "mime_type": "text/plain"}
    await server.apply(block, with_map("files_v0", {f"{hash_}:3": entry}))
    await server.apply(block, with_map("meta_v0", {"deleted_at": 77}))
    answer = await client.post(f"/api/block/{block}")
    assert answer["block"]["title"] == "Title"
    assert answer["block"]["deleted_at"] == 77
    assert answer["relations"] == [{"block_id": tag, "type": "tag"}]
    assert answer["files"][0]["name"] == "a.txt"
    assert answer["files"][0]["is_uploaded"] is False


async def test_query(client: Client, server: Server, heap_id: HeapId) -> None:
    """Live blocks come in pages, of one type when asked, with the number of all."""
    ids = sorted([await server.add_block(heap_id, "document", f"n{k}") for k in range(5)])
    tag = await server.add_block(heap_id, "tag", "t")
    await server.add_block(heap_id, "document", "", with_map("meta_v0", {"deleted_at": 1}))
    await server.add_block(await server.add_heap("Other"))
    body: dict[str, Any] = {"workspace_id": heap_id, "limit": 2, "offset": 0, "type": "document"}
    seen = []
    for offset in (0, 2, 4, 6):
        page = await client.post("/api/query_blocks", {**body, "offset": offset})
        assert page["total"] == 5
        seen += [b["id"] for b in page["blocks"]]
    assert seen == ids
    page = await client.post("/api/query_blocks", {**body, "limit": 50, "type": "tag"})
    assert [b["id"] for b in page["blocks"]] == [tag]
    del body["type"]
    assert (await client.post("/api/query_blocks", body))["total"] == 6


async def test_search(client: Client, server: Server, heap_id: HeapId) -> None:
    """Search finds words of title and text in any case, beyond what a row shows, live blocks
    only, and takes signs as they stand.
    """
    long = await server.add_block(heap_id, "document", "", paragraph("x " * 3_000 + "GRÜẞE 100%"))
    titl = await server.add_block(heap_id, "document", "", titled("Grüße"))
    row = await server.add_block(heap_id, "tag", "grüsse")
    gone = with_map("meta_v0", {"deleted_at": 1})
    await server.add_block(heap_id, "document", "", titled("Grüße"), gone)

    async def search(query: str) -> list[str]:
        body = {"workspace_id": heap_id, "query": query, "limit": 10}
        return [b["id"] for b in (await client.post("/api/search_blocks", body))["blocks"]]

    assert await search("grüße") == [row, titl, long]
    assert await search("100%") == [long]
    assert await search("100_") == []


async def test_permanently_deleted(client: Client, server: Server, heap_id: HeapId) -> None:
    """A permanently deleted block is gone from every list, and says so in the feed."""
    update = with_map("meta_v0", {"permanently_deleted_at": 9})
    block = await server.add_block(heap_id, "document", "t", update)
    assert (await client.ask("POST", f"/api/block/{block}"))[0] == 404
    page = await client.delta(heap_id)
    assert page["deleted"] == [{"id": block, "deleted_at": 9, "permanent": True}]
    body = {"workspace_id": heap_id, "limit": 5, "offset": 0}
    assert (await client.post("/api/query_blocks", body))["total"] == 0


ULID = "01J8XYZ0ABCDEFGHJKMNPQRSTV"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/nothing", None, 404),
        ("GET", "/page", None, 404),
        ("GET", "/api/heaps", None, 405),
        ("DELETE", "/api/sync/delta", None, 405),
        ("POST", "/api/heaps", "not json", 400),
        ("POST", "/api/heaps", "[]", 400),
        ("POST", "/api/heaps", b"\xff\xfe", 400),
        ("POST", "/api/heaps", '{"x": "' + "y" * (1 << 20) + '"}', 413),
        ("POST", f"/api/block/{ULID}", "{}", 404),
        ("POST", "/api/block/x", "{}", 404),
        ("POST", "/api/query_blocks", '{"workspace_id": "H", "limit": 0, "offset": 0}', 400),
        ("POST", "/api/query_blocks", '{"workspace_id": "H", "limit": 1, "offset": -1}', 400),
        ("POST", "/api/query_blocks", '{"workspace_id": "H", "limit": 1, "type": "x"}', 400),
        ("POST", "/api/query_blocks", '{"workspace_id": "x", "limit": 1}', 404),
        ("POST", "/api/search_blocks", '{"workspace_id": "H", "query": ""}', 400),
        ("POST", "/api/insert_block", '{"workspace_id": "H", "id": "x", "type": "tag"}', 400),
        (
            "POST",
            "/api/insert_block",
            f'{{"workspace_id": "H", "id": "{ULID.lower()}", "type": "tag"}}',
            400,
        ),
        ("POST", "/api/insert_block", f'{{"workspace_id": "H", "id": "{ULID}"}}', 400),
        (
            "POST",
            "/api/insert_block",
            f'{{"workspace_id": "H", "id": "{ULID}", "type": "image"}}',
            400,
        ),
        (
            "POST",
            "/api/insert_block",
            f'{{"workspace_id": "x", "id": "{ULID}", "type": "tag"}}',
            404,
        ),
    ],
)
async def test_refusals(
    client: Client, heap_id: HeapId, method: str, path: str, body: str | bytes | None, status: int
) -> None:
    """Each wrong request gets its status, and a reason in JSON."""
    if isinstance(body, str):
        body = body.replace('"H"', f'"{heap_id}"').encode()
    head = {"Content-Type": "application/json"}
    found, answer = await client.ask(method, path, data=body, headers=head)
    assert found == status
    assert answer["error"]


async def test_other_content_type(client: Client) -> None:
    """A body that calls itself something else than JSON is refused."""
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await client.ask("POST", "/api/heaps", data=b"a=b", headers=head))[0] == 415


async def test_cors(client: Client) -> None:
    """Answers, refusals and preflights mirror the request's origin; without one, nothing."""
    head = {"Origin": "https://app.example"}
    for method, path, status in (
        ("GET", "/api/", 200),
        ("GET", "/api/nothing", 404),
        ("OPTIONS", "/api/sync/push", 204),
    ):
        async with client.raw(method, path, headers=head) as answer:
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert answer.headers["Vary"] == "Origin"
    async with client.raw("OPTIONS", "/api/sync/push", headers=head) as answer:
        assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    async with client.raw("GET", "/api/") as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_not_allowed_names_what_is(client: Client) -> None:
    """405 says which methods there are."""
    async with client.raw("GET", "/api/heaps") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")

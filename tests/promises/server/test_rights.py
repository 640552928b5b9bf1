"""Rights that end: seats, tokens and blocks that are gone end with them."""

import hashlib
from pathlib import Path
from typing import Any

import aiohttp
from pycrdt import Doc

from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server import Limits, Server
from heapsyncd.wire import hocuspocus as hp
from tests.server.rig import (
    Client,
    Clock,
    Keys,
    Live,
    loaded,
    name_of,
    paragraph,
    said,
    serving,
    with_map,
)


async def is_shut(live: Live, name: str, server: Server, block: BlockId, doc: Doc[Any]) -> None:
    """The document is closed for this socket: it is told nothing more, and nothing is taken."""
    assert (await live.next(name, hp.Close)).reason
    assert server.followers(block) == 0
    before = await server.document(block)
    await server.apply(block, paragraph("secret", loaded(before.state())))
    await live.send(name, hp.Update(paragraph("late", doc)))
    await live.socket.send_bytes(b"\x09")
    told = [f.message for f in live._frames]
    while (message := await live.socket.receive(5)).data != b"\x0a":
        if message.type is not aiohttp.WSMsgType.BINARY:
            break  # closed: nothing more comes
        told.append(hp.decode(message.data).message)
    assert not [m for m in told if isinstance(m, hp.Update | hp.SyncStatus)]
    assert "late" not in said(loaded((await server.document(block)).state()))


async def test_a_grant_that_is_withdrawn(
    client: Client, server: Server, heap_id: HeapId, name: str, block: BlockId
) -> None:
    """Who may no longer read a heap is told no more of its open documents."""
    async with client.live() as live:
        doc = await live.open(name)
        await server.grant(heap_id, "none")
        await is_shut(live, name, server, block, doc)
        assert isinstance(await live.sign_in(name), hp.PermissionDenied)


async def test_a_grant_that_shrinks(
    client: Client, server: Server, heap_id: HeapId, name: str, block: BlockId
) -> None:
    """Who may only read from now on writes no more through open documents; they open readonly."""
    async with client.live() as live:
        doc = await live.open(name)
        await server.grant(heap_id, "ro", client.keys.public)
        await is_shut(live, name, server, block, doc)
        assert await live.sign_in(name) == hp.Authenticated("readonly")


async def test_a_grant_to_others_changes_nothing(
    client: Client, server: Server, heap_id: HeapId, name: str
) -> None:
    """A seat whose rights stay the same goes on."""
    async with client.live() as live:
        doc = await live.open(name)
        await server.grant(heap_id, "none", Keys().public)
        await live.send(name, hp.Update(paragraph("on", doc)))
        assert (await live.next(name, hp.SyncStatus)).saved


async def test_a_key_that_is_shut_out(tmp_path: Path) -> None:
    """``!KEY`` in the accounts file ends tokens and open documents, without a new sign-in."""
    async with serving(tmp_path, limits=Limits(list_s=0.02)) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        name = name_of(heap, block)
        async with client.live() as live:
            doc = await live.open(name)
            (tmp_path / "accounts").write_text(f"!{client.keys.public}\n")
            await is_shut(live, name, server, block, doc)
        assert (await client.ask("POST", "/api/me", json={}))[0] == 401


async def test_a_token_that_expires(tmp_path: Path) -> None:
    """Once its token has run out a seat takes and tells nothing more, whatever the clock did."""
    clock = Clock()
    async with serving(tmp_path, now_ms=clock) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        name = name_of(heap, block)
        async with client.live() as live:
            doc = await live.open(name)
            clock.now_ms += Limits().access_ttl_s * 1000
            await live.send(name, hp.Update(paragraph("late", doc)))
            await is_shut(live, name, server, block, doc)


async def test_an_expired_socket_is_reset(tmp_path: Path) -> None:
    """With nobody sending anything the seats end in time too, and the client is to come again."""
    async with serving(tmp_path, limits=Limits(access_ttl_s=1)) as (server, client):
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        name = name_of(heap, block)
        await client.sign_in()
        async with client.live() as live:
            await live.open(name)
            assert "unauthorized" in (await live.next(name, hp.Close)).reason
            assert server.followers(block) == 0
            assert await live.closed() == 4205


async def test_a_token_is_renewed(tmp_path: Path) -> None:
    """A fresh token is asked for in time, and one renews all documents of the socket."""
    clock = Clock()
    async with serving(tmp_path, now_ms=clock) as (server, client):
        heap = await server.add_heap("H")
        names = [name_of(heap, await server.add_block(heap)) for _ in range(3)]
        await client.sign_in()
        async with client.live() as live:
            docs = {name: await live.open(name) for name in names}
            clock.now_ms += (Limits().access_ttl_s - 10) * 1000
            async with client.live() as other:  # a second socket's tokens are looked at, too
                await other.open(names[0])
                await other.next(names[0], hp.TokenRequest)
            await client.sign_in()
            live.token = client.token or ""
            await live.sign_in_silently(names[0])
            clock.now_ms += 60_000
            for name, doc in docs.items():
                await live.send(name, hp.Update(paragraph("on", doc)))
                assert (await live.next(name, hp.SyncStatus)).saved


async def test_a_key_that_is_refused(
    client: Client, server: Server, name: str, block: BlockId
) -> None:
    """All its sign-ins end at once: access tokens, refresh tokens, open documents. They do not
    come back with the key: somebody may have copied them.
    """
    async with client.live() as live:
        doc = await live.open(name)
        await server.refuse(client.keys.public)
        await is_shut(live, name, server, block, doc)
    await server.accept(client.keys.public)
    assert (await client.ask("POST", "/api/me", json={}))[0] == 401
    path = "/api/auth/refresh_token"
    assert (await client.ask("POST", path, token=client.refresh))[0] == 401
    await client.sign_in()
    assert (await client.ask("POST", "/api/me", json={}))[0] == 200


async def test_signing_out(client: Client, server: Server, name: str, block: BlockId) -> None:
    """Signing out ends this sign-in, and no other of the same key."""
    other = await Client(client.http, client.url, client.keys).sign_in()
    async with client.live() as live, other.live() as kept:
        doc = await live.open(name)
        await client.post("/api/auth/sign_out")
        assert "unauthorized" in (await live.next(name, hp.Close)).reason
        theirs = await kept.open(name)
        await kept.send(name, hp.Update(paragraph("on", theirs)))
        assert (await kept.next(name, hp.SyncStatus)).saved
        assert said(doc) == "here"
    assert (await client.ask("POST", "/api/me", json={}))[0] == 401
    path = "/api/auth/refresh_token"
    assert (await client.ask("POST", path, token=client.refresh))[0] == 401
    assert (await other.ask("POST", "/api/me", json={}))[0] == 200
    assert (await client.ask("POST", "/api/auth/sign_out", json={}))[0] == 401


async def test_a_replayed_refresh_token(client: Client, name: str) -> None:
    """A refresh token that comes twice ends all that descends from its sign-in."""
    path = "/api/auth/refresh_token"
    used, (_, pair) = client.refresh, await client.ask("POST", path, token=client.refresh)
    client.token, client.refresh = pair["accessToken"], pair["refreshToken"]
    async with client.live() as live:
        await live.open(name)
        assert (await client.ask("POST", path, token=used))[0] == 401
        assert "unauthorized" in (await live.next(name, hp.Close)).reason
    assert (await client.ask("POST", path, token=client.refresh))[0] == 401
    assert (await client.ask("POST", "/api/me", json={}))[0] == 401
    await client.sign_in()
    assert (await client.ask("POST", "/api/me", json={}))[0] == 200


async def test_sign_ins_of_one_account_are_bounded(tmp_path: Path) -> None:
    """Of too many sign-ins the oldest ends; the newest works, after a restart too."""
    clock, keys = Clock(), Keys()
    options: dict[str, Any] = {"limits": Limits(auth_calls=99, sessions=3), "now_ms": clock}
    async with serving(tmp_path, keys=keys, **options) as (_, client):
        devices = []
        for _ in range(4):
            devices.append(await Client(client.http, client.url, keys).sign_in())
            clock.now_ms += 1_000
        found = [(await d.ask("POST", "/api/me", json={}))[0] for d in devices]
    assert found == [401, 200, 200, 200]
    async with serving(tmp_path, keys=keys, **options) as (_, client):
        client.token = devices[3].token
        assert (await client.ask("POST", "/api/me", json={}))[0] == 200


async def test_an_earlier_accept(tmp_path: Path) -> None:
    """A key that was named once and never signed in may not, when it is named no longer."""
    named, guest = Keys(), Keys()
    async with serving(tmp_path, keys=named, accounts=[named.public, guest.public]) as (_, client):
        await client.sign_in()
    async with serving(tmp_path, keys=named, accounts=[]) as (server, client):
        assert server.code is None
        await client.sign_in()
        other = Client(client.http, client.url, guest)
        body = await other.signed_challenge()
        assert (await other.ask("POST", "/api/auth/verify_session", json=body))[0] == 401


async def test_a_block_deleted_for_good_is_nowhere(
    client: Client, server: Server, heap_id: HeapId, name: str, block: BlockId
) -> None:
    """Every route says that there is no such block, open documents end, also after a restart."""
    entry = await server.add_file(block, "a.bin", b"content")
    file = f"/api/file/{heap_id}/{block}/{entry.hash}"
    assert (await client.ask("GET", file))[0] == 200
    async with client.live() as live:
        doc = await live.open(name)
        gone = with_map("meta_v0", {"permanently_deleted_at": 1.0}, loaded(doc.get_update()))
        assert await client.statuses(heap_id, (block, gone)) == ["ok"]
        assert "deleted" in (await live.next(name, hp.Close)).reason
        assert await live.sign_in(name) == hp.PermissionDenied("not_found")
    assert (await client.ask("GET", file))[0] == 404
    assert await client.statuses(heap_id, (block, paragraph("back"))) == ["not_found"]
    assert (await client.pull(heap_id, {"id": block, "sync_version": 1}))["missing"] == [block]
    assert (await client.ask("POST", f"/api/block/{block}", json={}))[0] == 404
    content = hashlib.sha256(b"more").hexdigest()
    upload = {"hash": content, "name": "b", "size": 4}
    path = f"/api/upload/init/{heap_id}/{block}"
    assert (await client.ask("POST", path, json=upload))[0] == 404
    again = {"workspace_id": heap_id, "id": block, "type": "document"}
    assert (await client.ask("POST", "/api/insert_block", json=again))[0] == 409


async def test_gone_after_a_restart(tmp_path: Path) -> None:
    """What was deleted for good stays so."""
    keys = Keys()
    async with serving(tmp_path, keys=keys) as (server, _):
        heap = await server.add_heap("H")
        gone = with_map("meta_v0", {"permanently_deleted_at": 1.0})
        block = await server.add_block(heap, "document", "", gone)
    async with serving(tmp_path, keys=keys) as (_, client):
        await client.sign_in()
        assert await client.statuses(heap, (block, paragraph("back"))) == ["not_found"]


async def test_blocks_of_others_are_not_told_of(
    client: Client, server: Server, heap_id: HeapId, block: BlockId
) -> None:
    """Whether an id names a block of a heap that one may not see is not told apart: looking it up
    is as for none, inserting it as for one deleted for good.
    """
    other = await server.add_heap("Theirs")
    foreign = await server.add_block(other)
    await server.grant(other, "none")
    await server.apply(block, with_map("meta_v0", {"permanently_deleted_at": 1.0}))

    async def told(path: str, **body: str) -> tuple[int, Any]:
        return await client.ask("POST", path, json=body)

    unknown = "01" + "A" * 24
    assert await told(f"/api/block/{foreign}") == await told(f"/api/block/{unknown}")
    insert = {"workspace_id": heap_id, "type": "document"}
    assert await told("/api/insert_block", id=foreign, **insert) == await told(
        "/api/insert_block", id=block, **insert
    )


async def test_what_others_have_is_answered_like_nothing(
    client: Client, server: Server, heap_id: HeapId
) -> None:
    """On every route a block of a heap that one may not see is answered as one that does not
    exist, also when its document is large or can't be loaded; none of it is even looked at.
    """
    other = await server.add_heap("Theirs")
    foreign = await server.add_block(other, "document", "", paragraph("secret"))
    await server.grant(other, "none")
    services, unknown = server._services, "01" + "A" * 24
    services.documents._held.clear()
    await services.db.write(lambda tx: tx.execute("UPDATE states SET state = x'ff'").rowcount)

    async def answers(block: str) -> list[Any]:
        file = f"{heap_id}/{block}/{'a' * 64}"
        init = {"hash": "a" * 64, "name": "a", "size": 1}
        told = [
            await client.ask("POST", f"/api/block/{block}"),
            await client.ask("GET", f"/api/file/{file}"),
            await client.ask("POST", f"/api/upload/init/{heap_id}/{block}", json=init),
            await client.ask("POST", f"/api/upload/complete/{file}"),
            await client.push(heap_id, (block, paragraph("mine"))),
            await client.pull(heap_id, {"id": block, "sync_version": 1}),
        ]
        async with client.live() as live:
            told += [await live.sign_in(f"{where}:{block}:v1") for where in (heap_id, other)]
        return [str(one).replace(block, "<id>") for one in told]

    assert await answers(foreign) == await answers(unknown)
    taken = {"workspace_id": heap_id, "type": "document", "id": foreign}
    assert (await client.ask("POST", "/api/insert_block", json=taken))[0] == 409
    assert foreign not in services.documents._held

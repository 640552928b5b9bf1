"""A client of the server as plain as can be: aiohttp, the wire's codecs, pycrdt."""

import asyncio
import base64
import hashlib
import io
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import base58
from nacl.signing import SigningKey
from pycrdt import Doc, Map, XmlElement, XmlFragment, XmlText

from heapsyncd.ids import BlockId, HeapId, Token, new_block_id
from heapsyncd.server import Limits, Server
from heapsyncd.wire import hocuspocus as hp

T = TypeVar("T", bound=hp.Message)
SOON_S = 10.0


class Keys:
    """Somebody with a key."""

    def __init__(self) -> None:
        self._key = SigningKey.generate()
        self.public = base58.b58encode(bytes(self._key.verify_key)).decode()

    def sign(self, text: str) -> str:
        return base58.b58encode(self._key.sign(text.encode()).signature).decode()


class Clock:
    """A wall clock that stands still until it is moved; milliseconds."""

    def __init__(self, now_ms: int | None = None) -> None:
        self.now_ms = now_ms or time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class Client:
    """Requests with (or without) a token; answers as (status, body)."""

    http: aiohttp.ClientSession
    url: str
    keys: Keys
    token: str | None = None
    refresh: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    code: str | None = None

    async def ask(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> tuple[int, Any]:
        async with self.raw(method, path, token=token, **options) as answer:
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            return answer.status, await answer.read()

    @asynccontextmanager
    async def raw(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {**self.headers, **options.pop("headers", {})}
        held = token if token is not None else self.token
        if held:
            headers["Authorization"] = f"Bearer {held}"
        url = self.url + path
        if isinstance(options.get("data"), bytes):
            options["data"] = io.BytesIO(options["data"])  # aiohttp warns of large plain bytes
        async with self.http.request(method, url, headers=headers, **options) as answer:
            yield answer

    async def post(self, path: str, body: Any = None) -> Any:
        """A request that succeeds."""
        status, answer = await self.ask("POST", path, json={} if body is None else body)
        assert status == 200, answer
        return answer

    async def get(self, path: str) -> Any:
        status, answer = await self.ask("GET", path)
        assert status == 200, answer
        return answer

    async def signed_challenge(self) -> dict[str, str]:
        """What verify_session is asked with."""
        body = {"public_key": self.keys.public}
        challenge = (await self.post("/api/auth/create_session", body))["challenge"]
        brought = {} if self.code is None else {"code": self.code}
        signature = self.keys.sign(challenge)
        return {**body, "message": challenge, "signature": signature, **brought}

    async def sign_in(self) -> "Client":
        answer = await self.post("/api/auth/verify_session", await self.signed_challenge())
        self.token, self.refresh = answer["accessToken"], answer["refreshToken"]
        return self

    async def push(self, heap: str, *updates: tuple[str, bytes] | tuple[str, bytes, int]) -> Any:
        """Push updates (block, update, version 1); the results."""
        body = {
            "workspace_id": heap,
            "updates": [
                {"block_id": b, "sync_version": v[0] if v else 1, "update": b64(u)}
                for b, u, *v in updates
            ],
        }
        return (await self.post("/api/sync/push", body))["results"]

    async def statuses(self, heap: str, *updates: Any) -> list[str]:
        return [r["status"] for r in await self.push(heap, *updates)]

    async def pull(self, heap: str, *asks: dict[str, Any]) -> Any:
        return await self.post("/api/sync/pull", {"workspace_id": heap, "blocks": list(asks)})

    async def pulled(self, heap: str, block: str, version: int = 1) -> Doc[Any]:
        """A block's document."""
        answer = await self.pull(heap, {"id": block, "sync_version": version})
        return loaded(base64.b64decode(answer["blocks"][0]["update"]))

    async def delta(self, heap: str, since: int = 0) -> Any:
        return await self.get(f"/api/sync/delta?workspace_id={heap}&since={since}")

    async def insert(
        self, heap: str, kind: str = "document", title: str = "", block: str | None = None
    ) -> BlockId:
        id_ = block or new_block_id()
        body = {"workspace_id": heap, "id": id_, "type": kind, "title": title}
        await self.post("/api/insert_block", body)
        return BlockId(id_)

    @asynccontextmanager
    async def live(self) -> AsyncIterator["Live"]:
        url = self.url.replace("http", "ws", 1) + "/ws"
        async with self.http.ws_connect(url, max_msg_size=0) as socket:
            yield Live(socket, self.token or "")


class Live:
    """One WebSocket, and what came over it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
        self.socket = socket
        self.token = token
        self._frames: list[hp.Frame] = []

    async def send(self, name: str, message: hp.Message) -> None:
        await self.socket.send_bytes(hp.encode(name, message))

    async def sign_in(self, name: str, token: str | None = None) -> hp.Message:
        """Sign in to a document; the answer."""
        await self.send(name, hp.Auth(Token(self.token if token is None else token)))
        answer: hp.Message = await self.next(name, (hp.Authenticated, hp.PermissionDenied))
        return answer

    async def sign_in_silently(self, name: str, token: str | None = None) -> None:
        """Send a token without waiting for an answer."""
        await self.send(name, hp.Auth(Token(self.token if token is None else token)))

    async def open(self, name: str, doc: Doc[Any] | None = None) -> Doc[Any]:
        """Sign in and take the document over."""
        assert isinstance(await self.sign_in(name), hp.Authenticated)
        doc = doc if doc is not None else Doc()
        await self.send(name, hp.SyncStep1(doc.get_state()))
        doc.apply_update((await self.next(name, hp.SyncStep2)).update)
        return doc

    async def next(self, name: str, kind: Any) -> Any:
        """The next message of a kind about a document; others before it stay for later."""
        for k, frame in enumerate(self._frames):
            if frame.document == name and isinstance(frame.message, kind):
                return self._frames.pop(k).message
        async with asyncio.timeout(SOON_S):
            while True:
                frame = await self.receive()
                if frame.document == name and isinstance(frame.message, kind):
                    return frame.message
                self._frames.append(frame)

    async def receive(self) -> hp.Frame:
        """Whatever comes next."""
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise ConnectionError(f"closed {self.socket.close_code}")
        return hp.decode(message.data)

    async def closed(self) -> int:
        """The code the server closes the socket with."""
        async with asyncio.timeout(SOON_S):
            while True:
                message = await self.socket.receive()
                if message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
                    return self.socket.close_code or 0

    async def quiet(self, name: str) -> list[hp.Message]:
        """What else came about a document: the answer to a question asked now ends the list."""
        await self.send(name, hp.QueryAwareness())
        found = []
        async with asyncio.timeout(SOON_S):
            while not isinstance((message := await self.next(name, object)), hp.Awareness):
                found.append(message)
        return found


@asynccontextmanager
async def serving(
    folder: Path, *, keys: Keys | None = None, **options: Any
) -> AsyncIterator[tuple[Server, Client]]:
    """A server and its only account, not yet signed in."""
    keys = keys or Keys()
    if "accounts" not in options and "open_registration" not in options:
        options["accounts"] = [keys.public]
    options.setdefault("limits", Limits(auth_calls=1_000))
    async with Server(folder, **options) as server, aiohttp.ClientSession() as http:
        yield server, Client(http, server.url, keys)


async def until(look: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(SOON_S):
        while True:
            found = look()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def name_of(heap_id: HeapId, block: BlockId, version: int = 1) -> str:
    return f"{heap_id}:{block}:v{version}"


def loaded(*updates: bytes) -> Doc[Any]:
    doc: Doc[Any] = Doc()
    for update in updates:
        doc.apply_update(update)
    return doc


def paragraph(text: str, base: Doc[Any] | None = None) -> bytes:
    """The update that puts a paragraph before a document's others."""
    doc: Doc[Any] = base if base is not None else Doc()
    before = doc.get_state()
    body = doc.get("content_v0", type=XmlFragment)
    body.children.insert(0, XmlElement("paragraph", {}, [XmlText(text)]))
    return doc.get_update(before)


def titled(title: str) -> bytes:
    """An update that gives a new document its title."""
    doc: Doc[Any] = Doc()
    doc.get("title_v0", type=XmlFragment).children.append(XmlText(title))
    return doc.get_update()


def with_map(root: str, values: dict[str, Any], base: Doc[Any] | None = None) -> bytes:
    """The update that sets entries of a root map; dicts become maps."""
    doc: Doc[Any] = base if base is not None else Doc()
    before = doc.get_state()
    target = doc.get(root, type=Map)
    with doc.transaction():
        for key, value in values.items():
            target[key] = Map(value) if isinstance(value, dict) else value
    return doc.get_update(before)


def said(doc: Doc[Any]) -> str:
    """All text of a document's body."""
    body = doc.get("content_v0", type=XmlFragment)
    return "|".join("".join(str(t) for t in node.children) for node in body.children)


def random_bytes(size: int) -> bytes:
    return os.urandom(size)


class Sender:
    """One upload of one content to one block."""

    def __init__(
        self, client: Client, heap: str, block: str, data: bytes, chunk: int = 10
    ) -> None:
        self.client, self.data, self.chunk = client, data, chunk
        self.hash = hashlib.sha256(data).hexdigest()
        self.place = f"{heap}/{block}"

    async def init(self, **changes: Any) -> tuple[int, Any]:
        body = {
            "hash": self.hash,
            "name": "a.bin",
            "size": len(self.data),
            "mime_type": "image/png",
            "chunk_size": self.chunk,
            **changes,
        }
        return await self.client.ask("POST", f"/api/upload/init/{self.place}", json=body)

    async def put(self, index: int | str, data: Any = None, **options: Any) -> tuple[int, Any]:
        if data is None:
            start = int(index) * self.chunk
            data = self.data[start : start + self.chunk]
        head = {"Content-Type": "application/octet-stream"}
        path = f"/api/upload/chunk/{self.place}/{self.hash}/{index}"
        return await self.client.ask("PUT", path, **{"headers": head, "data": data, **options})

    async def complete(self) -> tuple[int, Any]:
        path = f"/api/upload/complete/{self.place}/{self.hash}"
        return await self.client.ask("POST", path, json={})

    async def all(self) -> None:
        status, begun = await self.init()
        assert status == 200
        for index in range(begun["total_chunks"]):
            assert (await self.put(index))[0] == 200
        assert (await self.complete())[0] == 200

    async def get(self, **head: str) -> tuple[int, bytes, Any]:
        path = f"/api/file/{self.place}/{self.hash}"
        async with self.client.raw("GET", path, headers=head) as answer:
            return answer.status, await answer.read(), answer.headers

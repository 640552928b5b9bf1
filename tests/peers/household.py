"""The embedded server with one account, and a plain client for what the provider does not do."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import base58
from nacl.signing import SigningKey

from heapsyncd.ids import BlockId, HeapId, Seed
from heapsyncd.server import Server


@dataclass(frozen=True, slots=True)
class Household:
    """A running server, a heap, and somebody signed in."""

    server: Server
    http: aiohttp.ClientSession
    heap: HeapId
    seed: Seed
    token: str

    @property
    def ws(self) -> str:
        """Where the provider connects."""
        return self.server.url.replace("http", "ws", 1) + "/ws"

    def name(self, block: BlockId, version: int = 1) -> str:
        """A document's name (PROTOCOL §6)."""
        return f"{self.heap}:{block}:v{version}"

    async def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.post(self.server.url + path, json=body, headers=headers) as answer:
            answer.raise_for_status()
            decoded: dict[str, Any] = await answer.json()
            return decoded

    async def push(self, block: BlockId, update: bytes, version: int = 1) -> str:
        """Push an update over HTTP; the status."""
        coded = base64.b64encode(update).decode()
        change = {"block_id": block, "sync_version": version, "update": coded}
        body = {"workspace_id": self.heap, "updates": [change]}
        return str((await self.call("/api/sync/push", body))["results"][0]["status"])


async def _sign_in(http: aiohttp.ClientSession, url: str, key: SigningKey) -> str:
    public_key = base58.b58encode(bytes(key.verify_key)).decode()
    body = {"public_key": public_key}
    async with http.post(f"{url}/api/auth/create_session", json=body) as answer:
        challenge = (await answer.json())["challenge"]
    signature = base58.b58encode(key.sign(challenge.encode()).signature).decode()
    body |= {"message": challenge, "signature": signature}
    async with http.post(f"{url}/api/auth/verify_session", json=body) as answer:
        answer.raise_for_status()
        return str((await answer.json())["accessToken"])


@asynccontextmanager
async def household(folder: Path) -> AsyncIterator[Household]:
    """Run the server in a folder, make a heap, sign in."""
    key = SigningKey.generate()
    public_key = base58.b58encode(bytes(key.verify_key)).decode()
    async with (
        Server(folder, host="127.0.0.1", port=0, accounts=[public_key]) as server,
        aiohttp.ClientSession() as http,
    ):
        heap = await server.add_heap("Home")
        yield Household(
            server, http, heap, Seed(bytes(key)), await _sign_in(http, server.url, key)
        )

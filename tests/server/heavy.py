"""One heavy request from another process (``python -m tests.server.heavy``): what making it takes
is then none of the server's.

Each line of standard input is a request: a file with its body, then where it goes, a route or the
name of a document. Of each the answer is told in a line.
"""

import asyncio
import sys
from pathlib import Path

import aiohttp

from heapsyncd.wire import hocuspocus as hp
from tests.server.rig import Client, Keys, Live


async def _ask(client: Client, path: str, body: bytes) -> str:
    head = {"Content-Type": "application/json"}
    status, answer = await client.ask("POST", path, data=body, headers=head)
    return f"{status} {answer}"


async def _send(live: Live, name: str, update: bytes) -> str:
    await live.send(name, hp.Update(update))
    while True:
        if isinstance(status := (await live.receive()).message, hp.SyncStatus):
            return f"saved {status.saved}"


async def _main(url: str, token: str) -> None:
    async with aiohttp.ClientSession() as http:
        client = Client(http, url, Keys(), token)
        async with client.live() as live:
            while line := (await asyncio.to_thread(sys.stdin.readline)).split():
                file, where = line
                body = Path(file).read_bytes()
                if where.startswith("/"):
                    print((await _ask(client, where, body))[:400], flush=True)
                else:
                    await live.sign_in(where)
                    print(await _send(live, where, body), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))

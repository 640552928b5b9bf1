"""``web``: the pages, for who has the key and nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp

from heapsyncd.cli.web import latency
from heapsyncd.folder.names import safe_name
from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import DEADLINE_S, Device, ending


@asynccontextmanager
async def pages(device: Device) -> AsyncIterator[str]:
    """The printed address of the pages, while the command runs; it ends at once and with 0."""
    process = await device.start("web")
    assert process.stdout
    async with ending(process):
        url = (await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)).decode().strip()
        yield url
        process.terminate()
        assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0


async def test_the_pages_show_what_the_commands_say(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Status, activity, a note's history; titles are text, whatever is in them."""
    await server.add_block(heap_id, "document", "<b>Boat</b> & <script>")
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    groceries = device.folder / "Home" / "Groceries.md"
    groceries.write_text(groceries.read_text() + "milk <i>and</i> bread\n")
    assert (await device.inside("sync")).code == 0
    jar = aiohttp.CookieJar(unsafe=True)
    async with pages(device) as url, aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.get(url) as answer:
            page = await answer.text()
            assert answer.status == 200
            assert "key=" not in str(answer.url)
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "in sync as of" in page
        assert "2 notes" in page
        assert "In the last hour 2 arrived: half of them within" in page
        assert "Groceries.md" in page
        assert "<script" not in page
        note = quote(str(device.folder / "Home" / "Groceries.md"))
        assert f"/history?path={note}" in page
        base = answer.url.origin()
        async with browser.get(base / "history", params={"path": "nowhere.md"}) as answer:
            assert (answer.status, answer.content_type) == (404, "text/plain")
        async with browser.get(f"{base}/history?path={note}") as answer:
            page = await answer.text()
            assert "<ins>milk &lt;i&gt;and&lt;/i&gt; bread</ins>" in page
            assert "saved here" in page
            assert "<script" not in page
        note = quote(str(device.folder / "Home" / safe_name("<b>Boat</b> & <script>"))) + ".md"
        async with browser.get(f"{base}/history?path={note}&version=1") as answer:
            page = await answer.text()
            assert "&lt;b&gt;Boat" in page
            assert "<b>" not in page
        async with browser.get(base / "style.css") as answer:
            assert answer.content_type == "text/css"


async def test_nobody_else_is_let_in(device: Device, server: Server) -> None:
    """Without the key, with a wrong one, or under another name; nothing can be sent either."""
    device.configure(server.url)
    async with pages(device) as url, aiohttp.ClientSession() as stranger:
        base = url.partition("?")[0]
        for address in (base, f"{base}?key=wrong", f"{base}history?path=x", f"{base}style.css"):
            async with stranger.get(address) as answer:
                assert answer.status == 403, address
                assert device.folder.name not in await answer.text()
        async with stranger.get(url, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403
        async with stranger.post(url, data="x") as answer:
            assert answer.status in {403, 405}
        async with stranger.get(url, allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie


def test_how_long_changes_took() -> None:
    """The median and nearly the longest, for each direction that had any."""
    sent = [{"direction": "up", "latency_ms": ms} for ms in (100, 200, 300, None)]
    came = [{"direction": "down", "latency_ms": None}]
    assert list(latency([*sent, *came])) == [
        "In the last hour 4 sent: half of them within 0.20 s, 95 % within 0.29 s.",
        "In the last hour 1 arrived.",
    ]
    assert list(latency([])) == []

"""What a server, or what stands before it, answers: said truly, waited out, and nothing lost."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.backoff import Backoff
from heapsyncd.cli.status import render
from heapsyncd.ids import HeapId
from heapsyncd.model import ChangePage
from heapsyncd.sync.heap.timing import Timing
from heapsyncd.sync.runtime import retry
from heapsyncd.wire import rest
from heapsyncd.wire.signin import public_key
from tests.sync.proxy import (
    Fault,
    Forward,
    Proxy,
    before,
    cut_off,
    dropped,
    login_page,
    lost_answer,
    status,
)
from tests.sync.rig import Device, World, until
from tests.world.fast import FAST, fast


@pytest.fixture
async def proxy(world: World) -> AsyncIterator[Proxy]:
    async with before(world.server.url) as proxy:
        with fast():
            yield proxy


def behind(proxy: Proxy, world: World) -> Device:
    """A device that knows the server by the proxy's address alone."""
    device = world.device(live="off")
    device.server = proxy  # type: ignore[assignment]
    device.poll_interval_s = 0.1
    return device


async def never(request: web.Request, forward: Forward) -> web.StreamResponse:
    """A link that is open and silent."""
    await asyncio.sleep(3600)
    raise AssertionError


@pytest.mark.parametrize(
    ("fault", "on", "state", "said"),
    [
        pytest.param(status(403), "/api/sync", "error", "refused with 403", id="403"),
        pytest.param(status(404), "/api/sync", "error", "refused with 404", id="404"),
        pytest.param(status(422), "/api/sync/delta", "error", "refused with 422", id="422"),
        pytest.param(status(429, Retry_After="0"), "/api", "offline", "slow down", id="429"),
        pytest.param(status(500), "/api", "offline", "answers 500", id="500"),
        pytest.param(status(503, Retry_After="0"), "/api", "offline", "answers 503", id="503"),
        pytest.param(status(507), "/api", "offline", "answers 507", id="507"),
        pytest.param(login_page, "/api", "offline", "a web page", id="portal"),
        pytest.param(cut_off, "/api/sync", "offline", "cut off", id="cut off"),
        pytest.param(dropped, "/api", "offline", "closed the connection", id="dropped"),
        pytest.param(never, "/api", "offline", "no answer in time", id="half-open"),
    ],
)
async def test_trouble_with_all_requests(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, fault: Fault, on: str,
    state: str, said: str,
) -> None:  # fmt: skip
    """While it lasts status says what it is and never "in sync"; then everything is sent, once."""
    monkeypatch.setattr(rest, "SILENCE_S", 0.5)
    device = behind(proxy, world)
    block = await world.add("Note", "text\n")
    await device.synced()
    async with device.running():
        await device.in_sync()
        proxy.set(fault, on)
        await until(lambda: proxy.met, "the trouble")
        (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmore\n")
        (device.root / "New.md").write_text("new\n")
        heap = device.report.heaps[world.heap]

        def told() -> str:
            return f"{device.report.error} {heap.error}"

        await until(lambda: said in told(), f"{said!r}, but {told()}")
        await until(lambda: device.report.state == state, f"{state}, {device.report.snapshot()}")
        await until(lambda: heap.pending_up == 2, "both edits pending")
        assert device.report.state == state
        proxy.set(None)
        await device.in_sync()
    assert await world.text(block) == "text\nmore"
    assert await world.text((await world.titles())["New"]) == "new"
    assert device.report.error is None


async def test_one_answer_ends_every_pause(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage the first request that is answered, the list of heaps here, lets every heap
    receive, send and transfer at once, however long its own pause would have been.
    """
    monkeypatch.setattr(retry.RetryPolicy, "pause_s", lambda self: 3600.0 * bool(self.last))
    device = behind(proxy, world)
    device.timing = replace(FAST, heaps_again_s=0.1)
    other = await world.server.add_heap("Other")
    block, theirs = await world.add("Note", "text\n"), await world.add("Theirs", "text\n")
    await device.synced()
    async with device.running():
        await device.in_sync()
        proxy.set(dropped, "/api")
        (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmore\n")
        (device.root.parent / "Other" / "New.md").write_text("new\n")
        (device.root / "photo.jpg").write_bytes(b"photo")
        await world.change(theirs, body="their text\n")
        heaps = [device.report.heaps[h] for h in (world.heap, other)]
        await until(lambda: all(h.pending_up for h in heaps), "edits that wait")
        await until(lambda: device.report.state == "offline", "offline")
        proxy.set(None)
        await until(lambda: device.notes()["Theirs.md"] == "their text\n", "received", 5)
        await device.in_sync()
    assert await world.text(block) == "text\nmore"
    assert set(await world.titles("file")) == {"photo.jpg"}


async def test_a_push_that_fails_waits_for_no_poll(world: World, proxy: Proxy) -> None:
    """One 5xx on one route is over when its pause is, however seldom the server is polled."""
    device = behind(proxy, world)
    device.poll_interval_s = 3600.0
    block = await world.add("Note", "text\n")
    await device.synced()
    async with device.running():
        await device.in_sync()
        proxy.set(status(500))
        (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmore\n")
        await until(lambda: proxy.met >= 2, "tried again")
        proxy.set(None)
        await device.in_sync()
    assert await world.text(block) == "text\nmore"


async def test_a_pass_ends_when_one_route_stays_broken(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not sent after a while, although all else is answered, is said with the reason."""
    device = behind(proxy, world)
    device.timing = replace(FAST, give_up_s=2.0)
    await world.add("Note", "text\n")
    await device.synced()
    proxy.set(status(500))
    (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmore\n")
    async with asyncio.timeout(20):
        verdict = await device.once(timeout_s=3600)
    assert verdict.exit_code == 4
    assert "answers 500" in verdict.left[0]
    assert "Home: 1 not yet sent" in verdict.left


@pytest.mark.parametrize("how", [lost_answer, cut_off], ids=["lost", "cut off"])
async def test_answers_that_never_come(world: World, proxy: Proxy, how: Fault) -> None:
    """The server has done it, its answer is lost, whatever was asked: done again, nothing doubled,
    notes, new notes and files alike.
    """
    device = behind(proxy, world)
    block = await world.add("Note", "text\n")
    await device.synced()
    seen: set[str] = set()

    async def first_of_each(request: web.Request, forward: Forward) -> web.StreamResponse:
        route = "/".join(request.path.split("/")[:4])
        if route in seen:
            return await forward()
        seen.add(route)
        return await how(request, forward)

    proxy.set(first_of_each, "/api")
    (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmore\n")
    (device.root / "New.md").write_text("![[plan.pdf]]\n")
    (device.root / "New.assets").mkdir()
    (device.root / "New.assets" / "plan.pdf").write_bytes(b"plan" * 1000)
    (device.root / "photo.jpg").write_bytes(b"photo" * 1000)
    async with device.running():
        await until(lambda: len(seen) > 8, "everything asked for")
        await device.in_sync()
    assert {"/api/sync/push", "/api/insert_block", "/api/upload/init"} <= seen
    assert await world.text(block) == "text\nmore"
    titles = await world.titles()
    assert set(titles) == {"Note", "New"}
    assert len((await world.server.document(titles["New"])).fields().files) == 1
    assert set(await world.titles("file")) == {"photo.jpg"}
    proxy.set(None)
    other = world.device("b")
    await other.synced()
    assert other.notes() == device.notes()


def heavy(limit_bytes: int, code: int) -> Fault:
    """Refuses bodies that are larger than this, as a proxy before a server may."""

    async def fault(request: web.Request, forward: Forward) -> web.StreamResponse:
        if len(await request.read()) > limit_bytes:
            return web.Response(status=code, text="<html>no</html>", content_type="text/html")
        return await forward()

    return fault


@pytest.mark.parametrize("code", [409, 413, 415, 422])
async def test_one_edit_is_refused(world: World, proxy: Proxy, code: int) -> None:
    """An edit that is refused for what is in it is that note's problem; the others are sent, and
    it is too, once the server takes it.
    """
    device = behind(proxy, world)
    blocks = {name: await world.add(name, "text\n") for name in ("A", "B", "C", "Large", "Z")}
    await device.synced()
    proxy.set(heavy(20_000, code))
    for name in blocks:
        text = "many words " * 3000 if name == "Large" else "more"
        path = device.root / f"{name}.md"
        path.write_text(path.read_text() + f"\n{text}\n")
    verdict = await device.once()
    assert verdict.exit_code == 1
    (problem,) = [line for line in verdict.left if "Large" in line]
    assert f"refused with {code}" in problem
    assert "the file is kept" in problem
    for name, block in blocks.items():
        assert ("more" in await world.text(block)) == (name != "Large")
    assert (await device.once()).exit_code == 1
    proxy.set(None)
    await device.synced()
    assert "many words" in await world.text(blocks["Large"])


async def test_edits_too_large_for_a_push(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no push takes, an edit or a new note, goes over the live connection; it is in sync once
    a pull shows that the server has it. Without a live connection it waits, and says so.
    """
    monkeypatch.setattr("heapsyncd.backends.heaper.MAX_PUSH_UPDATE_BYTES", 20_000)
    device = world.device(live="off")
    device.timing = Timing(large_edits=Backoff(0.3, 600.0))
    device.poll_interval_s = 0.1
    block, other = await world.add("Note", "text\n"), await world.add("Other", "text\n")
    await device.synced()
    text = "many words " * 3000
    for name, more in (("Note", text), ("Other", "more")):
        path = device.root / f"{name}.md"
        path.write_text(path.read_text() + f"\n{more}\n")
    (device.root / "New.md").write_text(f"{text}\n")
    verdict = await device.once()
    assert verdict.exit_code == 1
    assert sum("too large to push" in line for line in verdict.left) == 2
    assert await world.text(other) == "text\nmore"
    assert await world.text(block) == "text"
    device.live = "all"
    async with device.running():
        await until(lambda: device.report.ready, "ready")
        await device.in_sync()
        (device.root / "Later.md").write_text(f"later {text}\n")

        async def is_there() -> bool:
            found = (await world.titles()).get("Later")
            return found is not None and await world.text(found) == f"later {text.strip()}"

        await until(is_there, "a new note while it runs")
        await device.in_sync()
    assert await world.text(block) == f"text\n{text.strip()}"
    assert await world.text((await world.titles())["New"]) == text.strip()


async def test_a_heap_that_may_only_be_read(world: World) -> None:
    """One heap that refuses edits holds up no other; its files stay as they are, and what is in
    them is sent when it may be.
    """
    device = world.device(live="off")
    other = await world.server.add_heap("Other")
    block = await world.add("Note", "text\n")
    await world.server.add_block(other, "document", "Theirs")
    await device.synced()
    await world.server.grant(other, "ro")
    there = device.root.parent / "Other" / "Theirs.md"
    there.write_text(there.read_text() + "mine\n")
    (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmore\n")
    verdict = await device.once()
    assert verdict.exit_code == 1
    assert any("does not let this account change it" in line for line in verdict.left)
    assert await world.text(block) == "text\nmore"
    assert there.read_text().endswith("mine\n")
    await world.server.grant(other, "rw")
    await device.synced()
    theirs = device.root.parent / "Other" / "Theirs.md"
    assert theirs.read_text().endswith("mine\n")


async def test_a_feed_that_repeats_itself(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that come twice and in another order change nothing, and delete nothing."""
    real = HeaperBackend.changes

    async def shuffled(self: HeaperBackend, heap_id: HeapId, cursor_ms: int) -> ChangePage:
        page = await real(self, heap_id, cursor_ms)
        return replace(page, changed=page.changed[::-1] + page.changed, gone=page.gone * 2)

    monkeypatch.setattr(HeaperBackend, "changes", shuffled)
    device = behind(proxy, world)
    ids = {name: await world.add(name, f"text {name}\n") for name in "ABCD"}
    await device.synced()
    async with device.running():
        await device.in_sync()
        await world.change(ids["A"], body="text A, edited\n")
        await world.change(ids["B"], deleted_at_ms=1_760_000_000_000)
        (device.root / "C.md").write_text((device.root / "C.md").read_text() + "\nmore\n")
        await until(lambda: "edited" in device.notes()["A.md"], "the edit")
        await until(lambda: "B.md" not in device.notes(), "the deletion")
        await device.in_sync()
    assert sorted(device.notes()) == ["A.md", "C.md", "D.md"]
    assert await world.text(ids["C"]) == "text C\nmore"


async def test_shut_out_in_the_midst(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that is refused says so and keeps what is unsent; let in again, it sends that,
    and receives nothing anew.
    """
    monkeypatch.setattr("heapsyncd.backoff.REFUSED", Backoff(0.1, 1.0))
    device = behind(proxy, world)
    block = await world.add("Note", "text\n")
    await device.synced()
    key = public_key(device.seed)
    async with device.running():
        await device.in_sync()
        await world.server.refuse(key)
        (device.root / "Note.md").write_text((device.root / "Note.md").read_text() + "\nmore\n")
        await until(lambda: device.report.state == "sign-in needed", "refused")
        assert "accept" in str(device.report.error)
        await until(lambda: device.report.heaps[world.heap].pending_up == 1, "the edit pending")
        await world.server.accept(key)
        full: list[object] = []

        async def counted(request: web.Request, forward: Forward) -> web.StreamResponse:
            asked = (await request.json())["blocks"]
            full.extend(one for one in asked if not one.get("state_vector"))
            return await forward()

        proxy.set(counted, "/api/sync/pull")
        await device.in_sync()
    assert await world.text(block) == "text\nmore"
    assert full == []


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_server_that_asks_to_slow_down(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """As long as it asked for, seconds or a date, nothing is asked again; the status says until
    when, also if only some work of a heap has to wait.
    """
    wanted = "7" if form == "seconds" else format_datetime(
        datetime.now(UTC) + timedelta(seconds=7), usegmt=True
    )  # fmt: skip
    device = behind(proxy, world)
    await world.add("Note", "text\n")
    await device.synced()
    pauses: list[float] = []
    real = retry.RetryPolicy.pause_s

    def noted(self: retry.RetryPolicy) -> float:
        pauses.append(real(self))
        return min(pauses[-1], 0.05)

    monkeypatch.setattr(retry.RetryPolicy, "pause_s", noted)
    async with device.running():
        await device.in_sync()
        proxy.set(status(429, Retry_After=wanted), "/api/sync")
        await until(lambda: proxy.met >= 2, "refused twice")
        assert max(pauses) >= 5
        now = device.report.snapshot()
        told_s = now["waits_until_ms"] / 1000 - time.time()
        assert 0 < told_s <= 7
        assert any("asks to wait until" in line for line in render(running(now)))
        proxy.set(None)
        await device.in_sync()
        proxy.set(status(429, Retry_After=wanted), "/api/sync/push")
        with (device.root / "Note.md").open("a") as note:
            note.write("more\n")

        def waits() -> bool:
            account = device.report.snapshot()
            return account["waits_until_ms"] is None and account["heaps"][0]["waits_until_ms"]

        await until(waits, "only the heap waits")
        lines = list(render(running(device.report.snapshot())))
        assert sum("    the server asks to wait until" in line for line in lines) == 1
        proxy.set(None)
        await device.in_sync()
        assert not any(
            "asks to wait" in line for line in render(running(device.report.snapshot()))
        )


def running(account: dict[str, Any]) -> dict[str, Any]:
    """What `status` shows of a running daemon with this account."""
    return {"daemon": "running", "accounts": [account]}


@pytest.mark.parametrize("wait_s", [0.0, 3.0])
async def test_a_version_that_never_comes(world: World, proxy: Proxy, wait_s: float) -> None:
    """A feed that names a newer version than any pull delivers: asked for once a look, no more;
    the other notes are current, and a pass ends in its time.
    """
    device = behind(proxy, world)
    first = await world.add("First", "text\n")
    await world.add("Other", "other\n")
    pulls = 0

    async def newer(request: web.Request, forward: Forward) -> web.StreamResponse:
        nonlocal pulls
        answer = await forward()
        pulls += request.path == "/api/sync/pull"
        if request.path != "/api/sync/delta":
            return answer
        page = json.loads(bytes(answer.body))  # type: ignore[arg-type]
        for block in page["blocks"]:
            block["sync_version"] += block["id"] == first
        return web.json_response(page)

    proxy.set(newer, "/api/sync")
    verdict = await device.once(timeout_s=max(wait_s, 2.0))
    assert verdict.exit_code == 1
    assert device.notes()["Other.md"] == "other\n"
    assert pulls < 100


async def test_a_pass_ends_when_its_time_is_over(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly a server answers, and whatever it is asked."""
    device = behind(proxy, world)
    device.timing = replace(FAST, end_s=0.2)
    await world.add("Note", "text\n")
    await device.synced()
    (device.root / "Note.md").write_text("edited\n")

    async def drips(request: web.Request, forward: Forward) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not proxy.over.is_set():
                await response.write(b" ")
                await asyncio.sleep(0.05)
        return response

    for on in ("/api/heaps", "/api/sync/delta", "/api/sync/push"):
        proxy.set(drips, on)
        async with asyncio.timeout(15):
            verdict = await device.once(timeout_s=1.0)
        assert verdict.exit_code in {1, 4}, on
        assert proxy.met, on
    proxy.set(None)
    await device.synced()

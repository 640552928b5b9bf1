"""Requests that meet an account which is stopped, reloaded, repaired, starting or in trouble, or
whose cache cannot be read.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from heapsyncd import control_requests
from heapsyncd.control_requests import handlers, long_handlers
from heapsyncd.database import Database
from heapsyncd.errors import CacheClosed, FolderTrouble, NotRunning
from heapsyncd.sync.report import Commands, Report


class Asks:
    """Commands that ask a cache."""

    def __init__(self, cache: Database) -> None:
        self.cache = cache
        self.counted: list[int] = []

    async def recount(self) -> None:
        self.counted += await self.cache.read(lambda tx: tx.execute("SELECT n FROM t").fetchone())

    async def fetch(self, paths: list[str]) -> list[object]:
        await self.recount()
        return list(paths)


async def opened(path: Path) -> Database:
    return await Database.open(path, ["CREATE TABLE t (n); INSERT INTO t VALUES (7);"])


async def test_status_answers_while_an_account_ends(tmp_path: Path) -> None:
    """A cache that is closed meanwhile hinders neither the answer nor the other accounts."""
    caches = [await opened(tmp_path / name) for name in "ab"]
    asks = [Asks(cache) for cache in caches]
    reports = [
        Report(name, commands=cast("Commands", a)) for name, a in zip("ab", asks, strict=True)
    ]
    await caches[0].close()
    answer = await handlers(lambda: reports)["status"]({})
    assert [account["name"] for account in answer["accounts"]] == ["a", "b"]
    assert [a.counted for a in asks] == [[], [7]]
    await caches[1].close()


async def test_other_requests_say_that_the_account_ends(tmp_path: Path) -> None:
    cache = await opened(tmp_path / "a")
    report = Report("a", commands=cast("Commands", Asks(cache)))
    await cache.close()
    with pytest.raises(CacheClosed, match="stopped or reloaded meanwhile; try again"):
        await handlers(lambda: [report])["fetch"]({"paths": ["x"]})


async def test_status_answers_without_a_readable_cache(tmp_path: Path) -> None:
    class Fails(Asks):
        async def recount(self) -> None:
            raise FolderTrouble("the disk reports an error")

    cache = await opened(tmp_path / "a")
    report = Report("a", commands=cast("Commands", Fails(cache)))
    answer = await handlers(lambda: [report])["status"]({})
    assert [account["name"] for account in answer["accounts"]] == ["a"]
    await cache.close()


class Answers:
    """Commands that answer with the account's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def answer(self, *_arguments: object) -> list[str]:
        return [self.name]

    fetch = restore = undo = deletions = restore_folder = answer


def reports() -> list[Report]:
    """Of two accounts that run."""
    return [
        Report(n, folder=f"/heaps/{n}", commands=cast("Commands", Answers(n))) for n in ("a", "b")
    ]


async def asked(found: Sequence[Report], request: str, arguments: Mapping[str, Any]) -> Any:
    async def tell(_news: object) -> None: ...

    if request in (long := long_handlers(lambda: found)):
        return await long[request](arguments, tell)
    return await handlers(lambda: found)[request](arguments)


REQUESTS = [("fetch", {}), ("restore", {}), ("undo", {"since_ms": 0})]


@pytest.mark.parametrize(("request_", "arguments"), REQUESTS)
@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({}, "a is starting; try again in a moment"),
        ({"rests": True, "error": "earlier"}, "a is being repaired; try again when"),
        ({"error": "the disk is full"}, "a is in trouble, .*: the disk is full"),
    ],
)
async def test_who_does_not_run_says_so(
    monkeypatch: pytest.MonkeyPatch,
    request_: str,
    arguments: dict[str, Any],
    trouble: dict[str, Any],
    reason: str,
) -> None:
    """Instead of "there is nothing": nothing is done in the others either. What concerns only
    these is answered.
    """
    monkeypatch.setattr(control_requests, "WAIT_S", 0.1)
    found = reports()
    found[0].commands = None
    for name, value in trouble.items():
        setattr(found[0], name, value)
    for paths in (["/heaps/a/Home/x.md"], ["/heaps/b/Home", "/heaps/a/Home"]):
        with pytest.raises(NotRunning, match=reason):
            await asked(found, request_, {"paths": paths, **arguments})
    assert await asked(found, request_, {"paths": ["/heaps/b/Home/x.md"], **arguments}) == ["b"]
    if request_ == "undo":
        with pytest.raises(NotRunning, match=reason):
            await asked(found, request_, arguments)


@pytest.mark.parametrize(("request_", "arguments"), REQUESTS)
async def test_a_short_start_is_waited_for(request_: str, arguments: dict[str, Any]) -> None:
    found = reports()
    found[0].commands = None
    paths = {"paths": ["/heaps/a/Home/x.md"], **arguments}
    asking = asyncio.create_task(asked(found, request_, paths))
    await asyncio.wait([asking], timeout=0.01)
    assert not asking.done()
    found[0].commands = cast("Commands", Answers("a"))
    assert await asking == ["a"]


@pytest.mark.parametrize("request_", ["deletions", "restore_folder"])
async def test_a_decision_needs_no_running_mirror(
    monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    """The command stores it in the cache of an account in trouble, but not beside a repair."""
    monkeypatch.setattr(control_requests, "WAIT_S", 0.1)
    found = reports()
    found[0].commands, found[0].error = None, "the disk is full"
    answer = await asked(found, request_, {})
    names = answer if request_ == "restore_folder" else [one["name"] for one in answer["accounts"]]
    assert list(names) == ["b"]
    found[0].rests = True
    with pytest.raises(NotRunning, match="being repaired"):
        await asked(found, request_, {})

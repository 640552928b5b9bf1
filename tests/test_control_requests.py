"""Requests that meet an account which is stopped or reloaded, or whose cache cannot be read."""

from pathlib import Path
from typing import cast

import pytest

from heapsyncd.control_requests import handlers
from heapsyncd.database import Database
from heapsyncd.errors import CacheClosed, FolderTrouble
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

"""Heaps as people name them: complete their names, and refuse those that do not exist."""

import asyncio
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from heapsyncd import config
from heapsyncd.cli.settings import load
from heapsyncd.config import Config
from heapsyncd.errors import HeapsyncdError, UserError


class HeapName(click.ParamType[str]):
    """The title or id of a heap."""

    name = "name"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the titles of the heaps in the cache; none if there is trouble."""
        path = ctx.find_root().params.get("path")
        try:
            loaded = load(Path(path).absolute() if path else config.default_path(os.environ))
            titles = {title for _, title in asyncio.run(_known(loaded))}
        except HeapsyncdError:
            return []
        found = sorted(t for t in titles if t.casefold().startswith(incomplete.casefold()))
        return [CompletionItem(_escaped(title)) for title in found if title.isprintable()]


def _escaped(title: str) -> str:
    """Return a title as it is typed: bash inserts it as it is, the other shells escape it."""
    if not os.environ.get("_HEAPSYNCD_COMPLETE", "").startswith("bash"):
        return title
    return re.sub(r"[^\w@%+=:,./-]", r"\\\g<0>", title)


async def require_heaps(loaded: Config, names: Iterable[str]) -> None:
    """Check that each name means a heap in the cache.

    Raises:
        UserError: one does not; the message lists the heaps.
    """
    from heapsyncd.sync.offline.search import is_named

    known = await _known(loaded)
    for name in names:
        if not any(is_named(name, heap_id, title) for heap_id, title in known):
            titles = ", ".join(sorted({title for _, title in known})) or "none yet"
            raise UserError(f"There is no heap {name!r} here; there are: {titles}.")


async def _known(loaded: Config) -> Sequence[tuple[str, str]]:
    from heapsyncd.sync.offline.search import known_heaps

    return [
        heap
        for account in loaded.accounts
        for heap in await known_heaps(account, loaded.state_dir)
    ]

"""Edge: ``web``: what the commands say, as pages on this machine."""

import asyncio
import hmac
import re
import secrets
import statistics
import time
import webbrowser
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
from aiohttp import web
from jinja2 import Environment, PackageLoader

from heapsyncd import logs
from heapsyncd.cli.activity import NAMES
from heapsyncd.cli.deletions import held_now
from heapsyncd.cli.history import difference_of, versions_of, why
from heapsyncd.cli.output import format_time, say
from heapsyncd.cli.serve import until_signalled
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.cli.status import account_state, counts, details, problem_line, read
from heapsyncd.config import Config
from heapsyncd.errors import HeapsyncdError, UserError
from heapsyncd.logs import printable

REFRESH_S: Final = 5
EVENTS: Final = 50
"""How many events are listed."""
HOUR_MS: Final = 3_600_000
STRIP: Final = 2_000
"""At most so many events are drawn."""
WIDTH: Final = 1000
HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
HEADERS: Final = {
    # No script, no frame, nothing from elsewhere: a title is only ever text.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


EXAMPLES: Final = """\b
Examples:
  heapsyncd web --open
  heapsyncd web --port 8791"""


@click.command("web", epilog=EXAMPLES)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; any if omitted.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@pass_options
def command(options: Options, port: int, *, opens: bool) -> None:
    """Show status, activity, held deletions and history as a page, until Ctrl-C.

    Only this machine can reach the page, and only with the address that is printed: it contains a
    secret. The page shows, and changes nothing. The daemon need not run.

    """
    config = load(options.path)
    logs.configure(config.log, level=options.level)
    asyncio.run(until_signalled(serve_pages(config, port, opens=opens)))


async def serve_pages(config: Config, port: int, *, opens: bool) -> None:
    """Serve the pages on loopback until cancelled; print the address.

    Raises:
        UserError: the port is taken.
    """
    pages = Pages(config)
    app = web.Application(middlewares=[pages.guard])
    app.router.add_get("/", pages.status)
    app.router.add_get("/history", pages.history)
    app.router.add_get("/style.css", pages.style)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
        except OSError as error:
            raise UserError(
                f"Port {port} cannot be used ({error.strerror}); choose another with --port."
            ) from error
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        say(f"{url}?key={pages.key}")
        if opens:
            # Other users can see a browser's arguments, so this key works once.
            await asyncio.to_thread(webbrowser.open, f"{url}?key={pages.new_once()}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


class Pages:
    """The pages of one configuration, for whoever has the key.

    Args:
        config: whose accounts are shown.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.key = secrets.token_urlsafe(24)
        self._once: set[str] = set()
        self._cookie = f"heapsyncd-{secrets.token_hex(4)}"  # ports share their cookies
        self._session = secrets.token_urlsafe(24)
        # ``finalize`` sees every value: nothing reverses or hides a part of the page.
        self._templates = Environment(
            loader=PackageLoader("heapsyncd.cli", "pages"),
            autoescape=True,
            finalize=lambda value: _shown(value) if isinstance(value, str) else value,
        )

    def new_once(self) -> str:
        """Return a key that works once."""
        key = secrets.token_urlsafe(24)
        self._once.add(key)
        return key

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who has the key, under this machine's name; set the headers of every answer."""
        try:
            answer = await self._guarded(request, handler)
        except web.HTTPException as error:
            answer = web.Response(status=error.status, text=error.text)
        answer.headers.update(HEADERS)
        return answer

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # Another name can be made to point here by a page in the same browser (DNS rebinding).
        if request.url.host not in HOSTS:
            raise web.HTTPForbidden(text="Use the address that `heapsyncd web` printed.")
        if request.path == "/" and "key" in request.query:
            return self._let_in(request.query["key"])
        if not _equal(request.cookies.get(self._cookie, ""), self._session):
            raise web.HTTPForbidden(
                text="Open the address that `heapsyncd web` printed; it contains the key."
            )
        try:
            return await handler(request)
        except HeapsyncdError as error:
            return web.Response(status=404, text=_shown(str(error)))

    def _let_in(self, key: str) -> web.StreamResponse:
        if key in self._once:
            self._once.remove(key)
        elif not _equal(key, self.key):
            raise web.HTTPForbidden(text="This key is wrong, or it was used before.")
        # The key leaves the address, and so the browser's history.
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(self._cookie, self._session, httponly=True, samesite="Lax")
        return answer

    async def status(self, _request: web.Request) -> web.StreamResponse:
        """Answer with the state of all accounts, what is held, and what came and went."""
        found = await read(self._config)
        held, _ = await held_now(self._config)
        events = await recent(self._config)
        return self._page("status.html", refresh_s=REFRESH_S, **status_facts(found, held, events))

    async def history(self, request: web.Request) -> web.StreamResponse:
        """Answer with the versions of the note at ``path``."""
        path, number = Path(request.query.get("path", "")), request.query.get("version", "")
        facts = await versions_of(self._config, path)
        wanted = int(number) if re.fullmatch(r"[0-9]{1,15}", number) else None
        chosen = await difference_of(self._config, path, wanted)
        return self._page("history.html", **history_facts(facts, chosen))

    async def style(self, _request: web.Request) -> web.StreamResponse:
        """Answer with the style sheet."""
        text, _, _ = PackageLoader("heapsyncd.cli", "pages").get_source(
            self._templates, "style.css"
        )
        return web.Response(text=text, content_type="text/css")

    def _page(self, template: str, **facts: Any) -> web.Response:
        text = self._templates.get_template(template).render(facts)
        return web.Response(text=text, content_type="text/html")


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())


def _shown(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


async def recent(config: Config) -> list[dict[str, Any]]:
    """Return the events of the last hour of all accounts, oldest first."""
    from heapsyncd.sync.offline.activity import cached_activity

    since_ms = time.time_ns() // 1_000_000 - HOUR_MS
    found = [
        event
        for account in config.accounts
        for event in await cached_activity(account, config.state_dir, since_ms, STRIP)
    ]
    return sorted(found, key=lambda event: event["at_ms"])


def status_facts(
    status: Mapping[str, Any], held: Sequence[Mapping[str, Any]], events: Sequence[Any]
) -> dict[str, Any]:
    """Return what the status page shows.

    Args:
        status: the document of ``status --json``.
        held: the accounts of ``deletions --json``.
        events: the last hour's, oldest first.
    """
    daemon = status["daemon"]
    of_heap = {heap["id"]: heap["held"] for account in held for heap in account["heaps"]}
    return {
        "daemon": daemon,
        "accounts": [
            {
                "name": account["name"],
                "state": account_state(account, daemon),
                "mood": "good" if account["state"] == "in sync" else "bad",
                "error": account.get("summary") or account["error"],
                "problems": [problem_line(p, "") for p in account.get("problems", ())],
                "heaps": [
                    {
                        "title": heap["title"],
                        "folder": heap["folder"],
                        "counts": counts(heap),
                        "details": details(heap),
                        "held": of_heap.get(heap["id"], ()),
                    }
                    for heap in account["heaps"]
                ],
            }
            for account in status["accounts"]
        ],
        "latency": list(latency(events)),
        "strip": [_dot(event) for event in events],
        "events": [_row(event) for event in reversed(events[-EVENTS:])],
    }


def latency(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield for each direction how many changes there were, and how long they took."""
    for direction, way in NAMES.items():
        some = [e for e in events if e["direction"] == direction]
        took_s = sorted(e["latency_ms"] / 1000 for e in some if e["latency_ms"] is not None)
        if not some:
            continue
        line = f"In the last hour {len(some)} {way}"
        if len(took_s) > 1:
            most = statistics.quantiles(took_s, n=20, method="inclusive")[-1]
            line += f": half of them within {statistics.median(took_s):.2f} s, 95 % within"
            line += f" {most:.2f} s"
        yield f"{line}."


def _dot(event: Mapping[str, Any]) -> dict[str, Any]:
    age_ms = min(HOUR_MS, max(0, time.time_ns() // 1_000_000 - event["at_ms"]))
    return {
        "x": WIDTH - round(WIDTH * age_ms / HOUR_MS),
        "direction": event["direction"],
        "title": f"{format_time(event['at_ms'])[11:19]} {event['path']}",
    }


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    is_note = event["path"].endswith(".md")
    took = "" if event["latency_ms"] is None else f"{event['latency_ms'] / 1000:.1f} s"
    return {
        "at": format_time(event["at_ms"])[11:19],
        "direction": event["direction"],
        "way": NAMES[event["direction"]],
        "heap": event["heap"],
        "path": event["path"],
        "link": f"/history?path={quote(event['file'])}" if is_note else None,
        "what": event["what"],
        "took": took,
    }


def history_facts(facts: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the history page shows.

    Args:
        facts: the document of ``history --json``.
        chosen: that of ``history --diff N --json``.
    """
    return {
        "chosen": chosen["number"],
        "diff": chosen["diff"],
        "title": facts["title"] or Path(facts["path"]).name,
        "path": facts["path"],
        "versions": [
            {
                "number": version["number"],
                "at": format_time(version["made_at_ms"])[:19],
                "why": why(version),
                "link": f"/history?path={quote(facts['path'])}&version={version['number']}",
                "added": version["words_added"],
                "removed": version["words_removed"],
                "notice": version["notice"],
            }
            for version in facts["versions"]
        ],
    }

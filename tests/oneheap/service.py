"""A oneheap service for tests: what its documentation says, over HTTP, with faults on demand.

It is written from the documentation alone, so that it notices what the client gets wrong: it
refuses an argument that is not documented, a path without its last slash, a date in another form.
Its clock is days ahead of ours.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web
from multidict import CIMultiDictProxy

from tests.oneheap.store import Item, Store, found, paged
from tests.oneheap.words import (
    ATTACHED,
    COLLECTIONS,
    COMMENTED,
    CREATE,
    DETACHED,
    LIST,
    LIST_TASKS,
    LISTED,
    READABLE,
    REMINDED,
    SEARCH,
    TYPES,
    UPDATE,
    Refusal,
    check,
    parsed,
    said,
)

BASE = "/service/v1/Api/Rest"
DOCUMENTED = Path(__file__).parents[1] / "data" / "oneheap-routes.txt"
"""A route a line: method, path, arguments with their types; ``!``: not implemented yet."""
EMAIL = "j.doe@example.com"
PASSWORD = "s3cret-Pass"
Answer = tuple[list[Item], int | None]


@dataclass(frozen=True)
class Request:
    """A request that arrived."""

    method: str
    path: str
    """Below the base."""
    arguments: dict[str, Any]
    headers: CIMultiDictProxy[str]
    address: str
    match_info: dict[str, str] = field(default_factory=dict)
    """The ids in the path."""


Handler = Callable[[Request, dict[str, Any]], Answer]


@dataclass
class Fault:
    """What goes wrong with the next requests of a kind."""

    kind: Literal["refuse", "code", "drop", "lose", "cut", "page", "empty", "bare"]
    """``refuse``: ``status``, nothing done · ``code``: the same, with HTTP status 200 · ``drop``:
    the connection ends, nothing done · ``lose``: done, and the connection ends · ``cut``: done,
    and the answer is half · ``page``: a page of HTML, nothing done · ``empty``: done, no objects ·
    ``bare``: done, without the rate limit's headers
    """
    method: str = ""
    path: str = ""
    """A beginning of the path."""
    times: int = 1
    status: int = 500
    message: str = "Internal error."
    fields: list[str] = field(default_factory=list)


class Oneheap:
    """The service; an async context manager. ``store`` has the items, ``requests`` what came."""

    def __init__(self, *, limit: int = 10_000, port: int = 0) -> None:
        self.accounts = {EMAIL: PASSWORD}
        self.limit = limit
        self.token_life_s = 86_400.0
        self.known_types = set(TYPES)
        """What a search takes as ``types``."""
        self.task_priorities = {"priority", "priotity"}
        """The spellings that the update of a task takes."""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.gate: asyncio.Event | None = None
        """When it is there, requests but sign-ins wait for it before they are handled."""
        self.waiting = 0
        """How many do."""
        self.refused = 0
        """Requests beyond the limit."""
        self.store = Store(self.now)
        self._tokens: dict[str, datetime] = {}
        self._ahead = timedelta(days=3, seconds=1.5)
        self._used = 0
        self._resets_at = self.now()
        self._port = port
        self._runner: web.AppRunner | None = None
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        self._add_routes()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        if self.gate is not None:
            self.gate.set()  # A test that failed leaves nobody waiting.
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The address to configure."""
        return f"http://127.0.0.1:{self._port}{BASE}/"

    def now(self) -> datetime:
        """The service's clock."""
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Let the service's time pass."""
        self._ahead += timedelta(seconds=seconds)

    def expire_tokens(self) -> None:
        """Every token has expired."""
        self._tokens = dict.fromkeys(self._tokens, self.now())

    def forget_tokens(self) -> None:
        """No token is known any more."""
        self._tokens.clear()

    def spend(self, remaining: int) -> None:
        """Others used the account: so many requests are left."""
        self._renew_limit()
        self._used = self.limit - remaining

    def fail(self, kind: Any, method: str = "", path: str = "", **more: Any) -> None:
        """Let the next request of a kind go wrong."""
        self.faults.append(Fault(kind, method, path, **more))

    def seen(self, method: str, path: str) -> list[Request]:
        """The requests of a method and exactly this path."""
        return [r for r in self.requests if (r.method, r.path) == (method, path)]

    def counted(self) -> Counter[str]:
        """How often each method and path came."""
        return Counter(f"{r.method} {r.path}" for r in self.requests)

    # What a person or another program does on the service.

    def add(self, type_: str, **fields: Any) -> str:
        """A new item; returns its id."""
        id_: str = self.store.create(type_, fields)["id"]
        return id_

    def edit(self, id_: str, **fields: Any) -> None:
        """Change an item."""
        self.store.change(self.store.get(id_), fields)

    def remove(self, id_: str) -> None:
        """Delete an item for good."""
        self.store.delete(self.store.get(id_))

    def archive(self, id_: str, *, archived: bool = True) -> None:
        """Move an item into the archive, or out of it."""
        item = self.store.get(id_)
        item["archived"] = archived
        self.store.touch(item)

    # HTTP

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(BASE)
        fault: Fault | None = None
        try:
            arguments = await self._arguments(request)
            came = Request(request.method, path, arguments, request.headers, str(request.rel_url))
            self.requests.append(came)
            self._spend_one()
            await self._pass_gate(path)
            fault = self._fault(request.method, path)
            if fault is not None and fault.kind in {"refuse", "code"}:
                raise Refusal(fault.status, fault.message, *fault.fields)
            if fault is not None and fault.kind == "page":
                return web.Response(text="<html>Maintenance</html>", content_type="text/html")
            if fault is not None and fault.kind == "drop":
                return self._hang_up(request)
            objects, count = self._answer(came)
            if fault is not None and fault.kind == "lose":
                return self._hang_up(request)
            body: Item = {"code": 200}
            if count is not None:
                body["count"] = count
            body["objects"] = [] if fault is not None and fault.kind == "empty" else objects
            status = 200
        except Refusal as error:
            status = 200 if fault is not None and fault.kind == "code" else error.code
            body = {"code": error.code, "message": error.message, "fields": error.fields}
        text = json.dumps(body)
        if fault is not None and fault.kind == "cut":
            text = text[: len(text) // 2]
        is_bare = fault is not None and fault.kind == "bare"
        return web.Response(
            status=status,
            text=text,
            content_type="application/json",
            headers={} if is_bare else self._headers(),
        )

    async def _arguments(self, request: web.Request) -> dict[str, Any]:
        body = await request.text()
        if request.method == "POST":
            return parsed(body)
        if body or set(request.query) - {"q"}:
            raise Refusal(400, "Unexpected arguments.")
        return parsed(request.query.get("q", ""))

    def _renew_limit(self) -> None:
        if self.now() >= self._resets_at:
            self._used = 0
            self._resets_at = (self.now() + timedelta(hours=1)).replace(microsecond=0)

    def _spend_one(self) -> None:
        self._renew_limit()
        if self._used >= self.limit:
            self.refused += 1
            raise Refusal(429, "Too Many Requests")
        self._used += 1

    def _headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - self._used),
            "X-Ratelimit-Reset": said(self._resets_at),
            "Date": self.now().strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }

    async def _pass_gate(self, path: str) -> None:
        if self.gate is not None and path != "/Authentications/":
            self.waiting += 1
            await self.gate.wait()
            self.waiting -= 1

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method in {"", method} and path.startswith(fault.path):
                fault.times -= 1
                return fault
        return None

    @staticmethod
    def _hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _answer(self, request: Request) -> Answer:
        if request.headers.get("Auth-Method") != "token":
            raise Refusal(401, "Unknown authentication method.")
        if (request.method, request.path) != ("POST", "/Authentications/"):
            self._signed_in(request)
        for method, pattern, handle in self._routes:
            match = pattern.fullmatch(request.path) if method == request.method else None
            if match is not None:
                request.match_info.update(match.groupdict())
                return handle(request, request.arguments)
        raise Refusal(404, "No such resource.")

    def _signed_in(self, request: Request) -> None:
        expires_at = self._tokens.get(request.headers.get("Auth-Token", ""))
        if expires_at is None:
            raise Refusal(401, "Not authenticated.")
        if self.now() >= expires_at:
            raise Refusal(410, "Gone")

    # Resources

    def _add_routes(self) -> None:
        def add(method: str, path: str, handler: Handler) -> None:
            pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))
            self._routes.append((method, pattern, handler))

        add("POST", "/Authentications/", self._sign_in)
        add("DELETE", "/Authentications/", self._sign_out)
        add("POST", "/Searches/", self._search)
        add("POST", "/Archives/", self._into_archive)
        add("DELETE", "/Archives/{id}/", self._out_of_archive)
        for name, type_ in COLLECTIONS.items():
            add("POST", f"/{name}/", self._creates(name, type_))
            add("POST", f"/{name}/{{id}}/", self._updates(name, type_))
            add("DELETE", f"/{name}/{{id}}/", self._deletes(type_))
            if name in READABLE:
                add("GET", f"/{name}/{{id}}/", self._reads(type_))
            if name in LISTED:
                add("GET", f"/{name}/", self._lists(name, type_))
            if name in COMMENTED:
                add("POST", f"/{name}/{{id}}/Comments/", self._comments(type_))
            if name in ATTACHED:
                add("POST", f"/{name}/{{id}}/Files/", self._attaches(type_))
            if name in DETACHED:
                add("DELETE", f"/{name}/{{id}}/Files/{{other}}/", self._detaches(type_))
            if name in REMINDED:
                add("POST", f"/{name}/{{id}}/Reminders/", self._reminds(name, type_))
                add("DELETE", f"/{name}/{{id}}/Reminders/", self._forgets(type_))
                add("DELETE", f"/{name}/{{id}}/Reminders/{{other}}/", self._forgets(type_))
        add("POST", "/Tasks/{id}/Tasks", self._adopt)
        add("GET", "/Tasks/{id}/Tasks/", self._children)
        add("DELETE", "/Tasks/{id}/Tasks/{other}/", self._part)
        self._add_documented(add)

    def _add_documented(self, add: Callable[[str, str, Handler], None]) -> None:
        """The routes that no mirror uses, behind those that it does."""
        for line in DOCUMENTED.read_text().splitlines():
            method, path, *arguments = line.split()
            if "!" not in arguments:
                path = path.replace(":id", "{id}", 1).replace(":id", "{other}", 1)
                types = dict(argument.split(":") for argument in arguments)
                add(method, path, self._documented(types))

    @staticmethod
    def _documented(types: dict[str, str]) -> Handler:
        """A route whose effect no mirror sees: its arguments are checked, and that is all."""
        known = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}

        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            for name, value in arguments.items():
                if name not in types or type(value) is not known[types[name]]:
                    raise Refusal(400, f'Invalid "{name}" parameter.', name)
            return [], 0

        return handle

    def _sign_in(self, request: Request, arguments: dict[str, Any]) -> Answer:
        check(arguments, {"email", "password"})
        if self.accounts.get(arguments.get("email", "")) != arguments.get("password"):
            raise Refusal(403, "Wrong e-mail address or password.")
        token = f"U8rFTrEjI8..{self.store.new_id()}"
        self._tokens[token] = self.now() + timedelta(seconds=self.token_life_s)
        return [{"id": self.store.new_id(), "token": token}], None

    def _sign_out(self, request: Request, arguments: dict[str, Any]) -> Answer:
        del self._tokens[request.headers["Auth-Token"]]
        return [], 0

    def _search(self, request: Request, arguments: dict[str, Any]) -> Answer:
        check(arguments, SEARCH)
        if set(arguments.get("types") or ()) - self.known_types:
            raise Refusal(400, 'Invalid "types" parameter.', "types")
        return self._page(found(list(self.store.items.values()), arguments), arguments)

    def _page(self, items: list[Item], arguments: dict[str, Any]) -> Answer:
        return [self.store.view(item) for item in paged(items, arguments)], len(items)

    def _one(self, item: Item, *, with_data: bool = False) -> Answer:
        return [self.store.view(item, with_data=with_data)], 1

    def _lists(self, name: str, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            check(arguments, LIST_TASKS if name == "Tasks" else LIST)
            if not isinstance(arguments.get("id", []), list):
                raise Refusal(400, 'Invalid "id" parameter.', "id")
            return self._page(found(self.store.of(type_), arguments), arguments)

        return handle

    def _reads(self, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            item = self.store.get(request.match_info["id"], type_)
            return self._one(item, with_data=type_ == "file")

        return handle

    def _creates(self, name: str, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            check(arguments, set(CREATE[name].split()))
            return self._one(self.store.create(type_, arguments))

        return handle

    def _updates(self, name: str, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            item = self.store.get(request.match_info["id"], type_)
            known = set(UPDATE[name].split())
            if name == "Tasks":
                known = known - {"priotity"} | self.task_priorities
            check(arguments, known)
            self.store.change(item, arguments)
            return self._one(item)

        return handle

    def _deletes(self, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            self.store.delete(self.store.get(request.match_info["id"], type_))
            return [], 0

        return handle

    def _comments(self, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            check(arguments, {"name", "body"})
            target = self.store.get(request.match_info["id"], type_)
            return self._one(self.store.create("comment", {**arguments, "targetId": target["id"]}))

        return handle

    def _attaches(self, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            check(arguments, {"files", "fileIds"})
            item = self.store.get(request.match_info["id"], type_)
            files = self.store.attach(item, arguments.get("files") or [])
            if arguments.get("fileIds"):
                self.store.order(item, arguments["fileIds"])
            return [self.store.view(file) for file in files], len(files)

        return handle

    def _detaches(self, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            item = self.store.get(request.match_info["id"], type_)
            file = self.store.get(request.match_info["other"], "file")
            if file["parentId"] != item["id"]:
                raise Refusal(404, "Not found.")
            self.store.delete(file)
            self.store.touch(item)
            return [], 0

        return handle

    def _reminds(self, name: str, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            check(arguments, REMINDED[name])
            item = self.store.get(request.match_info["id"], type_)
            self.store.remind(item, arguments)
            return self._one(item)

        return handle

    def _forgets(self, type_: str) -> Handler:
        def handle(request: Request, arguments: dict[str, Any]) -> Answer:
            item = self.store.get(request.match_info["id"], type_)
            other = request.match_info.get("other")
            left = [r for r in item["reminders"] if other is not None and r["id"] != other]
            if other is not None and len(left) == len(item["reminders"]):
                raise Refusal(404, "Not found.")
            item["reminders"] = left
            self.store.touch(item)
            return [], 0

        return handle

    def _into_archive(self, request: Request, arguments: dict[str, Any]) -> Answer:
        check(arguments, {"id"})
        self.store.get(str(arguments.get("id")))
        self.archive(arguments["id"])
        return self._one(self.store.get(arguments["id"]))

    def _out_of_archive(self, request: Request, arguments: dict[str, Any]) -> Answer:
        if not self.store.get(request.match_info["id"])["archived"]:
            raise Refusal(404, "Not found.")
        self.archive(request.match_info["id"], archived=False)
        return [], 0

    def _adopt(self, request: Request, arguments: dict[str, Any]) -> Answer:
        child = self.store.get(str(arguments.get("id")), "task")
        self.store.change(child, {"parentId": request.match_info["id"]})
        return self._one(child)

    def _children(self, request: Request, arguments: dict[str, Any]) -> Answer:
        parent = self.store.get(request.match_info["id"], "task")["id"]
        children = [task for task in self.store.of("task") if task["parentId"] == parent]
        return [self.store.view(child) for child in children], len(children)

    def _part(self, request: Request, arguments: dict[str, Any]) -> Answer:
        child = self.store.get(request.match_info["other"], "task")
        if child["parentId"] != request.match_info["id"]:
            raise Refusal(404, "Not found.")
        self.store.change(child, {"parentId": None})
        return [], 0

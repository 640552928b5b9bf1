"""Node programs that speak JSON lines, as Python objects: the peers the tests are run against."""

import asyncio
import base64
import itertools
import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
LINE_BYTES = 256 << 20
"""asyncio's reader refuses longer lines; a document in base64 is one line."""


class PeerTrouble(AssertionError):
    """The Node program answered with an error (its stack), or ended before it answered."""


def encoded(data: bytes) -> str:
    """Bytes as the programs take them."""
    return base64.b64encode(data).decode()


def decoded(text: str) -> bytes:
    """Bytes as the programs give them."""
    return base64.b64decode(text)


class Program:
    """A running program: ``ask`` for answers, ``event`` for what it says unasked."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    async def ask(self, op: str, **args: Any) -> dict[str, Any]:
        """Send one request and wait for its answer; PeerTrouble when the program could not."""
        number = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "op": op, **args}).encode() + b"\n")
        await self._process.stdin.drain()
        result: dict[str, Any] = await answer
        return result

    async def event(self, name: str) -> dict[str, Any]:
        """The next event of that name; earlier ones of other names are dropped."""
        while (event := await self._events.get())["event"] != name:
            pass
        return event

    async def kill(self) -> None:
        """End it at once, as a machine does that loses its power."""
        self._process.kill()
        await self._process.wait()

    async def listen(self) -> None:
        """Hand on what the program says until it ends; then whoever still waits hears of it."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "event" in said:
                self._events.put_nowait(said)
                continue
            answer = self._asked.pop(said["id"])
            if answer.cancelled():
                continue
            if "error" in said:
                answer.set_exception(PeerTrouble(said["error"]))
            else:
                answer.set_result(said)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(PeerTrouble("the program has ended"))


@asynccontextmanager
async def running(script: str) -> AsyncIterator[Program]:
    """Run one of the programs beside this file; it ends when the block is left."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", script, cwd=HERE, stdin=pipe, stdout=pipe, limit=LINE_BYTES
    )
    program = Program(process)
    listening = asyncio.create_task(program.listen())
    try:
        await program.event("ready")
        yield program
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
        await listening


class Judge:
    """``judge.mjs``, asked without an event loop (hypothesis calls plain functions)."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin = stdin
        self._stdout = stdout

    def verdicts(self, documents: Sequence[Sequence[bytes]], **options: Any) -> list[Any]:
        """One verdict for each document, given as its updates; the keys are judge.mjs's."""
        coded = [[encoded(update) for update in updates] for updates in documents]
        answer: list[Any] = self._ask(op="judge", documents=coded, **options)["verdicts"]
        return answer

    def verdict(self, *updates: bytes, **options: Any) -> Any:
        """The verdict on one document."""
        return self.verdicts([updates], **options)[0]

    def write(self, document: dict[str, Any]) -> bytes:
        """The update an editor writes for ProseMirror JSON."""
        return decoded(self._ask(op="write", json=document)["update"])

    def typed(self, update: bytes) -> bytes:
        """A document after a character was typed in its first textblock."""
        return decoded(self._ask(op="typed", update=encoded(update))["update"])

    def structs(self, update: bytes, root: str) -> list[list[int]]:
        """The ids and lengths of all that is in a root of a document."""
        found: list[list[int]] = self._ask(op="structs", update=encoded(update), root=root)[
            "structs"
        ]
        return found

    def _ask(self, **request: Any) -> dict[str, Any]:
        self._stdin.write(json.dumps({"id": 0, **request}) + "\n")
        self._stdin.flush()
        line = self._stdout.readline()
        if not line:
            raise PeerTrouble("the judge has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerTrouble(answer["error"])
        return answer


@contextmanager
def judging() -> Iterator[Judge]:
    """Run the judge."""
    command = ["node", "judge.mjs"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=HERE, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # ready
        yield Judge(process.stdin, process.stdout)
        process.stdin.close()


def faults(verdict: Any) -> list[str]:
    """What an editor would hold against a document; empty when it takes it whole.

    It must open without changing anything, and a character typed into the first or the last
    textblock must leave every node alone but that one's text and what encloses it.
    """
    found = [*verdict["violations"]]
    if "error" in verdict:
        found.append(f"the editor can't open it: {verdict['error']}")
    if verdict["loads"]:
        found.append(f"the editor rewrote it on opening ({verdict['loads']} updates)")
    for where, typed in verdict["typed"].items():
        if typed:
            path = typed["path"]
            far = [p for p in typed["changed"] if p[: len(path)] != path and path[: len(p)] != p]
            if far:
                found.append(f"typing in the {where} textblock {path} changed {far}")
    return found

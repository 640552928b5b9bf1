"""A process that takes in documents from anywhere, and may die of it; ``Victim`` is its handle.

As a program: one line of JSON, a list of updates in hex, is done with everything that the daemon
and the server do with foreign bytes; then ``ok`` is said.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Self

from heapsyncd.document.edit import Target, edit
from heapsyncd.document.rebuild import rebuild
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge, missing, pending_part, vector_of
from heapsyncd.errors import BlockError

LIMIT_S: Final = 40


class Victim:
    """Runs the program, and starts it again when it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def survives(self, updates: Sequence[bytes]) -> bool:
        """Whether the process lives on after these, and comes back from them in time."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # Rust's panics
                text=True,
                env=os.environ | {"MALLOC_PERTURB_": "165"},  # freed memory is overwritten at once
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps([u.hex() for u in updates])
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        answered, *_ = select.select([self._process.stdout], [], [], LIMIT_S)
        if answered and self._process.stdout.readline() == "ok\n":
            return True
        self._process.kill()
        with suppress(BrokenPipeError):
            self.__exit__()
        self._process = None
        return False


def use(updates: Sequence[bytes]) -> None:
    """What the daemon and the server do with them."""
    taking, known = Replica(client_id=5), []
    for update in updates:
        with suppress(BlockError):
            known += [update] if taking.take(update).is_news else []
        look_at(taking)
    _try(lambda: edit(taking, Target(title="t", deleted_at_ms=1)))
    look_at(taking)
    for found in (known, updates, [*reversed(updates)]):
        _try(lambda u=found: look_at(Replica.load(u)))  # type: ignore[misc]
        _try(lambda u=found: look_at(Replica.load([merge(u)])))  # type: ignore[misc]
        _try(lambda u=found: missing(u, vector_of(u[:1])))  # type: ignore[misc]
    _try(lambda: rebuild(known))
    for update in updates:
        _try(lambda u=update: pending_part(u, taking.state_vector()))  # type: ignore[misc]


def look_at(replica: Replica) -> None:
    """Read everything of a document."""
    for read in (replica.fields, replica.view, replica.fingerprint, replica.state):
        _try(read)
    _try(replica.has_pending)
    _try(lambda: replica.since(replica.state_vector()))


def _try(step: Callable[[], object]) -> None:
    with suppress(BlockError):
        step()


if __name__ == "__main__":
    for line in sys.stdin:
        use([bytes.fromhex(u) for u in json.loads(line)])
        print("ok", flush=True)

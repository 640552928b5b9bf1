"""Wait until an account's heaps are in sync, or nothing more can be done, and say which."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from heapsyncd.backoff import first_of
from heapsyncd.cache.activity import Direction
from heapsyncd.config import Account
from heapsyncd.errors import HeapsyncdError, SignInRefused, TryLater, Unreachable
from heapsyncd.ids import HeapId
from heapsyncd.sync.heap.timing import Timing
from heapsyncd.sync.push.push import unsent
from heapsyncd.sync.report import Report, Verdict
from heapsyncd.sync.runtime.heap import HeapMirror

LOOK_S = 0.02
"""How often to look whether the pass is complete."""


class Listing:
    """Lets passes wait until the account's heaps are listed again."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.opened = asyncio.Event()
        """Set once the heaps are open that are known without the server."""
        self._waiting: list[asyncio.Future[HeapsyncdError | None]] = []
        self._served: list[asyncio.Future[HeapsyncdError | None]] = []

    async def again(self) -> None:
        """Wait for a listing that begins after this.

        Raises:
            HeapsyncdError: the heaps could not be listed.
        """
        listed: asyncio.Future[HeapsyncdError | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(listed)
        self.asked.set()
        error = await listed
        if error is not None:
            raise error

    def begins(self) -> None:
        """Note that a listing begins."""
        self.asked.clear()
        self._served += self._waiting
        self._waiting = []

    def ended(self, failure: HeapsyncdError | None = None) -> None:
        """Note that a listing ended, or that there will be none any more."""
        for listed in self._served:
            if not listed.done():  # whoever asked may be gone
                listed.set_result(failure)
        self._served = []


async def until_settled(
    mirrors: Mapping[HeapId, HeapMirror],
    report: Report,
    timing: Timing,
    *stops: asyncio.Event,
    end: float | None,
    passed: Counter[Direction],
) -> Verdict:
    """Wait for the end of a pass over all heaps of an account; return its verdict.

    Args:
        mirrors: the heaps; more may be added meanwhile.
        report: the account's.
        timing: says when a server that does not answer is given up.
        stops: events that end the pass.
        end: the loop's time at which the pass ends; None: when it is complete.
        passed: what had been sent and received when the pass began.
    """
    ended = await _end_of(mirrors, report, timing, *stops, end=end)
    now = moved(mirrors)
    return replace(ended, sent=now["up"] - passed["up"], arrived=now["down"] - passed["down"])


async def until_sent(mirrors: Mapping[HeapId, HeapMirror], *stops: asyncio.Event) -> None:
    """Wait until no heap is writing, and everything is sent that can be sent now."""
    while not (any(e.is_set() for e in stops) or all(map(_is_sent, list(mirrors.values())))):
        await first_of(*stops, timeout_s=LOOK_S)


def _is_sent(mirror: HeapMirror) -> bool:
    state = mirror.state
    is_read = mirror.scanner.idle and not state.report.reading
    if state.lock.locked() or not (is_read or "folder" in state.report.blockers):
        return False
    if any(policy.failures for policy in mirror.policies.values()):
        return True  # a server that is away is not waited for
    uploads = (e for e in state.moving() if e.todo == "upload")
    return not unsent(state) and all(e.path in state.transfers.put_off for e in uploads)


def moved(mirrors: Mapping[HeapId, HeapMirror]) -> Counter[Direction]:
    """Return how many changes this process sent and received."""
    counts: Counter[Direction] = Counter()
    for mirror in mirrors.values():
        counts.update(mirror.state.traffic.passed)
    return counts


async def _end_of(
    mirrors: Mapping[HeapId, HeapMirror],
    report: Report,
    timing: Timing,
    *stops: asyncio.Event,
    end: float | None,
) -> Verdict:
    while True:
        heaps = list(mirrors.values())
        late = end is not None and asyncio.get_running_loop().time() > end
        if late or any(e.is_set() for e in stops) or all(m.settled or m.stuck for m in heaps):
            return verdict(heaps, report)
        if report.refused:
            return Verdict("sign-in needed", SignInRefused.exit_code, (str(report.error),))
        answers = [m.away(timing.give_up_s) for m in heaps]
        away = next((a for a in answers if a is not None), None)
        if away is not None:
            report.failed(away)
            return verdict(heaps, report)
        await first_of(*stops, timeout_s=LOOK_S)


def verdict(mirrors: Sequence[HeapMirror], report: Report) -> Verdict:
    """Return the result of a pass that ends now."""
    left = [line for heap in report.heaps.values() for line in heap.left()]
    minor = tuple(report.minor())
    if report.unmatched is not None:
        left.append(report.unmatched)
    unsettled = [m.state.report.title for m in mirrors if not m.settled]
    if not report.connected:
        reason = report.error or Unreachable.plain
        return Verdict("offline", TryLater.exit_code, (reason, *left), minor)
    if not left and not unsettled:
        return Verdict("in sync", 0, (), minor)
    rest = left or [f"{title}: not finished yet" for title in unsettled]
    return Verdict(report.state if left else "syncing", 1, tuple(rest), minor)


def late(account: Account) -> Verdict:
    """Return the result of a pass whose server did not answer in time."""
    return Verdict("offline", TryLater.exit_code, (f"{account.server} did not answer in time",))

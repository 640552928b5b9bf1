"""Edge: lifetimes. One lock, one control socket, one mirror per account.

``run_once`` takes every account through one full pass. ``Daemon`` keeps them mirrored until told
to stop. Resources close in reverse order: first the mirrors, then the socket, then the lock. Both
hold the lock, so no two processes ever use the same state.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from msgspec.structs import asdict

from heapsyncd import control
from heapsyncd.config import Account, Config
from heapsyncd.control_requests import handlers, long_handlers, recount_all, telling
from heapsyncd.desktop import Desktop, Events
from heapsyncd.errors import HeapsyncdError, expected_error, for_people
from heapsyncd.logind import SuspendLock
from heapsyncd.notify import Notifier
from heapsyncd.statelock import hold_state
from heapsyncd.supervisor import STOPPED, Mirror, Supervisor
from heapsyncd.sync.heap.timing import DEFAULT, Timing
from heapsyncd.sync.report import Progress, Report, Verdict
from heapsyncd.sync.runtime.account import mirror_account
from heapsyncd.tasks import TaskGroup

LOOK_EVERY_S: Final = 2.0
"""How often to look for what a person is to be told on the desktop."""
RECOUNT_EVERY_S: Final = 60.0
"""How often reviews are looked up for that."""

_log = structlog.get_logger("heapsyncd.daemon")


async def run_once(
    config: Config,
    *,
    timeout_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    mirror: Mirror = mirror_account,
    timing: Timing = DEFAULT,
) -> dict[str, Verdict]:
    """Take every account through one full pass, concurrently. Returns a verdict for each.

    An account's trouble becomes its verdict. SIGTERM and SIGINT end the pass in order, within
    ``timing.close_s``. A second one ends it at once.

    Raises:
        StateLocked: a daemon holds this state.
        FolderTrouble: the state directory cannot be used.
    """
    reports = [Report(a.name, progress, folder=str(a.folder)) for a in config.accounts]
    stop = asyncio.Event()

    async def one(account: Account, report: Report) -> Verdict:
        try:
            return await mirror(
                account,
                config.state_dir,
                report,
                once=True,
                stop=stop,
                timeout_s=timeout_s,
                ready=lambda: None,
                timing=timing,
            )
        except Exception as error:
            cause = expected_error(error)
            if cause is None:
                raise
            report.failed(cause)
            return Verdict(report.state, cause.exit_code, (for_people(cause),))

    tasks: list[asyncio.Task[Verdict]] = []

    def end() -> None:
        if stop.is_set():
            _cancel(tasks)
        stop.set()

    async def limit() -> None:
        await stop.wait()
        _cancel((await asyncio.wait(tasks, timeout=timing.close_s))[1])

    with (
        hold_state(config.state_dir),
        _signals(dict.fromkeys((signal.SIGTERM, signal.SIGINT), end)),
    ):
        async with (
            control.serve(config.state_dir, handlers(lambda: reports), _OF_A_DAEMON),
            TaskGroup() as group,
        ):
            pairs = zip(config.accounts, reports, strict=True)
            tasks += [group.create_task(one(account, report)) for account, report in pairs]
            limiting = group.create_task(limit())
            await asyncio.wait(tasks)
            limiting.cancel()
    return {
        report.name: _cancelled(report) if task.cancelled() else task.result()
        for report, task in zip(reports, tasks, strict=True)
    }


async def _no_daemon(_arguments: Mapping[str, Any], _tell: control.Tell) -> None:
    """Answer as if no daemon listened: this pass may be over before another one's work is seen."""


_OF_A_DAEMON: Final = dict.fromkeys(("sync", "repair", "restore", "undo"), _no_daemon)


def _cancelled(report: Report) -> Verdict:
    state = "syncing" if report.state == "in sync" else report.state
    return Verdict(state, 1, ("stopped before everything was in sync",))


class Daemon:
    """Keeps every account mirrored. Use once: ``await run()``.

    Args:
        config: what to run, including keys and passwords.
        load: reads the configuration again (SIGHUP). If it raises, the old configuration stays.
        notifier: reports to systemd.
        mirror: mirrors one account.
        timing: the waits and pauses.
        desktop: shows what waits for a person; None: nobody does.
        suspends: delays suspends until what waits is sent; None: nothing does.
    """

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        *,
        notifier: Notifier,
        mirror: Mirror = mirror_account,
        timing: Timing = DEFAULT,
        desktop: Desktop | None = None,
        suspends: SuspendLock | None = None,
    ) -> None:
        self._config = config
        self._load = load
        self._notifier = notifier
        self._mirror = mirror
        self._timing = timing
        self._desktop = desktop if desktop is not None and desktop.is_there else None
        self._suspends = suspends
        self._supervisors: dict[str, Supervisor] = {}
        self._tasks: dict[Supervisor, asyncio.Task[None]] = {}
        self._requests: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._repairs: set[asyncio.Task[list[dict[str, Any]]]] = set()
        self._stopping = False
        self._ready_announced = False

    def stop(self) -> None:
        """Shut down in order. Called again, cancel whatever still runs."""
        if self._stopping:
            _cancel(self._tasks.values())
        self._stopping = True
        self._requests.put_nowait(signal.SIGTERM)

    def reload(self) -> None:
        """Read the configuration again, and let accounts in trouble try again."""
        self._requests.put_nowait(signal.SIGHUP)

    async def run(self) -> None:
        """Run until ``stop``, SIGTERM or SIGINT.

        Raises:
            StateLocked: another daemon holds this state.
            FolderTrouble: the state directory cannot be used.
            ExceptionGroup: contains the ConfigError of an account that cannot be mirrored as
                configured.
        """
        signals = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGHUP: self.reload,
        }
        with hold_state(self._config.state_dir), _signals(signals):
            long_requests: dict[str, control.LongHandler] = {
                "sync": self._full_pass, "repair": self._repair, **long_handlers(self._reports)
            }  # fmt: skip
            async with (
                control.serve(self._config.state_dir, handlers(self._reports), long_requests),
                TaskGroup() as group,
            ):
                for account in self._config.accounts:
                    self._start(account, group)
                beside = [group.create_task(self._tell_desktop())]
                if self._suspends is not None:
                    holding = self._suspends.hold(self._before_suspend, self._after_suspend)
                    beside.append(group.create_task(holding))
                while await self._requests.get() is signal.SIGHUP:
                    await self._reload(group)
                _cancel(beside)
                self._notifier.stopping()
                _log.info("stopping")
                await self._stop_supervisors(list(self._supervisors.values()))
        _log.info("stopped")

    async def _full_pass(self, arguments: Mapping[str, Any], tell: control.Tell) -> dict[str, Any]:
        """Take every account through one full pass; tell how far the work is."""
        supervisors, timeout_s = list(self._supervisors.values()), arguments.get("timeout_s")

        async def passes() -> dict[str, Any]:
            async with TaskGroup() as group:
                tasks = {
                    s.account.name: group.create_task(s.full_pass(timeout_s)) for s in supervisors
                }
            return {"accounts": {name: asdict(task.result()) for name, task in tasks.items()}}

        def news() -> list[dict[str, Any]]:
            return [asdict(step) for s in supervisors for step in s.report.unfinished()]

        return await telling(passes(), tell, news)

    async def _repair(self, arguments: Mapping[str, Any], tell: control.Tell) -> dict[str, Any]:
        """Check and repair every account, one after the other, while its mirror rests."""
        from heapsyncd.sync.offline.check.repair import check_and_repair  # noqa: PLC0415 - rare

        steps: dict[str, Progress] = {}
        offline = arguments.get("offline")

        async def accounts() -> list[dict[str, Any]]:
            found = []
            for supervisor in list(self._supervisors.values()):
                async with supervisor.at_rest():
                    checked = await check_and_repair(
                        supervisor.account,
                        self._config.state_dir,
                        lambda step: steps.update({step.label: step}),
                        offline=None if offline is None else str(offline),
                    )
                found.append(checked.as_dict())
            return found

        task = asyncio.create_task(accounts())
        self._repairs.add(task)
        try:
            return {
                "accounts": await telling(task, tell, lambda: list(map(asdict, steps.values())))
            }
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise HeapsyncdError(STOPPED) from None
        finally:
            self._repairs.discard(task)

    async def _end_repairs(self) -> None:
        """End repairs that are under way; what they did not come to stays as it is."""
        _cancel(self._repairs)
        await asyncio.gather(*self._repairs, return_exceptions=True)

    async def _tell_desktop(self) -> None:
        """Show on the desktop what waits for a person, each event once."""
        events, recounted_s = Events(), time.monotonic()
        while self._desktop is not None:
            if self._config.desktop_notices:
                if time.monotonic() > recounted_s + RECOUNT_EVERY_S:
                    recounted_s = time.monotonic()
                    await recount_all(self._reports())
                for notice in events.new([report.snapshot() for report in self._reports()]):
                    await self._desktop.show(notice)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _before_suspend(self) -> None:
        """Wait until every account has finished what it writes, and sent what it can."""
        async with TaskGroup() as group:
            for report in self._reports():
                if report.commands is not None:
                    group.create_task(report.commands.finish_sending())

    def _after_suspend(self) -> None:
        for report in self._reports():
            if report.commands is not None:
                report.commands.renew()

    def _reports(self) -> list[Report]:
        return [supervisor.report for supervisor in self._supervisors.values()]

    def _start(self, account: Account, group: TaskGroup) -> None:
        name, state_dir = account.name, self._config.state_dir
        report = Report(name, beat=lambda: self._beat(name), folder=str(account.folder))
        supervisor = Supervisor(
            account, state_dir, report, self._announce_ready, self._mirror, self._timing
        )
        self._supervisors[account.name] = supervisor
        self._notifier.expect(account.name)
        self._tasks[supervisor] = group.create_task(supervisor.run(), name=account.name)

    async def _stop_supervisors(self, supervisors: Sequence[Supervisor]) -> None:
        """Let the mirrors finish their current action. After the limit, cancel the rest.

        Repairs end first. None begins afterwards beside the mirrors that follow.
        """
        tasks = [self._tasks[supervisor] for supervisor in supervisors]
        for supervisor in supervisors:
            supervisor.stop()
            self._notifier.forget(supervisor.account.name)
        await self._end_repairs()
        limit_s = self._timing.close_s
        late = (await asyncio.wait(tasks, timeout=limit_s))[1] if tasks else set()
        for task in late:
            _log.warning("mirror cancelled: it did not finish in time", account=task.get_name())
        _cancel(late)
        if late:
            await asyncio.wait(late)
        for supervisor in supervisors:
            del self._tasks[supervisor]

    async def _reload(self, group: TaskGroup) -> None:
        """Read the configuration again and apply it; a wrong one changes nothing."""
        self._notifier.reloading()
        failure = None
        try:
            config = self._load()
        except HeapsyncdError as error:
            failure = str(error)
        else:
            if config.state_dir != self._config.state_dir:
                failure = "a new state_dir needs a restart"
            else:
                await self._reconfigure(config, group)
        if failure is not None:
            _log.error("configuration not reloaded", reason=failure)
        self._notifier.reloaded(failure)

    async def _reconfigure(self, config: Config, group: TaskGroup) -> None:
        """Apply a configuration: restart the accounts whose settings changed."""
        before = self._supervisors
        same = {
            a.name for a in config.accounts if a.name in before and before[a.name].account == a
        }
        await self._stop_supervisors(
            [supervisor for name, supervisor in before.items() if name not in same]
        )
        self._config, self._supervisors = config, {}
        for account in config.accounts:
            if account.name in same:
                self._supervisors[account.name] = before[account.name]
                before[account.name].try_again()
            else:
                self._start(account, group)
        # The one that was not ready may be gone.
        self._announce_ready()
        _log.info("configuration reloaded", accounts=list(self._supervisors))

    def _announce_ready(self) -> None:
        """Tell systemd once that every account is ready."""
        if not self._ready_announced and all(
            supervisor.ready for supervisor in self._supervisors.values()
        ):
            self._ready_announced = True
            self._notifier.ready()
            _log.info("ready", accounts=list(self._supervisors))

    def _beat(self, name: str) -> None:
        self._notifier.beat(name)
        self._notifier.status(lambda: [report.snapshot() for report in self._reports()])


def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


@contextlib.contextmanager
def _signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Handle signals in the loop while the context is open; then restore the old handlers."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        # Removing a handler leaves the default action, which kills. Block signals in between.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
        for number, handler_before in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler_before or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

"""Edge: the lifetimes. One lock, one control socket, one mirror an account.

``run_once`` carries every account through one full pass; ``Daemon`` keeps them mirrored until it
is told to stop. What is opened first is closed last: the mirrors end, then the socket, then the
lock. Both hold the lock, so that there is never a second one on the same state.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog

from heapsyncd import control
from heapsyncd.config import Account, Config
from heapsyncd.errors import FolderTrouble, HeapsyncdError, meant
from heapsyncd.notify import Notifier
from heapsyncd.statelock import hold_state
from heapsyncd.supervisor import Mirror, Supervisor, note_failure
from heapsyncd.sync.report import Progress, Report, RestoreRequest, Verdict
from heapsyncd.sync.runtime.account import mirror_account
from heapsyncd.tasks import TaskGroup

CLOSE_LIMIT_S: Final = 10.0
"""How long the mirrors may take to finish what they are at; then they are cancelled."""

_log = structlog.get_logger("heapsyncd.daemon")


async def run_once(
    config: Config,
    *,
    timeout_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    mirror: Mirror = mirror_account,
) -> dict[str, Verdict]:
    """One full pass of every account, side by side; trouble of one account is its verdict.

    SIGTERM and SIGINT end it in order, within CLOSE_LIMIT_S; a second one ends it at once.

    Raises:
        StateLocked: a daemon holds this state.
        FolderTrouble: the state's directory can't be used.
    """
    reports = [Report(account.name, progress) for account in config.accounts]
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
            )
        except Exception as error:
            cause = meant(error)
            if cause is None:
                raise
            note_failure(report, cause)
            return Verdict(report.state, cause.exit_code, (str(cause),))

    tasks: list[asyncio.Task[Verdict]] = []

    def end() -> None:
        if stop.is_set():
            _cancel(tasks)
        stop.set()

    async def limit() -> None:
        await stop.wait()
        _cancel((await asyncio.wait(tasks, timeout=CLOSE_LIMIT_S))[1])

    with (
        hold_state(config.state_dir),
        _signals(dict.fromkeys((signal.SIGTERM, signal.SIGINT), end)),
    ):
        async with (
            control.serve(config.state_dir, _handlers(lambda: reports)),
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


def _cancelled(report: Report) -> Verdict:
    state = "syncing" if report.state == "in sync" else report.state
    return Verdict(state, 1, ("stopped before everything was in sync",))


class Daemon:
    """Keeps every account mirrored. One life: ``await run()``.

    Args:
        config: what to run, keys included.
        load: reads the configuration again (SIGHUP); when it raises, the daemon goes on with the
            old one.
        notifier: what systemd is told.
        mirror: carries out one account.
    """

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        *,
        notifier: Notifier,
        mirror: Mirror = mirror_account,
    ) -> None:
        self._config = config
        self._load = load
        self._notifier = notifier
        self._mirror = mirror
        self._supervisors: dict[str, Supervisor] = {}
        self._tasks: dict[Supervisor, asyncio.Task[None]] = {}
        self._requests: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._stopping = False
        self._told_ready = False

    def stop(self) -> None:
        """Ask for the ordered end; asked twice, what still runs is cancelled."""
        if self._stopping:
            _cancel(self._tasks.values())
        self._stopping = True
        self._requests.put_nowait(signal.SIGTERM)

    def reload(self) -> None:
        """Ask for the configuration to be read again, and for accounts in trouble to try again."""
        self._requests.put_nowait(signal.SIGHUP)

    async def run(self) -> None:
        """Run until ``stop``, SIGTERM or SIGINT.

        Raises:
            StateLocked: another daemon holds this state.
            FolderTrouble: the state's directory can't be used.
            ExceptionGroup: with the ConfigError of an account that can't be mirrored so.
        """
        signals = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGHUP: self.reload,
        }
        with hold_state(self._config.state_dir), _signals(signals):
            async with (
                control.serve(self._config.state_dir, _handlers(self._reports)),
                TaskGroup() as group,
            ):
                for account in self._config.accounts:
                    self._start(account, group)
                while await self._requests.get() is signal.SIGHUP:
                    await self._reconfigure(group)
                self._notifier.stopping()
                _log.info("stopping")
                await self._end(list(self._supervisors.values()))
        _log.info("stopped")

    def _reports(self) -> list[Report]:
        return [supervisor.report for supervisor in self._supervisors.values()]

    def _start(self, account: Account, group: TaskGroup) -> None:
        report = Report(account.name, beat=lambda: self._beat(account.name))
        state_dir = self._config.state_dir
        supervisor = Supervisor(account, state_dir, report, self._tell_ready, self._mirror)
        self._supervisors[account.name] = supervisor
        self._notifier.expect(account.name)
        self._tasks[supervisor] = group.create_task(supervisor.run(), name=account.name)

    async def _end(self, supervisors: Sequence[Supervisor]) -> None:
        """Let the mirrors finish the action at hand; after the limit, cancel what is left."""
        tasks = [self._tasks[supervisor] for supervisor in supervisors]
        for supervisor in supervisors:
            supervisor.stop()
            self._notifier.forget(supervisor.account.name)
        late = (await asyncio.wait(tasks, timeout=CLOSE_LIMIT_S))[1] if tasks else set()
        for task in late:
            _log.warning("cancelled: it did not finish in time", account=task.get_name())
        _cancel(late)
        if late:
            await asyncio.wait(late)
        for supervisor in supervisors:
            del self._tasks[supervisor]

    async def _reconfigure(self, group: TaskGroup) -> None:
        try:
            config = self._load()
        except HeapsyncdError as error:
            _log.error("the configuration was not reloaded", reason=str(error))
            return
        if config.state_dir != self._config.state_dir:
            _log.error("the configuration was not reloaded", reason="state_dir needs a restart")
            return
        before = self._supervisors
        same = {
            a.name for a in config.accounts if a.name in before and before[a.name].account == a
        }
        await self._end([supervisor for name, supervisor in before.items() if name not in same])
        self._config, self._supervisors = config, {}
        for account in config.accounts:
            if account.name in same:
                self._supervisors[account.name] = before[account.name]
                before[account.name].try_again()
            else:
                self._start(account, group)
        _log.info("the configuration was reloaded", accounts=list(self._supervisors))

    def _tell_ready(self) -> None:
        if not self._told_ready and all(
            supervisor.ready for supervisor in self._supervisors.values()
        ):
            self._told_ready = True
            self._notifier.ready()
            _log.info("ready", accounts=list(self._supervisors))

    def _beat(self, name: str) -> None:
        self._notifier.beat(name)
        self._notifier.status(lambda: [report.snapshot() for report in self._reports()])


def _handlers(reports: Callable[[], Iterable[Report]]) -> dict[str, control.Handler]:
    async def status(arguments: Mapping[str, Any]) -> dict[str, Any]:
        with contextlib.suppress(FolderTrouble):  # a cache that can't be read is told already
            await recount(arguments)
        return {"accounts": [report.snapshot() for report in reports()]}

    async def deletions(arguments: Mapping[str, Any]) -> dict[str, Any]:
        decision = arguments.get("decision")
        return {
            "accounts": [
                {"name": r.name, "heaps": await r.deletions(decision)}
                for r in reports()
                if r.deletions is not None
            ]
        }

    async def fetch(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        paths = [str(p) for p in arguments.get("paths", [])]
        running = [r.fetch for r in reports() if r.fetch is not None]
        return [found for ask in running for found in await ask(paths)]

    async def restore(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        wanted = RestoreRequest(
            tuple(str(p) for p in arguments.get("paths", [])),
            arguments.get("number"),
            bool(arguments.get("trash")),
        )
        running = [r.restore for r in reports() if r.restore is not None]
        return [found for ask in running for found in await ask(wanted)]

    async def recount(_arguments: Mapping[str, Any]) -> None:
        for report in reports():
            if report.recount is not None:
                await report.recount()

    return {
        "status": status,
        "deletions": deletions,
        "fetch": fetch,
        "restore": restore,
        "recount": recount,
    }


def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


@contextlib.contextmanager
def _signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Have signals handled in the loop while the context is open, then as before."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        # The loop leaves the default behind, which kills: none may come in between.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
        for number, handler_before in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler_before or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

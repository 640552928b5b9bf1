"""Edge: look at a set-up. Nothing is changed, and nothing is judged (see ``doctor_checks``)."""

import asyncio
import importlib.metadata
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from heapsyncd import __version__, control
from heapsyncd.cli.credentials import with_secret
from heapsyncd.cli.doctor_checks import (
    AccountFacts,
    Daemon,
    Facts,
    Package,
    Place,
    Program,
    Server,
    Suspends,
    Unit,
    Watching,
)
from heapsyncd.cli.settings import load
from heapsyncd.cli.systemd import Manager
from heapsyncd.config import SECRET, Account, Config
from heapsyncd.errors import (
    ConfigError,
    FolderTrouble,
    HeapsyncdError,
    TryLater,
    UserError,
    for_people,
)
from heapsyncd.statelock import check
from heapsyncd.wire.address import plaintext_warning

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?([^;]*)(;.*)?")
_INOTIFY: Final = Path("/proc/sys/fs/inotify")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


async def gather(path: Path) -> Facts:
    """Look at everything that a configuration names.

    Args:
        path: the configuration file, absolute.
    """
    unit, suspends = await asyncio.gather(asyncio.to_thread(_unit), _suspends())
    facts = Facts(_program(), str(path), unit=unit, suspends=suspends)
    try:
        loaded = load(path)
    except ConfigError as error:
        return replace(facts, config_error=str(error))
    # An account that does not answer does not hold up the others.
    accounts = await asyncio.gather(*(_account(a, loaded, path) for a in loaded.accounts))
    return replace(
        facts,
        state=await asyncio.to_thread(_state, loaded.state_dir),
        daemon=await _daemon(loaded.state_dir),
        watching=await asyncio.to_thread(_watching),
        accounts=tuple(accounts),
    )


# ---- the program ------------------------------------------------------------------------------


def _program() -> Program:
    return Program(
        __version__, tuple(sys.version_info[:3]), str(Path(sys.argv[0]).absolute()),
        tuple(_packages()),
    )  # fmt: skip


def _packages() -> Iterator[Package]:
    try:
        required = importlib.metadata.requires("heapsyncd") or []
    except importlib.metadata.PackageNotFoundError:
        return  # run from a directory, not installed
    for line in required:
        match = _REQUIREMENT.fullmatch(line)
        if match is None or match[3]:
            continue  # only for other systems, or for an extra
        try:
            found: str | None = importlib.metadata.version(match[1])
        except importlib.metadata.PackageNotFoundError:
            found = None
        yield Package(match[1], match[2].strip(), found)


# ---- directories ------------------------------------------------------------------------------


def _state(path: Path) -> Place:
    try:
        check(path)
    except FileNotFoundError:
        return _look(path, counts=False)
    except OSError as error:
        what = f"{path} can't be used: {error.strerror}; correct its owner and mode"
        return Place(str(path), exists=True, trouble=what)
    except FolderTrouble as error:
        return Place(str(path), exists=True, trouble=str(error))
    return _look(path, counts=False)


def _look(path: Path, *, counts: bool) -> Place:
    """Return what a directory is like; of one that is missing, the room for it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        above = next(p for p in path.parents if p.exists())
        return Place(str(path), exists=False, free_bytes=shutil.disk_usage(above).free)
    except OSError as error:
        return Place(str(path), exists=True, trouble=f"{path} can't be used: {error.strerror}")
    if not stat.S_ISDIR(mode):
        return Place(str(path), exists=True, trouble=f"{path} is not a directory; move it away")
    return Place(
        str(path),
        exists=True,
        is_writable=os.access(path, os.R_OK | os.W_OK | os.X_OK),
        file_system=_file_system(path),
        free_bytes=shutil.disk_usage(path).free,
        ignores_case=_ignores_case(path),
        directories=sum(1 for _ in os.walk(path)) if counts else 0,
    )


def _file_system(path: Path) -> str | None:
    """Return the type of the file system that a path is on."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    real, best, found = path.resolve(), -1, None
    for line in lines:
        before, _, after = line.partition(" - ")
        place = _OCTAL.sub(lambda m: chr(int(m[1], 8)), before.split(" ")[4])
        # Of several mounts at one place, the last one is seen.
        if real.is_relative_to(place) and len(place) >= best:
            best, found = len(place), after.split(" ")[0]
    return found


def _ignores_case(path: Path) -> bool | None:
    """Return whether names that differ only by case are one; None: nothing there tells."""
    with os.scandir(path) as names:
        for item in names:
            other = path / item.name.swapcase()
            if other.name != item.name:
                try:
                    return other.samefile(path / item.name)
                except OSError:
                    return False
    return None


def _watching() -> Watching:
    return Watching(
        _limit("max_user_watches"), _limit("max_user_instances"), sum(_inotify_descriptors())
    )


def _limit(name: str) -> int | None:
    try:
        return int((_INOTIFY / name).read_text())
    except (OSError, ValueError):
        return None


def _inotify_descriptors() -> Iterator[int]:
    """Yield how many instances of inotify each of this user's programs has."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if process.stat().st_uid == os.geteuid():
                files = [str(f.readlink()) for f in (process / "fd").iterdir()]
                yield files.count("anon_inode:inotify")
        except OSError:
            continue  # it ended, or is somebody else's


# ---- accounts ---------------------------------------------------------------------------------


async def _account(account: Account, loaded: Config, path: Path) -> AccountFacts:
    folder = await asyncio.to_thread(_look, account.folder, counts=True)
    if not folder.exists and (loaded.state_dir / f"{account.name}.sqlite3").exists():
        folder = replace(folder, was_mirrored=True)
    kind = SECRET[account.kind]
    try:
        account = with_secret(account, path)
    except ConfigError as error:
        return AccountFacts(account.name, str(error), False, folder, None)
    where = f"the {kind} {account.secret_file}, readable only by you"
    server = await _server(account, loaded.state_dir)
    return AccountFacts(account.name, where, True, folder, server)


async def _server(account: Account, state_dir: Path) -> Server:
    from heapsyncd.backends.factory import clock_ahead_s
    from heapsyncd.sync.runtime.account import list_heaps

    plain = plaintext_warning(account.server)
    one, many = ("box", "boxes") if account.selects_boxes else ("heap", "heaps")
    try:
        found = await list_heaps(account, state_dir)
    except HeapsyncdError as error:
        is_transient = isinstance(error, TryLater)
        return Server(account.server, for_people(error), False, is_transient, plain)
    what = one if len(found) == 1 else many
    answer = f"signed in; {len(found)} {what}, {sum(m for _, m in found)} mirrored"
    ahead_s = await clock_ahead_s(account.server)
    return Server(account.server, answer, True, plaintext=plain, clock_ahead_s=ahead_s)


# ---- the service ------------------------------------------------------------------------------


def _unit() -> Unit:
    manager = Manager()
    try:
        manager.connect()
    except (UserError, click.UsageError) as error:
        return Unit(trouble=" ".join(str(error).split()))
    found = manager.show("LoadState", "ActiveState", "UnitFileState", "ExecStart")
    program = re.search(r"path=(.*?) ;", found["ExecStart"])
    return Unit(
        manager.unit,
        is_installed=found["LoadState"] not in {"not-found", ""},
        is_enabled=found["UnitFileState"].startswith("enabled"),
        state=found["ActiveState"],
        program=program[1] if program else "",
        program_exists=program is None or Path(program[1]).exists(),
        lingers=manager.lingers(),
    )


async def _suspends() -> Suspends:
    from heapsyncd.dbus import Bus
    from heapsyncd.logind import SuspendLock

    bus = Bus.of_system()
    if bus.trouble is not None:
        return Suspends(reason=bus.trouble)
    try:
        return Suspends(await SuspendLock(bus).granted_s())
    except Exception as error:  # noqa: BLE001 - whatever a bus does is a fact to show
        return Suspends(reason=f"logind does not answer: {str(error) or type(error).__name__}")


async def _daemon(state_dir: Path) -> Daemon:
    try:
        answer = await control.ask(state_dir, "status")
    except TryLater:
        return "not answering"
    return "not running" if answer is None else "running"

"""``service``: install, remove and show the systemd service."""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from heapsyncd import config
from heapsyncd.cli.output import say
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.cli.systemd import (
    NAMESPACES,
    RELOAD,
    RELOAD_SINCE,
    UNIT,
    Manager,
    command_line,
    drop_in_text,
    installation,
    program,
    quoted,
    settings_of,
    unit_text,
    unwritable,
    with_settings,
)
from heapsyncd.config import Config
from heapsyncd.errors import UserError
from heapsyncd.own_files import write_whole

START_S: Final = 30.0
"""How long ``install`` waits for the daemon. The first scan of a large folder takes longer."""
LOOK_EVERY_S: Final = 0.2
_MARK: Final = "# Written by `heapsyncd service install`, which replaces it; sum "

_system = click.option(
    "--system",
    "user",
    metavar="USER",
    help="As root: the system's service heapsyncd@USER, which needs no login.",
)


EXAMPLES: Final = """\b
Examples:
  heapsyncd service install
  heapsyncd service status
  sudo heapsyncd service install --system anna"""


@click.group("service", epilog=EXAMPLES)
def command() -> None:
    """Keep the mirror running as a systemd service, from login on."""


@command.command("install")
@_system
@pass_options
def install(options: Options, user: str | None) -> int:
    """Write the unit, enable it and start it.

    Run it again after an upgrade, or when the program or the configuration has moved. If the
    daemon does not start, its message is shown and its exit code returned.
    """
    manager = Manager(user)
    version = manager.connect()
    path, loaded = _load(manager, options)
    start = program()
    usual = config.default_path({"HOME": str(manager.home)})
    start += [*(["--config", str(path)] if path != usual else []), "run"]
    directory = manager.directory()
    drop_ins = directory / f"{manager.unit}.d"
    _write(directory / manager.unit, _unit(manager, loaded, command_line(start)))
    if user is None:
        text = drop_in_text(NAMESPACES)
        _write_if(drop_ins / NAMESPACES, text, wanted=manager.accepts(settings_of(text)))
    _write_if(drop_ins / RELOAD, drop_in_text(RELOAD), wanted=version >= RELOAD_SINCE)
    manager.systemctl("daemon-reload")
    manager.systemctl("enable", "--quiet", manager.unit)
    manager.forget_failures()
    manager.systemctl("restart", "--no-block", manager.unit)
    state = _started(manager)
    _expect_started(manager, state)
    say(*_lines(manager, state), *_advice(manager))
    return 0


@command.command("remove")
@_system
def remove(user: str | None) -> None:
    """Stop the service and remove its unit. Notes, configuration, keys and cache stay."""
    manager = Manager(user)
    manager.connect()
    unit = manager.directory() / manager.unit
    if manager.show("LoadState")["LoadState"] == "not-found" and not os.path.lexists(unit):
        say(f"{manager.unit} is not installed; there is nothing to remove.")
        return
    manager.systemctl("disable", "--now", "--quiet", manager.unit)
    drop_ins = unit.with_name(f"{manager.unit}.d")
    for file in (unit, drop_ins / NAMESPACES, drop_ins / RELOAD):
        _remove(file)
    if drop_ins.is_dir() and not any(drop_ins.iterdir()):
        drop_ins.rmdir()
    manager.systemctl("daemon-reload")
    say(f"Stopped and removed {manager.unit}. Notes, configuration, keys and cache are untouched.")
    if left := manager.show("FragmentPath")["FragmentPath"]:
        say(f"The unit {left} was not written by this command, and stays.")


@command.command("status")
@_system
def status(user: str | None) -> int:
    """Show whether it runs, since when, and what the daemon says.

    Exits with 0 if it runs, otherwise with 1.
    """
    manager = Manager(user)
    manager.connect()
    state = _state(manager)
    say(*_lines(manager, state))
    return 0 if state["ActiveState"] in {"active", "reloading"} else 1


def _load(manager: Manager, options: Options) -> tuple[Path, Config]:
    """Return the configuration's path and values, as the service will see them."""
    if manager.user is None:
        return options.path, load(options.path)
    env = {"HOME": str(manager.home)}
    given = options.path != config.default_path(os.environ)
    path = options.path if given else config.default_path(env)
    return path, load(path, env)


def _unit(manager: Manager, loaded: Config, start: str) -> str:
    """Return the unit's text for this installation and configuration."""
    if manager.user is None:
        lines = [start]
        if state_home := os.environ.get("XDG_STATE_HOME"):
            # Without it the service would have another state than the commands of this shell.
            lines[0] += f"\nEnvironment={quoted(f'XDG_STATE_HOME={state_home}')}"
        return with_settings(unit_text(UNIT), {"ExecStart": lines})
    home = manager.home
    used = [loaded.state_dir, *(account.folder for account in loaded.accounts)]
    outside = [str(path) for path in used if not path.is_relative_to(home)]
    return with_settings(
        unit_text("heapsyncd@.service"),
        {
            "ExecStart": [start],
            # What is not there yet must not keep the service from starting.
            "ReadWritePaths": [quoted(str(home)), *(quoted(f"-{path}") for path in outside)],
            # A colon would separate a path from the place where it shows.
            "BindPaths": [
                quoted(str(home)),
                *(quoted(f"-{path}") for path in outside if ":" not in path),
            ],
            "BindReadOnlyPaths": [
                *(quoted(str(path)) for path in installation() if _is_hidden(path, home)),
            ]
            or [""],
        },
    )


def _is_hidden(path: Path, home: Path) -> bool:
    """Return whether the system unit would not see a path (``ProtectHome=tmpfs``)."""
    hidden = any(path.is_relative_to(place) for place in ("/home", "/root", "/run/user"))
    return hidden and not path.is_relative_to(home)


def _write_if(file: Path, text: str, *, wanted: bool) -> None:
    if wanted:
        _write(file, text)
    else:
        _remove(file)


def _write(file: Path, text: str) -> None:
    """Write a unit file with its mark; keep one that somebody else wrote or changed."""
    try:
        _keep_foreign(file)
        write_whole(file, f"{_MARK}{_sum(text)}.\n{text}", 0o644, replace=True)
    except OSError as error:
        raise unwritable(error) from error
    say(f"Wrote {file}")


def _remove(file: Path) -> None:
    """Remove a unit file; keep one that somebody else wrote or changed."""
    try:
        _keep_foreign(file)
        file.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(error) from error


def _keep_foreign(file: Path) -> None:
    """Put aside a unit file that is not as ``install`` wrote it."""
    try:
        first, _, text = file.read_text(encoding="utf-8", errors="replace").partition("\n")
    except FileNotFoundError:
        return
    if first != f"{_MARK}{_sum(text)}.":
        kept = file.with_name(f"{file.name}.old")
        file.replace(kept)
        say(f"Kept your own {file.name} as {kept}; a drop-in survives (systemctl edit).")


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _state(manager: Manager) -> Mapping[str, str]:
    return manager.show(
        "LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus", "Job",
        "ActiveEnterTimestamp", "InactiveEnterTimestamp", "StatusText", "UnitFileState",
    )  # fmt: skip


def _started(manager: Manager) -> Mapping[str, str]:
    """Wait until the service has started or failed, but not for ever; return its state."""
    end_s = time.monotonic() + START_S
    while (state := _state(manager))["Job"].strip("0") and time.monotonic() < end_s:
        time.sleep(LOOK_EVERY_S)
    return state


def _expect_started(manager: Manager, state: Mapping[str, str]) -> None:
    """Raise what kept the daemon from starting, with the daemon's exit code."""
    if state["ActiveState"] in {"active", "reloading"} or state["SubState"].startswith("start"):
        return
    problem = UserError("\n".join(_lines(manager, state)))
    code = int(state["ExecMainStatus"] or 1)
    problem.exit_code = code if 1 <= code <= 5 else 1
    raise problem


def _lines(manager: Manager, state: Mapping[str, str]) -> Iterator[str]:
    """Yield the service's state as lines for people."""
    if state["LoadState"] == "not-found":
        yield f"{manager.unit}: not installed; `heapsyncd service install` installs it"
        return
    enabled = state["UnitFileState"].startswith("enabled")
    begins = "at login" if manager.user is None else "with the system"
    starts = f"starts {begins}" if enabled else f"does not start {begins}"
    yield f"{manager.unit}: {_activity(state)} ({starts})"
    words, failed = state["StatusText"], state["Result"] not in {"success", ""}
    runs = state["ActiveState"] not in {"inactive", "failed"} and not failed
    # Of a daemon that was killed, the last words are about a time before.
    if words and (runs or state["Result"] == "exit-code"):
        yield f"  {words}"
    if failed:
        log = manager.command("journalctl", "--unit", manager.unit, "--lines", "20")
        yield f"  its log: {log}"


_FAILURES: Final[Mapping[str, str]] = {
    "signal": "killed",
    "core-dump": "crashed",
    "watchdog": "it hung",
    "timeout": "took too long",
    "oom-kill": "killed, because memory ran out",
    "start-limit-hit": "started too often",
}
"""systemd's results in plain words."""


def _activity(state: Mapping[str, str]) -> str:
    """Return what the service is doing, since when, or how it failed."""
    result, code = state["Result"], state["ExecMainStatus"]
    why = f"exit code {code}" if result == "exit-code" else _FAILURES.get(result, result)
    if result == "exit-code" and code == "203":
        why = "its program is not there; run `heapsyncd service install` again"
    match state["ActiveState"], state["SubState"]:
        case (("active" | "reloading"), _):
            return f"running since {state['ActiveEnterTimestamp']}"
        case "activating", "auto-restart":
            return f"failed, is started again in a moment: {why}"
        case "activating", _:
            return "starting"
        case "failed", _:
            return f"failed since {state['InactiveEnterTimestamp']}: {why}"
        case "deactivating", _:
            return "stopping"
        case "inactive", _:
            return "not running"
        case other, _:
            return other


def _advice(manager: Manager) -> Iterator[str]:
    """Yield what to know about a service that was just installed."""
    if manager.user is None and not manager.lingers():
        yield "It stops when you log out. To keep it running, from the machine's start on:"
        yield "  loginctl enable-linger"
    log = manager.command("journalctl", "--unit", manager.unit, "--follow")
    who = f" as {manager.user}" if manager.user else ""
    yield f"Follow it with `heapsyncd status --watch`{who} and `{log}`."

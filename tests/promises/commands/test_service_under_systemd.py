"""``service``: the units under a real systemd, in a machine of namespaces (``tests.machine``)."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heapsyncd.ids import Seed
from heapsyncd.wire.signin import public_key
from tests.machine import DEADLINE_S, HOME, LOOK_EVERY_S, UID, USER, Machine, NoMachine, machine

UNIT = "heapsyncd.service"
SYSTEM_UNIT = f"heapsyncd@{USER}.service"
UNITS = HOME / ".config/systemd/user"
SEED = Seed(bytes(32))
SERVER = """
import asyncio, pathlib, sys
from heapsyncd.server import Server

async def main() -> None:
    data = pathlib.Path("/run/heaper")
    async with Server(data, port=8790, accounts=[sys.argv[1]], first_heap="Home"):
        pathlib.Path("/run/heaper-listens").touch()
        await asyncio.Event().wait()

asyncio.run(main())
"""


def heapsyncd() -> str:
    """This installation's program."""
    return str(Path(sys.prefix) / "bin" / "heapsyncd")


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a server that accepts the user's key; one for all tests of this module."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(machine(tmp_path_factory.mktemp("machine")))
        except NoMachine as error:
            pytest.skip(f"no system manager of its own: {error}")
        server = subprocess.Popen(
            found.words([sys.executable, "-c", SERVER, public_key(SEED)], root=True)
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        eventually(found.path("/run/heaper-listens").exists)
        yield found


@pytest.fixture
def host(booted: Machine) -> Iterator[Machine]:
    """The machine with a configured account; the service is gone afterwards."""
    booted.write(HOME / ".config/heapsyncd/home.key", SEED.reveal_text() + "\n")
    configure(booted)
    yield booted
    booted.run(heapsyncd(), "service", "remove")
    assert not list(booted.path(UNITS).rglob("*.service"))
    for left in (".config", ".local", "Heaps"):
        shutil.rmtree(booted.path(HOME / left), ignore_errors=True)


def configure(host: Machine, extra: str = "") -> None:
    host.write(
        HOME / ".config/heapsyncd/config.toml",
        '[accounts.home]\nkind = "heaper"\nserver = "http://127.0.0.1:8790"\n'
        f'folder = "~/Heaps"\npoll_interval = 0.5\n{extra}',
    )


def eventually(check: Callable[[], bool], says: Callable[[], str] = str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < end_s, says()
        time.sleep(LOOK_EVERY_S)


def state(host: Machine) -> str:
    """The mirror's state, as the command tells it."""
    done = host.run(heapsyncd(), "status", "--json")
    return str(json.loads(done.stdout)["accounts"][0]["state"])


def drop_in(host: Machine, text: str, unit: str = UNIT) -> None:
    """Add the user's own lines to the unit."""
    host.write(UNITS / f"{unit}.d" / "99-own.conf", f"[Service]\n{text}")
    host.run("systemctl", "--user", "daemon-reload")


def note_arrives(host: Machine, name: str) -> None:
    """A file that the user writes is noticed and sent."""
    host.write(HOME / "Heaps/Home" / name, "Milk.\n")
    file = host.path(HOME / "Heaps/Home" / name)
    eventually(lambda: "id: " in file.read_text(), host.log)
    eventually(lambda: state(host) == "in sync")


def test_install_starts_the_mirror(host: Machine) -> None:
    """It says what it wrote, that the service runs and starts at login, and about lingering."""
    done = host.run(heapsyncd(), "service", "install")
    assert f"Wrote {UNITS / UNIT}" in done.stdout
    assert f"{UNIT}: running since " in done.stdout
    assert "(starts at login)" in done.stdout
    assert "home: " in done.stdout
    assert "loginctl enable-linger" in done.stdout
    assert done.stderr == ""
    unit = host.path(UNITS / UNIT).read_text()
    assert f"\nExecStart={heapsyncd()} run\n" in unit
    assert host.shows(UNIT, "UnitFileState") == "enabled"
    note_arrives(host, "Groceries.md")
    told = host.run(heapsyncd(), "service", "status")
    assert f"{UNIT}: running since " in told.stdout
    eventually(lambda: "home: in sync, 1 note" in host.shows(UNIT, "StatusText"))
    assert "  home: in sync" in host.run(heapsyncd(), "service", "status").stdout


def test_namespaces_are_used_where_they_work(host: Machine) -> None:
    """Where users may make them the drop-in is there; where not, the service runs without it."""
    place = host.path(UNITS / f"{UNIT}.d" / "10-namespaces.conf")
    host.run(heapsyncd(), "service", "install")
    assert place.exists()
    assert host.shows(UNIT, "PrivateUsers") == "yes"
    note_arrives(host, "With.md")
    for_namespaces = host.path("/run/systemd/unit-root")
    for_namespaces.rmdir()
    try:
        done = host.run(heapsyncd(), "service", "install")
        assert "running since" in done.stdout
        assert not place.exists()
        note_arrives(host, "Without.md")
    finally:
        for_namespaces.mkdir()


def test_remove_undoes(host: Machine) -> None:
    """Service and units are gone, the user's drop-in and notes are not; twice is no failure."""
    host.run(heapsyncd(), "service", "install")
    drop_in(host, "Nice=1\n")
    note_arrives(host, "Stays.md")
    done = host.run(heapsyncd(), "service", "remove")
    assert f"Stopped and removed {UNIT}" in done.stdout
    assert host.shows(UNIT, "ActiveState") == "inactive"
    left = [p.name for p in host.path(UNITS).rglob("*") if not p.is_dir()]
    assert left == ["99-own.conf"]
    assert host.path(HOME / "Heaps/Home/Stays.md").exists()
    again = host.run(heapsyncd(), "service", "remove")
    assert "not installed" in again.stdout
    told = host.run(heapsyncd(), "service", "status", check=False)
    assert (told.returncode, "not installed" in told.stdout) == (1, True)


def test_a_unit_of_the_users_own_is_kept(host: Machine) -> None:
    """One that somebody else wrote or changed is put aside; one of ours is replaced."""
    own = host.path(UNITS / UNIT)
    host.write(UNITS / UNIT, "[Service]\nExecStart=/bin/true\n")
    done = host.run(heapsyncd(), "service", "install")
    old = own.with_name(f"{UNIT}.old")
    assert f"{UNITS / UNIT}.old" in done.stdout
    assert old.read_text() == "[Service]\nExecStart=/bin/true\n"
    old.unlink()
    host.run(heapsyncd(), "service", "install")
    assert not old.exists()
    own.write_text(own.read_text() + "# mine\n")
    host.run(heapsyncd(), "service", "remove")
    assert old.read_text().endswith("# mine\n")


def test_what_keeps_it_from_starting_is_said(host: Machine) -> None:
    """A wrong configuration is told before anything is written; a held state by the daemon."""
    configure(host, "pol_interval = 1\n")
    done = host.run(heapsyncd(), "service", "install", check=False)
    assert done.returncode == 2
    assert "did you mean `poll_interval`?" in done.stderr
    assert not host.path(UNITS).exists()
    configure(host)
    with other_daemon(host):
        done = host.run(heapsyncd(), "service", "install", check=False)
    assert done.returncode == 5
    assert f"{UNIT}: failed since " in done.stderr
    assert "Another heapsyncd" in done.stderr
    assert "journalctl --user --unit heapsyncd.service" in done.stderr
    told = host.run(heapsyncd(), "service", "status", check=False)
    assert told.returncode == 1
    assert "Another heapsyncd" in told.stdout
    host.path(HOME / ".config/heapsyncd/config.toml").unlink()
    done = host.run(heapsyncd(), "service", "install", check=False)
    assert (done.returncode, "heapsyncd setup" in done.stderr) == (2, True)


@contextlib.contextmanager
def other_daemon(host: Machine) -> Iterator[None]:
    """A daemon in the foreground of some terminal, while the context is open."""
    process = subprocess.Popen(host.words([heapsyncd(), "run"]), stderr=subprocess.DEVNULL)
    try:
        eventually(host.path(HOME / ".local/state/heapsyncd/control.sock").exists)
        yield
    finally:
        host.run("sh", "-c", "kill $(cat ~/.local/state/heapsyncd/lock)")
        assert process.wait(DEADLINE_S) == 0


def test_a_reload_is_waited_for_and_told(host: Machine) -> None:
    """The changed configuration is taken up; a wrong one is in the status, and nothing ends."""
    host.run(heapsyncd(), "service", "install")
    process = host.shows(UNIT, "MainPID")
    configure(host, 'heaps = ["Nothing"]\n')
    host.run("systemctl", "--user", "reload", UNIT)
    eventually(lambda: "Nothing" in host.shows(UNIT, "StatusText"), host.log)
    configure(host, "pol_interval = 1\n")
    host.run("systemctl", "--user", "reload", UNIT)
    eventually(lambda: "configuration not reloaded" in host.shows(UNIT, "StatusText"), host.log)
    eventually(lambda: host.shows(UNIT, "ActiveState") == "active", host.log)
    configure(host)
    host.run("systemctl", "--user", "reload", UNIT)
    eventually(lambda: host.shows(UNIT, "StatusText").startswith("home: in sync"), host.log)
    assert host.shows(UNIT, "MainPID") == process


def test_a_killed_daemon_comes_back(host: Machine) -> None:
    """Until then it is said that it was killed, and nothing of a state that is not known."""
    host.run(heapsyncd(), "service", "install")
    note_arrives(host, "Before.md")
    drop_in(host, "RestartSec=8\n")
    host.run("systemctl", "--user", "kill", "--signal=KILL", UNIT)
    eventually(lambda: host.shows(UNIT, "SubState") == "auto-restart", host.log)
    told = host.run(heapsyncd(), "service", "status", check=False)
    assert (told.returncode, "killed" in told.stdout) == (1, True)
    assert "in sync" not in told.stdout
    eventually(lambda: host.shows(UNIT, "ActiveState") == "active", host.log)
    note_arrives(host, "After.md")


def test_it_stops_cleanly_at_any_moment(host: Machine) -> None:
    """From the first instant of a start on, a stop ends it at once, and not as a failure."""
    host.run(heapsyncd(), "service", "install")
    host.run("systemctl", "--user", "stop", UNIT)
    for wait_s in (0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5):
        host.run("systemctl", "--user", "reset-failed", UNIT)  # and the count of starts
        host.run("systemctl", "--user", "start", "--no-block", UNIT)
        time.sleep(wait_s)
        began = time.monotonic()
        host.run("systemctl", "--user", "stop", UNIT)
        assert time.monotonic() - began < DEADLINE_S / 3
        assert host.shows(UNIT, "Result") == "success", wait_s
        assert host.shows(UNIT, "ActiveState") == "inactive", wait_s


def test_the_watchdog_ends_a_daemon_that_hangs(host: Machine) -> None:
    """The sync loops keep it fed; once they stand still the daemon is started anew."""
    host.run(heapsyncd(), "service", "install")
    drop_in(host, "WatchdogSec=4\nTimeoutAbortSec=1\nRestartSec=8\n")
    host.run("systemctl", "--user", "restart", UNIT)
    process = host.shows(UNIT, "MainPID")
    began = host.shows(UNIT, "WatchdogTimestampMonotonic")
    eventually(
        lambda: int(host.shows(UNIT, "WatchdogTimestampMonotonic")) > int(began) + 9_000_000
    )
    assert host.shows(UNIT, "MainPID") == process
    host.run("kill", "-STOP", process)
    eventually(lambda: host.shows(UNIT, "Result") == "watchdog", host.log)
    told = host.run(heapsyncd(), "service", "status", check=False)
    assert (told.returncode, "it hung" in told.stdout) == (1, True)
    assert "in sync" not in told.stdout
    eventually(lambda: host.shows(UNIT, "NRestarts") == "1", host.log)
    eventually(lambda: host.shows(UNIT, "ActiveState") == "active", host.log)
    assert host.shows(UNIT, "MainPID") not in {process, "0"}
    note_arrives(host, "After.md")


def test_the_key_may_be_a_credential(host: Machine) -> None:
    """With LoadCredential= no key file is named or needed."""
    key = host.path(HOME / ".config/heapsyncd/home.key")
    key.rename(host.path(HOME / ".config/elsewhere"))
    host.run(heapsyncd(), "service", "install", check=False)
    drop_in(host, "LoadCredential=home.key:%h/.config/elsewhere\n")
    host.run("systemctl", "--user", "restart", UNIT)
    note_arrives(host, "Credential.md")


def test_odd_paths_reach_the_daemon(host: Machine) -> None:
    """Spaces, percent and dollar signs in paths, and quotes in arguments, are what they are."""
    odd = HOME / "a $HOME %h \"q\" 'p' \\n"
    host.write(
        odd / "heaps.toml",
        host.path(HOME / ".config/heapsyncd/config.toml")
        .read_text()
        .replace("[accounts", 'state_dir = "state"\n[accounts', 1)
        .replace('"~/Heaps"', f'"~/Heaps"\nkey_file = "{HOME}/.config/heapsyncd/home.key"'),
    )
    program = HOME / "b $HOME %h" / "heapsyncd"
    host.write(program, f'#!/bin/sh\nexec {heapsyncd()} "$@"\n', mode=0o755)
    host.run(heapsyncd(), "--config", str(odd / "heaps.toml"), "service", "install")
    eventually(host.path(odd / "state" / "control.sock").exists, host.log)
    host.run("env", f"XDG_STATE_HOME={odd}", heapsyncd(), "service", "install")
    eventually(host.path(odd / "heapsyncd" / "control.sock").exists, host.log)
    unit = host.path(UNITS / UNIT)
    unit.write_text(unit.read_text().replace(f"={heapsyncd()}", f"={quote(str(program))}"))
    host.run("systemctl", "--user", "daemon-reload")
    host.run("systemctl", "--user", "restart", UNIT)


def quote(path: str) -> str:
    from heapsyncd.cli.systemd import command_line  # noqa: PLC0415

    return command_line([path])


def test_the_systems_manager_runs_it_without_a_login(host: Machine) -> None:
    """``--system USER``, by root: the user's mirror, shut in, in a unit of its own."""
    if any(Path(sys.prefix).is_relative_to(hidden) for hidden in ("/tmp", "/var/tmp")):
        pytest.skip("the program is below /tmp, which the system's unit does not see")
    shared = Path("/srv/notes")
    host.path(shared).mkdir(parents=True)
    host.path(shared).chmod(0o777)
    configure(host)
    file = host.path(HOME / ".config/heapsyncd/config.toml")
    file.write_text(file.read_text().replace("~/Heaps", str(shared)))
    refused = host.run(heapsyncd(), "service", "install", "--system", USER, check=False)
    assert (refused.returncode, "sudo" in refused.stderr) == (2, True)
    nobody = host.run(heapsyncd(), "service", "install", "--system", "x", root=True, check=False)
    assert (nobody.returncode, "no user x" in nobody.stderr) == (2, True)
    done = host.run(heapsyncd(), "service", "install", "--system", USER, root=True)
    assert f"{SYSTEM_UNIT}: running since " in done.stdout
    assert "(starts with the system)" in done.stdout
    try:
        process = host.shows(SYSTEM_UNIT, "MainPID", root=True)
        status = host.run("cat", f"/proc/{process}/status", root=True).stdout
        assert f"\nUid:\t{UID}\t" in status
        assert "\nCapBnd:\t0000000000000000\n" in status
        assert "\nSeccomp:\t2\n" in status
        eventually(host.path(shared / "Home").is_dir, host.log)
        host.write(shared / "Home" / "System.md", "Milk.\n")
        note = host.path(shared / "Home" / "System.md")
        eventually(lambda: "id: " in note.read_text(), host.log)
        assert state(host) in {"in sync", "syncing"}
        told = host.run(heapsyncd(), "service", "status", "--system", USER, root=True)
        assert "running since" in told.stdout
    finally:
        done = host.run(heapsyncd(), "service", "remove", "--system", USER, root=True)
    assert f"Stopped and removed {SYSTEM_UNIT}" in done.stdout
    assert not host.path(f"/etc/systemd/system/{SYSTEM_UNIT}").exists()


def test_without_a_session_it_says_what_to_do(host: Machine) -> None:
    """A shell that is not the user's own session, as in su."""
    done = host.run(heapsyncd(), "service", "status", check=False, XDG_RUNTIME_DIR="/run/nowhere")
    assert done.returncode == 1
    assert f"The systemd session of {USER} can't be reached" in done.stderr
    assert f"sudo heapsyncd service install --system {USER}" in done.stderr
    words = ["env", "--unset=XDG_RUNTIME_DIR", heapsyncd(), "service", "status"]
    found = host.run(*words, check=False)  # the session is found where it usually is
    assert (found.returncode, "not installed" in found.stdout) == (1, True)

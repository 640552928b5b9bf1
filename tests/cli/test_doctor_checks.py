"""What a set-up's facts mean: each fault has its grade, and names what mends it."""

import pytest
from msgspec.structs import replace

from heapsyncd.cli.doctor_checks import (
    AccountFacts,
    Facts,
    Line,
    Package,
    Place,
    Program,
    Server,
    Unit,
    Watching,
    judge,
    satisfies,
)

STATE = Place("/home/j/.local/state/heapsyncd", True, True, None, "ext4", 10**10)
FOLDER = Place("/home/j/my heaps", True, True, None, "ext4", 10**10, directories=40)
SERVER = Server(
    "https://heaper.example", "signed in; 1 heaps, 1 mirrored", True, clock_ahead_s=0.4
)
UNIT = Unit("heapsyncd.service", None, True, True, "active", "/usr/bin/heapsyncd")
GOOD = Facts(
    Program("1.2.3", (3, 11, 4), "/usr/bin/heapsyncd", (Package("aiohttp", ">=3.14", "3.14.1"),)),
    "/home/j/.config/heapsyncd/config.toml",
    None,
    STATE,
    "running",
    UNIT,
    Watching(65536, 128, 7),
    (AccountFacts("home", "the key home.key", True, FOLDER, SERVER),),
)


def faults(facts: Facts) -> list[Line]:
    return [line for line in judge(facts) if line.grade != "ok"]


def test_a_good_set_up_is_fine() -> None:
    """Everything is looked at, and each line says so."""
    assert faults(GOOD) == []
    assert [line.about for line in judge(GOOD)] == [
        "program", "packages", "configuration", "state", "home: sign-in", "home: folder",
        "home: server", "clock", "inotify", "service", "suspend", "daemon",
    ]  # fmt: skip


def with_folder(**changes: object) -> Facts:
    account = replace(GOOD.accounts[0], folder=replace(FOLDER, **changes))
    return replace(GOOD, accounts=(account,))


def with_server(**changes: object) -> Facts:
    account = replace(GOOD.accounts[0], server=replace(SERVER, **changes))
    return replace(GOOD, accounts=(account,))


def with_unit(**changes: object) -> Facts:
    return replace(GOOD, unit=replace(UNIT, **changes))


def with_package(found: str | None, needs: str) -> Facts:
    program = replace(GOOD.program, packages=(Package("pycrdt", needs, found),))
    return replace(GOOD, program=program)


def with_state(**changes: object) -> Facts:
    return replace(GOOD, state=replace(STATE, **changes))


FAULTS: dict[str, tuple[Facts, str, str, str]] = {
    "an old Python": (
        replace(GOOD, program=replace(GOOD.program, python=(3, 10, 1))),
        "wrong",
        "3.11 or newer",
        "pipx install",
    ),
    "a missing package": (with_package(None, ""), "wrong", "pycrdt is missing", "pipx install"),
    "another version": (with_package("0.15.1", "==0.14.13"), "wrong", "version 0.15.1", "pip"),
    "a wrong configuration": (
        Facts(
            GOOD.program, "c", "c, line 3: `serv` is not a setting", unit=UNIT, daemon="running"
        ),
        "wrong",
        "line 3",
        "",
    ),
    "a state others may write": (
        with_state(trouble="writable by others; run: chmod 700 x"),
        "wrong",
        "chmod 700",
        "",
    ),
    "a state that is read-only": (
        with_state(is_writable=False),
        "wrong",
        "can't be",
        "chmod u+rwx",
    ),
    "a state on a network file system": (
        with_state(file_system="nfs4"),
        "wrong",
        "nfs4",
        "`state_dir`",
    ),
    "a full disk": (with_state(free_bytes=10**7), "wrong", "10 MB are free", "df -h"),
    "little room": (with_state(free_bytes=10**8), "warning", "100 MB are free", "df -h"),
    "a wrong key file": (
        replace(
            GOOD,
            accounts=(replace(GOOD.accounts[0], secret="run: chmod 600 k", has_secret=False),),
        ),
        "wrong",
        "chmod 600",
        "",
    ),
    "a folder that is gone": (
        with_folder(exists=False, was_mirrored=True),
        "wrong",
        "is missing",
        "mount its disk",
    ),
    "a folder that is read-only": (
        with_folder(is_writable=False),
        "wrong",
        "can't be written",
        "'/home/j/my heaps'",
    ),
    "a folder on a network file system": (
        with_folder(file_system="fuse.sshfs"),
        "warning",
        "fuse.sshfs",
        "a local disk",
    ),
    "too many directories": (
        with_folder(directories=70000),
        "wrong",
        "70000 directories",
        "max_user_watches=524288",
    ),
    "many directories": (with_folder(directories=40000), "warning", "40000", "sudo tee"),
    "no instance left": (
        replace(GOOD, watching=Watching(65536, 128, 128)),
        "wrong",
        "all 128 instances",
        "max_user_instances=1024",
    ),
    "a refused key": (
        with_server(answer="the server does not accept the key", is_good=False),
        "wrong",
        "does not accept",
        "",
    ),
    "a server that is away": (
        with_server(answer="no connection", is_good=False, is_transient=True, clock_ahead_s=None),
        "warning",
        "no connection",
        "",
    ),
    "plain HTTP": (with_server(plaintext="is not encrypted"), "warning", "not encrypted", ""),
    "a clock that is fast": (
        with_server(clock_ahead_s=7300.0),
        "warning",
        "2 hours ahead of",
        "set-ntp true",
    ),
    "a clock that is slow": (
        with_server(clock_ahead_s=-150.0),
        "warning",
        "2 minutes behind",
        "set-ntp true",
    ),
    "no systemd": (
        replace(GOOD, unit=Unit(trouble="not run by systemd")),
        "warning",
        "systemd",
        "",
    ),
    "no service": (
        replace(GOOD, unit=Unit("heapsyncd.service"), daemon="not running"),
        "warning",
        "not installed",
        "service install",
    ),
    "a program that moved": (
        with_unit(program_exists=False),
        "wrong",
        "/usr/bin/heapsyncd is not there",
        "service install",
    ),
    "a failed service": (with_unit(state="failed"), "wrong", "failed", "service status"),
    "a stopped service": (
        with_unit(state="inactive"),
        "warning",
        "another",
        "systemctl --user start",
    ),
    "a disabled service": (
        with_unit(is_enabled=False),
        "warning",
        "login",
        "systemctl --user enable",
    ),
    "no lingering": (with_unit(lingers=False), "warning", "logout", "enable-linger"),
    "a silent daemon": (replace(GOOD, daemon="not answering"), "wrong", "does not answer", "log"),
    "a service with another state": (
        replace(GOOD, daemon="not running"),
        "wrong",
        "state directory",
        "service install",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_what_mends_it(name: str) -> None:
    """One line, with its grade; the way out is a command where there is one."""
    facts, grade, what, mend = FAULTS[name]
    found = faults(facts)
    assert any(
        line.grade == grade and what in line.what and mend in (line.mend or "") for line in found
    ), found


def test_no_daemon_and_no_service_is_only_a_warning() -> None:
    """Who runs `sync` now and then has nothing wrong."""
    found = faults(replace(GOOD, unit=Unit("heapsyncd.service"), daemon="not running"))
    assert {line.grade for line in found} == {"warning"}


@pytest.mark.parametrize(
    ("found", "needs", "fits"),
    [
        ("3.14", ">=3.14", True),
        ("3.9.1", ">=3.14", False),
        ("0.22.1", "<0.23,>=0.22.1", True),
        ("0.23.0", "<0.23,>=0.22.1", False),
        ("0.14.13", "==0.14.13", True),
        ("25.1.0.post1", ">=25.1", True),
        ("1", "", True),
    ],
)
def test_versions_are_compared_by_their_numbers(found: str, needs: str, *, fits: bool) -> None:
    """As far as the requirements of this package go."""
    assert satisfies(found, needs) is fits

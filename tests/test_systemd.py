"""The unit files agree with the program they start."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import heapsyncd
from heapsyncd.cli.main import COMMANDS
from heapsyncd.errors import ConfigError, StateLocked, Unreachable
from heapsyncd.sync.heap.timing import DEFAULT

DIRECTORY = Path(heapsyncd.__file__).parents[1] / "systemd"
UNIT = (DIRECTORY / "heapsyncd.service").read_text()
SYSTEM_UNIT = (DIRECTORY / "heapsyncd@.service").read_text()
NAMESPACES = (DIRECTORY / "heapsyncd.service.d" / "10-namespaces.conf").read_text()
ALL = {"user": UNIT, "system": SYSTEM_UNIT}
"""Both units, for what holds for either."""
either = pytest.mark.parametrize("unit", ALL.values(), ids=ALL)
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


def setting(name: str, unit: str = UNIT) -> str:
    """A directive's one value."""
    (value,) = re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)
    return str(value)


def analyze(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """systemd's own judgement."""
    return subprocess.run(
        ["systemd-analyze", *arguments],
        env={**os.environ, "XDG_RUNTIME_DIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


def exposure(unit: Path, *scope: str) -> float:
    """The figure that ``systemd-analyze security`` ends with."""
    told = analyze(unit.parent, *scope, "security", "--offline=yes", "--no-pager", str(unit))
    (figure,) = re.findall(r"Overall exposure level .*: (\d+\.\d)", told.stdout)
    return float(figure)


@either
def test_it_starts_the_daemon_and_waits_for_ready(unit: str) -> None:
    """Type=notify, the daemon's command, SIGHUP for a reload, a watchdog."""
    assert setting("Type", unit) == "notify"
    assert "run" in COMMANDS
    assert setting("ExecStart", unit).endswith("/heapsyncd run")
    assert "-HUP" in setting("ExecReload", unit)
    assert int(setting("WatchdogSec", unit)) > 0


@either
def test_systemd_waits_longer_than_the_daemon_does(unit: str) -> None:
    """The ordered close has its whole limit before systemd kills."""
    assert int(setting("TimeoutStopSec", unit)) >= 2 * DEFAULT.close_s


@either
def test_what_no_restart_mends_is_not_restarted(unit: str) -> None:
    """A wrong configuration and a held state stay down; trouble of the server does not."""
    assert setting("Restart", unit) == "on-failure"
    down = {int(code) for code in setting("RestartPreventExitStatus", unit).split()}
    assert down == {ConfigError.exit_code, StateLocked.exit_code}
    assert Unreachable.exit_code not in down


@either
def test_every_line_of_the_service_has_its_reason(unit: str) -> None:
    """In [Service] each group of directives follows a comment."""
    service = unit.split("[Service]")[1].split("[Install]", maxsplit=1)[0]
    groups = [g for g in re.split(r"\n(?=#)", service) if re.search(r"^\w+=", g, re.MULTILINE)]
    for group in groups:
        directives = re.findall(r"^\w+=.*$", group, re.MULTILINE)
        assert group.lstrip("\n").startswith("#"), directives
        assert len(directives) <= 2, directives


@either
def test_what_holds_the_key_is_shut_in(unit: str) -> None:
    """No core dump, no session's keys, no memory that is written and run, fewer system calls."""
    assert setting("LimitCORE", unit) == "0"
    assert setting("KeyringMode", unit) == "private"
    assert setting("MemoryDenyWriteExecute", unit) == "yes"
    assert "SystemCallFilter=~@privileged @resources" in unit.splitlines()


def test_what_a_user_unit_can_have_the_system_unit_has() -> None:
    """No protection is lost on the way from the one to the other, and none of the drop-in's."""
    given = set(re.findall(r"^\w+=.+$", UNIT.split("[Service]")[1], re.MULTILINE))
    given |= set(re.findall(r"^\w+=.*$", NAMESPACES, re.MULTILINE))
    system = set(re.findall(r"^\w+=.*$", SYSTEM_UNIT, re.MULTILINE))
    different = {line.partition("=")[0] for line in given - system}
    assert different == {"ExecStart", "WantedBy", "ProtectSystem"}
    assert setting("ProtectSystem", SYSTEM_UNIT) == "strict"


@needs_systemd
@pytest.mark.parametrize("name", ["heapsyncd.service", "heapsyncd@.service"])
def test_systemd_takes_every_line(tmp_path: Path, name: str) -> None:
    """It knows each directive and its value, and says nothing against the unit."""
    scope = "--system" if "@" in name else "--user"
    unit = tmp_path / name.replace("@", "@daemon")
    text = re.sub(
        r"^ExecStart=\S+",
        f"ExecStart={sys.executable}",
        (DIRECTORY / name).read_text(),
        flags=re.MULTILINE,
    )
    unit.write_text(text)
    if scope == "--user":
        drop_in = tmp_path / f"{name}.d" / "10-namespaces.conf"
        drop_in.parent.mkdir()
        drop_in.write_text(NAMESPACES)
    told = analyze(tmp_path, scope, "verify", str(unit))
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@needs_systemd
def test_exposure_stays_low(tmp_path: Path) -> None:
    """On a scale of ten: what works everywhere, with user namespaces, and as a system unit."""
    user = tmp_path / "heapsyncd.service"
    user.write_text(UNIT)
    assert exposure(user, "--user") <= 6.4
    drop_in = tmp_path / "heapsyncd.service.d" / "10-namespaces.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(NAMESPACES)
    assert exposure(user, "--user") <= 2.5
    system = tmp_path / "heapsyncd@daemon.service"
    system.write_text(SYSTEM_UNIT)
    assert exposure(system) <= 1.5

"""The unit file agrees with the program it starts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heapsyncd.cli.main import COMMANDS
from heapsyncd.errors import ConfigError, StateLocked, Unreachable
from heapsyncd.sync.heap.timing import DEFAULT

UNIT = (Path(__file__).parents[1] / "systemd" / "heapsyncd.service").read_text()


def setting(name: str) -> str:
    """A directive's one value."""
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def test_it_starts_the_daemon_and_waits_for_ready() -> None:
    """Type=notify, the daemon's command, SIGHUP for a reload, a watchdog."""
    assert setting("Type") == "notify"
    assert "run" in COMMANDS
    assert setting("ExecStart").endswith("/heapsyncd run")
    assert "-HUP" in setting("ExecReload")
    assert int(setting("WatchdogSec")) > 0


def test_systemd_waits_longer_than_the_daemon_does() -> None:
    """The ordered close has its whole limit before systemd kills."""
    assert int(setting("TimeoutStopSec")) >= 2 * DEFAULT.close_s


def test_what_no_restart_mends_is_not_restarted() -> None:
    """A wrong configuration and a held state stay down; trouble of the server does not."""
    assert setting("Restart") == "on-failure"
    down = {int(code) for code in setting("RestartPreventExitStatus").split()}
    assert down == {ConfigError.exit_code, StateLocked.exit_code}
    assert Unreachable.exit_code not in down


def test_every_line_of_the_service_has_its_reason() -> None:
    """In [Service] each group of directives follows a comment."""
    service = UNIT.split("[Service]")[1].split("[Install]")[0]
    groups = [g for g in re.split(r"\n(?=#)", service) if re.search(r"^\w+=", g, re.MULTILINE)]
    for group in groups:
        directives = re.findall(r"^\w+=.*$", group, re.MULTILINE)
        assert group.lstrip("\n").startswith("#"), directives
        assert len(directives) <= 2, directives


def test_what_holds_the_key_is_shut_in() -> None:
    """No core dump, no session's keys, no memory that is written and run, fewer system calls."""
    assert setting("LimitCORE") == "0"
    assert setting("KeyringMode") == "private"
    assert setting("MemoryDenyWriteExecute") == "yes"
    assert "SystemCallFilter=~@privileged @resources" in UNIT.splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_every_line(tmp_path: Path) -> None:
    """It knows each directive and its value, and says nothing against the unit."""
    unit = tmp_path / "heapsyncd.service"
    unit.write_text(UNIT.replace("%h/.local/bin/heapsyncd", sys.executable))
    told = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")

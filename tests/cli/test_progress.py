"""Progress bars on a terminal."""

import contextlib
import logging
import os
import termios

import pytest
import structlog

from heapsyncd import logs
from heapsyncd.cli.progress import progress_bar
from heapsyncd.config import Log
from heapsyncd.sync.report import Progress
from tests.cli.devices import read_all


def test_the_log_stands_above_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the log begins where the bar was, not behind it."""
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    root, before = logging.getLogger(), logging.getLogger().handlers
    with (
        os.fdopen(theirs, "w", encoding="utf-8") as terminal,
        contextlib.redirect_stdout(terminal),
        contextlib.redirect_stderr(terminal),
    ):
        logs.configure(Log(format="console"))
        with progress_bar() as step:
            assert step is not None
            step(Progress("Home: receiving", 1, 2, "notes"))
            structlog.get_logger().warning("odd thing")
    shown = read_all(ours).decode()
    os.close(ours)
    root.handlers = before
    structlog.reset_defaults()
    assert "Home: receiving" in shown
    (line,) = [line for line in shown.splitlines() if "odd thing" in line]
    assert "receiving" not in line.rpartition("\x1b[2K")[2]

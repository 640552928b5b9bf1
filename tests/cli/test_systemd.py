"""What is written into units."""

import re
from pathlib import Path

import click
import pytest

from heapsyncd.cli import systemd
from heapsyncd.cli.systemd import Manager, command_line, quoted, settings_of, with_settings
from heapsyncd.errors import UserError


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["/usr/bin/heapsyncd", "run"], "/usr/bin/heapsyncd run"),
        (["/a b/heapsyncd", "run"], '"/a b/heapsyncd" run'),
        (["/100%/heapsyncd", "run"], '"/100%%/heapsyncd" run'),
        (["/$x/heapsyncd", "$x"], '"/$x/heapsyncd" "$$x"'),
        (["/p", 'say "hi" \\now'], r'/p "say \"hi\" \\now"'),
        (["/p", "two\nlines\r\u2028"], r'/p "two\x0alines\x0d\xe2\x80\xa8"'),
        (["/p", "not \udcff utf-8"], r'/p "not \xff utf-8"'),
        (["/p", "für"], '/p "für"'),
    ],
)  # fmt: skip
def test_a_command_is_written_as_systemd_reads_it(command: list[str], line: str) -> None:
    """Quotes where needed; percent signs doubled everywhere, dollar signs in arguments."""
    assert command_line(command) == line


def test_settings_are_replaced_by_name() -> None:
    """Only the named line changes, into as many lines as there are values."""
    text = "[Service]\n#A=0\nA=1\nAB=2\n"
    changed = with_settings(text, {"A": [r"\1", "y"]})
    assert changed == "[Service]\n#A=0\nA=\\1\nA=y\nAB=2\n"
    assert settings_of(changed) == [r"A=\1", "A=y", "AB=2"]


def test_the_program_is_an_absolute_path_that_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under pytest it is the script beside the interpreter, or the interpreter itself."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    command = systemd.program()
    assert Path(command[0]).is_absolute()
    assert command[1:] in ([], ["-m", "heapsyncd.cli"])


def test_a_program_in_a_cache_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `uvx` runs is cleaned away some day; the message names what to do instead."""
    script = tmp_path / "uv" / "heapsyncd"
    script.parent.mkdir()
    script.touch(0o755)
    monkeypatch.setattr("sys.argv", [str(script)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"runs from a cache.*pipx install"):
        systemd.program()


def test_a_program_that_does_not_start_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The reason is its own first line."""
    script = tmp_path / "heapsyncd"
    script.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(script)])
    with pytest.raises(UserError, match=re.escape("(no such module)")):
        systemd.program()


def test_an_unknown_user_is_a_usage_error() -> None:
    """The system's unit needs a user who exists."""
    with pytest.raises(click.UsageError, match="no user no-such-user"):
        _ = Manager("no-such-user").home


def test_the_units_are_part_of_the_package() -> None:
    """Each unit and drop-in can be read where the package is installed."""
    assert "ExecStart=" in systemd.unit_text(systemd.UNIT)
    assert "ExecStart=" in systemd.unit_text("heapsyncd@.service")
    assert "PrivateUsers=yes" in settings_of(systemd.drop_in_text(systemd.NAMESPACES))
    assert "Type=notify-reload" in settings_of(systemd.drop_in_text(systemd.RELOAD))
    assert quoted("a") == "a"

"""The entry point: help, mistakes, and how errors are said."""

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from heapsyncd import __version__, logs
from heapsyncd.cli import search
from heapsyncd.cli.main import COMMANDS
from tests.cli.devices import Device
from tests.oneheap.service import Oneheap

FOR_LATER = {
    "cryptography", "dbus_fast", "heapsyncd.backends.oneheap", "heapsyncd.server",
    "heapsyncd.sync.offline.check",
    "heapsyncd.wire.oneheap", "jinja2", "jwt", "pygments", "rapidfuzz", "regex", "rich", "ulid",
}  # fmt: skip
"""What the daemon does without until there is work for it, or for good."""
FOR_MIRRORS = {"aiohttp", "heapsyncd.sync", "nacl", "pycrdt", "watchfiles", "yaml"}


@pytest.mark.parametrize(
    ("modules", "unused"),
    [
        (("cli.main", "cli.run", "daemon", "desktop", "backends.heaper"), FOR_LATER),
        (("cli.main", "cli.status"), FOR_LATER | FOR_MIRRORS),
    ],
    ids=["run", "status"],
)
def test_a_start_imports_only_what_it_needs(modules: tuple[str, ...], unused: set[str]) -> None:
    """The rest costs no time; garbage is collected as usual afterwards."""
    code = f"""if True:
        import gc, sys
        usual = gc.get_threshold()
        from heapsyncd.cli import __main__
        __main__.prepare_imports()
        assert gc.get_threshold() != usual
        import {", ".join(f"heapsyncd.{m}" for m in modules)}
        gc.collect()
        assert gc.get_threshold() == usual
        print(*{unused!r} & set(sys.modules))"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("\n", "")


async def test_help_lists_the_commands(device: Device) -> None:
    """--help names every command and the exit codes."""
    done = await device("--help")
    assert done.code == 0
    assert all(f"\n  {name} " in done.out for name in COMMANDS)
    assert "3 not signed in" in done.out
    assert "6 `check` found damage" in done.out
    assert (await device("--version")).out == f"heapsyncd, version {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(device: Device, name: str) -> None:
    """COMMAND --help works without any configuration."""
    done = device.here(name, "--help")
    assert done.code == 0
    assert f"Usage: heapsyncd {name}" in done.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["stat"], "No such command 'stat'. Did you mean 'status'?"),
        (["run", "-v", "-q"], "exclude each other"),
        (["-v", "run", "-q"], "exclude each other"),
        (["sync", "--config-nope"], "No such option '--config-nope'"),
        (["sync", "--timeout", "soon"], "--timeout"),
        (["sync", "--timeout", "-1"], "--timeout"),
        (["--verbose", "--quiet", "status"], "exclude each other"),
        (["status", "more"], "unexpected extra argument"),
        (["setup"], "--server"),
        (["setup", "--kind", "heeper"], "'heeper' is not one of 'heaper', 'oneheap'"),
    ],
)
def test_a_mistake_on_the_command_line_exits_2(
    device: Device, arguments: list[str], says: str
) -> None:
    """It is said in one line that leads to the help."""
    done = device.here(*arguments)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert says in line
    assert "--help`" in line


async def test_without_a_command_the_help_is_shown(device: Device) -> None:
    """It is a usage error all the same; with options, the missing command is named."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "heapsyncd.cli"), stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"Commands:" in err
    done = await device()
    assert done.code == 2
    assert "Missing command" in done.err


@pytest.mark.parametrize("command", ["sync", "run", "status", "heaps"])
async def test_an_absent_configuration_is_named(device: Device, command: str) -> None:
    """The message has the path and says how to make one."""
    done = await device(command)
    assert done.code == 2
    assert str(device.config) in done.err
    assert "heapsyncd setup" in done.err


async def test_a_wrong_configuration_exits_2(device: Device) -> None:
    """File, line and key are named in one line."""
    device.configure("http://127.0.0.1:1", "pol_interval = 3\n")
    done = await device.inside("sync")
    assert done.code == 2
    assert f"{device.config}, line 8: [accounts.home] `pol_interval`" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0o600, "can't be read (No such file"),
        ("not base58 0OIl", 0o600, "holds no key"),
        ("3yZe7d", 0o600, "holds no key"),
        ("", 0o600, "holds no key"),
        ("seed", 0o640, "mode 640); run: chmod 600"),
        ("seed", 0o604, "mode 604); run: chmod 600"),
    ],
)
async def test_a_wrong_key_file_exits_2(
    device: Device, content: str | None, mode: int, says: str
) -> None:
    """The message names the key file and the fix, never what stands in it."""
    device.configure("http://127.0.0.1:1")
    if content is None:
        device.key.unlink()
    else:
        device.key.write_text(device.seed.reveal_text() if content == "seed" else content)
        device.key.chmod(mode)
    done = await device.inside("sync")
    assert done.code == 2
    assert str(device.key) in done.err
    assert says in done.err
    assert not content or content == "seed" or content not in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0o600, "enter the password with `heapsyncd setup`"),
        ("", 0o600, "holds no password"),
        ("two\nlines\n", 0o600, "holds no password"),
        ("long" * 1025, 0o600, "holds no password"),
        ("hunter2", 0o640, "mode 640); run: chmod 600"),
        ("hunter2", 0o604, "mode 604); run: chmod 600"),
    ],
)
async def test_a_wrong_password_file_exits_2(
    device: Device, content: str | None, mode: int, says: str
) -> None:
    """As for a key: the message names the file and the fix, never what stands in it."""
    file = device.base / "team.password"
    device.config.write_text(
        '[accounts.team]\nkind = "oneheap"\nemail = "j@x"\nserver = "http://127.0.0.1:1"\n'
        'folder = "mirror"\n'
    )
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    done = await device.inside("heaps")
    assert done.code == 2
    assert str(file) in done.err
    assert says in done.err
    assert not content or content not in done.err
    assert len(done.err.splitlines()) == 1


async def test_a_systemd_credential_comes_before_the_key_file(device: Device) -> None:
    """$CREDENTIALS_DIRECTORY/<account>.key is read instead, whatever its mode."""
    device.configure("http://127.0.0.1:1")
    device.key.unlink()
    credentials = device.base / "credentials"
    credentials.mkdir()
    (credentials / "home.key").write_text("no key")
    done = await device("sync", CREDENTIALS_DIRECTORY=str(credentials))
    assert done.code == 2
    assert f"{credentials / 'home.key'} holds no key" in done.err
    (credentials / "home.key").write_text(device.seed.reveal_text())
    (credentials / "home.key").chmod(0o440)
    done = await device("sync", "--timeout", "5", CREDENTIALS_DIRECTORY=str(credentials))
    assert done.code == 4, "the key is taken, only the server is not there"


async def test_a_password_as_a_systemd_credential(device: Device) -> None:
    """$CREDENTIALS_DIRECTORY/<account>.password signs in, byte for byte but its last line end."""
    credentials = device.base / "credentials"
    credentials.mkdir()
    (credentials / "team.password").write_text(" spaces and ü \r\n")
    async with Oneheap() as service:
        service.accounts = {"j@x": " spaces and ü "}
        device.config.write_text(
            f'[accounts.team]\nkind = "oneheap"\nemail = "j@x"\nserver = "{service.url}"\n'
            'folder = "mirror"\n'
        )
        done = await device("heaps", CREDENTIALS_DIRECTORY=str(credentials))
    assert done.code == 0, done.err


@pytest.mark.parametrize("words", [["-v", "activity"], ["activity", "-v"]])
def test_the_level_stands_before_or_behind_the_command(
    library: Device, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Everything is logged."""
    seen = []
    monkeypatch.setattr(logs, "configure", lambda _log, level: seen.append(level))
    assert library.here(*words).code == 0
    assert seen == ["debug"]


async def test_a_directory_that_is_gone(device: Device) -> None:
    """Whoever stands in it is told to go elsewhere."""
    gone = device.base / "gone"
    gone.mkdir()
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", 'rmdir "$PWD"; exec "$0" -m heapsyncd.cli status', sys.executable,
        cwd=gone, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == 2
    assert err.startswith(b"heapsyncd: The current directory is gone")


@pytest.mark.parametrize("command", ["status", "search", "sync", "run"])
def test_a_state_that_can_be_in_no_directory(device: Device, command: str) -> None:
    """It is a wrong configuration, for every command."""
    device.configure("http://127.0.0.1:1")
    device.state.touch()
    words = ["x"] if command == "search" else []
    for inner in ("", "/inner"):
        text = device.config.read_text()
        device.config.write_text(text.replace('state"', f'state{inner}"', 1))
        done = device.here(command, *words)
        assert done.code == 2
        assert f"`state_dir` {device.state}{inner} can't be used: {device.state} is n" in done.err


def test_trouble_with_the_disk_at_any_place(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the path, and is no bug of the program."""

    def load(_path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/some/file")

    monkeypatch.setattr(search, "load", load)
    done = device.here("search", "x")
    assert (done.code, done.err) == (1, "heapsyncd: /some/file: Permission denied.\n")


@pytest.mark.skipif(shutil.which("localedef") is None, reason="makes the locale")
async def test_a_locale_without_utf8(library: Device, tmp_path: Path) -> None:
    """Files have their names; what the terminal lacks is replaced, and JSON lacks nothing."""
    name = "de_DE.ISO-8859-1"
    making = await asyncio.create_subprocess_exec(
        *("localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(tmp_path / name)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    await making.wait()
    if not (tmp_path / name).exists():
        pytest.skip("the sources of locales are not installed")
    process = await library.start("search", "日本", LOCPATH=str(tmp_path), LC_ALL=name)
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.decode("latin-1").splitlines()[0] == "folder/Home/??.md"
    done = await library("search", "--json", "日本", LOCPATH=str(tmp_path), LC_ALL=name)
    (hit,) = json.loads(done.out)["hits"]
    assert Path(hit["file"]).name == "日本.md"
    done = await library("search", "日本", PYTHONIOENCODING="latin-1")
    assert (done.code, done.out.splitlines()[0]) == (0, "folder/Home/??.md")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is warned")
async def test_the_daemon_warns_root_once(device: Device) -> None:
    """Also if it reads its configuration again."""
    device.configure("http://127.0.0.1:1")
    process = await device.start("run")
    assert process.stderr
    lines = []
    async for line in process.stderr:
        lines.append(line)
        if b'"ready"' in line:
            process.send_signal(signal.SIGHUP)
        if b'"configuration reloaded"' in line:
            break
    process.terminate()
    lines += (await process.stderr.read()).splitlines()
    await process.wait()
    assert len([line for line in lines if b"runs as root" in line]) == 1

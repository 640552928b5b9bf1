"""What the commands print: nothing that others wrote steers the terminal."""

import asyncio
import json
import os
import re
import sys
import unicodedata
from pathlib import Path

import pytest

import heapsyncd
from heapsyncd.cli.output import format_time, say, say_json, say_text
from heapsyncd.ids import HeapId
from heapsyncd.logs import printable
from heapsyncd.server import Server
from tests.cli.devices import Device, terminate

EVIL = "a\x1b]0;PWNED\x07\x1b[2J\x9b2J\u202etxt\u2066\x7f\rb\nin sync\x00\u2028\udc9b"


def steers(text: str) -> list[str]:
    return [c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl"}]


def test_a_line_stays_one_line_and_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Controls, C1 too, and what turns a line around are replaced; all else is shown."""
    say(EVIL, "Zoë 日本 👨\u200d👩\u200d👧 نمی\u200cشود\tb")
    evil, good = capsys.readouterr().out.splitlines()
    assert steers(evil) == []
    assert "in sync" in evil
    assert good == "Zoë 日本 👨\u200d👩\u200d👧 نمی\u200cشود\tb"


def test_json_says_the_same_in_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is lost: a program reads what there is."""
    say_json({"title": EVIL, EVIL: ["é"]})
    out = capsys.readouterr().out
    assert steers(out) == []
    assert json.loads(out) == {"title": EVIL, EVIL: ["é"]}
    assert "\\u202e" in out
    assert "é" in out


def test_a_text_is_exact_for_a_program_and_harmless_for_a_person(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``history --version N`` prints bytes into a file, and lines onto a terminal."""
    data = EVIL.replace("\udc9b", "").encode() + b"\r\nend \xff"
    say_text(data)
    assert capfdbinary.readouterr().out == data
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    say_text(data)
    shown = capfdbinary.readouterr().out.decode()
    assert steers(shown) == []
    assert shown.splitlines()[-1] == "end \ufffd"


async def test_a_terminal_shows_what_a_pipe_gets(library: Device) -> None:
    """The same words, and the same exit code, of every command that only reads."""
    note = "folder/Home/Boat.md"
    commands = [
        *(("status",), ("activity",), ("heaps",), ("trash",), ("deletions",), ("key", "show")),
        *(("fetch", note), ("explain", note), ("links", note), ("backlinks", note)),
        *(("service", "status"), ("server", "heaps"), ("completion", "bash"), ("log",)),
    ]
    shown = await asyncio.gather(*(library.on_terminal(*words, columns=300) for words in commands))
    for words, on_terminal in zip(commands, shown, strict=True):
        piped = await library.inside(*words)
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_terminal.out)
        assert sorted(plain.split()) == sorted((piped.out + piped.err).split()), words
        assert on_terminal.code == piped.code, words


@pytest.mark.parametrize("ms", [2**53, -(2**53), 10**30])
def test_a_time_beyond_the_calendar_is_a_number(ms: int) -> None:
    """A document may say that it was deleted in the year 287396."""
    assert format_time(ms) == f"{ms} ms"


def test_what_is_logged_is_no_different() -> None:
    """The lines of a terminal go through the same function."""
    assert steers(printable(EVIL)) == []


@pytest.mark.slow
async def test_titles_of_heaps_and_notes(device: Device, server: Server) -> None:
    """``heaps``, ``setup``, ``sync``, ``status`` and ``search`` show them as text."""
    heap = await server.add_heap("Home\x1b]0;PWNED\x07\u202e")
    await server.add_block(heap, "document", "Note \x9b2J")
    device.configure(server.url)
    for words in (["setup"], ["heaps"], ["sync"], ["status"], ["search", "note"]):
        done = await device(*words)
        assert done.code == 0, done.err
        assert steers(done.out + done.err) == [], words
    for words in (["status", "--json"], ["search", "--json", "note"]):
        done = await device(*words)
        assert steers(done.out) == [], words
        json.loads(done.out)


async def test_a_log_on_a_terminal(device: Device, server: Server, heap_id: HeapId) -> None:
    """The daemon's own lines name titles too."""
    await server.add_heap("Evil\x1b]0;PWNED\x07")
    device.configure(server.url, "[log]\nlevel = 'debug'\nformat = 'console'\n")
    done = await device.inside("--verbose", "sync")
    assert done.code == 0
    assert "PWNED" in done.err
    assert steers(done.err) == []


async def test_a_server_without_encryption_is_named(device: Device, server: Server) -> None:
    """``setup`` and ``run`` say so in one line; of this machine they say nothing."""
    url = "http://nobody.invalid:1"
    device.configure(url)
    done = await device.inside("setup")
    assert done.code == 4
    assert f"{url} is not encrypted" in done.err
    process = await device.start("run")
    assert process.stderr
    assert b"is not encrypted" in await process.stderr.readline()
    await terminate(process)
    device.configure(server.url)
    assert "encrypted" not in (await device.inside("setup")).err


async def test_a_key_is_for_one_server(device: Device, server: Server) -> None:
    """``setup`` makes another for another server, and takes none that serves elsewhere."""
    device.configure(server.url)
    before = device.config.read_text()
    async with Server(device.base / "another", open_registration=True) as another:
        other = ("setup", "--server", another.url, "--account", "b", "--folder", "b")
        done = await device(*other, "--key-file", str(device.key))
        assert done.code == 2
        assert "is the key for" in done.err
        assert device.config.read_text() == before
        assert (await device(*other)).code == 0
    assert (device.base / "b.key").read_text() != device.key.read_text()


async def test_a_configuration_that_everybody_may_write_exits_2(
    device: Device, server: Server
) -> None:
    """Somebody could name another server in it."""
    device.configure(server.url)
    device.config.chmod(0o666)
    done = await device.inside("status")
    assert done.code == 2
    assert "chmod o-w" in done.err
    device.config.chmod(0o664)
    assert (await device.inside("status")).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_a_key_of_another_user_exits_2(device: Device, server: Server) -> None:
    """Whoever owns it can read it."""
    device.configure(server.url)
    os.chown(device.key, 4711, -1)
    done = await device.inside("heaps")
    assert done.code == 2
    assert "belongs to another user (uid 4711)" in done.err
    assert device.seed.reveal_text() not in done.err


async def test_no_core_dump_holds_the_key(device: Device, server: Server) -> None:
    """A daemon that dies leaves none, whatever the limit was."""
    device.configure(server.url)
    async with device.daemon() as process:
        limits = Path(f"/proc/{process.pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


@pytest.mark.parametrize(
    "words",
    [
        ["status"], ["activity"], ["search", "deck"], ["links", "Boat.md"],
        ["backlinks", "Boat.md"], ["history", "Boat.md"], ["trash"], ["deletions"],
        ["history", "Boat.md", "--diff"], ["log"], ["undo", "--since", "1h", "--dry-run"],
        ["explain", "Boat.md"], ["check", "--offline"], ["doctor"], ["key", "show"],
    ],
)  # fmt: skip
def test_what_json_holds_is_described(library: Device, words: list[str]) -> None:
    """Each key stands in the section of its command."""

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    readme = Path(heapsyncd.__file__).parent / "cli" / "README.md"
    sections = re.split(r"^## ", readme.read_text(), flags=re.MULTILINE)
    (section,) = [s for s in sections[1:] if words[0] in s.splitlines()[0].split(", ")]
    done = library.here(*words, "--json", at=library.folder / "Home")
    found = keys(json.loads(done.out))
    assert found
    assert sorted(k for k in found if not re.search(rf"[`\"]{k}[`\"]", section)) == []

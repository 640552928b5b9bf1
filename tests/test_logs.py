"""Logging: what is written to stderr, and what never is."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd import ids, logs
from heapsyncd.config import Log

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIwMUoifQ.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Logging is global: what a test sets up is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def written(log: Log, level: str | None = None) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(log, stream, level=level)
    return stream


def test_json_is_one_object_a_line() -> None:
    """Off a terminal each event is a line of JSON with level, time and its values."""
    stream = written(Log())
    structlog.get_logger("x").info("mirrored", heap="Home", notes=3)
    entry = json.loads(stream.getvalue())
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "mirrored", "level": "info", "heap": "Home", "notes": 3}


def test_console_is_a_line_for_people() -> None:
    """What comes and goes, in words; warnings always; nothing that only developers understand."""
    stream = written(Log(format="console"))
    log = structlog.get_logger("x")
    log.info("edit stored", path="Boat.md", bytes=12, older_base=False)
    log.info("arrived", heap="Home", path="Boat.md", what="edited", latency_ms=30)
    log.info("sent", heap="Home", path="New.md", what="new", latency_ms=None)
    log.info("in sync", account="home")
    log.warning("server work failed", heap="Home", work="send", reason="it is away")
    log.warning("held back", heap="Home", path="A.md", reason="why", count=3)
    log.error("odd")
    logging.getLogger("aiohttp.client").warning("retry with %s", "this")
    lines = [line.partition(" ")[2] for line in stream.getvalue().splitlines()]
    assert lines == [
        "Home: Boat.md arrived",
        "Home: New.md sent (new)",
        "home: in sync",
        "warning: Home: it is away",
        "warning: Home: held back (A.md): why",
        "error: odd",
        "warning: retry with this",
    ]
    assert "\x1b" not in stream.getvalue()


def test_console_with_debug_has_every_event() -> None:
    """With its values, for developers; an exception's traceback is shown in any case."""
    stream = written(Log(format="console"), level="debug")
    structlog.get_logger("x").info("edit stored", path="Boat.md")
    assert stream.getvalue().strip().endswith("[info     ] edit stored path=Boat.md")
    stream = written(Log(format="console"))
    try:
        raise ValueError("a bug")
    except ValueError:
        structlog.get_logger("x").exception("mirror failed", account="home")
    assert "error: home: mirror failed\nTraceback" in stream.getvalue()
    assert stream.getvalue().endswith("ValueError: a bug\n")


def test_the_command_line_overrides_the_level() -> None:
    """--quiet wins over the configuration."""
    stream = written(Log(level="debug"), level="error")
    structlog.get_logger("x").warning("not wanted")
    assert stream.getvalue() == ""


def test_libraries_take_the_same_way() -> None:
    """What a library logs is written alike, from warnings up."""
    stream = written(Log(level="debug"))
    logging.getLogger("aiohttp.client").debug("noise")
    logging.getLogger("aiohttp.client").warning("retry with %s", f"Bearer {JWT}")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "retry with Bearer …"


@given(st.from_regex(r"[A-Za-z0-9_-]{20,40}", fullmatch=True))
def test_a_secret_is_hidden_wherever_it_stands(secret: str) -> None:
    """By its name, in a header, in an address, in an exception, or nested: never the secret."""
    stream = written(Log(level="debug"))
    log = structlog.get_logger("x")
    log.info("a", password=secret, headers={"Authorization": f"Bearer {secret}"})
    log.info("GET", url=f"/api/file?token={secret}&x=1", urls=[f"https://h/?token={secret}"])
    try:
        raise ValueError(f"refused: Bearer {secret}")
    except ValueError:
        log.exception("b", refresh_token=secret.encode())
    assert secret not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 3


def test_a_token_is_known_by_its_shape() -> None:
    """A JSON web token is hidden wherever it stands, the words around it stay."""
    assert ids.hide(f"got {JWT} from the server") == "got … from the server"
    assert ids.hide("eye of newt, heap 01J8XYZ0ABCDEFGHJKMNPQRSTV") == (
        "eye of newt, heap 01J8XYZ0ABCDEFGHJKMNPQRSTV"
    )

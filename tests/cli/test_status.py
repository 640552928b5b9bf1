"""What ``status`` makes of a document of ``status --json``; the rest is tested with the daemon."""

import time
from typing import Any

import pytest

from heapsyncd.cli.status import render


def status(daemon: str = "running", heap: dict[str, Any] | None = None, **account: Any) -> Any:
    plain = {
        "title": "Home", "folder": "/h", "notes": 2, "files": 0, "pending_up": 0,
        "pending_down": 0, "held_deletions": 0, "pending": [], "notices": [], "transfers": [],
        "problems": [],
    }  # fmt: skip
    known = {"name": "home", "state": "in sync", "error": None, "in_sync_ms": None}
    return {
        "daemon": daemon,
        "accounts": [{**known, **account, "heaps": [{**plain, **(heap or {})}]}],
    }


def test_a_transfer_has_size_share_and_speed() -> None:
    """And the time that is left; one that has not begun has its size."""
    running = {"path": "a.mp4", "direction": "upload", "size": 300_000_000, "done": 150_000_000}
    begun = {**running, "speed": 12_500_000.0}
    waiting = {"path": "b.mp4", "direction": "download", "size": 5_000_000, "done": 0}
    lines = list(render(status(heap={"transfers": [begun, running, waiting]})))
    assert lines[2:] == [
        "    sending: a.mp4: 150.0 of 300.0 MB (50 %), 12.5 MB/s, 0:12 left",
        "    sending: a.mp4: 150.0 of 300.0 MB (50 %)",
        "    receiving: b.mp4: 5.0 MB, not begun",
    ]


@pytest.mark.parametrize(
    ("followed", "said"), [(0, ""), (2, ""), (3, ""), (1, ", the newest 1 followed live")]
)
def test_how_many_notes_are_followed(followed: int, said: str) -> None:
    """It is said if it is only a part of them: the rest of what an app changes comes later."""
    lines = list(render(status(heap={"followed": followed, "pending_up": 1})))
    assert lines[1] == f"  Home: 2 notes{said}, 1 to send  (/h)"


NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("daemon", "state", "at_ms", "heap", "said"),
    [
        ("running", "in sync", NOW, {}, "in sync"),
        ("running", "syncing", None, {}, "syncing; never in sync yet"),
        ("running", "offline", NOW, {}, "not connected; last in sync {}"),
        ("not running", "offline", NOW, {}, "not running; in sync as of {}"),
        ("not running", "offline", NOW, {"pending_up": 1}, "not running; last in sync {}"),
        ("not answering", "offline", NOW, {}, "not answering; in sync as of {}"),
        ("not running", "offline", 10**30, {}, f"not running; in sync as of {10**30} ms"),
    ],
)
def test_the_first_line_says_when_all_was_in_sync(
    daemon: str, state: str, at_ms: int | None, heap: dict[str, Any], said: str
) -> None:
    """With the date, if that was not today; never "offline"."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW / 1000))
    shown = next(render(status(daemon, heap, state=state, in_sync_ms=at_ms)))
    assert shown == f"home: {said.format(when)}"


def test_the_technical_reason_is_for_those_who_ask() -> None:
    """People read what it means."""
    told = status(state="offline", error="away (GET /: refused)", summary="away")
    assert list(render(told))[1] == "  away"
    assert list(render(told, verbose=True))[1] == "  away (GET /: refused)"

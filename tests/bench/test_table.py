"""The table names every goal with what stands beside it, or says what is missing."""

import re
from pathlib import Path

import pytest

from tests.bench.peers import NodeMirror, Rsync, Syncthing, present
from tests.bench.table import GOALS, NODE, OURS, PURE, RSYNC, SYNCTHING, Round, show


def line_of(name: str, printed: str) -> str:
    (line,) = (line for line in printed.splitlines() if line.startswith(name))
    return line


def test_each_goal_stands_beside_its_peer(capsys: pytest.CaptureFixture[str]) -> None:
    """Medians with their spread, the ratio of each round's pair, and whether the goal is reached;
    a peer that is not here is named with each of its lines.
    """
    rounds: list[Round] = [
        {
            "machine": {"loop": 50.0},
            OURS: {
                "first mirror": mine,
                "restart": 3.0,
                "looks": 0.25,
                "memory at rest": 120.0,
                "sender, at once": 7.0,
            },
            PURE: {"sender, at once": 2.0},
            NODE: {"first mirror": theirs},
            RSYNC: {"restart": 1.0},
        }
        for mine, theirs in ((1.0, 2.0), (2.0, 2.0), (9.0, 10.0))
    ]
    show(rounds, {SYNCTHING: "syncthing is not installed"})
    printed = capsys.readouterr().out
    assert all(line_of(goal.name, printed) for goal in GOALS)
    mirror = line_of("first mirror ", printed)
    assert re.search(r"2 \(1\.\.9\) s +Node mirror 2 \(2\.\.10\) s +0\.9 \(0\.5\.\.1\)", mirror)
    assert mirror.endswith("reached")
    for name in ("restart", "memory at rest"):
        assert line_of(name, printed).endswith("NOT REACHED")
    why = printed[printed.index("What the distances") :]
    assert "* restart after imports: looking at each file alone takes 0.25 s; the rest" in why
    assert "started again has - MB" in why, "a figure that is not there is a dash"
    assert "* first mirror:" not in why
    assert line_of("sender, many changes", printed).endswith("NOT REACHED")
    for goal in GOALS:
        if goal.beside == SYNCTHING:
            assert "missing: Syncthing" in (line := line_of(goal.name, printed))
            assert "is not installed" in line


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its command a peer is left out, and the reason says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    notes = {"Note.md": "text\n"}
    here, absent = present([Rsync(notes), Syncthing(notes, 1), NodeMirror(notes, 1.0)])
    assert here == []
    assert absent.keys() == {RSYNC, SYNCTHING, NODE}
    assert "apt-get install rsync" in absent[RSYNC]

"""The lock on a state directory."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from heapsyncd.errors import ConfigError, FolderTrouble, StateLocked
from heapsyncd.statelock import hold_state

HOLD = """
import sys, pathlib
from heapsyncd.statelock import hold_state
with hold_state(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(state_dir: Path) -> subprocess.Popen[str]:
    """Another process that holds the state until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    """The message names the process; after a kill the state is free, whatever file is left."""
    with holder(tmp_path) as other:
        with (
            pytest.raises(StateLocked, match=rf"process {other.pid}\b.*heapsyncd status"),
            hold_state(tmp_path),
        ):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
    with hold_state(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_state_directory_is_made_for_the_user_alone(tmp_path: Path) -> None:
    """An absent directory is made, closed to others; leaving frees it for the next."""
    state = tmp_path / "a" / "state"
    for _ in range(2):
        with hold_state(state):
            assert stat.S_IMODE(state.stat().st_mode) == 0o700
            assert stat.S_IMODE((state / "lock").stat().st_mode) == 0o600


def test_an_unusable_directory_is_named(tmp_path: Path) -> None:
    """A file in the directory's place is said in one line, with what to do."""
    (tmp_path / "state").touch()
    with (
        pytest.raises(ConfigError, match=r"state can't be made: .*set another state_dir"),
        hold_state(tmp_path / "state"),
    ):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """What it points to is left alone."""
    target = tmp_path / "precious"
    target.write_text("text")
    state = tmp_path / "state"
    state.mkdir()
    (state / "lock").symlink_to(target)
    with pytest.raises(FolderTrouble, match="can't be used"), hold_state(state):
        pass
    assert target.read_text() == "text"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o703])
def test_a_directory_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """They could put files in the places of ours; what to do is said."""
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(mode)
    with pytest.raises(FolderTrouble, match=f"mode {mode:o}.*chmod 700"), hold_state(state):
        pass
    assert not (state / "lock").exists()


def test_another_user_s_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even by root."""
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(FolderTrouble, match=f"another user .uid {owner}"), hold_state(tmp_path):
        pass

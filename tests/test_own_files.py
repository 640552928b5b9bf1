"""Files of our own: whole or absent, and locked by one."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from heapsyncd.own_files import lock, write_whole

KILLED = """
import os, pathlib, signal, sys
from heapsyncd.own_files import write_whole
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_whole(pathlib.Path(sys.argv[1]), "text", replace=True)
"""


def test_a_file_is_private_and_kept(tmp_path: Path) -> None:
    """Only its owner reads it, whatever the umask; what stands there already stays."""
    path = tmp_path / "deep" / "key"
    before = os.umask(0)
    try:
        assert write_whole(path, "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not write_whole(path, "two")
    assert path.read_text() == "one"
    assert write_whole(path, "three", replace=True)
    assert path.read_text() == "three"
    assert [p.name for p in path.parent.iterdir()] == ["key"]


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is written all the same, and one that exists is kept."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "key"
    assert write_whole(path, "one")
    assert not write_whole(path, "two")
    assert path.read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_a_file_is_never_there_in_part(tmp_path: Path) -> None:
    """A process that is killed as it writes leaves the old text, or none."""
    path = tmp_path / "key"
    for before in (None, "old"):
        if before is not None:
            path.write_text(before)
        done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=30)
        assert done.returncode == -9
        assert (path.read_text() if path.exists() else None) == before


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """The error is told, and what was begun is taken away."""
    path = tmp_path / "key"
    path.mkdir()
    (path / "in the way").touch()
    with pytest.raises(OSError, match="directory"):
        write_whole(path, "text", replace=True)
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    """The second is told so; closing the first's descriptor frees it."""
    path = tmp_path / "lock"
    first, second = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert lock(first)
    assert not lock(second)
    os.close(first)
    assert lock(second)
    os.close(second)

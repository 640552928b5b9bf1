"""The peers need Node 20 and npm; what they need of npm is installed once, as locked."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.peers.household import Household, household
from tests.peers.programs import HERE, Judge, Program, judging, running

NODE_MAJOR = 20
REQUIRED = os.environ.get("HEAPSYNCD_REQUIRE_NODE") == "1"


def _trouble() -> str | None:
    """Why the peers can't run here; None when they can."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "node and npm are not installed"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", said)
    if found is None or int(found[1]) < NODE_MAJOR:
        return f"node {NODE_MAJOR} or newer is needed, this is {said.strip() or 'unreadable'}"
    return _install(npm)


def _install(npm: str) -> str | None:
    """Make ``node_modules`` what the lock says; several test processes wait for the first."""
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = HERE / "node_modules" / ".installed"
    guard = Path(tempfile.gettempdir()) / f"heapsyncd-peers-{os.getuid()}.lock"
    with guard.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return None
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"npm ci failed: {done.stderr.strip()[-500:]}"
        stamp.write_text(wanted)
    return None


@pytest.fixture(scope="session", autouse=True)
def node() -> None:
    """Skip what is tested here where Node is missing; with HEAPSYNCD_REQUIRE_NODE=1, fail."""
    trouble = _trouble()
    if trouble is None:
        return
    if REQUIRED:
        pytest.fail(f"HEAPSYNCD_REQUIRE_NODE=1, but {trouble}")
    pytest.skip(f"the peers are not tested: {trouble}")


@pytest.fixture(scope="session")
def judge(node: None) -> Iterator[Judge]:
    """y-prosemirror as the judge of documents, one process for all tests."""
    with judging() as running_judge:
        yield running_judge


@pytest.fixture
async def people(node: None) -> AsyncIterator[Program]:
    """``editor.mjs``: people at their editors."""
    async with running("editor.mjs") as program:
        yield program


@pytest.fixture
async def hub(node: None) -> AsyncIterator[Program]:
    """``hub.mjs``: npm's own server, not started yet."""
    async with running("hub.mjs") as program:
        yield program


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Household]:
    """The embedded server with a heap and somebody signed in."""
    async with household(tmp_path) as running_server:
        yield running_server


@pytest.fixture(params=[2, 3, 4], ids=lambda major: f"npm{major}")
def major(request: pytest.FixtureRequest) -> int:
    """The major version of @hocuspocus/provider or @hocuspocus/server."""
    version: int = request.param
    return version

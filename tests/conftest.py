"""What all tests share: hypothesis without deadlines (speed is measured in benchmarks), where slow
tests are, and when no more of them are begun.
"""

import asyncio
import math
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "heapsyncd", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("heapsyncd")

TESTS = Path(__file__).parent
SLOW = [
    *(
        TESTS / name
        for name in ("bench", "peers", "promises/commands", "promises/server", "world")
    ),
    *(
        TESTS / "promises" / f"test_{name}.py"
        for name in (
            *("edit_wins", "exact_files", "files", "first_upload", "front_matter", "links"),
            *("lost_cache_exact", "names", "oneheap_kills", "places", "refusals"),
            *("source_bounds", "source_put_back"),
        )
    ),
    *(TESTS / name for name in ("document/test_edit_laws.py", "test_faults.py")),
]
"""All of what stands there is slow; elsewhere single tests are marked."""
UNTIL_S = float(os.environ.get("HEAPSYNCD_TESTS_UNTIL", math.inf))
"""When no more slow tests are begun, in seconds since 1970.

A machine that is too slow for all of them then says how many it left out, instead of being stopped
by a time limit without a verdict (``.ci/run``).
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what the README's command leaves out."""
    for item in items:
        if any(item.path.is_relative_to(place) for place in SLOW):
            item.add_marker(pytest.mark.slow)
    if not math.isinf(UNTIL_S):
        # Games and promises first, benchmarks last.
        items.sort(key=lambda item: item.path, reverse=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin no slow test when it is too late."""
    if time.time() > UNTIL_S and item.get_closest_marker("slow"):
        pytest.skip("the time for slow tests is over: this machine is too slow for all of them")


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a message bus of its own."""
    if (program := shutil.which("dbus-daemon")) is None:
        pytest.skip("there is no dbus-daemon")
    process = await asyncio.create_subprocess_exec(
        program, "--session", "--nofork", "--print-address=1", f"--address=unix:dir={tmp_path}",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    address = (await asyncio.wait_for(process.stdout.readline(), 10)).decode().strip()
    yield address
    process.terminate()
    await process.wait()

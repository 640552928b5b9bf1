"""What all tests share: hypothesis without deadlines (speed is measured in benchmarks), and which
directories hold slow tests.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "heapsyncd", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("heapsyncd")

SLOW = [Path(__file__).parent / name for name in ("bench", "peers", "promises/commands", "world")]
"""All of what stands there is slow; elsewhere single tests are marked."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what the README's command leaves out."""
    for item in items:
        if any(item.path.is_relative_to(directory) for directory in SLOW):
            item.add_marker(pytest.mark.slow)


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

"""What all tests share: hypothesis without deadlines (speed is measured in benchmarks), and which
directories hold slow tests.
"""

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

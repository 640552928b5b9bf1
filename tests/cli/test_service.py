"""``service`` where no systemd runs; under one, see ``promises/commands``."""

from pathlib import Path

import pytest

from tests.cli.devices import Device


@pytest.mark.parametrize("verb", ["install", "remove", "status"])
async def test_without_systemd_it_says_what_to_do(device: Device, verb: str) -> None:
    """Nothing is written where systemd does not run."""
    if Path("/run/systemd/system").is_dir():
        pytest.skip("this system is run by systemd")
    device.configure("http://127.0.0.1:1")
    done = await device("service", verb)
    assert (done.code, done.out) == (1, "")
    assert "not run by systemd" in done.err
    assert "heapsyncd run" in done.err
    assert not (device.base / ".config").exists()

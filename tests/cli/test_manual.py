"""The manual page."""

import tomllib
from pathlib import Path

from heapsyncd.cli.main import COMMANDS
from heapsyncd.cli.manual import page

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_commands_say() -> None:
    """It has every command, and goes into the wheel."""
    made = page()
    assert all(f"\n.SS {name}\n" in made for name in COMMANDS)
    kept = (ROOT / "heapsyncd" / "cli" / "heapsyncd.1").read_text()
    assert kept == made, "make it anew: python -m heapsyncd.cli.manual > heapsyncd/cli/heapsyncd.1"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["shared-data"] == {"heapsyncd/cli/heapsyncd.1": "share/man/man1/heapsyncd.1"}

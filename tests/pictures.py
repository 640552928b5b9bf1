"""Make the README's pictures from what the commands print: ``python -m tests.pictures``."""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parents[1] / ".pictures"
WIDTH = 92
DEADLINE_S = 60
# Without the fonts of another site: a picture must not fetch anything.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def main() -> None:
    """Run the demo, use both devices as a person would, and draw both terminals."""
    with tempfile.TemporaryDirectory() as made:
        base = Path(made)
        root, env = base / "heapsyncd-demo", {**os.environ, "NO_COLOR": "1"}
        command = [sys.executable, "-u", "-m", "heapsyncd.cli"]
        with (base / "out").open("w+") as out:
            demo = subprocess.Popen([*command, "demo"], cwd=base, env=env, stdout=out, stderr=out)
            try:
                printed = (base / "out").read_text
                wait_for(lambda: "Ctrl-C stops." in printed())
                use(root, printed)
                config = root / ".heapsyncd-demo" / "config.toml"
                look = [*command, "--config", str(config), "status"]
                wait_for(lambda: in_sync(look, env))
                status = run(look, env)
            finally:
                demo.terminate()
                demo.wait(DEADLINE_S)
            said = printed()
        draw("demo", "heapsyncd demo", said.replace(f"{made}/", "~/").splitlines())
        draw("status", "heapsyncd status --watch", status.replace(f"{made}/", "~/").splitlines())


def use(root: Path, printed: Callable[[], str]) -> None:
    """Edit, create and rename notes, each when the one before has arrived."""
    laptop, phone = root / "laptop" / "Home", root / "phone" / "Home"

    def edit() -> None:
        with (laptop / "Groceries.md").open("a") as note:
            note.write("- [ ] oat milk\n")

    def reply() -> None:
        with (phone / "Groceries.md").open("a") as note:
            note.write("- [ ] brown bread\n")

    for step in (
        edit,
        reply,
        lambda: (phone / "Ideas.md").write_text("A boat with a red sail.\n"),
        lambda: (laptop / "Ideas.md").rename(laptop / "Boat ideas.md"),
    ):
        before = printed().count(" ms\n")
        step()
        wait_for(lambda n=before: printed().count(" ms\n") > n)  # type: ignore[misc]
        time.sleep(1)


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def run(command: Sequence[str], env: dict[str, str]) -> str:
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def in_sync(command: Sequence[str], env: dict[str, str]) -> bool:
    accounts = json.loads(run([*command, "--json"], env))["accounts"]
    return all(account["state"] == "in sync" for account in accounts)


def draw(name: str, command: str, lines: Sequence[str]) -> None:
    """Draw a terminal."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
    for line in lines:
        text = Text(line)
        text.highlight_regex(r"\d+ ms$", "bold cyan")
        text.highlight_regex(r"in sync", "green")
        console.print(text)
    PICTURES.mkdir(exist_ok=True)
    console.save_svg(
        str(PICTURES / f"{name}.svg"), title=command, code_format=FORMAT, unique_id=name
    )


if __name__ == "__main__":
    main()

"""The README's commands are run, so that they stay true."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """Every line of the shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def test_the_first_command_stands_on_the_first_screen() -> None:
    """Within thirty lines stands the one command that sets up everything and runs the demo."""
    first = "\n".join(README.splitlines()[:30])
    (demo,) = [line for line in commands() if "heapsyncd demo" in line]
    assert demo in first
    assert demo == commands()[0]


def test_the_demo_of_the_readme_runs(tmp_path: Path) -> None:
    """The demo's command ends in sync, and the notes it promises are there."""
    last = shlex.split(commands()[0].split("&&")[-1])
    assert last == [".venv/bin/heapsyncd", "demo"]
    done = subprocess.run(
        [sys.executable, "-m", "heapsyncd.cli", *last[1:], "--once"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    promised = re.search(r"Open `(heapsyncd-demo/[\w/]+/)`", README)
    assert promised
    assert list((tmp_path / promised[1]).glob("*.md"))


def test_ci_runs_the_readmes_test_commands() -> None:
    """.ci/run ends with the lines that the README gives: the quick tests, and all others."""
    quick, slow = [line for line in commands() if "pytest" in line]
    assert quick.endswith(' -m "not slow"')
    assert slow.endswith(" -m slow")
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-2:] == [quick, slow]


def test_the_files_the_readme_points_to_exist() -> None:
    """Every relative link leads somewhere."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_explains_messages_that_exist() -> None:
    """Each message of the table, as far as it is fixed text, stands in the program."""
    table = README.partition("### When something is wrong")[2].partition("###")[0]
    messages = re.findall(r"^\| (.+?) \| .+ \|$", table, re.MULTILINE)[1:]
    assert len(messages) > 10
    sources = "\n".join(path.read_text() for path in (ROOT / "heapsyncd").rglob("*.py"))
    texts = re.sub(r'"\n\s*f?"', "", sources)  # a text is written over several lines
    parts = [part.strip() for line in messages for part in re.split("…|, or", line)]
    shell = "heapsyncd: command not found"
    assert [part for part in parts if part not in texts and part != shell] == []


def test_the_readme_names_every_command() -> None:
    """Each command of the program is in the README."""
    from heapsyncd.cli.main import COMMANDS  # noqa: PLC0415

    assert [name for name in COMMANDS if f"heapsyncd {name}" not in README] == []

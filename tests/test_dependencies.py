"""What is imported is declared, and what is declared is locked by hash."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import heapsyncd

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / ".ci" / "constraints.txt").read_text()
LOCKED = {
    canonicalize_name(name): (version, rest)
    for name, version, rest in re.findall(
        r"^([\w.-]+)==(\S+)(.*(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)*)", LOCK, re.MULTILINE
    )
}


EXTRAS = [r for extra in PROJECT["project"]["optional-dependencies"].values() for r in extra]


def declared() -> list[Requirement]:
    groups = PROJECT["dependency-groups"].values()
    own = [*PROJECT["project"]["dependencies"], *EXTRAS]
    return [Requirement(r) for g in (own, *groups) for r in g]


def test_what_is_imported_is_declared() -> None:
    """A package that only another one brings along may be gone with its next version."""
    names = packages_distributions()
    own = [*PROJECT["project"]["dependencies"], *EXTRAS]
    wanted = {canonicalize_name(Requirement(r).name) for r in own}
    missing = set()
    for path in Path(heapsyncd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in {name.split(".")[0] for name in found} - {"heapsyncd"}:
                if module in sys.stdlib_module_names:
                    continue
                if not {canonicalize_name(d) for d in names.get(module, [])} & wanted:
                    missing.add(module)
    assert missing == set()


def test_what_is_declared_is_locked() -> None:
    """By a version that the declaration allows, and by the hashes of its files."""
    for wanted in declared():
        locked, rest = LOCKED[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(locked), wanted
        assert "--hash=sha256:" in rest, wanted


def test_the_version_has_one_place() -> None:
    """The installed package has the version of the source, and so has the tag of a release."""
    assert "version" not in PROJECT["project"]
    assert version("heapsyncd") == heapsyncd.__version__
    tags = subprocess.run(
        ["git", "tag", "--points-at", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    assert [t for t in tags if re.match(r"v\d", t) and t != f"v{heapsyncd.__version__}"] == []


def test_the_wheel_is_complete(tmp_path: Path) -> None:
    """It has every module and what they read, and the units, which `service` installs."""
    wheel = pytest.importorskip("hatchling.builders.wheel")
    (built,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    assert Path(built).name.startswith(f"heapsyncd-{heapsyncd.__version__}-")
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
    package = [p for p in (ROOT / "heapsyncd").rglob("*") if p.is_file()]
    wanted = {str(p.relative_to(ROOT)) for p in package if "__pycache__" not in p.parts}
    units = {f"heapsyncd/{p.relative_to(ROOT)}" for p in (ROOT / "systemd").rglob("*.service*")}
    assert (wanted | {u for u in units if not u.endswith(".d")}) - names == set()


def test_the_lock_names_versions_and_hashes_alone() -> None:
    """No address, and nothing that is not pinned."""
    for line in LOCK.splitlines():
        if not line.startswith("#"):
            assert re.match(r"[\w.-]+==\S+|    --hash=sha256:[0-9a-f]{64}( \\)?$", line), line
    assert "://" not in LOCK
    assert all("--hash=sha256:" in rest for _, rest in LOCKED.values())


def test_ci_installs_from_the_lock_as_the_readme_says() -> None:
    """The line that the README gives for it is the one that is run."""
    (line,) = re.findall(r"^.*--require-hashes.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert line in (ROOT / ".ci" / "run").read_text().splitlines()

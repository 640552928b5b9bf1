"""The rules of the layout, as the map in ``heapsyncd/__init__.py`` states them."""

import ast
import re
import statistics
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pathspec
import pytest

import heapsyncd
from heapsyncd import errors

PACKAGE = Path(heapsyncd.__file__).parent
TESTS = Path(__file__).parent

MODULE_LINES = 400
LONG_MODULES: dict[str, str] = {}
"""The modules that are longer, each with the reason why it should not be cut."""
FUNCTION_LINES_MEDIAN = 10
FUNCTION_LINES_P95 = 40
FUNCTION_LINES_MAX = 50
LONG_FUNCTIONS = {
    "sync.pull.pull.pull": "one loop; what is left and what was answered lives through all rounds",
}
"""The functions that have more lines of code, each with the reason why it should not be cut."""

NOT_MIRRORED = {"bench", "contract", "peers", "promises", "world"}
"""The directories of tests whose subject is no module: what a mirror or a server promises, what
every backend does, games, real peers, and the benches.
"""
OF_THE_PROJECT = {"dependencies", "faults", "readme", "regexes", "security", "shape", "systemd"}
"""The test modules at the top whose subject is the project itself."""

VALUES = {
    "backoff", "config", "database", "diff", "errors", "ids", "items", "model", "own_files",
    "processes", "tasks", "tree",
}  # fmt: skip
STAGES = {"wire", "cache", "document", "markdown", "folder"}
ALLOWED = {
    **{stage: {stage} for stage in STAGES},
    **dict.fromkeys(VALUES, VALUES),
    "backends": {"backends", "wire"},
    # It makes documents of items, and files of documents, and remembers what it made.
    "backends.oneheap": {"backends", "sync.merge", *STAGES},
    "sync": {"sync", "backends", *STAGES},
    # The server shares how bytes are written and what a document is, nothing of the mirror.
    "server": {"server", "document", "wire.awareness", "wire.hocuspocus", "wire.lib0"},
    "logs": set(),
    "control": set(),
    "statelock": set(),
    "notify": set(),
    "dbus": set(),
    "desktop": {"dbus"},
    "logind": {"dbus"},
    "supervisor": {"sync.runtime.account", "sync.heap.timing", "sync.report"},
    "control_requests": {"control", "sync.report"},
    "daemon": {
        "control",
        "control_requests",
        "desktop",
        "logind",
        "supervisor",
        "logs",
        "notify",
        "statelock",
        "sync.offline.check",
        "sync.runtime.account",
        "sync.heap.timing",
        "sync.report",
    },
    "cli": {
        "backends.factory",
        "cli",
        "control",
        "daemon",
        "dbus",
        "desktop",
        "logind",
        "logs",
        "notify",
        "server",
        "statelock",
        "sync.offline.activity",
        "sync.offline.check",
        "sync.offline.explain",
        "sync.offline.fetch",
        "sync.offline.links",
        "sync.offline.search",
        "sync.runtime.account",
        "sync.report",
        "sync.offline.preview",
        "sync.offline.status",
        "sync.offline.versions",
        "wire.address",
        "wire.signin",
    },
}
"""What a module may import of heapsyncd, beside the value modules; by its first names."""


def allowed_for(name: str) -> set[str]:
    """What a module may import, by the longest entry that it is below."""
    entry = max((entry for entry in ALLOWED if within(name, {entry})), key=len)
    return ALLOWED[entry] | VALUES


LEVELS = {
    "sync": (
        {"report", "cache_file"},
        {"heap"},
        {"merge"},
        {"layout"},
        {"edits"},
        {"pull"},
        {"deletions"},
        {"push"},
        {"transfers"},
        {"publish"},
        {"scan"},
        {"runtime"},
        {"offline"},
    ),
    "document": (
        {"xml"},
        {"encoding"},
        {"updates"},
        {"view"},
        {"inline"},
        {"plan"},
        {"construct"},
        {"fields"},
        {"source"},
        {"replica"},
        {"edit", "plain_text", "rebuild"},
    ),
    "markdown": (
        {
            "events",
            "escaping",
            "style",
            "line_ends",
            "formulas",
            "links",
            "frontmatter",
            "encoding",
        },
        {"source", "attached_files", "front_lines"},
        {"item_file"},
        {"item_merge"},
        {"style_detection"},
        {"read"},
        {"write"},
        {"patch"},
    ),
}
"""The parts of a stage, lowest first: each imports itself and what is lower, nothing else."""

IO = {
    "aiohttp",
    "aiosqlite",
    "concurrent",
    "ctypes",
    "dbus_fast",
    "fcntl",
    "mmap",
    "multiprocessing",
    "os",
    "sdnotify",
    "select",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "watchfiles",
}
EDGES = {
    "control": {"os", "socket"},
    "daemon": {"signal"},
    "dbus": {"dbus_fast", "os"},
    "logind": {"dbus_fast", "os"},
    "database": {"aiosqlite", "os", "sqlite3", "threading"},
    "notify": {"os", "sdnotify"},
    "own_files": {"fcntl", "os"},
    "processes": {"concurrent", "multiprocessing", "os", "signal", "threading"},
    "statelock": {"os"},
    "cache.crash_marks": {"mmap", "os", "threading"},
    "folder.disk": {"os"},
    "folder.marker": {"os"},
    "folder.partial_downloads": {"os"},
    "folder.places": {"os"},
    "folder.replace": {"os"},
    "folder.safe_open": {"os"},
    "folder.syscalls": {"ctypes", "os"},
    "folder.walk": {"os"},
    "folder.watch": {"concurrent", "os", "watchfiles"},
    "sync.heap.gc_control": {"ctypes"},
    "wire.oneheap.client": {"aiohttp"},
    "wire.rest": {"aiohttp"},
    "wire.websocket": {"aiohttp"},
    "server": {"aiohttp", "os", "shutil"},
    "server.large_documents": {"concurrent", "multiprocessing", "signal"},
    "cli": {"os", "shutil", "signal", "subprocess"},
    "cli.web": {"aiohttp"},
}
"""The modules (or whole packages) that do I/O, and with what."""
DISK_WRITERS = {
    "folder.disk",
    "folder.marker",
    "folder.partial_downloads",
    "folder.places",
    "folder.replace",
    "folder.syscalls",
    "database",
    "cache.crash_marks",
    "control",
    "own_files",
    "statelock",
    "server",
    "cli",
}
FILE_CALLS = {
    "hardlink_to",
    "mkdir",
    "read_bytes",
    "read_text",
    "rmdir",
    "symlink_to",
    "touch",
    "unlink",
    "write_bytes",
    "write_text",
}
"""Methods of ``Path`` that touch the disk."""

DOOR = "document.updates"
"""The one module that hands bytes of updates and state vectors to pycrdt."""
TAKES_BYTES = {"apply_update", "from_update", "get_state", "get_update", "merge_updates"}
"""What pycrdt offers for that; asking a document for all of its state hands it nothing."""
MAKES_DOCUMENTS = {"Doc", "TypedDoc"}
ASKS_ALONE = {"get_state", "get_update"}

ONLY_IN = {
    "pycrdt": "document",
    "pyromark": "markdown",
    "yaml": "markdown",
    "watchfiles": "folder",
    "aiosqlite": "database",
    "sqlite3": "database",
    "click": "cli",
    "rich": "cli",
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name below ``heapsyncd``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(), str(path))
    return found


def imports(tree: ast.Module) -> Iterator[str]:
    """The dotted names a module imports; ``from a import b`` counts as ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, allowed: set[str]) -> bool:
    """Whether a dotted name is one of the allowed ones or below one."""
    return any(name == a or name.startswith(f"{a}.") for a in allowed)


def test_a_stage_imports_itself_and_the_value_modules() -> None:
    """Who may import whom is as the map says; what has no entry here has no place there."""
    wrong = []
    for name, tree in modules().items():
        if not name:
            continue
        allowed = allowed_for(name)
        for imported in imports(tree):
            if imported in {"heapsyncd", "heapsyncd.__version__"}:
                continue
            inner = imported.removeprefix("heapsyncd.")
            # ``from heapsyncd.x import y``: whether y is a module or a name in it, x.y is below x.
            if inner != imported and not within(inner, allowed):
                wrong.append(f"{name} imports {inner}")
    assert not wrong


@cache
def imported_modules(name: str) -> frozenset[str]:
    """The modules of the package that a module imports, also for a name in them."""
    found = set()
    for imported in imports(modules()[name]):
        inner = imported.removeprefix("heapsyncd.")
        if inner != imported:
            found.add(inner if inner in modules() else inner.rpartition(".")[0])
    return frozenset(found)


@pytest.mark.parametrize("stage", LEVELS)
def test_a_part_imports_only_lower_ones(stage: str) -> None:
    """Inside a stage the imports have one direction."""
    rank = {part: k for k, level in enumerate(LEVELS[stage]) for part in level}
    wrong = []
    for name in modules():
        if not name.startswith(f"{stage}."):
            continue
        part = name.split(".")[1]
        for imported in imported_modules(name):
            other = imported.removeprefix(f"{stage}.").split(".")[0]
            is_inside = imported.startswith(f"{stage}.") and other != part
            if is_inside and not rank[other] < rank[part]:
                wrong.append(f"{name} imports {imported}")
    assert not wrong


def test_no_imports_go_in_a_circle() -> None:
    """The modules can be put in an order in which each imports only earlier ones."""
    sorter = TopologicalSorter({name: imported_modules(name) - {name} for name in modules()})
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_what_runs_in_other_processes_reaches_no_heap() -> None:
    """Making first edits imports neither the folder nor a heap's state: each process does it."""
    reached, todo = set(), {"sync.edits.first_edit"}
    while todo:
        reached |= todo
        todo = {m for name in todo for m in imported_modules(name) if m in modules()} - reached
    assert "document.edit" in reached
    assert not reached & {"folder.disk", "sync.heap.state", "backends.contract"}


def test_merging_is_pure() -> None:
    """``sync.merge`` knows no disk, no database, and no event loop."""
    wrong = [
        f"{name} imports {imported}"
        for name, tree in modules().items()
        if within(name, {"sync.merge"})
        for imported in imports(tree)
        if within(imported, IO | {"asyncio", "heapsyncd.database", "heapsyncd.folder.disk"})
    ]
    assert not wrong


def test_only_the_named_edges_do_io() -> None:
    """Sockets, threads, SQLite and the disk are reached through a short list of modules."""
    wrong = []
    for name, tree in modules().items():
        reached = {imported.split(".")[0] for imported in imports(tree)} & IO
        allowed = {io for edge, ios in EDGES.items() if within(name, {edge}) for io in ios}
        wrong += [f"{name} imports {io}" for io in reached - allowed]
    assert not wrong


def test_only_the_named_edges_touch_files() -> None:
    """Only ``folder.disk`` (through ``folder.syscalls``) writes into the user's folder."""
    wrong = []
    for name, tree in modules().items():
        if within(name, DISK_WRITERS):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name) and called.id == "open":
                    wrong.append(f"{name}:{node.lineno} open()")
                if (
                    isinstance(called, ast.Attribute)
                    and called.attr in FILE_CALLS
                    and not ast.unparse(called.value).endswith("disk")  # HeapFolder's own verbs
                ):
                    wrong.append(f"{name}:{node.lineno} .{called.attr}()")
    assert not wrong


@pytest.mark.parametrize(("library", "place"), ONLY_IN.items())
def test_a_library_has_one_place(library: str, place: str) -> None:
    """Only document/ imports pycrdt, only markdown/ a parser, and so on."""
    users = [
        name
        for name, tree in modules().items()
        if any(imported.split(".")[0] == library for imported in imports(tree))
    ]
    assert [name for name in users if not within(name, {place})] == []


WRITES_OF_THE_UNIT_OF_WORK = {
    "blocks.acknowledge",
    "blocks.append",
    "blocks.insert",
    "blocks.quarantine",
    "blocks.restart_log",
    "blocks.unacknowledge",
    "blocks.update",
    "entries.add_alias",
    "entries.remove",
    "entries.save",
    "index.drop",
    "index.add_block",
    "index.put",
    "index.set_status",
}
"""What the index mirrors, in the cache and in memory: both change together, or neither."""


def test_what_the_index_mirrors_is_written_in_one_place() -> None:
    """Only the unit of work writes it; ``fetch`` also marks contents while no mirror runs."""
    wrong = []
    for name, tree in modules().items():
        if within(name, {"sync"}) and name not in {"sync.heap.unit_of_work", "sync.offline.fetch"}:
            calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
            wrong += [
                f"{name}:{c.lineno} {ast.unparse(c.func)}()"
                for c in calls
                if ".".join(ast.unparse(c.func).split(".")[-2:]) in WRITES_OF_THE_UNIT_OF_WORK
            ]
    assert not wrong


def test_bytes_reach_pycrdt_through_one_door() -> None:
    """Nobody but the door, which examines them, gives pycrdt an update or a state vector."""
    wrong = []
    for name, tree in modules().items():
        if name == DOOR:
            continue
        wrong += [
            f"{name} imports {imported}"
            for imported in imports(tree)
            if imported.startswith("pycrdt.") and imported.split(".")[-1] in TAKES_BYTES
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in TAKES_BYTES:
                wrong.append(f"{name}:{node.lineno} .{node.attr}")
        asks = {
            f"{name}:{node.lineno} .{node.func.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ASKS_ALONE
            and not node.args
            and not node.keywords
        }
        wrong = [found for found in wrong if found not in asks]
    assert not wrong


def test_documents_are_made_by_one_constructor() -> None:
    """Nobody but the door makes a document of yrs': each may come to hold foreign bytes."""
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if name != DOOR and isinstance(node, ast.Call) and _called(node) in MAKES_DOCUMENTS
    ]
    assert not wrong


def test_there_is_one_task_group() -> None:
    """Errors in any other would swallow a cancellation (``tasks``)."""
    wrong = [
        name
        for name, tree in modules().items()
        if name != "tasks"
        and any(
            isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.TaskGroup"
            for node in ast.walk(tree)
        )
    ]
    assert not wrong


def _called(node: ast.Call) -> str:
    found = node.func.value if isinstance(node.func, ast.Subscript) else node.func
    return found.attr if isinstance(found, ast.Attribute) else getattr(found, "id", "")


def test_edges_of_the_line_say_so() -> None:
    """A module of the line that does I/O begins its docstring with "Edge:"."""
    named = [edge for edge in EDGES if edge in modules() and edge not in {"server", "cli"}]
    unsaid = [n for n in named if not (ast.get_docstring(modules()[n]) or "").startswith("Edge:")]
    assert not unsaid


def test_modules_are_short() -> None:
    """No module is longer than a reader can hold, but for those with a reason."""
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text().splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {name for name, lines in lengths.items() if lines > MODULE_LINES} == set(LONG_MODULES)


@cache
def functions() -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function by its dotted name and the line it stands on."""
    found = {}

    def walk(name: str, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            inner = f"{name}.{child.name}" if hasattr(child, "name") else name
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found[f"{inner}:{child.lineno}"] = child
            walk(inner, child)

    for name, tree in modules().items():
        walk(name, tree)
    return found


def test_functions_are_short() -> None:
    """Half of the functions have at most ten lines, nearly all at most forty."""
    lengths = [(f.end_lineno or 0) - f.body[0].lineno + 1 for f in functions().values()]
    assert statistics.median(lengths) <= FUNCTION_LINES_MEDIAN
    assert statistics.quantiles(lengths, n=20)[-1] <= FUNCTION_LINES_P95


def test_no_function_is_long() -> None:
    """None has more than fifty lines of code below its docstring, but for those with a reason."""
    long = set()
    for place, function in functions().items():
        has_docstring = ast.get_docstring(function) is not None and len(function.body) > 1
        first = function.body[1 if has_docstring else 0].lineno
        if (function.end_lineno or 0) - first + 1 > FUNCTION_LINES_MAX:
            long.add(place.partition(":")[0])
    assert long == set(LONG_FUNCTIONS)


@cache
def modules_of_tests() -> dict[Path, ast.Module]:
    """Every module of the tests, by its path below ``tests/``."""
    paths = {path.relative_to(TESTS): path for path in sorted(TESTS.rglob("*.py"))}
    return {
        short: ast.parse(path.read_text(), str(path))
        for short, path in paths.items()
        if "node_modules" not in short.parts
    }


def test_a_test_stands_where_its_subject_stands() -> None:
    """``tests/a/test_b.py`` (or ``test_b_laws.py``) tests ``heapsyncd/a/b``; what spans modules is
    a promise.
    """
    wrong = []
    for path in modules_of_tests():
        subject = path.stem.removeprefix("test_").removesuffix("_laws")
        is_mirrored = path.stem.startswith("test_") and path.parts[0] not in NOT_MIRRORED
        if not is_mirrored or (path.parent == Path() and subject in OF_THE_PROJECT):
            continue
        if ".".join((*path.parent.parts, subject)) not in modules():
            wrong.append(str(path))
    assert not wrong


def test_no_test_imports_another() -> None:
    """What tests share stands in rigs and conftests."""
    wrong = [
        f"{path} imports {imported}"
        for path, tree in modules_of_tests().items()
        for imported in imports(tree)
        if imported.startswith("tests.") and re.search(r"\.test_\w+\.", f"{imported}.")
    ]
    assert not wrong


def test_no_module_is_ignored() -> None:
    """What ``.gitignore`` names is neither linted nor put into the wheel."""
    lines = (PACKAGE.parent / ".gitignore").read_text().splitlines()
    ignored = pathspec.GitIgnoreSpec.from_lines(lines)
    paths = [f"heapsyncd/{p.relative_to(PACKAGE)}" for p in PACKAGE.rglob("*.py")]
    assert list(ignored.match_files(paths)) == []


def test_every_module_says_what_it_is() -> None:
    """Each module has a docstring."""
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_the_error_tree_is_true() -> None:
    """The tree printed in ``errors.py`` holds every class, below its base, with its exit code."""
    printed: dict[str, tuple[str | None, int | None]] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│├└─ ]*)([A-Z]\w+)(?:\s|$)", line)
        if not match or (not match[1] and match[2] != "HeapsyncdError"):
            continue
        depth = len(match[1])
        path = [(d, n) for d, n in path if d < depth]
        code = re.search(r"exit (\d)$", line)
        printed[match[2]] = (path[-1][1] if path else None, int(code[1]) if code else None)
        path.append((depth, match[2]))
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.HeapsyncdError)
    }
    assert set(printed) == set(classes)
    for name, (base, exit_code) in printed.items():
        assert base is None or classes[name].__base__ is classes[base], name
        assert exit_code is None or classes[name].exit_code == exit_code, name

"""Real editors and servers leave the text of a file alone that stands in its document."""

from pathlib import Path

import pytest

from heapsyncd.document.replica import Replica
from heapsyncd.document.source import ROOT
from heapsyncd.ids import HeapId, new_block_id
from heapsyncd.model import Source
from tests.peers.household import Household
from tests.peers.people import Device as Socket
from tests.peers.programs import Judge, Program, encoded, faults
from tests.promises.exact import exact, put
from tests.promises.samples import BODIES, FRONTS, example_files
from tests.sync.merge.source_games import saved
from tests.sync.rig import Device, World

HEAP = HeapId("01HZX0000000000000000000HP")
SAMPLES = {**BODIES, **FRONTS}
EXAMPLES = example_files()
BATCHES = 4


def document(data: bytes) -> bytes:
    """The document of a new file, with its source if it needs one."""
    return saved([], b"", data, Replica(101), 101) or b"\0\0"


def source(state: bytes) -> Source | None:
    found = Replica.load([state]).source(1 << 20)
    assert found.problem is None
    return found.source


@pytest.mark.timeout(120)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_an_editor_takes_every_document_and_keeps_the_source(judge: Judge, batch: int) -> None:
    """It opens without an update; after typing the root has the same structs and says the same."""
    files = {**SAMPLES, **EXAMPLES}
    documents = {name: document(files[name]) for name in sorted(files)[batch::BATCHES]}
    verdicts = judge.verdicts([[update] for update in documents.values()])
    wrong = {n: faults(v) for n, v in zip(documents, verdicts, strict=True) if faults(v)}
    assert wrong == {}
    for name, update in documents.items():
        typed = judge.typed(update)
        structs = judge.structs(update, ROOT)
        assert bool(structs) == (source(update) is not None), name
        assert judge.structs(typed, ROOT) == structs, name
        assert source(typed) == source(update), name
    assert sum(source(update) is not None for update in documents.values()) > 20


async def test_servers_keep_it(hub: Program, people: Program, judge: Judge, major: int) -> None:
    """npm's server stores and loads a document with its source while somebody types into it."""
    port = (await hub.ask("start", major=major, tokens=["T"]))["port"]
    socket = await Socket.connect(people, "s", f"ws://127.0.0.1:{port}/ws", major)
    for data in SAMPLES.values():
        update, name = document(data), f"{HEAP}:{new_block_id()}:v1"
        await hub.ask("put", name=name, update=encoded(update))
        person = await socket.open(name, "T")
        assert (await person.synced())["repairs"] == 0
        await person.edit("type", block=0, text="typed ")
        shown = await person.saved()
        assert shown["repairs"] == 0
        state = await person.state()
        await hub.ask("wait", name=name, update=encoded(state))
        assert judge.structs(state, ROOT) == judge.structs(update, ROOT)
        assert source(state) == source(update)
        await person.leave()


@pytest.mark.timeout(120)
async def test_files_stay_exact_while_people_type(
    home: Household, people: Program, major: int, tmp_path: Path
) -> None:
    """What is typed in a real editor changes its own lines, the same on every device."""
    a, b = (Device(home.server, tmp_path / name, seed=home.seed) for name in "ab")
    await a.synced()
    put(a, {f"{name}.md": data for name, data in SAMPLES.items()})
    await a.synced()
    await b.synced()
    before = exact(a)
    assert exact(b) == before
    socket = await Socket.connect(people, "s", home.ws, major)
    typed = set()
    for title, block in (await World(home.server, home.heap, tmp_path).titles()).items():
        person = await socket.open(home.name(block), home.token)
        assert (await person.synced())["repairs"] == 0
        if await person.edit("type", block=-1, text="typed ", whole=True):
            typed.add(f"{title}.md")
            assert (await person.saved())["repairs"] == 0
        await person.leave()
    for device in (a, b, a):
        await device.synced()
    after = exact(a)
    assert exact(b) == after
    assert {path for path, data in after.items() if data != before[path]} == typed
    far = {
        path: len(changed)
        for path, data in after.items()
        if len(changed := set(data.splitlines()) - set(before[path].splitlines())) > 2
    }
    assert far == {}

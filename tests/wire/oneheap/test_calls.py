"""The calls of a mirror, against a service that takes what is documented and nothing else."""

from datetime import UTC, datetime

import pytest

from heapsyncd.errors import OutcomeUnknown, ProtocolError, RequestRefused
from heapsyncd.wire.answers import Most
from heapsyncd.wire.oneheap import calls as calls_module
from heapsyncd.wire.oneheap.calls import Calls, Search, taken
from heapsyncd.wire.oneheap.client import TooLarge
from heapsyncd.wire.oneheap.envelope import refused_fields
from heapsyncd.wire.oneheap.items import KINDS, Appointment, Comment, File, Task
from tests.oneheap.service import Oneheap

MOMENT = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
FIELDS: dict[str, dict[str, object]] = {
    "note": {"name": "N", "body": "a\r\nb ü\n", "tags": ["x", "a"]},
    "task": {"name": "T", "body": "b", "location": "L", "progress": 4, "dateEnd": MOMENT},
    "appointment": {"name": "A", "description": "d", "dateBegin": MOMENT, "priority": 3},
    "day": {"name": "D", "description": "d", "date": MOMENT},
    "file": {"name": "F", "filename": "a.txt", "data": "SGk=", "tags": ["t"]},
    "sticky": {"name": "S", "body": "b", "color": "#FFFFFF"},
    "box": {"name": "B", "description": "d", "tags": []},
    "comment": {"name": "C", "body": "b"},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_life_of_an_item(service: Oneheap, calls: Calls, kind: str) -> None:
    """Made, read, changed, archived and deleted; the answer is the whole item each time."""
    fields = dict(FIELDS[kind])
    if kind == "comment":
        fields["targetId"] = service.add("note")
    made = await calls.create(kind, fields)
    assert type(made) is KINDS[kind].shape
    assert made.missing.isdisjoint({"body", "name", "modified"} & set(made.__struct_fields__))
    assert await calls.item(kind, made.id) == made
    for name in set(fields) & {"name", "body", "description", "location", "color"}:
        assert getattr(made, name) == fields[name]
    changed = await calls.update(kind, made.id, {"name": "new"})
    assert (changed.id, changed.name) == (made.id, "new")
    await calls.archive(made.id)
    archived = await calls.item(kind, made.id)
    assert archived is not None
    assert archived.archived
    assert await calls.unarchive(made.id)
    assert not await calls.unarchive(made.id)
    assert await calls.delete(kind, made.id)
    assert not await calls.delete(kind, made.id)
    assert await calls.item(kind, made.id) is None


async def test_dates_and_null(service: Oneheap, calls: Calls) -> None:
    """Written as documented, read as instants; null clears, and the others stay."""
    box = service.add("box", name="B")
    made = await calls.create("task", {"name": "T", "dateBegin": MOMENT, "boxId": box})
    assert isinstance(made, Task)
    assert (made.date_begin, made.box_id, made.completed) == (MOMENT, box, None)
    changed = await calls.update("task", made.id, {"completed": MOMENT, "boxId": None})
    assert isinstance(changed, Task)
    assert (changed.completed, changed.box_id, changed.date_begin) == (MOMENT, None, MOMENT)


@pytest.mark.parametrize(
    "taken_by_service", [{"priotity"}, {"priority"}, {"priority", "priotity"}]
)
async def test_a_tasks_priority(
    service: Oneheap, calls: Calls, taken_by_service: set[str]
) -> None:
    """In both spellings; what the service refuses is not sent again."""
    service.task_priorities = taken_by_service
    id_ = service.add("task")
    for priority in (5, 6):
        changed = await calls.update("task", id_, {"priority": priority, "name": "x"})
        assert isinstance(changed, Task)
        assert changed.priority == priority
    updates = service.seen("POST", f"/Tasks/{id_}/")
    assert len(updates) == 2 + (len(taken_by_service) == 1)
    assert {*updates[-1].arguments} == {"name", *taken_by_service}


async def test_a_priority_that_is_wrong(service: Oneheap, calls: Calls) -> None:
    """Its value is refused, not its name: nothing is learnt from that."""
    id_ = service.add("task")
    service.fail("refuse", "POST", "/Tasks/", status=400, fields=["priority", "priotity"])
    with pytest.raises(RequestRefused):
        await calls.update("task", id_, {"priority": 1})
    await calls.update("task", id_, {"priority": 2})
    assert {*service.requests[-1].arguments} == {"priority", "priotity"}


async def test_pages(service: Oneheap, calls: Calls) -> None:
    """All of them, by the number that was received, though the service cuts a page."""
    ids = [service.add("note", name=str(k)) for k in range(1203)]
    pages = [page async for page in calls.pages(Search(types=("note",)), 1000)]
    assert [page.received for page in pages] == [500, 500, 203]
    assert {page.count for page in pages} == {1203}
    assert sorted(item.id for page in pages for item in page.items) == sorted(ids)
    (nothing,) = [page async for page in calls.pages(Search(types=("task",)))]
    assert nothing.received == 0
    oldest = await calls.search(Search(), 0, 1, oldest_first=True)
    assert oldest.received == 1


async def test_a_page_of_large_texts_is_halved(
    service: Oneheap, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it fits; one item that is too large alone is an error."""
    most = Most(60_000, 10_000)
    monkeypatch.setattr(calls_module, "LIST_MOST", most)
    for _ in range(20):
        service.add("note", body="x" * 10_000)
    pages = [page async for page in calls.pages(Search(), 16)]
    assert [page.received for page in pages] == [4] * 5
    service.add("note", body="x" * 70_000)
    with pytest.raises(TooLarge):
        _ = [page async for page in calls.pages(Search(), 16)]


async def test_conditions_of_a_search(service: Oneheap, calls: Calls) -> None:
    """All hold together; the archive is searched apart."""
    box = service.add("box")
    inside = service.add("note", boxId=box, tags=["a", "b"])
    service.add("note", boxId=box)
    old = service.add("task", boxId=box)
    service.archive(old)

    async def ids(**conditions: object) -> set[str]:
        page = await calls.search(Search(**conditions))  # type: ignore[arg-type]  # a table
        return {item.id for item in page.items}

    assert await ids(box_id=box, tags=("a",)) == {inside}
    assert await ids(box_id=box, archived=True) == {old}
    assert len(await ids(types=("note", "box"), exclude_ids=(inside,))) == 2
    assert [item.id for item in await calls.found([old, "gone", inside])] == [inside, old]


async def test_a_file_is_read_without_its_content(service: Oneheap, calls: Calls) -> None:
    """The route that reads one would answer all of it."""
    id_ = service.add("file", name="a", data="SGk=")
    found = await calls.item("file", id_)
    assert isinstance(found, File)
    assert found.size == 2
    assert service.seen("GET", f"/Files/{id_}/") == []
    assert len(service.seen("POST", "/Searches/")) == 1


async def test_the_lists(service: Oneheap, calls: Calls) -> None:
    """Four collections have one."""
    for kind in ("note", "task", "appointment", "box"):
        id_ = service.add(kind)
        assert [item.id for item in (await calls.listed(kind, 0, 5)).items] == [id_]
    with pytest.raises(ValueError, match="not a documented route"):
        await calls.listed("day")


@pytest.mark.parametrize("known", [set(KINDS), {"note", "task"}, set(KINDS) - {"day", "note"}])
async def test_everything_is_listed(service: Oneheap, calls: Calls, known: set[str]) -> None:
    """By one search, or by the list routes and one search a type: all but what no route has."""
    service.known_types = known
    for kind in KINDS:
        service.add(kind)
        service.archive(service.add(kind))
    await calls.learn_types()
    assert len(service.seen("POST", "/Searches/")) == (1 if known == set(KINDS) else 9)
    listed = {"note", "task", "appointment", "box"}
    for archived, expected in ((False, known | listed), (True, known)):
        listings = calls.listings(archived=archived)
        assert len(listings) == 1 if known == set(KINDS) else len(expected)
        pages = [await calls.page(listing, 0, 3) for listing in listings]
        rest = [await calls.page(listing, 3) for listing in listings]
        found = [item for page in (*pages, *rest) for item in page.items]
        assert sorted(item.type for item in found) == sorted(expected)
        assert {item.archived for item in found} == {archived}
        assert sum(page.count or 0 for page in pages) == len(expected)


async def test_another_refusal_says_nothing_about_types(service: Oneheap, calls: Calls) -> None:
    """It is raised."""
    service.fail("refuse", "POST", "/Searches/", status=400, fields=["limit"])
    with pytest.raises(RequestRefused) as error:
        await calls.learn_types()
    assert refused_fields(error.value) == {"limit"}


@pytest.mark.parametrize("kind", ["note", "task", "appointment", "day", "comment"])
async def test_attachments(service: Oneheap, calls: Calls, kind: str) -> None:
    """Attached without a name, named, put in order, read and removed."""
    owner = service.add(kind)
    (first,) = await calls.attach(kind, owner, b"one")
    (second,) = await calls.attach(kind, owner, bytes(range(256)))
    assert isinstance(first, File)
    assert (first.parent_id, first.size) == (owner, 3)
    await calls.update("file", first.id, {"name": "a.txt", "filename": "a.txt"})
    await calls.order_files(kind, owner, [second.id, first.id])
    (item,) = await calls.found([owner])
    assert [(file.id, file.filename) for file in item.files] == [
        (second.id, ""),
        (first.id, "a.txt"),
    ]
    assert await calls.content(second.id, 256) == bytes(range(256))
    assert await calls.detach(kind, owner, first.id)
    assert not await calls.detach(kind, owner, first.id)
    assert list(service.store.contents) == [second.id]


async def test_a_file_that_is_larger_than_expected(service: Oneheap, calls: Calls) -> None:
    """It is not read beyond what was asked for."""
    (file,) = await calls.attach("note", service.add("note"), b"x" * 3_000_000)
    with pytest.raises(TooLarge):
        await calls.content(file.id, 1000)
    with pytest.raises(TooLarge, match="more than 2999999 bytes"):
        await calls.content(file.id, 2_999_999)
    assert len(await calls.content(file.id, 3_000_000)) == 3_000_000


async def test_a_file_that_is_too_large_for_the_service(service: Oneheap, calls: Calls) -> None:
    """413 is a refusal: nothing was made."""
    service.store.max_bytes = 10
    with pytest.raises(RequestRefused) as error:
        await calls.attach("note", service.add("note"), b"x" * 11)
    assert error.value.status == 413
    assert service.store.of("file") == []


async def test_reminders(service: Oneheap, calls: Calls) -> None:
    """One at creation, others later, each with its id."""
    made = await calls.create("appointment", {"name": "A", "reminder": MOMENT})
    await calls.add_reminder("appointment", made.id, {"date": MOMENT, "description": "go"})
    item = await calls.item("appointment", made.id)
    assert isinstance(item, Appointment)
    first, second = item.reminders
    assert (first.date, second.description) == (MOMENT, "go")
    assert await calls.remove_reminder("appointment", made.id, first.id)
    assert not await calls.remove_reminder("appointment", made.id, first.id)
    task = service.add("task")
    await calls.add_reminder("task", task, {"date": MOMENT, "type": "fixed"})
    assert len(service.store.get(task)["reminders"]) == 1


async def test_child_tasks(service: Oneheap, calls: Calls) -> None:
    """Added, listed and separated."""
    parent, child = service.add("task"), service.add("task")
    await calls.add_child(parent, child)
    (found,) = (await calls.children(parent)).items
    assert isinstance(found, Task)
    assert (found.id, found.parent_id) == (child, parent)
    assert await calls.remove_child(parent, child)
    assert not await calls.remove_child(parent, child)


async def test_replies(service: Oneheap, calls: Calls) -> None:
    """A comment on a comment."""
    first = await calls.create("comment", {"body": "a", "targetId": service.add("note")})
    reply = await calls.create("comment", {"body": "b", "targetId": first.id})
    assert isinstance(reply, Comment)
    assert reply.target_id == first.id


async def test_a_deletion_whose_answer_is_lost(service: Oneheap, calls: Calls) -> None:
    """Repeated, it finds nothing: that was wanted."""
    id_ = service.add("note")
    service.fail("lose", "DELETE", "/Notes/")
    assert not await calls.delete("note", id_)
    assert service.store.items == {}


async def test_an_answer_without_the_item(service: Oneheap, calls: Calls) -> None:
    """A creation was done, so it is looked for; an update can be made again."""
    service.fail("empty", "POST", "/Notes/", times=2)
    with pytest.raises(OutcomeUnknown):
        await calls.create("note", {"name": "a"})
    with pytest.raises(ProtocolError, match="empty"):
        await calls.update("note", service.add("note"), {"name": "b"})
    assert len(service.store.of("note")) == 2


def test_what_a_creation_takes() -> None:
    """Some fields can only be changed afterwards."""
    day, task = KINDS["day"], KINDS["task"]
    assert taken(day, is_new=False) - taken(day, is_new=True) == {"boxId", "image"}
    assert taken(task, is_new=False) - taken(task, is_new=True) == {"completed"}
    assert "priority" in taken(task, is_new=False)
    assert "priotity" not in taken(task, is_new=False)


async def test_all_boxes(service: Oneheap, calls: Calls) -> None:
    """However many pages there are; what is no box is not among them."""
    service.add("note", name="Note")
    ids = [service.add("box", name=f"Box {n}") for n in range(501)]
    assert {place.id: place.title for place in await calls.boxes()} == {
        id_: f"Box {n}" for n, id_ in enumerate(ids)
    }
    assert len(service.seen("GET", "/Boxes/")) == 2

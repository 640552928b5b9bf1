"""What a restored server forgot is said again on its earlier document."""

from dataclasses import dataclass

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.merge.rebase import rebase

BACKUP = "amber birch\n\ncloud delta\n"


@dataclass
class Log:
    """A document's updates."""

    updates: list[bytes]

    def edit(self, body: str | None = None, **values: object) -> None:
        target = Target(body=None if body is None else parse(body, NO_LINKS), **values)  # type: ignore[arg-type]
        self.updates.append(express(self.updates, target).update or EMPTY)

    def state(self) -> bytes:
        return Replica.load(self.updates).state()


def told(here: Log, unsent: Log, there: Log) -> Replica:
    everything = [*here.updates, *unsent.updates[len(here.updates) :]]
    made = rebase(here.updates, everything, there.state(), 7)
    return Replica.load([made.state, made.local or EMPTY])


def begun(body: str) -> Log:
    log = Log([])
    log.edit(body, title="Note")
    return log


def test_texts_of_all_times() -> None:
    """What was acknowledged after the backup, what is unsent, and what was typed there since."""
    here = begun("amber NEW birch\n\n- cloud delta\n")
    unsent = Log(list(here.updates))
    unsent.edit("amber NEW birch UNSENT\n\n- cloud delta\n")
    there = begun(BACKUP.replace("delta", "delta THERE"))
    assert told(here, unsent, there).view().words() == "amber NEW birch UNSENT\ncloud delta THERE"


def test_nothing_to_say() -> None:
    """A document that says the same gets no edit."""
    here = begun(BACKUP)
    assert rebase(here.updates, here.updates, begun(BACKUP).state(), 7).local is None


def test_fields() -> None:
    """Our title and place count; a title or a tag there is no reason to lose either's."""
    tag, old = BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTA"), BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTB")
    here, there = begun(BACKUP), begun(BACKUP)
    here.edit(title="Renamed", add_tags=frozenset({tag}))
    there.edit(add_tags=frozenset({old}))
    fields = told(here, here, there).fields()
    assert (fields.title, fields.tags) == ("Renamed", (tag,))
    untitled = Log([])
    untitled.edit(BACKUP)
    assert told(untitled, untitled, there).fields().title == "Note"


def test_a_confirmed_deletion_stays_confirmed() -> None:
    """One's other devices are told on the earlier document too, whether it was sent or not."""
    here, there = begun(BACKUP), begun(BACKUP)
    unsent = Log(list(here.updates))
    unsent.edit(deleted_at_ms=7, confirmations=(("me", "code"),))
    for acknowledged in (here, unsent):
        done = told(acknowledged, unsent, there)
        assert done.fields().deleted_at_ms == 7
        assert done.confirmations() == {"me": "code"}

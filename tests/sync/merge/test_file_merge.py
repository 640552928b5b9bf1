"""Documents without a common history are merged by the files that show them."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heapsyncd.diff.three import merge_texts
from heapsyncd.document.edit import Target, express, express_source
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import joined
from heapsyncd.markdown.front_lines import Owner
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.model import MergedFile
from heapsyncd.sync.merge.file_merge import merge_by_files, shown_by
from heapsyncd.sync.merge.note_text import Note, reexpress

NOBODY = Owner(lambda _: False)
FILE = "---\ntype: task\ntags: [b, a]\nprogress: 50\n---\n* one\n* two\n"
LINES = st.sampled_from(
    ["* one", "- two", "  three", "", "a b c", "---", "type: task", "tags: [x]", "d: [", "# H",
     "[[Name]]", "1) x", "text\\", "&amp;", "<b>x</b>", "| a | b |", "id: x", "title: T"]
)  # fmt: skip


def merge(base: bytes, ours: bytes, theirs: bytes) -> MergedFile:
    made = merge_texts(base.decode() or None, theirs.decode(), ours.decode())
    return MergedFile(made.text.encode(), tuple(c.second for c in made.contested))


def document(text: str, title: str = "T") -> bytes:
    """A fresh document of a file."""
    note = Note.of(text.encode())
    made = express([], Target(note.view(NO_LINKS), title)).update
    assert made is not None
    source = note.file(NOBODY).source
    sent = express_source([made], lambda _: source, live=Replica.load([made]))
    return joined([made, sent]) or b""


def file(*updates: bytes) -> str:
    return shown_by(Replica.load(updates)).decode()


@example(["---", "---", "---", "type: task", "---", "x"], "\n")
@example(["---", "type: task", "id: x", "---", "* one"], "\n")
@given(st.lists(LINES, max_size=9), st.sampled_from(["\n", "\r\n", ""]))
def test_a_document_shows_the_file_it_was_made_of(lines: Sequence[str], end: str) -> None:
    """Byte for byte; only a block of front matter that says nothing may be left out."""
    text = (end or "\n").join(lines) + end
    shown = file(document(text))
    assert shown in {text, text.removeprefix("---\r\n---\r\n").removeprefix("---\n---\n")}
    again, note = Note.of(shown.encode()), Note.of(text.encode())
    assert (again.body, again.front.id_values) == (note.body, note.front.id_values)


def edited(before: bytes, text: str) -> list[bytes]:
    """The log of a document whose file was changed to a text."""
    live = Replica.load([before])
    shown = shown_by(live)
    made = merge_by_files(lambda *_: MergedFile(text.encode()), shown, text.encode(), shown)
    update = made.apply_to(live, [before], Target())
    return [before] if update is None else [before, update]


TEXTS = st.lists(LINES, max_size=6).map(lambda lines: "".join(f"{line}\n" for line in lines))


@given(TEXTS, TEXTS, TEXTS)
def test_unsent_edits_on_a_fresh_document(old: str, ours: str, theirs: str) -> None:
    """It shows the merged file, and nothing is unsent if that is the server's."""
    log, fresh = edited(document(old), ours), document(theirs)
    made = reexpress(log[:1], log, fresh, 7, merge)
    if len(log) == 1:
        assert made.local is None
        return
    wanted = merge(*(file(*u).encode() for u in (log[:1], log, [fresh])))
    local = [] if made.local is None else [made.local]
    assert Note.of(file(fresh, *local).encode()).file(NOBODY) == Note.of(wanted.data).file(NOBODY)
    assert (made.local is None) == (wanted.data == file(fresh).encode())
    assert made.notices == wanted.notices


def test_a_title_is_unsent_although_the_text_is_the_servers() -> None:
    """Fields are carried over as ever."""
    before = document(FILE)
    log = edited(before, FILE.replace("two", "three"))
    live = Replica.load(log)
    titled = express(log, Target(title="Mine"), live=live).update
    assert titled is not None
    fresh = document(FILE.replace("two", "three"))
    made = reexpress([before], [*log, titled], fresh, 7, merge)
    assert made.local is not None
    assert Replica.load([fresh, made.local]).fields().title == "Mine"
    assert len(made.local) < 100


@given(TEXTS, TEXTS)
def test_without_a_base_every_line_is_kept(ours: str, theirs: str) -> None:
    """A line that both have stands once if it is at one place; no line of either is lost."""
    here, there = (file(document(text)).encode() for text in (ours, theirs))
    made = merge_by_files(merge, b"", here, there)
    text = there.decode()
    if made.source is not None and made.body is not None:
        live = Replica.load([document(theirs)])
        made.apply_to(live, [live.state()], Target())
        text = shown_by(live).decode()
    for side in (here, there):
        assert set(side.decode().split("\n")) - {"", "---"} <= set(text.split("\n"))
    if here == there:
        assert made.body is None


@pytest.mark.parametrize("mode", ["space", "break"])
def test_line_breaks_stay_what_they_mean(mode: str) -> None:
    """The merged file means by a line end what the server's document means."""
    fresh = document("a\nb\n")
    live = Replica.load([fresh])
    theirs, ours = shown_by(live), b"a\nb\nc\n"
    made = merge_by_files(merge, theirs, ours, theirs, mode)  # type: ignore[arg-type]
    assert made.source is not None
    assert made.source.line_breaks == mode

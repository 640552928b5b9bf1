"""A note's file and the source kept in its document: laws of the pure functions."""

import json
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from msgspec.structs import replace

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.source import ALLOWED_BYTES
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.front_lines import OurKeys
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import Lines, StoredSource
from heapsyncd.sync.merge.note_file import lacks_source, owner_of_title, shown_file
from heapsyncd.sync.merge.note_source import (
    apply_changes,
    read_source,
    source_after,
    source_update,
)
from heapsyncd.tree import Block, attrs
from tests.document.writers import PLAY, RANDOMS, Writer
from tests.markdown.conftest import documents
from tests.promises.samples import FRONTS
from tests.sync.merge.front_games import FrontGame
from tests.sync.merge.source_games import (
    ID,
    OURS,
    Device,
    Game,
    body_of,
    compacted,
    saved,
    shown,
    styled_note,
    taken,
)

DATA = Path(__file__).parents[2] / "data" / "markdown"


def says(data: bytes) -> OurKeys:
    """Return the values of our keys for a file whose tags are the note's."""
    return OurKeys(ID, None, frontmatter.split(data.decode().removeprefix("\ufeff"))[0].tags or ())


def started(data: bytes) -> tuple[list[bytes], bytes]:
    """Make a note of a file; return its log, and the file with our id in it."""
    ours = says(data)
    update = saved([], b"", data, Replica(101), 101, ours)
    log = [] if update is None else [update]
    return log, shown(log, ours)


def unmarked(data: bytes) -> bytes:
    """Return a file without our id, and without front matter that would be empty then."""
    text = re.sub(rf"^(id|heaper_id): {ID}\r?\n", "", data.decode(), flags=re.MULTILINE)
    return re.sub(r"\A(\ufeff?)---\r?\n---\r?\n", r"\1", text).encode()


# ---- the file of a state ----------------------------------------------------------------------


def test_every_example_is_shown_byte_for_byte() -> None:
    """All examples of CommonMark and GFM; only our id is added."""
    files = [json.loads((DATA / name).read_text()) for name in ("commonmark.json", "gfm.json")]
    texts = [e["markdown"] for file in files for e in file["examples"]]
    texts = [text for text in texts if "\0" not in text]
    assert len(texts) > 700
    wrong = []
    for text in texts:
        _, file = started(text.encode())
        if text.encode() not in {unmarked(file), file.replace(f"id: {ID}\n".encode(), b"")}:
            wrong.append(text)
    assert wrong == []


def test_a_note_whose_file_is_a_rendering_has_no_source() -> None:
    """Its document does not grow."""
    data = f"---\nid: {ID}\ntags: [a]\n---\n# Title\n\nWords **here**.\n\n- a\n- b\n".encode()
    log, file = started(data)
    assert file == data
    assert Replica.load(log).source(1 << 20) == StoredSource()


def test_a_word_typed_in_the_app_changes_only_itself() -> None:
    """The file is the source patched; nothing else of it changes."""
    log, file = started(styled_note(Writer("B", Random(1)), "---\nstatus: x\n---\n"))
    for word in parse(body_of(file), NO_LINKS).words().split():
        typed = f"typed{word}"
        target = parse(body_of(file).replace(word, typed, 1), NO_LINKS)
        update = express(log, Target(body=target)).update
        assert update is not None
        assert shown([*log, update]) == file.replace(word.encode(), typed.encode(), 1)


def test_a_save_writes_only_its_own_words_into_the_source() -> None:
    """It does not write the app's, because two devices would both write them."""
    log, file = started(styled_note(Writer("B", Random(1))))
    words = parse(body_of(file), NO_LINKS).words().split()
    target = parse(body_of(file).replace(words[0], f"{words[0]} typed", 1), NO_LINKS)
    log.append(express(log, Target(body=target)).update or b"")
    devices = [Device(k, log.copy()) for k in (201, 301)]
    for device, word in zip(devices, (words[3], words[6]), strict=True):
        device.show()
        edited = f"{word} saved".encode()
        update = device.save(lambda text, w=word, e=edited: text.replace(w.encode(), e, 1))  # type: ignore[misc]
        assert update is not None
        log.append(update)
    found = read_source(Replica.load(log), Replica.load(log).view, NO_LINKS).source
    assert found is not None
    assert "typed" not in found.body
    assert found.body.count("saved") == 2
    assert shown(log).count(b"typed") == 1


def test_the_next_save_removes_what_the_app_deleted_from_the_source() -> None:
    """Until then the source contains it."""
    log, file = started(styled_note(Writer("B", Random(1))))
    view = parse(body_of(file), NO_LINKS)
    gone = view.children[0].words().split()[0]
    target = view.with_children(view.children[1:])
    log.append(express(log, Target(body=target)).update or b"")
    device = Device(201, log)
    device.show()
    assert gone.encode() not in device.file
    assert gone in Replica.load(log).source(1 << 20).source.body  # type: ignore[union-attr]
    device.save(lambda text: text + b"\nmore\n")
    assert gone not in Replica.load(log).source(1 << 20).source.body  # type: ignore[union-attr]
    assert device.file.endswith(b"more\n")


def test_a_source_too_long_for_its_note_is_refused() -> None:
    """There is a reason, and the file is a rendering."""
    log, _ = started(b"* one\n" * 2)
    device = Device(201, log)
    device.show()
    huge = "\n[x]: /u\n" * (ALLOWED_BYTES // 8)
    device.save(lambda text: text + huge.encode())
    replica = Replica.load(log)
    found = read_source(replica, replica.view, NO_LINKS)
    assert found.source is None
    assert found.problem
    assert b"- one" in shown(log)


# ---- without a source, or without a base -------------------------------------------------------


def test_a_source_that_a_server_dropped_is_put_back() -> None:
    """By a device whose file is not a rendering; two devices at once do not double it."""
    log, file = started(styled_note(Writer("B", Random(2)), "---\na: 1\n---\n"))
    state = compacted(log, keeps_source=False)
    replica = Replica.load([state])
    view, found = replica.view(), read_source(replica, replica.view, NO_LINKS)
    assert lacks_source(found, file, view, OURS, NO_LINKS)
    rendering = shown_file(None, view, OURS, NO_LINKS)
    assert not lacks_source(found, rendering, view, OURS, NO_LINKS)
    back = [saved([state], file, file, Replica.load([state]), k) for k in (401, 501)]
    assert shown([state, *(u for u in back if u is not None)]) == file
    kept = Replica.load([compacted(log, keeps_source=True)])
    assert not lacks_source(read_source(kept, kept.view, NO_LINKS), file, view, OURS, NO_LINKS)


def test_without_a_base_the_keys_of_both_are_kept() -> None:
    """Lists get the items of both; of other values the document's is kept."""
    current = taken(b"---\na: 1\nl:\n  - x\n  - y\nonly: d\n---\n* words\n")
    file = taken(b"---\na: 2\nl:\n  - x\n  - z\n# c\nmine: f\n---\n* words\n")
    found = source_after(None, file, current, OURS, NO_LINKS, parse(file.body, NO_LINKS))
    assert found is not None
    text = shown_file(found, parse("* words\n", NO_LINKS), OURS, NO_LINKS).decode()
    assert text == (
        f"---\nid: {ID}\na: 1\nl:\n  - x\n  - y\n  - z\nonly: d\n# c\nmine: f\n---\n* words\n"
    )


def test_without_a_base_the_document_keeps_its_words() -> None:
    """The saved body is taken only if the document shows it."""
    log, file = started(b"* one\n* two\n")
    replica = Replica.load(log)
    other = taken(file.replace(b"two", b"three") + b"\n***\n")
    view, now = parse(other.body, NO_LINKS), replica.view()
    args = (log, None, other, OURS, NO_LINKS, view)
    assert source_update(*args, live=replica, client_id=5, after=now) is None
    update = source_update(*args, live=replica, client_id=5)
    assert update is not None
    found = Replica.load([*log, update]).source(1 << 20).source
    assert found is not None
    assert found.body == other.body


@example(Block("doc", children=(Block("code", attrs(info="a`b"), text="    "),)))
@given(documents)
def test_a_rendering_needs_no_source(tree: Block) -> None:
    """Neither a note in our own style, nor one made in the app and saved here."""
    rendering = taken(shown_file(None, tree, OURS, NO_LINKS))
    view = parse(rendering.body, NO_LINKS)
    again = taken(shown_file(None, view, OURS, NO_LINKS))
    assert source_after(None, again, None, OURS, NO_LINKS, view) is None


def test_other_line_breaks_need_a_source() -> None:
    """Also where the file is a rendering: every device has to read it in the same way."""
    file = taken(b"words\n")
    view = parse(file.body, NO_LINKS)
    assert source_after(None, file, None, OURS, NO_LINKS, view) is None
    broken = replace(file, line_breaks="break")
    assert source_after(None, broken, None, OURS, NO_LINKS, view) == broken


# ---- whose keys -------------------------------------------------------------------------------


def test_who_owns_a_title() -> None:
    """We do, if it is in the file but not in the source; in other files if it is the title."""
    front = "---\ntitle: A\n---\n"
    assert owner_of_title(front, None) == "title"
    assert owner_of_title(front, taken(b"---\nb: 1\n---\n")) == "title"
    assert owner_of_title(front, taken(b"---\ntitle: A\n---\n")) is None
    assert owner_of_title("", None) is None
    assert owner_of_title(front, None, lambda: " A") == "title"
    assert owner_of_title(front, None, lambda: "B") is None
    beside = "---\ntitle: Mine\nheaper_title: A/b\n---\n"
    assert owner_of_title(beside, None, lambda: "A/b") == "heaper_title"
    both = "---\nheaper_title: A/b\ntitle: A\n---\n"
    assert owner_of_title(both, taken(b"---\ntitle: A\n---\n")) == "heaper_title"


OWN_SPELLING = f"---\na: 1\n# which\nid: '{ID}' # mine\nb: 2\n---\n* x\n"
FILES = FRONTS | {"our id, in an own spelling": OWN_SPELLING.encode()}


@pytest.mark.parametrize("name", FILES)
def test_front_matter_of_other_programs_is_kept(name: str) -> None:
    """A second device shows the same file, and saves from both change only what was typed."""
    data = FILES[name]
    ours = says(data)
    log, file = started(data)
    lines = [line for line in file.splitlines(keepends=True) if ID.encode() not in line]
    expected = [line for line in data.splitlines(keepends=True) if ID.encode() not in line]
    assert lines == expected or unmarked(file) == data
    replica = Replica.load(log)
    assert replica.fields().title == ""
    text = file
    for k in range(5):
        body = body_of(text)
        new = text if not body else text + f"save {k}\n\n".encode()
        update = saved(log, text, new, Replica.load(log), 101, ours)
        log += [update] if update is not None else []
        assert shown(log, ours) == new
        text = new
    elsewhere = text + b"\nword\n"
    update = saved(log, text, elsewhere, Replica.load(log), 201, ours)
    assert update is not None
    assert shown([*log, update], ours) == elsewhere


# ---- games ------------------------------------------------------------------------------------


def check(game: Game) -> None:
    files = game.files
    assert len(set(files)) == 1, "all devices show the same bytes"
    assert parse(body_of(files[0]), NO_LINKS) == game.tree, "the file reads as the document"
    assert game.doubled() == [], "the file has no word more often than the tree"
    replica = Replica.load(game.said)
    assert read_source(replica, replica.view, NO_LINKS).problem is None


@pytest.mark.slow
@PLAY
@given(RANDOMS)
def test_devices_and_the_app_converge(random: Random) -> None:
    """To the same bytes, after saves, stale saves and the app's edits in any order."""
    game = Game(random)
    game.play(random.randint(3, 10))
    check(game)


@pytest.mark.slow
@PLAY
@given(RANDOMS)
def test_devices_converge_without_the_app(random: Random) -> None:
    """To the same bytes."""
    game = Game(random, uses_app=False)
    game.play(random.randint(3, 10))
    check(game)


@pytest.mark.slow
@PLAY
@given(RANDOMS)
def test_concurrent_edits_of_front_matter_lose_nothing(random: Random) -> None:
    """It stays valid YAML, with comments and items of both and with what one side changed."""
    game = FrontGame(random)
    assert len(set(game.files)) == 1
    assert game.is_valid()
    assert game.wrong() == []
    assert game.lost("#") == set()
    assert game.lost("- ") == set()


def test_unsent_edits_are_applied_to_a_document_made_anew() -> None:
    """Others' edits of it are kept."""
    before = taken(b"---\na: 1\nl:\n  - x\n---\n* one\n* two\n")
    ours = taken(b"---\na: 2\nl:\n  - x\n---\n* one\n* two OURS\n")
    there = taken(b"---\na: 1\nl:\n  - x\n  - y\n---\n* one THEIRS\n* two\n")
    found = apply_changes(before, ours, there)
    assert found == taken(b"---\na: 2\nl:\n  - x\n  - y\n---\n* one THEIRS\n* two OURS\n")


def test_front_matter_is_shown_as_it_was_saved() -> None:
    """Also where the source has merged lines that the author did not see."""
    current = replace(taken(b"* x\n"), front={"a": Lines("a: 1\na: 2\n")}, order=("a",))
    view = parse("* x\n", NO_LINKS)
    seen = shown_file(current, view, OURS, NO_LINKS)
    assert b"\na: 2\n" in seen
    new = seen.replace(b"a: 2\n", b"a: 2\nb: 1\n")
    found = source_after(taken(seen), taken(new), current, OURS, NO_LINKS, view)
    assert found is not None
    assert shown_file(found, view, OURS, NO_LINKS) == new

"""A note's file and the source that travels with its document: pure laws, no engine."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.front_lines import OurKeys
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import Lines, StoredSource
from heapsyncd.sync.merge.note_source import (
    carried,
    is_lacking,
    owner_of_title,
    shown_file,
    source_after,
    stored,
)
from tests.document.writers import Writer
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
EXAMPLES = int(os.environ.get("HEAPSYNCD_EXAMPLES", "40"))
"""More of them are for a run by hand."""
PLAY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
RANDOMS = st.randoms(use_true_random=False)


def says(data: bytes) -> OurKeys:
    """What our keys say for a file: its tags are the note's."""
    return OurKeys(ID, None, frontmatter.split(data.decode().removeprefix("\ufeff"))[0].tags or ())


def started(data: bytes) -> tuple[list[bytes], bytes]:
    """A note made of a file: its log, and the file with our id in it."""
    ours = says(data)
    update = saved([], b"", data, Replica(101), 101, ours)
    log = [] if update is None else [update]
    return log, shown(log, ours)


def unmarked(data: bytes) -> bytes:
    """A file without our line, and without the block that only it made."""
    text = re.sub(rf"^(id|heaper_id): {ID}\r?\n", "", data.decode(), flags=re.MULTILINE)
    return re.sub(r"\A(\ufeff?)---\r?\n---\r?\n", r"\1", text).encode()


# ---- the file of a state ----------------------------------------------------------------------


def test_every_example_is_the_same_file_elsewhere() -> None:
    """Of CommonMark and GFM, byte for byte but for our id."""
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


def test_a_note_that_a_rendering_shows_has_no_source() -> None:
    """Documents made in the app, and files like them, stay as small as they were."""
    data = f"---\nid: {ID}\ntags: [a]\n---\n# Title\n\nWords **here**.\n\n- a\n- b\n".encode()
    log, file = started(data)
    assert file == data
    assert Replica.load(log).source(1 << 20) == StoredSource()


def test_another_word_in_the_app_changes_its_own_line() -> None:
    """The source is patched, and nothing is written back."""
    log, file = started(styled_note(Writer("B", Random(1)), "---\nstatus: x\n---\n"))
    for word in parse(body_of(file), NO_LINKS).words().split():
        typed = f"typed{word}"
        target = parse(body_of(file).replace(word, typed, 1), NO_LINKS)
        update = express(log, Target(body=target)).update
        assert update is not None
        assert shown([*log, update]) == file.replace(word.encode(), typed.encode(), 1)


def test_a_save_after_that_writes_its_own_words_alone() -> None:
    """Not those of the app, which another device would write, too."""
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
    found = stored(Replica.load(log), Replica.load(log).view(), NO_LINKS).source
    assert found is not None
    assert "typed" not in found.body
    assert found.body.count("saved") == 2
    assert shown(log).count(b"typed") == 1


def test_what_the_app_deleted_leaves_the_source_with_the_next_save() -> None:
    """Until then it can be read there."""
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


def test_a_long_source_is_refused_for_a_short_note() -> None:
    """A rendering is shown, and the reason told."""
    log, _ = started(b"* one\n" * 2)
    device = Device(201, log)
    device.show()
    huge = "\n[x]: /u\n" * 20_000
    device.save(lambda text: text + huge.encode())
    replica = Replica.load(log)
    found = stored(replica, replica.view(), NO_LINKS)
    assert found.source is None
    assert found.problem
    assert b"- one" in shown(log)


# ---- put back, and bases that are not known ---------------------------------------------------


def test_a_compaction_that_drops_the_source_is_made_good() -> None:
    """By a device whose file is no rendering; two at once leave one."""
    log, file = started(styled_note(Writer("B", Random(2)), "---\na: 1\n---\n"))
    state = compacted(log, keeps_source=False)
    replica = Replica.load([state])
    view, found = replica.view(), stored(replica, replica.view(), NO_LINKS)
    assert is_lacking(found, taken(file), view, OURS, NO_LINKS)
    assert not is_lacking(found, None, view, OURS, NO_LINKS)
    rendering = shown_file(None, view, OURS, NO_LINKS)
    assert not is_lacking(found, taken(rendering), view, OURS, NO_LINKS)
    back = [saved([state], file, file, Replica.load([state]), k) for k in (401, 501)]
    assert shown([state, *(u for u in back if u is not None)]) == file
    kept = Replica.load([compacted(log, keeps_source=True)])
    assert not is_lacking(stored(kept, view, NO_LINKS), taken(file), view, OURS, NO_LINKS)


def test_without_a_base_every_key_of_both_is_kept() -> None:
    """Of a key that says two things the document's counts; items of a list are joined."""
    stands = taken(b"---\na: 1\nl:\n  - x\n  - y\nonly: d\n---\n* words\n")
    file = taken(b"---\na: 2\nl:\n  - x\n  - z\n# c\nmine: f\n---\n* words\n")
    found = source_after(None, file, stands, OURS, NO_LINKS)
    assert found is not None
    text = shown_file(found, parse("* words\n", NO_LINKS), OURS, NO_LINKS).decode()
    assert text == (
        f"---\nid: {ID}\na: 1\nl:\n  - x\n  - y\n  - z\nonly: d\n# c\nmine: f\n---\n* words\n"
    )


# ---- whose keys -------------------------------------------------------------------------------


def test_whose_a_title_is() -> None:
    """Ours where it stood in the file and is not in the source; a new file's is the user's."""
    front = frontmatter.split("---\ntitle: A\n---\n")[0]
    assert owner_of_title(front, None) == "title"
    assert owner_of_title(front, taken(b"---\nb: 1\n---\n")) == "title"
    assert owner_of_title(front, taken(b"---\ntitle: A\n---\n")) is None
    assert owner_of_title(None, None) is None
    both = frontmatter.split("---\nheaper_title: A/b\ntitle: A\n---\n")[0]
    assert owner_of_title(both, taken(b"---\ntitle: A\n---\n")) == "heaper_title"


FILES = {
    "dendron": """---
id: 9eXZ2s4mdRvmbjjLmFdpp
title: Careers
desc: ''
updated: 1635
nav_order: 9.2
---

- [[tags.scope]] x
""",
    "jekyll": """---
layout: docs
title: Assets
permalink: /docs/assets/
---

* {{ page.title }}
{% include x.html %}
""",
    "hugo": """---
title: "My Post"
date: 2024-01-02T03:04:05Z
draft: true
tags: ['a', "b c"]
categories:
- x
params:
  author: J
---
{{< figure src="x" >}}
""",
    "hugo with TOML": """+++
title = 'x'
date = 2024-01-02
+++

Text
""",
    "zettelkasten": """---
id: 202101011200
title: A thought
tags: [zettel, deep]
---
# A thought

see [[202101011201]]
""",
    "mkdocs": """---
hide:
  - navigation
title: Material for MkDocs
---

!!! note "x"
    text

=== "tab"

    more
""",
    "obsidian": """---
aliases:
  - one
  - 'two: three'
cssclasses: [wide]
tags:

publish: true
created: 2024-01-01 # day
---
> [!note]
> text

status:: open
due:: 2024

%%
hidden
%%
""",
    "logseq": """title:: Apr 19th, 2021
alias:: [[x]]

- one
  id:: 6283
\t- two
  collapsed:: true
""",
    "kanban": """---

kanban-plugin: board

---

## Todo

- [ ] x




%% kanban:settings
```
{"kanban-plugin":"board"}
```
%%
""",
    "excalidraw": """---

excalidraw-plugin: parsed
tags: [excalidraw]

---
==⚠  Switch to EXCALIDRAW VIEW ==


# Text Elements
Hello ^abc123

%%
# Drawing
```json
{
\t"type": "excalidraw"
}
```
%%
""",
    "broken YAML": """---
title: a: b
list: [x
# note
  - odd
---
text
""",
    "broken YAML, Windows": "\ufeff---\r\ntitle: 'x\r\nok: 1\r\n---\r\n* text\r\n",
    "a key twice": "---\na: 1\nb: 2\na: 3\n---\ntext\n",
    "only comments": "---\n# nothing\n---\ntext\n",
    "an own id and heaper_id": "---\nid: a\nheaper_id: b\n---\ntext\n",
    "our id, in an own spelling": f"---\na: 1\n# which\nid: '{ID}' # mine\nb: 2\n---\n* x\n",
    "no end": "---\na: 1\n---",
}


@pytest.mark.parametrize("name", FILES)
def test_no_line_of_any_program_changes(name: str) -> None:
    """The same file on a second device; five saves of an open editor are five edits of one note,
    and a word from there changes its line alone.
    """
    data = FILES[name].encode()
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
    assert len(set(files)) == 1, "all show the same bytes"
    assert parse(body_of(files[0]), NO_LINKS) == game.tree, "they read as the document"
    assert game.doubled() == [], "no word stands twice in the file alone"
    replica = Replica.load(game.said)
    assert stored(replica, replica.view(), NO_LINKS).problem is None


@PLAY
@given(RANDOMS)
def test_devices_and_the_app_agree_in_bytes(random: Random) -> None:
    """Saves, stale saves and the app's edits, delivered in any order."""
    game = Game(random)
    game.play(random.randint(3, 10))
    check(game)


@PLAY
@given(RANDOMS)
def test_devices_alone_agree_in_bytes(random: Random) -> None:
    """Without the app."""
    game = Game(random, uses_app=False)
    game.play(random.randint(3, 10))
    check(game)


@PLAY
@given(RANDOMS)
def test_two_who_edit_front_matter_lose_nothing(random: Random) -> None:
    """It stays YAML; what one changed is as he left it; comments and items of both stay."""
    game = FrontGame(random)
    assert len(set(game.files)) == 1
    assert game.is_valid()
    assert game.wrong() == []
    assert game.lost("#") == set()
    assert game.lost("- ") == set()


def test_unsent_edits_are_carried_to_a_document_made_anew() -> None:
    """What its author changed, and nothing that others did there meanwhile."""
    before = taken(b"---\na: 1\nl:\n  - x\n---\n* one\n* two\n")
    ours = taken(b"---\na: 2\nl:\n  - x\n---\n* one\n* two OURS\n")
    there = taken(b"---\na: 1\nl:\n  - x\n  - y\n---\n* one THEIRS\n* two\n")
    found = carried(before, ours, there)
    assert found == taken(b"---\na: 2\nl:\n  - x\n  - y\n---\n* one THEIRS\n* two OURS\n")


def test_front_matter_shows_as_it_was_saved() -> None:
    """Also over lines that a merge left, which the author never saw."""
    stands = replace(taken(b"* x\n"), front={"a": Lines("a: 1\na: 2\n")}, order=("a",))
    view = parse("* x\n", NO_LINKS)
    seen = shown_file(stands, view, OURS, NO_LINKS)
    assert b"\na: 2\n" in seen
    new = seen.replace(b"a: 2\n", b"a: 2\nb: 1\n")
    found = source_after(taken(seen), taken(new), stands, OURS, NO_LINKS)
    assert found is not None
    assert shown_file(found, view, OURS, NO_LINKS) == new

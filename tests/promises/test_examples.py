"""Every example of CommonMark and of GitHub's extensions as a note: document and file in turn."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.content_model import violations
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.encoding import decode
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.patch.patch import patch
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.write.render import render
from tests.markdown.conftest import examples
from tests.markdown.rig import changed_lines, leaves, one_word_changed, put


@pytest.mark.parametrize("part", range(8))
def test_a_note_of_each_example_is_whole(part: int) -> None:
    """The document shows the file; reading the file again, or the one another device would write,
    is no edit; both are read as the same.
    """
    for source in examples()[part::8]:
        tree = parse(source, NO_LINKS)
        document = express([], Target(body=tree)).update or EMPTY
        replica = Replica.load([document])
        assert replica.view() == tree, source
        assert violations(nodes.read(replica.doc, nodes.BODY)) == [], source
        elsewhere = render(replica.view(), NO_LINKS)
        assert parse(elsewhere, NO_LINKS) == tree, source
        for file in (source, elsewhere):
            assert express([document], Target(body=parse(file, NO_LINKS))).update is None, source
            assert patch(file, replica.view(), NO_LINKS) == file


PARTS = [
    *("w", "two words", "é", "\u2028", "\u00a0", "\ufeff", "\x0c", "\x7f", "👩\u200d👧", "\r"),
    *("\n", "\n\n", "\n    ", "\n- ", "\n1. ", "\n> ", "\n- [ ] ", "\n\n  ", "  \n", "\t", " "),
    *("*", "**", "_", "~~", "`", "```\n", "[", "](", ")", "](/u '", '](</u v> "', "')", '")'),
    *("![", "\n[a]: ", "[a]", "[[", "]]", "|", "\n|-|-|\n", "\n# ", "\n===\n", "\n---\n", "\\"),
    *("<b>", "<u>", "</u>", "<br>", "<!--", "-->", "<!---->", "<div>", "<a:b>", "[^1]", "&#32;"),
    *("&#0;", "&#160;", "&amp;", "&#10;", "<!--x:abc123-->", "\n[^1]: ", "\n~~~ py t\n"),
    "\n<!-- heapsyncd: x abc123 -->\n",
]
SOURCES = st.lists(st.sampled_from(PARTS), max_size=25).map("".join)


@settings(max_examples=300, deadline=None)
@given(SOURCES)
def test_any_text_is_a_note(source: str) -> None:
    """Whatever a file says, a document can show, and showing it again is no edit."""
    tree = parse(source, NO_LINKS)
    document = express([], Target(body=tree)).update or EMPTY
    view = Replica.load([document]).view()
    assert parse(patch(source, view, NO_LINKS), NO_LINKS) == view
    if "heapsyncd:" not in source and ":abc123" not in source:
        assert view == tree  # an unknown node's comment, in a note that has no such node, is text
    assert express([document], Target(body=view)).update is None


VAULT = os.environ.get("HEAPSYNCD_VAULT")


@pytest.mark.skipif(VAULT is None, reason="HEAPSYNCD_VAULT names no directory of notes")
@pytest.mark.timeout(3600)
def test_a_vault_of_notes() -> None:
    """Every note of a directory is shown by its document; a letter typed is a small update, and a
    word changed by others changes its own line.
    """
    found: dict[str, str] = {}
    for path in sorted(Path(VAULT or ".").rglob("*.md")):
        body = frontmatter.split(decode(path.read_bytes()).text)[1]
        tree = parse(body, NO_LINKS)
        document = express([], Target(body=tree)).update or EMPTY
        view = Replica.load([document]).view()
        if view != tree or express([document], Target(body=parse(body, NO_LINKS))).update:
            found[str(path)] = "the document does not show it"
        if patch(body, view, NO_LINKS) != body or parse(render(view, NO_LINKS), NO_LINKS) != tree:
            found[str(path)] = "it does not read back"
        places = [(p, b) for p, b in leaves(tree) if b.kind in {"paragraph", "heading"}]
        for place, block in places[:: max(1, len(places) // 3)]:
            wanted = put(tree, place, one_word_changed(block))
            update = express([document], Target(body=wanted)).update or EMPTY
            after = patch(body, wanted, NO_LINKS)
            if len(update) >= 200:
                found[str(path)] = f"{len(update)} bytes for a word of {block.words()[:40]!r}"
            if parse(after, NO_LINKS) != wanted or len(changed_lines(body, after)) > 1:
                found[str(path)] = f"lines beside {block.words()[:40]!r} changed"
    assert found == {}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_a_letter_typed_into_each_example_is_small(part: int) -> None:
    """One letter more in the file costs less than two hundred bytes and changes one node alone."""
    large = {}
    for source in examples()[part::8]:
        tree = parse(source, NO_LINKS)
        document = express([], Target(body=tree)).update or EMPTY
        for found in list(re.finditer(r"(?<=[^\W_])\b", source))[:3]:
            typed = parse(f"{source[: found.end()]}x{source[found.end() :]}", NO_LINKS)
            same = [a == b for a, b in zip(tree.children, typed.children, strict=False)]
            kinds = [b.kind for b in tree.walk()] == [b.kind for b in typed.walk()]
            if same.count(False) != 1 or not kinds:
                continue  # the letter makes it other markdown
            update = express([document], Target(body=typed)).update or EMPTY
            assert Replica.load([document, update]).view() == typed
            if len(update) >= 200:
                large[source] = len(update)
    assert large == {}

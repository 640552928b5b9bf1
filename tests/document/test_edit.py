"""Edits one by one: how small they are, what they keep, how they meet others' edits."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from heapsyncd.document.edit import Target, edit, express, merge_three
from heapsyncd.document.encoding.state_vectors import clocks
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.node_kinds import digest_source
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import Atom, Block, Inline, Mark, Text, attrs, inline, marks
from tests.document.worlds import FAMILY, KEY, KEY_2, ULID, ULID_2, build

BOLD = marks(Mark("bold"))
RED = {"textStyle": {"color": "red"}}
BR = Atom("break")


def p(*runs: Any, **values: Any) -> Any:
    kids = [[(r, {})] if isinstance(r, str) else r for r in runs]
    return ("paragraph", values, kids)


def para(*items: Inline | str) -> Block:
    return Block("paragraph", inline=inline(Text(i) if isinstance(i, str) else i for i in items))


def heading(text: str, level: int = 1) -> Block:
    return Block("heading", attrs(level=level), inline=(Text(text),))


def item(*children: Block, checked: bool | None = None) -> Block:
    return Block("item", attrs() if checked is None else attrs(checked=checked), children)


def bullets(*items: Block) -> Block:
    return Block("bullet_list", children=items)


def doc(*blocks: Block) -> Block:
    return Block("doc", children=blocks)


def table(*rows: Sequence[str]) -> Block:
    return Block(
        "table",
        children=tuple(
            Block(
                "row",
                children=tuple(Block("cell", inline=(Text(t),) if t else ()) for t in r),
            )
            for r in rows
        ),
    )


Goal = Block | Callable[[Block], Block]


class Case:
    """A document, an edit of it, and what became of it."""

    def __init__(self, body: Sequence[Any], goal: Goal, theirs: Goal | None = None) -> None:
        base = build(body)
        before = Replica.load([base])
        updates, live = [base], None
        if theirs is not None:
            target = theirs(before.view()) if callable(theirs) else theirs
            updates.append(express([base], Target(body=target)).update or EMPTY)
            live = Replica.load(updates)
        wanted = goal(before.view()) if callable(goal) else goal
        self.update = express([base], Target(body=wanted), live=live).update
        self.after = Replica.load([*updates, self.update or EMPTY])
        self.view = self.after.view()
        self.before = self._dump(before)
        self.dump = self._dump(self.after)

    @staticmethod
    def _dump(replica: Replica) -> list[Any]:
        return [digest_source(n) for n in nodes.read(replica.doc, nodes.BODY).children]

    @property
    def texts(self) -> list[str]:
        return [b.words() for b in self.view.children]

    @property
    def tags(self) -> list[str]:
        return tags_of(self.after)


def tags_of(replica: Replica) -> list[str]:
    body = nodes.read(replica.doc, nodes.BODY)
    return [c.tag for c in body.children if isinstance(c, nodes.Elem)]


def edited(view: Block, k: int, block: Block) -> Block:
    return view.with_children([*view.children[:k], block, *view.children[k + 1 :]])


CHART: Any = ("chartEmbed", {"series": [1.0, None, {"k": True}], "gone": None, "zoom": 2.0}, [])
RICH = [
    ("heading", {"level": 1.0}, [[("Title", {})]]),
    p(
        [("plain ", {}), ("bold red 👋", {"bold--AbCdEf12": {}, **RED}), (" end", {})],
        uid="u-1",
        nul=None,
    ),
    CHART,
    ("todo_list", {}, [("todo_item", {"checked": False}, [p("buy rope")])]),
    ("codeBlock", {"language": "python"}, [[("x = 1\n", {})]]),
    p(),
]


@pytest.mark.parametrize(
    ("k", "block", "most"),
    [
        pytest.param(0, heading("Titles"), 40, id="heading"),
        pytest.param(0, heading("Title", 2), 40, id="level"),
        pytest.param(1, para("plain ", Text("bold redx 👋", BOLD), " end"), 40, id="in a run"),
        pytest.param(1, para("plainx ", Text("bold red 👋", BOLD), " end"), 40, id="before it"),
        pytest.param(1, para("plain ", Text("bold red 👋", BOLD), " endx"), 40, id="at the end"),
        pytest.param(
            3,
            Block("todo_list", children=(item(para("buy rope"), checked=True),)),
            60,
            id="check a task",
        ),
        pytest.param(4, Block("code", attrs(info="python"), text="x = 12\n"), 40, id="code"),
    ],
)
def test_a_small_edit_is_a_small_update(k: int, block: Block, most: int) -> None:
    """One character or one attribute costs a few dozen bytes, and touches its own node alone."""
    case = Case(RICH, lambda v: edited(v, k, block))
    assert case.update is not None
    assert len(case.update) <= most
    assert case.view.children[k] == block
    assert [a == b for a, b in zip(case.before, case.dump, strict=True)].count(False) == 1


def test_text_typed_into_a_run_takes_all_its_formats() -> None:
    """Bold under its hashed name, and the colour that markdown can't say, cover the new letter."""
    case = Case(RICH, lambda v: edited(v, 1, para("plain ", Text("bold redx 👋", BOLD), " end")))
    assert "bold redx 👋" in str(case.dump[1])
    assert str(case.dump[1]).count("AbCdEf12") == 1
    assert str(case.dump[1]).count("textStyle") == 1


def test_a_rewritten_coloured_word_keeps_its_colour() -> None:
    """What stands in the place of hidden formatting inherits it."""
    case = Case([p([("a ", {}), ("red", RED), (" end", {})])], doc(para("a blue end")))
    assert "['blue', ('object', (('textStyle'" in str(case.dump)


def test_an_emoji_is_replaced_as_a_whole() -> None:
    """One member of a family changed: the grapheme goes and comes as one, in bytes."""
    other = FAMILY.replace("\U0001f467", "\U0001f466")
    case = Case([p(f"é {FAMILY} x")], doc(para(f"é {other} x")))
    assert case.texts == [f"é {other} x"]


def test_empty_paragraphs_stay_through_an_edit() -> None:
    """Hidden paragraphs before, between and after are where they were."""
    case = Case([p(), p(), p("text"), p()], doc(para("text!")))
    assert case.tags == ["paragraph"] * 4
    assert case.texts == ["text!"]
    assert case.before[:2] + case.before[3:] == case.dump[:2] + case.dump[3:]


def test_text_fills_the_empty_paragraph_of_a_new_note() -> None:
    """An editor's lone empty paragraph is filled, not pushed down."""
    case = Case([p()], doc(para("first words")))
    assert case.tags == ["paragraph"]


@pytest.mark.parametrize(
    ("body", "goal", "texts"),
    [
        pytest.param([p("one two")], doc(para("one", BR, "two")), 2, id="break comes"),
        pytest.param(
            [p("one ", ("hardBreak", {}, []), "two")], doc(para("one two")), 1, id="goes"
        ),
        pytest.param(
            [p("a ", ("math", {}, []), " b")],
            lambda v: doc(replace(v.children[0], inline=inline([Text("a "), Text(" b")]))),
            1,
            id="unknown inline node deleted",
        ),
    ],
)
def test_texts_split_and_join_around_inline_nodes(body: Any, goal: Goal, texts: int) -> None:
    """There is one XmlText for each run of text between inline nodes."""
    case = Case(body, goal)
    (paragraph,) = nodes.read(case.after.doc, nodes.BODY).children
    assert isinstance(paragraph, nodes.Elem)
    assert len([c for c in paragraph.children if isinstance(c, nodes.Txt)]) == texts


def test_an_image_changes_in_place() -> None:
    """Another alt text leaves the node, and the width markdown can't say, where they are."""
    image: Any = ("image", {"src": "a.png", "alt": "old", "width": 7.0}, [])
    new = Atom("image", attrs(src="a.png", alt="", title="T"))
    case = Case([p("x ", image)], doc(para("x ", new)))
    assert case.update is not None
    assert len(case.update) < 60
    assert "width" in str(case.dump)
    assert "'alt'" not in str(case.dump)


def test_mentions_are_written_as_their_kind() -> None:
    """With a label it is a reference, without one a pagelink."""
    labelled = Atom("mention", attrs(id=ULID, label="Bo"))
    case = Case([p("x")], doc(para("x ", labelled, Atom("mention", attrs(id=ULID_2, label=None)))))
    assert "'reference', [('id'" in str(case.dump)
    assert "('type', ('str', 'mention'))" in str(case.dump)
    assert "'pagelink', [('blockKey'" in str(case.dump)


def test_files_keep_the_shape_of_their_elements() -> None:
    """A file node's array is edited as a list of keys; elements that stay stay as they are."""
    body: Any = [("file", {"files": [{"key": KEY, "w": 1.0}]}, [])]
    case = Case(body, doc(Block("files", attrs(keys=f"{KEY_2}\n{KEY}"))))
    assert (
        case.dump[0][0][2]
        == digest_source(nodes.Elem("file", {"files": [{"key": KEY_2}, {"key": KEY, "w": 1.0}]}))[
            0
        ][2]
    )


def test_a_link_keeps_its_other_attributes() -> None:
    """Changing where a link points leaves its target attribute; a new link has only a href."""
    link = {"href": "/old", "target": "_blank"}
    case = Case(
        [p([("see ", {}), ("here", {"link": link})])],
        doc(para("see ", Text("here", marks(Mark("link", "/new"))))),
    )
    assert "('href', ('str', '/new')), ('target', ('str', '_blank'))" in str(case.dump)


def test_a_mark_on_a_space_does_not_leak() -> None:
    """A hidden bold space between two words stays hidden when both become bold on their own."""
    body = [p([("a", {}), (" ", {"bold": {}}), ("b", {})])]
    goal = doc(para(Text("a", BOLD), " ", Text("b", BOLD)))
    assert Case(body, goal).view == goal


def test_a_paragraph_becomes_a_heading_with_all_it_hides() -> None:
    """The clone keeps colour and unknown attributes."""
    case = Case([p([("coloured title", RED)], uid="u-7")], doc(heading("coloured title", 2)))
    assert case.tags == ["heading"]
    assert "textStyle" in str(case.dump)
    assert "'uid'" in str(case.dump)


def test_a_split_and_a_join_keep_hidden_formats() -> None:
    """The half that moves is cloned with its colour, both ways."""
    whole = p([("first half is the longer one. ", {}), ("second half", RED)])
    split = Case([whole], doc(para("first half is the longer one."), para("second half")))
    assert "['second half', ('object', (('textStyle'" in str(split.dump)
    joined = Case(
        [p("first half is the longer one."), p([("second half", RED)])],
        doc(para("first half is the longer one. second half")),
    )
    assert "['second half', ('object', (('textStyle'" in str(joined.dump)


def test_a_moved_block_takes_unknown_nodes_along() -> None:
    """Opaque blocks and coloured text are cloned to where their lines went."""
    body = [CHART, p([("a coloured line of text", RED)]), p("other"), p("third")]
    case = Case(body, lambda v: doc(*v.children[2:], v.children[1], v.children[0]))
    assert sorted(map(str, case.dump)) == sorted(map(str, case.before))


def test_paragraphs_become_list_items() -> None:
    """Typing bullets before lines keeps the text's hidden formats."""
    body = [p([("one thing", RED)]), p("two things")]
    case = Case(body, lambda v: doc(bullets(item(v.children[0]), item(v.children[1]))))
    assert case.tags == ["bulletList"]
    assert "textStyle" in str(case.dump)


def test_an_item_always_starts_with_a_paragraph() -> None:
    """Whatever an item's text becomes, an empty paragraph stands first where one is wanted."""
    body: Any = [("bulletList", {}, [("listItem", {}, [p("text"), ("horizontalRule", {}, [])])])]
    case = Case(body, doc(bullets(item(Block("rule")), item(heading("h")))))
    (bullet_list,) = nodes.read(case.after.doc, nodes.BODY).children
    assert isinstance(bullet_list, nodes.Elem)
    firsts = [c.children[0] for c in bullet_list.children if isinstance(c, nodes.Elem)]
    assert [f.tag for f in firsts if isinstance(f, nodes.Elem)] == ["paragraph", "paragraph"]


def test_containers_never_stand_empty() -> None:
    """A quote whose text goes keeps an empty paragraph."""
    case = Case([("blockquote", {}, [p("q")])], doc(Block("quote")))
    assert case.view == doc(Block("quote"))
    assert case.dump[0][1][1] == "paragraph"


CELL = "tableCell"
SHEET: Any = [
    (
        "table",
        {},
        [
            (
                "tableRow",
                {},
                [("tableHeader", {"w": 1.0}, [p("a")]), ("tableHeader", {}, [p("b")])],
            ),
            ("tableRow", {}, [(CELL, {}, [p("one")]), (CELL, {}, [p([("two", RED)]), p("more")])]),
            ("tableRow", {}, [(CELL, {}, [p("short row")])]),
        ],
    )
]


@pytest.mark.parametrize(
    "goal",
    [
        pytest.param(lambda v: v, id="nothing"),
        pytest.param(
            lambda _: doc(
                replace(
                    table(["a", "b"], ["one!", ""], ["short row", "now long"]),
                )
            ),
            id="cells",
        ),
        pytest.param(lambda _: doc(table(["a", "new", "b"], ["one", "x", "two"])), id="column"),
        pytest.param(lambda _: doc(table(["b"], ["two"], ["y"])), id="first column goes"),
        pytest.param(lambda _: doc(table(["a", "b"], ["p", "q"], ["one", "two"])), id="row"),
    ],
)
def test_tables_are_edited_by_cell(goal: Callable[[Block], Block]) -> None:
    """Cells, rows and columns come, go and change; the rest of the table stays."""
    case = Case(SHEET, goal)
    wanted = goal(Replica.load([build(SHEET)]).view())
    assert case.view == wanted
    assert case.tags == ["table"]


def test_a_cell_with_two_paragraphs_is_edited_in_each() -> None:
    """As long as the break between them stays, both paragraphs stay what they are."""

    def goal(view: Block) -> Block:
        rows = list(view.children[0].children)
        cells = list(rows[1].children)
        cells[1] = Block("cell", inline=(Text("two!"), BR, BR, Text("more and more")))
        rows[1] = rows[1].with_children(cells)
        return doc(view.children[0].with_children(rows))

    case = Case(SHEET, goal)
    assert case.update is not None
    assert len(case.update) < 60
    assert "textStyle" in str(case.dump)


# --- others' edits -------------------------------------------------------------------------------


def test_the_same_correction_on_both_sides_is_made_once() -> None:
    """``teh`` corrected by two people is one ``the``; an equal new paragraph is one."""
    both = doc(para("the fox"), para("new"))
    case = Case([p("teh fox")], both, both)
    assert case.update is None
    assert case.texts == ["the fox", "new"]


@pytest.mark.parametrize(
    ("ours", "theirs", "texts"),
    [
        pytest.param(
            doc(para("the quick red fox")),
            doc(para("the quick brown foxes")),
            ["the quick red foxes"],
            id="one sentence",
        ),
        pytest.param(
            doc(heading("the quick brown fox!", 2)),
            doc(para("the quick brown fox REMOTE")),
            ["the quick brown fox REMOTE!"],
            id="we retype, they edit",
        ),
        pytest.param(
            doc(para("the quick brown fox!")),
            doc(heading("the quick brown fox", 2)),
            ["the quick brown fox!"],
            id="they retype, we edit",
        ),
        pytest.param(
            doc(para("the quick brown fox!")), doc(), ["the quick brown fox!"], id="they delete"
        ),
        pytest.param(
            doc(),
            doc(para("the quick brown fox REMOTE")),
            ["the quick brown fox REMOTE"],
            id="we delete",
        ),
        pytest.param(
            doc(bullets(item(para("the quick brown fox")))),
            doc(para("the quick brown fox REMOTE")),
            ["the quick brown fox REMOTE"],
            id="we move it into a list",
        ),
        pytest.param(
            doc(bullets(item(para(f"{'many words before ' * 3}the quick brown fox")))),
            doc(para("the quick brown fox REMOTE")),
            [f"{'many words before ' * 3}the quick brown fox REMOTE"],
            id="we move it into a list and write much more",
        ),
    ],
)
def test_edits_of_two_sides_meet(ours: Block, theirs: Block, texts: list[str]) -> None:
    """Text edits merge, a move takes the other's words along, an edit wins over a deletion."""
    assert Case([p("the quick brown fox")], ours, theirs).texts == texts


def test_lines_of_code_become_breaks_where_others_made_it_text() -> None:
    """What we add to code that others made a paragraph stands there, and the other way round."""
    code = Block("code", attrs(info=""), text="some long line of code")
    more = replace(code, text="some long line of code\nand another")
    case = Case(
        [("codeBlock", {}, [[("some long line of code", {})]])], doc(more), doc(para(code.text))
    )
    assert case.view == doc(para("some long line of code", BR, "and another"))
    text = para("some long line of code", BR, "and another")
    case = Case([p(code.text)], doc(text), doc(code))
    assert case.view == doc(more)


def test_a_rescued_edit_is_one_update_without_gaps() -> None:
    """What is brought back on the live document travels with the rest as one complete update."""
    body = [p("the quick brown fox"), p("lazy dog")]
    case = Case(body, doc(para("the quick brown fox!"), para("lazy dogs")), doc(para("lazy dog")))
    assert case.texts == ["the quick brown fox!", "lazy dogs"]
    assert not case.after.has_pending()


def test_three_trees_merge_without_common_history() -> None:
    """Both sides' words are there, unknown nodes keep their names, convergent edits are one."""
    chart = Block("opaque", attrs(label="chart", digest="abc123"))
    base = doc(para("teh fox"), chart, para("end"))
    ours = doc(para("the fox"), para("ours"), chart, para("end"))
    theirs = doc(para("the fox jumps"), chart, para("end"), para("theirs"))
    merged = merge_three(base, ours, theirs)
    assert merged == doc(para("the fox jumps"), para("ours"), chart, para("end"), para("theirs"))


# --- ids, names, refusals ------------------------------------------------------------------------


def test_our_client_id_is_reused_only_on_a_base_that_has_all_of_it() -> None:
    """An older base gets a fresh id, else two edits would claim the same clock."""
    base = build([p("one")])
    first = express([base], Target(body=doc(para("one two"))), client_id=5).update
    assert first is not None
    live = Replica.load([base, first])
    assert 5 in clocks(live.state_vector())
    current = express(
        [base, first], Target(body=doc(para("one two three"))), live=live, client_id=5
    )
    stale = express([base], Target(body=doc(para("zero one"))), live=live, client_id=5)
    assert current.update is not None
    assert stale.update is not None
    assert set(clocks(Replica.load([base, current.update]).state_vector())) <= {5, 7}
    merged = Replica.load([base, first, stale.update])
    assert len(clocks(merged.state_vector())) == 3
    assert merged.view() == doc(para("zero one two"))


def test_a_document_s_own_spelling_of_tasks_is_used() -> None:
    """A document that says taskList goes on saying it; a new one says what the contract does."""
    task = Block("todo_list", children=(item(para("x"), checked=False),))
    body: Any = [("taskList", {}, [("taskItem", {"checked": False}, [p("y")])])]
    assert Case(body, lambda v: doc(*v.children, para("-"), task)).tags[-1] == "taskList"
    assert Case([], doc(task)).tags == ["todo_list"]


def test_images_stand_where_the_document_has_them() -> None:
    """In a document of block images a lone image is a block of its own."""
    image = Atom("image", attrs(src="i.png", alt="", title=""))
    new = Block("heading", attrs(level=1), inline=(image,))
    case = Case([("image", {"src": "a.png"}, [])], lambda v: doc(*v.children, para(image), new))
    assert case.tags == ["image", "image", "heading"]


def test_unknown_digests_are_text_and_repetitions_are_dropped() -> None:
    """A comment from another note is literal; a second copy of one's own line is ignored."""
    stranger = Block("opaque", attrs(label="chart", digest="000000"))
    case = Case([CHART], lambda v: doc(v.children[0], stranger, v.children[0]))
    assert case.tags == ["chartEmbed", "paragraph"]
    assert case.texts[1] == "<!-- heapsyncd: chart 000000 -->"


def test_an_unknown_node_is_known_by_its_digest() -> None:
    """Words edited in its comment change nothing."""
    case = Case(
        [CHART, p("x")],
        lambda v: doc(
            Block("opaque", attrs(label="my words", digest=v.children[0].get("digest"))), para("y")
        ),
    )
    assert case.dump[0] == case.before[0]
    assert case.texts[1] == "y"


def test_words_behind_a_digest_change_nothing() -> None:
    """A comment that somebody wrote on in stands for its node still, as a block and in a text."""
    body = [CHART, p("a ", ("math", {"f": "x"}, []), " b")]

    def goal(view: Block) -> Block:
        chart, text = view.children
        formula = text.inline[1]
        assert isinstance(formula, Atom)
        more = f"<!-- heapsyncd: chart {chart.get('digest')} more -->"
        return doc(para(more), para(f"a <!--math words:{formula.get('digest')} too--> b c"))

    case = Case(body, goal)
    assert case.dump[0] == case.before[0]
    assert "'math'" in str(case.dump[1])
    assert "more" not in str(case.dump) + str(case.texts)
    assert case.texts[1].endswith(" b c")


def test_an_unknown_inline_node_is_moved_not_copied() -> None:
    """Its comment in another paragraph takes the node there."""
    body = [p("a ", ("math", {"f": "x"}, [])), p("b")]

    def goal(view: Block) -> Block:
        atom = view.children[0].inline[1]
        return doc(para("a"), para("b ", atom))

    case = Case(body, goal)
    assert str(case.dump).count("'math'") == 1
    assert "'math'" in str(case.dump[1])


def test_too_deep_nesting_is_refused() -> None:
    """A goal nested beyond what is shown is an InvalidEdit, not a crash."""
    goal = para("deep")
    for _ in range(200):
        goal = Block("quote", children=(goal,))
    with pytest.raises(InvalidEdit, match="deeply"):
        express([], Target(body=doc(goal)))


def test_nothing_is_sent_in_pieces() -> None:
    """A whole new document is one update with one client's clocks from zero."""
    update = express([], Target(body=doc(para("x"), bullets(item(para("y")))), title="T")).update
    assert update is not None
    assert not Replica.load([update]).has_pending()
    assert len(clocks(Replica.load([update]).state_vector())) == 1


def test_a_node_that_no_document_has_is_not_as_wished() -> None:
    """An unknown node of another document is written as text: what it shows is not the target."""
    node = Block("opaque", attrs(label="chart", digest="00aa11"))
    assert not edit(Replica(), Target(body=Block("doc", children=(node,)))).reads_as_target
    text = Block("paragraph", inline=(Text("<!-- heapsyncd: chart 00aa11 -->"),))
    assert edit(Replica(), Target(body=Block("doc", children=(text,)))).reads_as_target

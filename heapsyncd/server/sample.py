"""Make the demo's heap: a few notes that show what markdown can express."""

import hashlib

from msgspec import Struct

from heapsyncd.document.edit import Target, express
from heapsyncd.ids import BlockId, HeapId, new_block_id
from heapsyncd.model import BlockKind
from heapsyncd.server.admin import Admin
from heapsyncd.tree import Atom, Block, Inline, Mark, Text, attrs, marks

TITLE = "Home"

DRAWING = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 80">
  <rect width="120" height="80" fill="#bfe3f2"/>
  <path d="M60 8 L60 52 L24 52 Z M64 16 L64 52 L92 52 Z" fill="#fff" stroke="#234"/>
  <path d="M18 56 L102 56 L88 70 L32 70 Z" fill="#8a5a2b"/>
  <path d="M0 72 Q15 66 30 72 T60 72 T90 72 T120 72 V80 H0 Z" fill="#3c7fa6"/>
</svg>
"""
PLAN = b"Deck beams, from bow to stern: 82, 118, 131, 127, 96 cm.\n"


class Note(Struct, frozen=True):
    """One block of the sample."""

    title: str
    kind: BlockKind = "document"
    body: tuple[Block, ...] = ()
    places: tuple[str, ...] = ()
    """The titles of the folder and the tags that it is in."""
    files: tuple[tuple[str, bytes, str], ...] = ()
    """Name, content and MIME type of each."""


async def plant(server: Admin) -> HeapId:
    """Create the sample heap with everything in it."""
    heap = await server.add_heap(TITLE)
    ids = {title: new_block_id() for title in TITLES}
    for note in _notes(ids):
        target = Target(
            body=Block("doc", children=note.body),
            title=note.title,
            add_tags=frozenset(ids[place] for place in note.places),
        )
        update = express([], target).update
        written = () if update is None else (update,)
        block = await server.add_block(
            heap, note.kind, note.title, *written, block=ids[note.title]
        )
        for name, content, mime_type in note.files:
            await server.add_file(block, name, content, mime_type)
    return heap


TITLES = (
    "Projects",
    "Journal",
    "Boat building",
    "Family",
    "Welcome",
    "Groceries",
    "Boat",
    "Varnish test",
    "Reading list",
    "First sail",
    "harbour.svg",
)


def _notes(ids: dict[str, BlockId]) -> list[Note]:
    folders: list[Note] = [Note(t, "folder") for t in TITLES[:2]]
    tags: list[Note] = [Note(t, "tag") for t in TITLES[2:4]]
    return [*folders, *tags, *_pages(ids), *_project(ids)]


def _pages(ids: dict[str, BlockId]) -> list[Note]:
    return [
        Note(
            "Welcome",
            body=(
                _p(
                    "Every note here is a plain markdown file. Change one in ",
                    _b("any"),
                    " editor:",
                ),
                _bullets(
                    ["what you save is on the server a moment later,"],
                    ["what others change appears in the file, and only where they changed it,"],
                    ["nothing you typed is ever lost."],
                ),
                _p("Try it with ", _to(ids, "Groceries"), " or ", _to(ids, "Boat"), "."),
            ),
        ),
        Note(
            "Groceries",
            body=(
                _tasks((True, "Coffee"), (False, "Flour, 2 kg"), (False, "Lemons")),
                _h(2, "Market on Saturday"),
                _tasks((False, "Bread from the mill"), (False, "Ask about honey")),
            ),
            places=("Family",),
        ),
        Note(
            "Reading list",
            body=(
                _numbers(["The Elements of Boat Strength"], ["Notes on Varnish"]),
                Block(
                    "quote",
                    children=(
                        _p(
                            "Believe me, my young friend, there is nothing half so much worth "
                            "doing as simply messing about in boats."
                        ),
                        _p(_i("Kenneth Grahame")),
                    ),
                ),
            ),
        ),
        Note(
            "First sail",
            body=(_p("Wind from the west, ", _b("four knots"), ". She floats!"),),
            places=("Journal", "Boat building"),
        ),
    ]


def _project(ids: dict[str, BlockId]) -> list[Note]:
    drawing = hashlib.sha256(DRAWING).hexdigest()
    return [
        Note(
            "Boat",
            body=(
                _p("A sailing dinghy of 3.6 m, after ", _link("a known plan", "https://example.org/plans"),
                   ". Wood and glue:"),
                _table(
                    ["Part", "Wood", "State"],
                    ["Hull", "Okume plywood", "done"],
                    ["Mast", "Spruce", "glued"],
                    ["Deck", "Larch", "see plan.txt"],
                ),
                Block("files", attrs(keys=f"{drawing}:{len(DRAWING)}")),
                _h(2, "Next"),
                _tasks((True, "Sand the hull"), (False, "Varnish, three coats"), (False, "Sails")),
                _p("Which varnish: ", _to(ids, "Varnish test"), "."),
            ),
            places=("Projects", "Boat building"),
            files=(("boat.svg", DRAWING, "image/svg+xml"), ("plan.txt", PLAN, "text/plain")),
        ),
        Note(
            "Varnish test",
            body=(
                _p("Drying time in hours, on samples of the ", _to(ids, "Boat"), ":"),
                Block("code", attrs(info="python"),
                      text='hours = {"oil": 30, "alkyd": 16}\nprint(min(hours.values()))'),
                Block("rule"),
                _p("The ", _s("oil"), " alkyd one wins."),
            ),
            places=("Projects", "Boat building"),
        ),
        Note("harbour.svg", "file", files=(("harbour.svg", DRAWING, "image/svg+xml"),)),
    ]  # fmt: skip


def _runs(parts: tuple[Inline | str, ...]) -> tuple[Inline, ...]:
    return tuple(Text(p) if isinstance(p, str) else p for p in parts)


def _p(*parts: Inline | str) -> Block:
    return Block("paragraph", inline=_runs(parts))


def _h(level: int, text: str) -> Block:
    return Block("heading", attrs(level=level), inline=(Text(text),))


def _b(text: str) -> Text:
    return Text(text, marks(Mark("bold")))


def _i(text: str) -> Text:
    return Text(text, marks(Mark("italic")))


def _s(text: str) -> Text:
    return Text(text, marks(Mark("strike")))


def _code(text: str) -> Text:
    return Text(text, marks(Mark("code")))


def _link(text: str, href: str) -> Text:
    return Text(text, marks(Mark("link", href)))


def _to(ids: dict[str, BlockId], title: str) -> Atom:
    return Atom("mention", attrs(id=ids[title], label=None))


def _items(items: tuple[list[Inline | str], ...]) -> tuple[Block, ...]:
    return tuple(Block("item", children=(_p(*item),)) for item in items)


def _bullets(*items: list[Inline | str]) -> Block:
    return Block("bullet_list", children=_items(items))


def _numbers(*items: list[Inline | str]) -> Block:
    return Block("ordered_list", attrs(start=1), children=_items(items))


def _tasks(*tasks: tuple[bool, str]) -> Block:
    items = [Block("item", attrs(checked=done), children=(_p(text),)) for done, text in tasks]
    return Block("todo_list", children=tuple(items))


def _table(*rows: list[str]) -> Block:
    cells = [[Block("cell", inline=(Text(text),)) for text in row] for row in rows]
    return Block("table", children=tuple(Block("row", children=tuple(row)) for row in cells))

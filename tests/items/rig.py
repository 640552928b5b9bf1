"""Items of every type with any values."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from heapsyncd.items.kinds import FIELDS, KINDS
from heapsyncd.items.values import Item, Reminder

STRINGS = st.one_of(
    st.sampled_from(
        ["", "a b", "007", "true", "~", "null", "#FFFFFF", "a: b", "- x", "[x]", "2026-12-01", "'",
         '"', "a\nb", " a ", "é", "\x85", "\u2028", "\ufeff", "\ufffe", "{a: 1}", "a #b", "x\\n"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(
        ["", "text", "text\n", "a\r\nb\r\n", "a\rb", "---\na: 1\n---\nb", "---\n", "\n\n", "# x\n"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
)
DATES = st.datetimes(
    datetime(1, 1, 3),  # noqa: DTZ001
    datetime(9999, 12, 28),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda d: d.replace(microsecond=0))
REMINDERS = st.builds(Reminder, DATES, st.sampled_from(["", "fixed", "diff"]), STRINGS)
TAGS = STRINGS.filter(str.strip)
VALUES: dict[str, st.SearchStrategy[object]] = {
    "text": STRINGS,
    "number": st.none() | st.integers(1, 100),
    "date": st.none() | DATES,
    "tags": st.lists(TAGS, max_size=4, unique=True).map(tuple),
    "reminders": st.lists(REMINDERS, max_size=3, unique=True).map(tuple),
    "parent": st.sampled_from([None, "p1", "p2"]),
    "reply": st.sampled_from([None, "c1", "c2"]),
}


@st.composite
def items(draw: st.DrawFn) -> Item:
    """An item with an id, of any type but a box."""
    type_ = draw(st.sampled_from([t for t in KINDS if t != "box"]))
    kind = KINDS[type_]
    fields = {FIELDS[k].attribute: draw(VALUES[FIELDS[k].notation]) for k in kind.keys}
    fields[kind.text] = draw(TEXTS)
    return Item("i1", type_, draw(STRINGS), **fields)  # type: ignore[arg-type]


ITEMS = items()

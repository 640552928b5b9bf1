"""Formats of edited text: the marks as wished, all else carried along; as laws."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.document.inline.formats import common, hidden, inherit, restyle
from heapsyncd.document.xml.nodes import Formats
from heapsyncd.document.xml.schema import marks_of
from heapsyncd.tree import Mark, Marks, marks

LINKS = st.sampled_from([Mark("link", "http://a/"), Mark("link", "http://b/", "Title")])
SHOWN = st.sampled_from([Mark("bold"), Mark("italic"), Mark("code"), Mark("underline")])
MARKS = st.builds(
    lambda found, link: marks(*found, *([link] if link else [])),
    st.sets(SHOWN),
    st.none() | LINKS,
)
FORMATS: st.SearchStrategy[Formats] = st.fixed_dictionaries(
    {},
    optional={
        "bold": st.just({}),
        "italic": st.just({}),
        "code": st.just({}),
        "link": st.sampled_from(
            [{"href": "http://a/"}, {"href": "http://b/", "title": "Title", "target": "_blank"}]
        ),
        "link--AbCdEfGh": st.just({"href": "http://c/"}),
        "color": st.sampled_from(["red", "blue"]),
        "comment": st.just({"id": 7}),
    },
)


@given(FORMATS, MARKS)
def test_the_wished_marks_are_shown(formats: Formats, wanted: Marks) -> None:
    """Exactly these, whatever was there; what markdown can't say is there as before."""
    styled = restyle(formats, wanted)
    assert marks_of(styled) == wanted
    assert hidden(styled) == hidden(formats)
    assert restyle(styled, wanted) == styled


@given(FORMATS)
def test_marks_that_stay_cost_nothing(formats: Formats) -> None:
    """Text restyled as it is keeps every key and value."""
    assert restyle(formats, marks_of(formats)) == formats
    assert marks_of(hidden(formats)) == ()


@given(st.lists(FORMATS, max_size=4))
def test_common_formats_are_in_all(runs: list[Formats]) -> None:
    """With the same value in each; one run has all of its own in common."""
    found = common(runs)
    assert all(found.items() <= run.items() for run in runs)
    assert common(runs[:1]) == (runs[0] if runs else {})


@given(MARKS, FORMATS, st.lists(FORMATS, max_size=3))
def test_new_text_inherits(wanted: Marks, unseen: Formats, neighbours: list[Formats]) -> None:
    """It shows the marks it should, and the hidden formats it is given."""
    before = hidden(unseen)
    made = inherit(wanted, before, neighbours)
    assert marks_of(made) == wanted
    assert hidden(made) == before

"""What an edit put in and took out again is not sent."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.document.edit import Target, express
from heapsyncd.document.encoding.slim import slim
from heapsyncd.document.encoding.state_vectors import encode_varint
from heapsyncd.document.replica import Replica
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from tests.document.encodings import deleting, item, span, update

HEAD = b"\1\1m"
"""In a root."""


@given(st.lists(st.text("ab👋", min_size=1, max_size=6), min_size=1, max_size=6), st.data())
def test_the_same_document_without_what_went(texts: list[str], data: st.DataObject) -> None:
    """A replica that takes either is the same, whichever of the texts were deleted again."""
    structs, ranges, clock = [], [], 0
    for text in texts:
        units = len(text.encode("utf-16-le")) // 2
        head = HEAD if not clock else b"\7" + encode_varint(clock - 1)
        structs.append((item(4, span(text.encode()), head, 0x80 if clock else 0), units))
        if data.draw(st.booleans()):
            ranges.append((clock, units))
        clock += units
    whole = update([(7, 0, structs)])
    if ranges:
        whole = whole[:-1] + deleting(7, *ranges)
    short = slim(whole)
    assert len(short) <= len(whole)
    assert Replica.load([short]).fingerprint() == Replica.load([whole]).fingerprint()
    assert slim(short) == short


def test_a_letter_in_an_address_is_a_small_update() -> None:
    """The old address, the new one and what ends it: the first is not sent."""
    source = "<https://foo.bar.baz/test?q=hello&id=22&boolean>\n"
    start = express([], Target(body=parse(source, NO_LINKS))).update
    assert start is not None
    typed = parse(source.replace("bar", "barx"), NO_LINKS)
    made = express([start], Target(body=typed)).update
    assert made is not None
    assert made.count(b"barx") == 1
    assert Replica.load([start, made]).view() == typed

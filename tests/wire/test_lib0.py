"""lib0: round trip, every length checked, nothing but ProtocolError on anything."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.errors import ProtocolError
from heapsyncd.wire.lib0 import MAX_UINT, Reader, var_bytes, var_string, var_uint

uints = st.integers(0, MAX_UINT) | st.integers(0, 300)
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(uints, texts, st.binary())
def test_what_is_written_is_read(number: int, text: str, data: bytes) -> None:
    """Values written one after the other are read back, and nothing is left."""
    reader = Reader(var_uint(number) + var_string(text) + var_bytes(data))
    assert (reader.var_uint(), reader.var_string(), reader.var_bytes()) == (number, text, data)
    assert reader.left_bytes == 0


@pytest.mark.parametrize(
    ("number", "data"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (MAX_UINT, b"\xff" * 7 + b"\x0f")],
)
def test_integers_are_spelled_as_lib0_does(number: int, data: bytes) -> None:
    """Seven bits a byte, low bits first."""
    assert var_uint(number) == data


def test_a_strings_length_counts_bytes() -> None:
    """A string of two characters and six bytes announces six."""
    assert var_string("€€")[0] == 6


@given(st.binary(max_size=40))
def test_cut_off_values_are_refused(data: bytes) -> None:
    """Every true prefix of a byte array raises ProtocolError."""
    whole = var_bytes(data)
    for end in range(len(whole)):
        with pytest.raises(ProtocolError):
            Reader(whole[:end]).var_bytes()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff" * 7 + b"\x10", id="one more than the largest"),
        pytest.param(b"\x80" * 9 + b"\0", id="an endless spelling of zero"),
        pytest.param(b"\xff" * 100, id="no end"),
    ],
)
def test_integers_beyond_53_bits_are_refused(data: bytes) -> None:
    """An integer that JavaScript could not hold raises ProtocolError."""
    with pytest.raises(ProtocolError):
        Reader(data).var_uint()


def test_a_string_that_is_not_utf8_is_refused() -> None:
    """Bytes that are not UTF-8 raise ProtocolError."""
    with pytest.raises(ProtocolError):
        Reader(var_bytes(b"\xc3")).var_string()


@pytest.mark.parametrize("number", [-1, MAX_UINT + 1])
def test_integers_outside_the_range_are_not_written(number: int) -> None:
    """What nobody could read is a ValueError."""
    with pytest.raises(ValueError, match="53 bits"):
        var_uint(number)


@given(st.binary(max_size=64))
def test_anything_else_than_protocol_error_never_happens(data: bytes) -> None:
    """Arbitrary bytes are read or refused."""
    for read in (Reader.var_uint, Reader.var_bytes, Reader.var_string, Reader.rest):
        with contextlib.suppress(ProtocolError):
            read(Reader(data))

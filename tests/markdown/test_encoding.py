"""Bytes of a file to text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.errors import UnreadableFile
from heapsyncd.markdown.encoding import SourceText, decode, encode


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (b"", SourceText(bom=False, text="", newline="\n")),
        (b"a\nb\n", SourceText(bom=False, text="a\nb\n", newline="\n")),
        (b"a\r\nb\r\nc\n", SourceText(bom=False, text="a\r\nb\r\nc\n", newline="\r\n")),
        (b"\xef\xbb\xbfa", SourceText(bom=True, text="a", newline="\n")),
        (b"\xef\xbb\xbf\xef\xbb\xbfa", SourceText(bom=True, text="\ufeffa", newline="\n")),
    ],
)
def test_decode_takes_the_bom_off_and_keeps_line_ends(data: bytes, source: SourceText) -> None:
    """A BOM and line ends are remembered, and the text is otherwise as it is."""
    assert decode(data) == source


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.booleans())
def test_encode_gives_the_same_bytes(text: str, bom: bool) -> None:
    """What was read is written back byte for byte."""
    data = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    assert encode(decode(data)) == data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"fine\nbroken \xff\n", "0xff in line 2"),
        ("text".encode("utf-16"), "not UTF-8"),
        (b"a\n\nb\0c", "NUL byte in line 3"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, words: str) -> None:
    """Bytes that are not UTF-8, or hold NUL, are no text; the message says where."""
    with pytest.raises(UnreadableFile, match=words.replace("(", r"\(").replace(")", r"\)")):
        decode(data)

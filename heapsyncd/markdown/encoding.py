"""Decode a file's bytes to text and encode it back without changing a byte."""

from msgspec import Struct

from heapsyncd.errors import UnreadableFile

_BOM = "\ufeff"


class SourceText(Struct, frozen=True):
    """The text of a file and how it was encoded.

    ``bom``: whether the file starts with a byte order mark; ``text`` excludes it. ``text``:
    everything else with its original line ends. ``newline``: the majority line end, for lines that
    are added.
    """

    bom: bool
    text: str
    newline: str


def decode(data: bytes) -> SourceText:
    """Decode a file's bytes.

    Raises:
        UnreadableFile: the bytes are not UTF-8 or contain a NUL. Such a file is reported and never
            changed.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableFile(
            f"not UTF-8 (byte {data[error.start]:#04x} in line {line}): save the file as UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UnreadableFile(
            f"contains a NUL byte in line {line}: it is no text file, or a save was interrupted"
        )
    bom = text.startswith(_BOM)
    text = text[1:] if bom else text
    windows = text.count("\r\n")
    newline = "\r\n" if windows > text.count("\n") - windows else "\n"
    return SourceText(bom, text, newline)


def encode(source: SourceText) -> bytes:
    """Encode a text to a file's bytes. Reverses ``decode`` exactly."""
    return ((_BOM if source.bom else "") + source.text).encode("utf-8")

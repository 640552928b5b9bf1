"""The bytes of a file as text, and back without a changed byte."""

from dataclasses import dataclass

from heapsyncd.errors import UnreadableFile

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class SourceText:
    """A file's text.

    ``bom``: the file starts with a byte order mark, which ``text`` leaves out. ``text``:
    everything else, line ends as they are. ``newline``: what most lines end with, for new ones.
    """

    bom: bool
    text: str
    newline: str


def decode(data: bytes) -> SourceText:
    """Read a file's bytes.

    Raises:
        UnreadableFile: it is not UTF-8, or holds a NUL; such a file is left alone.
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
        raise UnreadableFile(f"holds a NUL byte (line {line}): it is no text, or a broken save")
    bom = text.startswith(_BOM)
    text = text[1:] if bom else text
    windows = text.count("\r\n")
    newline = "\r\n" if windows > text.count("\n") - windows else "\n"
    return SourceText(bom, text, newline)


def encode(source: SourceText) -> bytes:
    """The bytes of the file: what ``decode`` read, when the text is the same."""
    return ((_BOM if source.bom else "") + source.text).encode("utf-8")

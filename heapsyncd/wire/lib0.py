"""Encode and decode lib0's variable-length integers, strings and byte arrays; check all lengths.

An unsigned integer has seven bits a byte, low bits first, with the top bit set on all bytes but
the last. A string is the count of its UTF-8 *bytes*, then the bytes; a byte array is the same
without the encoding (PROTOCOL §6).
"""

from heapsyncd.errors import ProtocolError

MAX_UINT = 2**53 - 1
"""The largest integer that lib0 reads: JavaScript's largest safe one."""

_MAX_UINT_BYTES = 8


def var_uint(value: int) -> bytes:
    """Encode an unsigned integer; ValueError outside 0 to ``MAX_UINT``."""
    if not 0 <= value <= MAX_UINT:
        raise ValueError(f"{value} is no unsigned integer of at most 53 bits")
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def var_bytes(data: bytes) -> bytes:
    """Encode a byte array."""
    return var_uint(len(data)) + data


def var_string(text: str) -> bytes:
    """Encode a string; ValueError when it contains a lone surrogate."""
    return var_bytes(text.encode())


class Reader:
    """Reads lib0 values one after the other from one message.

    Every method raises only ProtocolError, when the remaining bytes do not contain the value. The
    position is then undefined and the reader must be discarded.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left_bytes(self) -> int:
        """The number of bytes that were not read yet."""
        return len(self._data) - self._at

    def var_uint(self) -> int:
        """Read an unsigned integer of at most 53 bits; longer forms of small ones are accepted."""
        value = 0
        for place in range(_MAX_UINT_BYTES):
            if self._at >= len(self._data):
                raise ProtocolError("a message ends inside an integer")
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if value > MAX_UINT:
                    break
                return value
        raise ProtocolError("a message contains an integer of more than 53 bits")

    def var_bytes(self) -> bytes:
        """Read a byte array."""
        length = self.var_uint()
        if length > self.left_bytes:
            raise ProtocolError(
                f"a message announces {length} bytes where {self.left_bytes} are left"
            )
        start, self._at = self._at, self._at + length
        return bytes(self._data[start : self._at])

    def var_string(self) -> str:
        """Read a string."""
        try:
            return self.var_bytes().decode()
        except UnicodeDecodeError as error:
            raise ProtocolError("a message contains a string that is not UTF-8") from error

    def rest(self) -> bytes:
        """Read all remaining bytes."""
        start, self._at = self._at, len(self._data)
        return bytes(self._data[start:])

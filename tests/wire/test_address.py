"""Addresses as people type them."""

import pytest

from heapsyncd.errors import ConfigError
from heapsyncd.wire.address import as_typed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("heaper.example", "https://heaper.example"),
        (" heaper.example/ ", "https://heaper.example"),
        ("heaper.example:8443/at/", "https://heaper.example:8443/at"),
        ("nas", "https://nas"),
        ("http://nas:8790", "http://nas:8790"),
        ("127.0.0.1:8790", "http://127.0.0.1:8790"),
        ("localhost", "http://localhost"),
        ("[::1]:8790", "http://[::1]:8790"),
        ("https://heaper.example/?from=mail#top", "https://heaper.example"),
    ],
)
def test_the_scheme_is_added(typed: str, meant: str) -> None:
    """https, but http for this machine; what an address does not need is dropped."""
    assert as_typed(typed) == meant


@pytest.mark.parametrize(
    "typed", ["", "https://", "[::1", "two words", "ftp://x", "me:secret@heaper.example"]
)
def test_what_is_no_address(typed: str) -> None:
    """It is refused with an example, and not repeated: it may contain a password."""
    with pytest.raises(ConfigError, match="https://heaper") as error:
        as_typed(typed)
    assert "secret" not in str(error.value)

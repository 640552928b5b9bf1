"""Addresses as people type them."""

import pytest

from heapsyncd.errors import ConfigError
from heapsyncd.wire.address import as_typed, plaintext_warning


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


@pytest.mark.parametrize(
    ("server", "warned"),
    [
        ("https://heaper.example", False),
        ("http://heaper.example", True),
        ("http://192.168.1.2:8790", True),
        ("http://[fe80::1]:8790", True),
        ("http://localhost.example", True),
        ("http://127.0.0.1:8790", False),
        ("http://127.9.9.9", False),
        ("http://[::1]:8790", False),
        ("http://localhost:8790", False),
        ("http://notes.localhost", False),
    ],
)
def test_a_server_without_encryption_is_told_apart(server: str, warned: bool) -> None:
    """Only this machine may be spoken to in clear without a word."""
    assert (plaintext_warning(server) is not None) is warned

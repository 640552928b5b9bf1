"""Secrets as types."""

import pytest

from heapsyncd.ids import Password


def test_a_password_hides_itself() -> None:
    """In every text that Python makes of it."""
    password = Password.parse("hunter 2 \n")
    assert password.reveal() == "hunter 2 "
    assert "hunter" not in f"{password} {password!r} {[password]}"


@pytest.mark.parametrize("text", ["", "\n", "a\nb", "a\n\n"])
def test_what_is_no_password(text: str) -> None:
    """A file that is empty or holds more than a line is the wrong one."""
    with pytest.raises(ValueError, match="one line"):
        Password.parse(text)

"""What is taken for a state vector."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc

from heapsyncd.server.input import is_state_vector
from tests.server.rig import paragraph


@given(st.binary(max_size=20))
def test_state_vector_of_any_bytes(data: bytes) -> None:
    """Any bytes are a state vector or not, without an error."""
    assert is_state_vector(data) in {True, False}


def test_state_vectors() -> None:
    """The vectors of documents are state vectors."""
    doc: Doc[Any] = Doc()
    assert is_state_vector(doc.get_state())
    paragraph("x", doc)
    assert is_state_vector(doc.get_state())

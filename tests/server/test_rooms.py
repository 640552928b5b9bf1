"""The names of documents on a socket."""

from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server.rooms import Address


@given(st.text(max_size=30), st.integers(0, 10**6))
def test_address(noise: str, version: int) -> None:
    """A well-formed name is read whatever session follows; no other text is taken for one."""
    name = f"H:B:v{version}"
    expected = Address(HeapId("H"), BlockId("B"), version)
    assert Address.parse(name) == expected
    assert Address.parse(f"{name}\0{noise}") == expected
    found = Address.parse(noise)
    assert found is None or noise.startswith(f"{found.heap}:{found.block}:v{found.sync_version}")

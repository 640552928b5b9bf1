"""The table of fields against the service's documented requests."""

from pathlib import Path

import pytest

from heapsyncd.items.kinds import FIELDS, KINDS, is_writable
from heapsyncd.items.values import ItemType

ROUTES = Path(__file__).parent.parent / "data" / "oneheap-routes.txt"


def documented(method: str, path: str) -> set[str]:
    """The names of a request's documented arguments."""
    rows = [line.split() for line in ROUTES.read_text().splitlines()]
    (row,) = [row for row in rows if row[:2] == [method, path]]
    return {argument.partition(":")[0] for argument in row[2:]}


@pytest.mark.parametrize("type_", KINDS)
def test_requests_take_what_is_documented(type_: ItemType) -> None:
    """No more and no less; permissions are not mirrored, and a misprint is sent in both ways."""
    kind = KINDS[type_]
    created = documented("POST", f"/{kind.collection}/")
    updated = documented("POST", f"/{kind.collection}/:id/")
    assert kind.create == created - {"permissions"}
    assert kind.update == updated | ({"priority"} if "priotity" in updated else set())


def test_what_can_be_changed() -> None:
    """By an update, by a request of its own, or only while an item is made."""
    assert is_writable(KINDS["task"], FIELDS["parent"], is_new=False)
    assert is_writable(KINDS["appointment"], FIELDS["reminders"], is_new=False)
    assert is_writable(KINDS["sticky"], FIELDS["parent"], is_new=True)
    assert not is_writable(KINDS["sticky"], FIELDS["parent"], is_new=False)
    assert not is_writable(KINDS["comment"], FIELDS["tags"], is_new=True)

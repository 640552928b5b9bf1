"""The table holds what the documentation lists, and refuses everything else."""

from collections import Counter
from pathlib import Path

import pytest

from heapsyncd.wire.oneheap.routes import ROUTES, Standing, is_id, route

DOCUMENTED = Path(__file__).parents[2] / "data" / "oneheap-routes.txt"
"""A route a line: method, path, arguments with their types; ``!``: not implemented yet."""
TYPES = {"int": "integer", "bool": "boolean"}
OURS = {
    ("POST", "/Tasks/:id/Tasks", "id:string"),  # the documentation states no arguments
    ("POST", "/Tasks/:id/", "priority:integer"),  # the documentation spells it "priotity" only
}


def test_the_table_is_the_documented_list() -> None:
    """All 144 rows, each with its arguments and their types, misprints included."""
    documented = Counter(DOCUMENTED.read_text().splitlines())
    ours: Counter[str] = Counter()
    for row in ROUTES:
        typed = [f"{name}:{TYPES.get(type_, type_)}" for name, type_ in row.arguments.items()]
        kept = [argument for argument in typed if (row.method, row.path, argument) not in OURS]
        mark = ["!"] if row.standing is Standing.NOT_IMPLEMENTED else []
        ours[" ".join([row.method, row.path, *kept, *mark])] += 1
    assert ours == documented
    assert sum(ours.values()) == 144


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/Comments/:id/"), ("PUT", "/Notes/:id/"), ("GET", "/Notes")]
)
def test_what_is_not_documented_is_no_route(method: str, path: str) -> None:
    """Also not without its last slash."""
    with pytest.raises(ValueError, match="not a documented route"):
        route(method, path)


def test_ids_are_encoded_into_the_path() -> None:
    """They are opaque: each stays one part of the path."""
    found = route("DELETE", "/Notes/:id/Files/:id/")
    assert found.fill("534..b02", "a/b?c#d e%") == "/Notes/534..b02/Files/a%2Fb%3Fc%23d%20e%25/"
    with pytest.raises(ValueError, match="takes 2 ids"):
        found.fill("1")


@pytest.mark.parametrize("text", ["", ".", "..", "a\nb", "a\0", "x" * 201])
def test_what_would_name_another_path_is_no_id(text: str) -> None:
    """Dots alone walk up, and control characters belong in no address."""
    assert not is_id(text)
    with pytest.raises(ValueError, match="not an id"):
        route("GET", "/Notes/:id/").fill(text)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"title": "x"}, "takes no 'title'"),
        ({"limit": {}}, "takes no 'limit'"),
        ({"tags": "x"}, "'tags' is not of type array"),
        ({"name": 3}, "'name' is not of type string"),
        ({"progress": True}, "'progress' is not of type int"),
        ({"progress": 1.5}, "'progress' is not of type int"),
    ],
)
def test_arguments_are_documented_and_typed(arguments: dict[str, object], wrong: str) -> None:
    """Anything else is a mistake of the caller's, found before it is sent."""
    with pytest.raises(ValueError, match=wrong):
        route("POST", "/Tasks/").checked(arguments)


def test_null_clears_and_lists_are_paged() -> None:
    """Any argument may be null; ``limit`` and ``sort`` stand beside those of lists."""
    route("POST", "/Notes/:id/").checked({"boxId": None, "tags": []})
    for method, path in (("GET", "/Notes/"), ("POST", "/Searches/")):
        route(method, path).checked({"limit": {"offset": 0, "limit": 1}, "sort": {}})


def test_what_makes_something_is_not_repeatable() -> None:
    """Everything else may be sent twice."""
    once = {f"{r.method} {r.path}" for r in ROUTES if not r.is_repeatable}
    assert {"POST /Notes/", "POST /Notes/:id/Files/", "POST /Tasks/:id/Reminders/"} <= once
    twice = {f"{r.method} {r.path}" for r in ROUTES if r.is_repeatable}
    assert {"POST /Notes/:id/", "DELETE /Notes/:id/", "POST /Searches/", "GET /Notes/"} <= twice
    assert not [name for name in once if not name.startswith("POST")]

"""The server's shapes: the contract's own, the accepted alternatives, and what is refused."""

import base64
import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.errors import ProtocolError
from heapsyncd.ids import BlockId, HeapId, Token
from heapsyncd.model import Changed, Gone, Heap, PullAsk, Push
from heapsyncd.wire import heaper
from heapsyncd.wire.scalars import document_name, ms, skipped_bytes

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRST0")
A, B, C = (BlockId(f"01J8XYZ0ABCDEFGHJKMNPQRST{n}") for n in "123")


def read(value: object, shape: type) -> object:
    return msgspec.json.decode(json.dumps(value), type=shape)


@pytest.mark.parametrize(
    "answer",
    [
        {"heaps": [{"id": HEAP, "title": "Home", "block_id": A, "encrypted": False}]},
        {"workspaces": [{"id": HEAP, "title": "Home", "block_id": A}]},
        [{"id": HEAP, "title": "Home", "block_id": A, "icon": None, "new": {"field": [1]}}],
    ],
)
def test_heaps_are_read_in_three_spellings(answer: object) -> None:
    """An object with heaps or workspaces, or a bare array; unknown fields are ignored."""
    decoded = msgspec.json.decode(json.dumps(answer), type=heaper.Heaps)
    assert heaper.decode_heaps(decoded) == [Heap(HEAP, "Home", A)]


@pytest.mark.parametrize("answer", [{}, {"heaps": None}, [{"id": "../../etc"}]])
def test_heaps_without_a_list_or_with_odd_ids_are_refused(answer: object) -> None:
    """No list is no empty list; an id that is no ULID could be part of a path."""
    with pytest.raises(ProtocolError):
        heaper.decode_heaps(msgspec.json.decode(json.dumps(answer), type=heaper.Heaps))


@pytest.mark.parametrize(
    "answer",
    [{"accessToken": "a", "refreshToken": "b"}, {"access_token": "a", "refresh_token": "b"}],
)
def test_tokens_are_read_in_two_spellings(answer: dict[str, str]) -> None:
    """Camel case, and the underscores of older servers."""
    pair = msgspec.json.decode(json.dumps(answer), type=heaper.TokenPair)
    assert (pair.access(), pair.refresh()) == (Token("a"), Token("b"))


@pytest.mark.parametrize("field", ["challenge", "message"])
def test_the_challenge_is_read_in_two_spellings(field: str) -> None:
    """challenge, or message."""
    assert msgspec.json.decode(json.dumps({field: "x"}), type=heaper.Challenge).text() == "x"


def test_answers_without_tokens_or_challenge_are_refused() -> None:
    """An empty object is no sign-in."""
    with pytest.raises(ProtocolError):
        heaper.TokenPair().access()
    with pytest.raises(ProtocolError):
        heaper.Challenge().text()


def test_a_delta_is_read() -> None:
    """Live and gone blocks, the cursor, and whether there is more."""
    page = heaper.decode_delta(
        msgspec.json.decode(
            json.dumps(
                {
                    "blocks": [{"id": A, "updated_at": 5, "sync_version": 3}],
                    "deleted": [
                        {"id": B, "deleted_at": "1970-01-01T00:00:07Z", "permanent": True}
                    ],
                    "timestamp": 123,
                    "has_more": True,
                }
            ),
            type=heaper.Delta,
        )
    )
    assert page.changed == (Changed(A, 3, 5),)
    assert page.gone == (Gone(B, 7000, permanent=True),)
    assert (page.cursor_ms, page.more) == (123, True)


@pytest.mark.parametrize("timestamp", [None, "yesterday", "", 1e400])
def test_a_delta_without_a_time_is_refused(timestamp: object) -> None:
    """There would be nowhere to go on from."""
    with pytest.raises(ProtocolError):
        heaper.decode_delta(heaper.Delta([], timestamp))  # type: ignore[arg-type]  # foreign data


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001 - naive on purpose
def test_times_are_read_in_both_forms(moment: datetime) -> None:
    """Milliseconds and RFC 3339 say the same; text without a zone is UTC."""
    utc = moment.replace(tzinfo=UTC)
    expected = round(utc.timestamp() * 1000)
    assert ms(expected) == ms(str(expected)) == ms(float(expected)) == expected
    assert ms(utc.isoformat()) == ms(moment.isoformat()) == expected
    assert ms(utc.isoformat().replace("+00:00", "Z")) == expected


def test_an_unknown_kind_of_block_is_a_document() -> None:
    """Each block has a document, whatever a later server calls it."""
    row = heaper.decode_row(heaper.Row(id=A, type="whiteboard"), HEAP)
    assert (row.kind, row.title, row.heap_id) == ("document", "", HEAP)


def test_asks_are_bounded_and_none_is_lost() -> None:
    """As many asks as fit into the body, at least one, in order."""
    asks = [PullAsk(A, 1, b"x" * 1000), PullAsk(B, 1, b"y" * 1000), PullAsk(C, 2)]
    sizes = {}
    for limit in (1, 1500, 3200, 10_000):
        body = json.loads(heaper.encode_asks(HEAP, asks, limit))
        sizes[limit] = len(body["blocks"])
        assert [block["id"] for block in body["blocks"]] == [A, B, C][: sizes[limit]]
    assert sizes == {1: 1, 1500: 1, 3200: 3, 10_000: 3}
    assert "state_vector" not in body["blocks"][2]
    assert base64.b64decode(body["blocks"][0]["state_vector"], validate=True) == b"x" * 1000


@pytest.mark.parametrize(
    "page",
    [
        {"blocks": [{"id": B, "sync_version": 1, "update": "AAA=", "full": True}]},
        {"blocks": [], "missing": [B]},
        {"blocks": [{"id": A, "sync_version": -1, "update": "AAA=", "full": True}]},
    ],
)
def test_a_pull_with_what_was_not_asked_is_refused(page: object) -> None:
    """Nothing of a confused answer is used."""
    decoded = msgspec.json.decode(json.dumps(page), type=heaper.PullPage)
    with pytest.raises(ProtocolError):
        heaper.decode_pull(decoded, [PullAsk(A, 1)])


@pytest.mark.parametrize("update", ["AAA", "A A=", "é", 3])
def test_an_update_that_is_no_base64_breaks_the_shape(update: object) -> None:
    """Standard base64 alone."""
    page = {"blocks": [{"id": A, "sync_version": 1, "update": update, "full": True}]}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(page), type=heaper.PullPage)


def pushed(*results: tuple[str, str]) -> heaper.PushPage:
    page = {"results": [{"block_id": id_, "status": status} for id_, status in results]}
    return msgspec.json.decode(json.dumps(page), type=heaper.PushPage)


def test_results_are_put_into_the_order_of_the_pushes() -> None:
    """By block; several of one block in the order the server wrote."""
    pushes = [Push(A, 1, b""), Push(B, 1, b""), Push(A, 2, b"")]
    results = heaper.decode_results(pushed((B, "stale"), (A, "ok"), (A, "invalid")), pushes)
    assert [(r.id, r.status) for r in results] == [(A, "ok"), (B, "stale"), (A, "invalid")]


@pytest.mark.parametrize("page", [pushed(), pushed((A, "perhaps")), pushed((B, "ok"))])
def test_results_that_leave_something_open_are_refused(page: heaper.PushPage) -> None:
    """An update without a clear word stays unsent."""
    with pytest.raises(ProtocolError):
        heaper.decode_results(page, [Push(A, 1, b"")])


@given(st.lists(st.binary(max_size=500), min_size=1, max_size=5))
def test_the_size_of_a_push_is_an_upper_bound(updates: list[bytes]) -> None:
    """Requests that are cut by it stay within the server's limit."""
    pushes = [Push(A, 2**53 - 1, update) for update in updates]
    bound = sum(heaper.pushed_size_bytes(push) for push in pushes)
    assert len(heaper.encode_pushes(HEAP, pushes)) <= bound + 100


def test_a_document_is_named_after_heap_block_and_version() -> None:
    """The name of PROTOCOL §6, letter for letter."""
    assert document_name(HEAP, A, 12) == f"{HEAP}:{A}:v12"


@pytest.mark.parametrize(
    ("status", "content_range", "offset", "skipped"),
    [
        (200, None, 0, 0),
        (200, None, 700, 700),
        (206, "bytes 700-999/1000", 700, 0),
        (416, "bytes */700", 700, None),
    ],
)
def test_a_resumed_download_begins_where_it_should(
    status: int, content_range: str | None, offset: int, skipped: int | None
) -> None:
    """A server may ignore the range, honour it, or say that there is nothing left."""
    assert skipped_bytes(status, content_range, offset) == skipped


@pytest.mark.parametrize(
    ("status", "content_range"),
    [(206, "bytes 0-999/1000"), (206, None), (206, "bytes */5"), (416, "bytes */5"), (416, None)],
)
def test_another_range_than_asked_is_refused(status: int, content_range: str | None) -> None:
    """Bytes from elsewhere would tear the file."""
    with pytest.raises(ProtocolError):
        skipped_bytes(status, content_range, 700)


@pytest.mark.parametrize(
    "figure", [1e300, 10**25, 2**63, -(2**63), "9" * 99, "99999999999999999999", "x"]
)
def test_a_senseless_time_is_its_own_block_s_trouble(figure: object) -> None:
    """The others of the page are taken in; a cursor must be right."""
    raw = {
        "blocks": [
            {"id": A, "updated_at": figure, "sync_version": 1},
            {"id": B, "updated_at": 5, "sync_version": 2},
        ],
        "deleted": [{"id": A, "deleted_at": figure}],
        "timestamp": 7,
    }
    page = heaper.decode_delta(msgspec.json.decode(json.dumps(raw), type=heaper.Delta))
    assert page.changed == (Changed(A, 1, 0), Changed(B, 2, 5))
    assert page.gone == (Gone(A, 0, permanent=False),)
    row = heaper.Row(A, deleted_at=figure)  # type: ignore[arg-type]  # foreign data
    assert heaper.decode_row(row, HeapId(A)).deleted_at_ms == 0, "deleted, at no known time"
    raw["timestamp"] = figure
    with pytest.raises(ProtocolError):
        heaper.decode_delta(msgspec.json.decode(json.dumps(raw), type=heaper.Delta))

"""Hocuspocus messages: round trip, the bytes real servers send, and arbitrary bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.errors import ProtocolError
from heapsyncd.ids import Token
from heapsyncd.wire import hocuspocus as hp
from heapsyncd.wire.lib0 import var_string

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
data = st.binary(max_size=40)
messages: st.SearchStrategy[hp.Message] = st.one_of(
    st.builds(hp.SyncStep1, data, st.booleans()),
    st.builds(hp.SyncStep2, data, st.booleans()),
    st.builds(hp.Update, data, st.booleans()),
    st.builds(hp.Awareness, data),
    st.builds(hp.Auth, st.builds(Token, texts), st.none() | texts),
    st.just(hp.TokenRequest()),
    st.builds(hp.PermissionDenied, texts),
    st.builds(hp.Authenticated, texts),
    st.just(hp.QueryAwareness()),
    st.builds(hp.Stateless, texts, st.booleans()),
    st.builds(hp.Close, texts),
    st.builds(hp.SyncStatus, st.booleans()),
    st.just(hp.Ping()),
    st.just(hp.Pong()),
    st.builds(hp.Unknown, st.integers(11, 2**53 - 1), data),
)


@given(texts, messages)
def test_what_is_encoded_is_decoded(document: str, message: hp.Message) -> None:
    """Every message of the protocol survives its bytes."""
    assert hp.decode(hp.encode(document, message)) == hp.Frame(document, message)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("00 00 01 00", hp.SyncStep1(b"\0")),
        ("00 01 02 00 00", hp.SyncStep2(b"\0\0")),
        ("04 00 01 00", hp.SyncStep1(b"\0", reply=True)),
        ("02 00", hp.TokenRequest()),
        ("02 00 02 74 6b", hp.Auth(Token("tk"))),
        ("02 00 02 74 6b 03 34 2e 36", hp.Auth(Token("tk"), "4.6")),
        ("02 01 05 73 74 61 6c 65", hp.PermissionDenied("stale")),
        ("02 02 08 72 65 61 64 6f 6e 6c 79", hp.Authenticated("readonly")),
        ("03", hp.QueryAwareness()),
        ("07 03 62 79 65", hp.Close("bye")),
        ("08 01", hp.SyncStatus(saved=True)),
        ("08 01 ff ff", hp.SyncStatus(saved=True)),
    ],
)
def test_bytes_of_the_protocol_are_read(payload: str, message: hp.Message) -> None:
    """The layout of PROTOCOL §6, written by hand; bytes after the payload are ignored."""
    assert hp.decode(b"\x01d" + bytes.fromhex(payload)) == hp.Frame("d", message)


@given(messages)
def test_cut_off_messages_are_refused_or_another_message(message: hp.Message) -> None:
    """A message that lost its end never raises anything but ProtocolError."""
    whole = hp.encode("document", message)
    for end in range(len(whole)):
        with contextlib.suppress(ProtocolError):
            hp.decode(whole[:end])


@pytest.mark.parametrize("payload", [b"\0\3", b"\2\3", b"\0", b"\0\0", b"\0\0\5ab", b""])
def test_forms_the_protocol_does_not_have_are_refused(payload: bytes) -> None:
    """Unknown steps, missing payloads and short ones raise ProtocolError."""
    with pytest.raises(ProtocolError):
        hp.decode(var_string("d") + payload)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing a server sends raises anything but ProtocolError."""
    with contextlib.suppress(ProtocolError):
        hp.decode(data)


def test_a_token_does_not_show_in_a_repr() -> None:
    """A message may be logged."""
    assert "secret" not in repr(hp.Frame("d", hp.Auth(Token("secret"))))

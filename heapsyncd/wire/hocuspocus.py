"""Encode and decode the messages of the Hocuspocus protocol as values (PROTOCOL §6).

A binary message is ``varString document``, ``varUint type``, payload. ``decode`` reads what any
server or client of versions 2 to 4 sends, and ignores bytes after the payload, since newer
versions append fields. ``encode`` writes the plain form.
"""

from typing import assert_never

from msgspec import Struct

from heapsyncd.errors import ProtocolError
from heapsyncd.ids import Token
from heapsyncd.wire.lib0 import Reader, var_bytes, var_string, var_uint

SYNC, AWARENESS, AUTH, QUERY_AWARENESS, SYNC_REPLY = 0, 1, 2, 3, 4
STATELESS, BROADCAST_STATELESS, CLOSE, SYNC_STATUS, PING, PONG = 5, 6, 7, 8, 9, 10
_STEP1, _STEP2, _UPDATE = 0, 1, 2
_TOKEN, _DENIED, _AUTHENTICATED = 0, 1, 2


class SyncStep1(Struct, frozen=True):
    """The sender's state vector.

    ``reply``: sent as SyncReply, which must not be answered with a SyncStep1.
    """

    state_vector: bytes
    reply: bool = False


class SyncStep2(Struct, frozen=True):
    """What the receiver of a SyncStep1 sends back: the updates that its sender lacked."""

    update: bytes
    reply: bool = False


class Update(Struct, frozen=True):
    """A change."""

    update: bytes
    reply: bool = False


class Awareness(Struct, frozen=True):
    """Presence, as a y-protocols awareness update (``awareness``, ``announcements``)."""

    update: bytes


class Auth(Struct, frozen=True):
    """A client signs in to a document."""

    token: Token
    version: str | None = None
    """The client's version, which newer clients append; None when absent."""


class TokenRequest(Struct, frozen=True):
    """A server asks for a fresh token: Auth 0 without payload."""


class PermissionDenied(Struct, frozen=True):
    """The server refuses the document, for whatever reason."""

    reason: str


class Authenticated(Struct, frozen=True):
    """The document is open. ``scope``: "read-write" or "readonly"."""

    scope: str


class QueryAwareness(Struct, frozen=True):
    """A request for the awareness states; our keep-alive."""


class Stateless(Struct, frozen=True):
    """A text of the application; ``broadcast``: to be passed on to all clients."""

    text: str
    broadcast: bool = False


class Close(Struct, frozen=True):
    """This document is closed; the socket stays open."""

    reason: str


class SyncStatus(Struct, frozen=True):
    """The server accepted (or refused) our last update; not a promise of durability."""

    saved: bool


class Ping(Struct, frozen=True):
    """A sign of life of newer servers."""


class Pong(Struct, frozen=True):
    """The answer to Ping."""


_BARE: dict[type, int] = {QueryAwareness: QUERY_AWARENESS, Ping: PING, Pong: PONG}


class Unknown(Struct, frozen=True):
    """A message of a type that this project does not know; to be ignored."""

    type: int
    payload: bytes


Message = (
    SyncStep1
    | SyncStep2
    | Update
    | Awareness
    | Auth
    | TokenRequest
    | PermissionDenied
    | Authenticated
    | QueryAwareness
    | Stateless
    | Close
    | SyncStatus
    | Ping
    | Pong
    | Unknown
)


class Frame(Struct, frozen=True):
    """One message about one document."""

    document: str
    message: Message


def encode(document: str, message: Message) -> bytes:
    """Encode one message."""
    return var_string(document) + _payload(message)


def _payload(message: Message) -> bytes:
    match message:
        case SyncStep1() | SyncStep2() | Update():
            return _sync_payload(message)
        case Auth() | TokenRequest() | PermissionDenied() | Authenticated():
            return var_uint(AUTH) + _auth_payload(message)
        case Awareness(update):
            return var_uint(AWARENESS) + var_bytes(update)
        case Stateless(text, broadcast):
            return var_uint(BROADCAST_STATELESS if broadcast else STATELESS) + var_string(text)
        case Close(reason):
            return var_uint(CLOSE) + var_string(reason)
        case SyncStatus(saved):
            return var_uint(SYNC_STATUS) + var_uint(int(saved))
        case QueryAwareness() | Ping() | Pong():
            return var_uint(_BARE[type(message)])
        case Unknown(type_, payload):
            return var_uint(type_) + payload
        case _:
            assert_never(message)


def _sync_payload(message: SyncStep1 | SyncStep2 | Update) -> bytes:
    head = var_uint(SYNC_REPLY if message.reply else SYNC)
    match message:
        case SyncStep1(state_vector):
            return head + var_uint(_STEP1) + var_bytes(state_vector)
        case SyncStep2(update):
            return head + var_uint(_STEP2) + var_bytes(update)
        case Update(update):
            return head + var_uint(_UPDATE) + var_bytes(update)
        case _:
            assert_never(message)


def _auth_payload(message: Auth | TokenRequest | PermissionDenied | Authenticated) -> bytes:
    match message:
        case Auth(token, version):
            tail = b"" if version is None else var_string(version)
            return var_uint(_TOKEN) + var_string(token.reveal()) + tail
        case TokenRequest():
            return var_uint(_TOKEN)
        case PermissionDenied(reason):
            return var_uint(_DENIED) + var_string(reason)
        case Authenticated(scope):
            return var_uint(_AUTHENTICATED) + var_string(scope)
        case _:
            assert_never(message)


def decode(data: bytes) -> Frame:
    """Decode one message.

    Raises:
        ProtocolError: it is cut off, or has a form that the protocol does not define.
    """
    reader = Reader(data)
    document = reader.var_string()
    return Frame(document, _message(reader.var_uint(), reader))


def _message(type_: int, reader: Reader) -> Message:
    match type_:
        case 0 | 4:
            return _sync(reader, reply=type_ == SYNC_REPLY)
        case 1:
            return Awareness(reader.var_bytes())
        case 2:
            return _auth(reader)
        case 3:
            return QueryAwareness()
        case 5 | 6:
            return Stateless(reader.var_string(), broadcast=type_ == BROADCAST_STATELESS)
        case 7:
            return Close(reader.var_string())
        case 8:
            return SyncStatus(reader.var_uint() != 0)
        case 9:
            return Ping()
        case 10:
            return Pong()
        case _:
            return Unknown(type_, reader.rest())


def _sync(reader: Reader, *, reply: bool) -> Message:
    step = reader.var_uint()
    match step:
        case 0:
            return SyncStep1(reader.var_bytes(), reply)
        case 1:
            return SyncStep2(reader.var_bytes(), reply)
        case 2:
            return Update(reader.var_bytes(), reply)
        case _:
            raise ProtocolError(f"a sync message of unknown step {step}")


def _auth(reader: Reader) -> Message:
    kind = reader.var_uint()
    match kind:
        case 0:
            if not reader.left_bytes:
                return TokenRequest()
            token = Token(reader.var_string())
            return Auth(token, reader.var_string() if reader.left_bytes else None)
        case 1:
            return PermissionDenied(reader.var_string())
        case 2:
            return Authenticated(reader.var_string())
        case _:
            raise ProtocolError(f"an auth message of unknown kind {kind}")

"""The error tree, sorted by who must act.

HeapsyncdError
├── UserError                 the person at the keyboard
│   ├── ConfigError           a wrong configuration or key file             exit 2
│   ├── SignInRefused         the server does not accept the account        exit 3
│   │   └── OtherServer       another server answers than the cache's       exit 3
│   ├── StateLocked           another daemon holds this state               exit 5
│   └── FolderTrouble         the folder can't be read or written           exit 1
├── PeerError                 whoever runs or wrote the server
│   ├── NotHeaper             what answered is not a Heaper server          exit 4
│   ├── ProtocolError         an answer the contract does not allow         exit 1
│   └── RequestRefused        403, 404, 409, 413, 422 on one request        exit 1
├── TryLater                  time
│   ├── Unreachable           no connection, time-out, name not found       exit 4
│   ├── TooFast               429; carries how long to wait                 exit 4
│   └── ServerTrouble         5xx, a broken or cut-off answer               exit 4
└── BlockError                one block; becomes a Problem, never stops a heap
    ├── UnreadableDocument    yrs can't load it
    ├── UnreadableFile        not UTF-8, holds NUL, or too large
    └── InvalidEdit           the edit does not fit the document's schema

A foreign error is translated once, at the edge that met it. Messages are one or two lines for
people: what happened, where, what to do; they never hold a secret.
"""


class HeapsyncdError(Exception):
    """Anything heapsyncd raises on purpose; ``str`` is a message for people."""

    exit_code = 1


class UserError(HeapsyncdError):
    """Only the user can put it right."""


class ConfigError(UserError):
    """A wrong configuration or key file; the message names file, line or key, and the fix."""

    exit_code = 2


class SignInRefused(UserError):
    """The server does not accept the account (401 after refresh and sign-in, PROTOCOL §3)."""

    exit_code = 3


class OtherServer(SignInRefused):
    """Not the server that the account's cache belongs to: nothing was sent to it."""


class StateLocked(UserError):
    """Another daemon holds this state."""

    exit_code = 5


class FolderTrouble(UserError):
    """A folder or file can't be read or written (permission, disk full, not mounted).

    Args:
        message: for people, with the path.
        reason: the same without it, for lists that name the path themselves.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


class PeerError(HeapsyncdError):
    """The server answered, but wrongly or with a refusal."""


class NotHeaper(PeerError):
    """What answered is not a Heaper server (HTML instead of JSON at the first call, say)."""

    exit_code = 4


class ProtocolError(PeerError):
    """An answer the contract does not allow; nothing of it is used."""


class RequestRefused(PeerError):
    """403, 404, 409, 413 or 422.

    Args:
        message: for people.
        status: the HTTP status.
        body: the decoded JSON body, ``{}`` when there was none.
    """

    def __init__(self, message: str, status: int, body: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {}


class TryLater(HeapsyncdError):
    """Nothing is wrong with us or the data: the same request may succeed later."""

    exit_code = 4


class Unreachable(TryLater):
    """No connection, a time-out, a dropped link."""


class TooFast(TryLater):
    """429. ``retry_after_s`` is what the server asked for (None: it did not say)."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerTrouble(TryLater):
    """5xx, or an answer that was cut off or is no JSON. ``retry_after_s`` as for TooFast."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BlockError(HeapsyncdError):
    """Trouble with one block; collected as a Problem."""


class UnreadableDocument(BlockError):
    """yrs can't load the document or the update; the raw bytes are kept."""


class UnreadableFile(BlockError):
    """A file that is no text (not UTF-8, NUL inside) or too large; it is left alone. The message
    does not name it.
    """


class InvalidEdit(BlockError):
    """An edit whose result an editor would not accept; it is not sent, the file is kept."""


def leaves(error: BaseException) -> list[BaseException]:
    """What went wrong, taken out of the groups that task groups wrap around it."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def meant(error: BaseException) -> HeapsyncdError | None:
    """The first cause when all causes were raised on purpose; None when there is a bug."""
    causes = leaves(error)
    if all(isinstance(cause, HeapsyncdError) for cause in causes):
        assert isinstance(causes[0], HeapsyncdError)
        return causes[0]
    return None

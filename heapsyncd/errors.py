"""The error tree, sorted by who must act.

HeapsyncdError
├── UserError                 the person at the keyboard
│   ├── ConfigError           a wrong configuration or key file             exit 2
│   ├── SignInRefused         the server does not accept the account        exit 3
│   │   └── OtherServer       another server answers than the cache's       exit 3
│   ├── StateLocked           another daemon holds this state               exit 5
│   └── FolderTrouble         the folder can't be read or written           exit 1
├── PeerError                 the operator or author of the server
│   ├── NotHeaper             not a Heaper server answered                  exit 4
│   ├── ProtocolError         an answer that violates the protocol          exit 1
│   └── RequestRefused        403, 404, 409, 413, 422 on one request        exit 1
├── TryLater                  nobody; time solves it
│   ├── Unreachable           no connection, time-out, name not found       exit 4
│   ├── TooFast               429, with the time to wait                    exit 4
│   ├── ServerTrouble         5xx, a broken or cut-off answer               exit 4
│   └── OutcomeUnknown        a creation whose answer was lost              exit 4
├── CacheClosed               nobody; what was asked meets a reload         exit 1
├── NotRunning                nobody, or who mends the account's trouble    exit 1
└── BlockError                trouble with one block; a Problem, never stops a heap
    ├── UnreadableDocument    yrs can't load it
    ├── UnreadableFile        not UTF-8, contains NUL, or too large
    └── InvalidEdit           the edit does not fit the document's schema

A library's error is translated once, at the edge where it occurs. Messages are one or two lines
for people: what happened, where, what to do. They never contain a secret.
"""


class HeapsyncdError(Exception):
    """Any error that heapsyncd raises on purpose. ``str`` is a message for people."""

    exit_code = 1


class UserError(HeapsyncdError):
    """An error that only the user can fix."""


class ConfigError(UserError):
    """An invalid configuration or key file. The message names file, line or key, and the fix."""

    exit_code = 2


class SignInRefused(UserError):
    """The server does not accept the account (401 after refresh and sign-in, PROTOCOL §3)."""

    exit_code = 3


class OtherServer(SignInRefused):
    """The server is not the one that the account's cache belongs to. Nothing was sent to it."""


class StateLocked(UserError):
    """Another process holds this state."""

    exit_code = 5


class FolderTrouble(UserError):
    """A folder or file cannot be read or written (permission, disk full, not mounted).

    Args:
        message: for people, with the path.
        reason: the same without the path, for lists that name the path themselves.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


class PeerError(HeapsyncdError):
    """The server answered, but wrongly or with a refusal."""


class NotHeaper(PeerError):
    """What answered is no server of the configured kind. It sent HTML instead of JSON, say."""

    exit_code = 4


class ProtocolError(PeerError):
    """An answer that violates the protocol. Nothing of it is used."""


class RequestRefused(PeerError):
    """The server refused one request: 403, 404, 409, 413 or 422, of a oneheap service also 400.

    Args:
        message: for people.
        status: the HTTP status.
        body: the decoded JSON body, ``{}`` if there was none.
    """

    def __init__(self, message: str, status: int, body: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {}


class TryLater(HeapsyncdError):
    """Neither we nor the data are wrong: the same request may succeed later."""

    exit_code = 4
    plain = "the server can't be asked now"
    """What it means for people who do not care why."""


class Unreachable(TryLater):
    """No connection, a time-out, or a dropped connection."""

    plain = "the server does not answer"


class TooFast(TryLater):
    """429, too many requests.

    ``retry_after_s``: how long the server asked to wait, None if unsaid.
    """

    plain = "the server is busy and asks to wait"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerTrouble(TryLater):
    """5xx, or an answer that was cut off or is not JSON. ``retry_after_s`` as for TooFast."""

    plain = "the server has trouble of its own"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(TryLater):
    """Something was to be created, and no valid answer came: the server may have created it.

    Repeating it could create it twice, so the caller looks for it first.
    """

    plain = "the server did not answer a request to create something"


class CacheClosed(HeapsyncdError):
    """A command came to a cache that was closed meanwhile: its account is stopped or reloaded."""


class NotRunning(HeapsyncdError):
    """A command came to an account that starts, is being repaired, or is in trouble."""


class BlockError(HeapsyncdError):
    """Trouble with one block, collected as a Problem."""


class UnreadableDocument(BlockError):
    """yrs cannot load the document or the update. The raw bytes are kept."""


class UnreadableFile(BlockError):
    """A file that is not text (not UTF-8, contains NUL) or is too large. It is never changed.

    The message does not name the file.
    """


class InvalidEdit(BlockError):
    """An edit whose result an editor would not accept. It is not sent; the file is kept."""


def for_people(error: HeapsyncdError) -> str:
    """Return an error with what it means first, and the technical reason behind it."""
    return f"{error.plain} ({error})" if isinstance(error, TryLater) else str(error)


def leaf_errors(error: BaseException) -> list[BaseException]:
    """Return the errors inside the exception groups that task groups create."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaf_errors(inner)]
    return [error]


def expected_error(error: BaseException) -> HeapsyncdError | None:
    """Return the first cause if all causes were raised on purpose, None if one is a bug."""
    causes = leaf_errors(error)
    if all(isinstance(cause, HeapsyncdError) for cause in causes):
        assert isinstance(causes[0], HeapsyncdError)
        return causes[0]
    return None

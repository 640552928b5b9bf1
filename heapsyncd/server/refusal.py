"""Raise an answer that is not a success where a request is found to be refused."""

from collections.abc import Callable, Mapping


class Refusal(Exception):
    """Becomes an HTTP answer with a JSON body ``{"error": message, **body}`` (PROTOCOL §3).

    Args:
        status: the HTTP status.
        message: for people; never contains a secret.
        headers: further headers, for example ``Retry-After``.
        body: further members of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        self.body = dict(body or {})

    def __reduce__(self) -> tuple[Callable[..., "Refusal"], tuple[object, ...]]:
        # Work in another process may refuse; the exception is then pickled.
        return _restored, (self.status, self.message, self.headers, self.body)


def _restored(
    status: int, message: str, headers: Mapping[str, str], body: Mapping[str, object]
) -> Refusal:
    return Refusal(status, message, headers=headers, body=body)

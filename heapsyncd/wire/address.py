"""A server's address."""

from yarl import URL

from heapsyncd.errors import ConfigError


def server_url(text: str) -> URL:
    """The server's address from a configuration; ConfigError when it is none."""
    try:
        url = URL(text.strip())
        usable = url.scheme in {"http", "https"} and bool(url.host)
    except ValueError as error:
        raise ConfigError(f"server {text!r} is no address; it should read https://…") from error
    if not usable:
        raise ConfigError(f"server {text!r} is no address; it should read https://…")
    if url.user or url.password:
        raise ConfigError("server: an address must not hold a user name or password")
    return url.with_query(None).with_fragment(None)

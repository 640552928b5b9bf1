"""Parse a server's address."""

from yarl import URL

from heapsyncd.errors import ConfigError


def server_url(text: str) -> URL:
    """Parse the server's address from a configuration.

    Raises:
        ConfigError: it is not an http(s) address, or contains a user name or password.
    """
    try:
        url = URL(text.strip())
        usable = url.scheme in {"http", "https"} and bool(url.host)
    except ValueError as error:
        raise ConfigError(f"server {text!r} is not an address; write https://…") from error
    if not usable:
        raise ConfigError(f"server {text!r} is not an address; write https://…")
    if url.user or url.password:
        raise ConfigError("server: the address must not contain a user name or password")
    return url.with_query(None).with_fragment(None)

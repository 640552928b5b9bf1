"""Parse a server's address."""

import ipaddress
from urllib.parse import urlsplit

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


def as_typed(text: str) -> str:
    """Return the full address that a person means, who types it as in a browser.

    Without a scheme it is https://, and http:// for this machine, where no proxy adds TLS.

    Raises:
        ConfigError: it is not an address.
    """
    typed = text.strip()
    try:
        if "://" not in typed:
            plain = f"http://{typed}"
            typed = plain if plaintext_warning(plain) is None else f"https://{typed}"
        if any(character.isspace() for character in typed):
            raise ValueError
        return str(server_url(typed)).rstrip("/")
    except (ValueError, ConfigError) as error:
        # Not quoted: it may contain a password.
        raise ConfigError(
            "That is not a server's address; write it as in the browser, https://heaper.example"
        ) from error


def plaintext_warning(server: str) -> str | None:
    """Return a warning if traffic to a server can be read on the way, else None.

    There is no warning for https and for this machine.
    """
    parts = urlsplit(server)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost" or host.endswith(".localhost"):
        return None
    try:
        if ipaddress.ip_address(host).is_loopback:
            return None
    except ValueError:
        pass  # a host name
    return (
        f"{server} is not encrypted: anyone on the way can read your notes and act as you;"
        " use https://."
    )

"""Determine which address a request comes from, and which addresses are this machine. Pure.

Everything counted by address is counted by ``group``, because one household's IPv6 network has
2^64 addresses.
"""

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from heapsyncd.errors import ConfigError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_IPv4 = ipaddress.IPv4Address
_LOCAL_NAMES = ("localhost", "localhost.localdomain")
_SITE_BITS = 64


def group(address: str) -> str:
    """Return the address to count by: for IPv6 its /64 network. Other text is unchanged."""
    found = _parsed(address)
    if found is None or isinstance(found, _IPv4):
        return str(found or address)
    return str(ipaddress.ip_network((int(found), _SITE_BITS), strict=False))


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Parse addresses or networks; ConfigError when one is neither."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise ConfigError(f"--trusted-proxy: {error}") from error


def is_of(address: str, trusted: Sequence[Network]) -> bool:
    """Tell whether an address is in one of the networks."""
    found = _parsed(address)
    return found is not None and any(found in network for network in trusted)


def client(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address that a request comes from.

    Args:
        peer: the other end of the connection.
        forwarded: its ``X-Forwarded-For`` headers. Each proxy appends the address it got the
            request from, so only the right part, as far as our own proxies wrote it, can be
            trusted.
        trusted: our proxies.
    """
    said = [part.strip() for line in forwarded for part in line.split(",")]
    while said and is_of(peer, trusted):
        peer = said.pop()
    return peer


def is_loopback(host: str) -> bool:
    """Tell whether a name or address, as in ``--host`` and ``Host``, is this machine."""
    found = _parsed(host.strip("[]"))
    if found is not None:
        return found.is_loopback
    name = host.rstrip(".").lower()
    return name in _LOCAL_NAMES or name.endswith(".localhost")


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped) or found

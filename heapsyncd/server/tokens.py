"""The server's signing key, and the tokens it signs: EdDSA JWTs (PROTOCOL §3)."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import base58
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from heapsyncd.errors import ConfigError, FolderTrouble
from heapsyncd.ids import Seed
from heapsyncd.own_files import write_whole
from heapsyncd.server.refusal import Refusal

Use = Literal["access", "refresh"]
MAX_TOKEN_CHARS = 4096
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    account_id: str
    use: str
    jti: str
    expires_s: int
    session: str
    """The sign-in it descends from."""


class Signer:
    """Issues and checks tokens; ``public_key`` is the server's, base58.

    A token checked once is remembered until it expires: every request and every document of a
    socket brings one.
    """

    def __init__(self, seed: Seed, now_s: Callable[[], float]) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        self._public = self._private.public_key()
        raw = self._public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_key = base58.b58encode(raw).decode()
        self._now_s = now_s
        self._known: OrderedDict[str, Claims] = OrderedDict()

    def issue(self, account_id: str, session: str, use: Use, ttl_s: int) -> tuple[str, Claims]:
        """A fresh token and what it says."""
        now = int(self._now_s())
        claims = Claims(account_id, use, secrets.token_urlsafe(16), now + ttl_s, session)
        payload = {
            "sub": account_id,
            "use": use,
            "jti": claims.jti,
            "sid": session,
            "iat": now,
            "exp": claims.expires_s,
        }
        return jwt.encode(payload, self._private, algorithm="EdDSA"), claims

    def check(self, token: str, use: Use) -> Claims:
        """What a token says; Refusal 401 when it is not ours, of another use or expired."""
        claims = self._known.get(token)
        if claims is None:
            claims = self._decode(token)
            self._known[token] = claims
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        if claims.use != use:
            raise Refusal(401, f"a token for {use} expected")
        self.check_time(claims)
        return claims

    def check_time(self, claims: Claims) -> None:
        """Refusal 401 when they have expired."""
        if claims.expires_s <= self._now_s():
            raise Refusal(401, "the token has expired")

    def _decode(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN_CHARS:
            raise Refusal(401, "this is no token of this server")
        # Times are checked here, with the clock we were given.
        options = {
            "require": ["sub", "exp", "jti", "use", "sid"],
            "verify_exp": False,
            "verify_iat": False,
        }
        try:
            said = jwt.decode(token, self._public, algorithms=["EdDSA"], options=options)  # type: ignore[arg-type]
        except (jwt.InvalidTokenError, ValueError) as error:
            raise Refusal(401, "this is no token of this server") from error
        account, use, jti, session = (str(said[name]) for name in ("sub", "use", "jti", "sid"))
        return Claims(account, use, jti, int(said["exp"]), session)


def load_seed(path: Path) -> Seed:
    """Read the server's key, made with mode 0600 when absent (blocking).

    Raises:
        ConfigError: the file is there and holds no key, or others may read it.
        FolderTrouble: it can't be read or made.
    """
    try:
        return _read(path) if path.exists() else _make(path)
    except OSError as error:
        raise FolderTrouble(f"The server's key {path}: {error.strerror}.") from error


def _read(path: Path) -> Seed:
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} can be read by others; run: chmod 600 {path}")
    try:
        return Seed.parse(path.read_text("ascii"))
    except ValueError as error:
        raise ConfigError(
            f"{path} holds no key ({error}); move it away, and every device signs in anew"
        ) from error


def _make(path: Path) -> Seed:
    seed = Seed.new()
    write_whole(path, seed.reveal_text() + "\n")
    return seed

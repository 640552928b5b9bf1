"""Keep the server's signing key, and issue and check tokens: EdDSA JWTs (PROTOCOL §3)."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import base58
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct

from heapsyncd.errors import ConfigError, FolderTrouble
from heapsyncd.ids import Seed
from heapsyncd.own_files import write_whole
from heapsyncd.server.refusal import Refusal

Use = Literal["access", "refresh"]
MAX_TOKEN_CHARS = 4096
_REMEMBERED = 4096


class Claims(Struct, frozen=True):
    """The claims of a valid token."""

    account_id: str
    use: str
    jti: str
    expires_s: int
    session: str
    """The sign-in that it belongs to."""


class Signer:
    """Issues and checks tokens; ``public_key`` is the server's, in base58.

    Checked tokens are cached, because every request and every document on a socket brings one.
    """

    def __init__(self, seed: Seed, now_s: Callable[[], float]) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        self._public = self._private.public_key()
        raw = self._public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_key = base58.b58encode(raw).decode()
        self._now_s = now_s
        self._known: OrderedDict[str, Claims] = OrderedDict()

    def issue(self, account_id: str, session: str, use: Use, ttl_s: int) -> tuple[str, Claims]:
        """Issue a token; also returns its claims."""
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
        """Return the claims of a token; Refusal 401 when it is not ours, of another use or
        expired.
        """
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
        """Raise Refusal 401 when claims have expired."""
        if claims.expires_s <= self._now_s():
            raise Refusal(401, "the token has expired")

    def _decode(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN_CHARS:
            raise Refusal(401, "this is not a token of this server")
        # ``check_time`` checks the times, with the injected clock.
        options = {
            "require": ["sub", "exp", "jti", "use", "sid"],
            "verify_exp": False,
            "verify_iat": False,
        }
        try:
            said = jwt.decode(token, self._public, algorithms=["EdDSA"], options=options)  # type: ignore[arg-type]
        except (jwt.InvalidTokenError, ValueError) as error:
            raise Refusal(401, "this is not a token of this server") from error
        account, use, jti, session = (str(said[name]) for name in ("sub", "use", "jti", "sid"))
        return Claims(account, use, jti, int(said["exp"]), session)


def load_seed(path: Path) -> Seed:
    """Load the server's key, creating it with mode 0600 when absent. Blocking.

    Raises:
        ConfigError: the file is not a key, or others may read it.
        FolderTrouble: it can't be read or created.
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
            f"{path} is not a key ({error}); move it away, and every device signs in again"
        ) from error


def _make(path: Path) -> Seed:
    seed = Seed.new()
    write_whole(path, seed.reveal_text() + "\n")
    return seed

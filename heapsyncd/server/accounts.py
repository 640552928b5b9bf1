"""Who may sign in, and how: ed25519 challenges, tokens, the accepted keys (PROTOCOL §3)."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from ulid import ULID

from heapsyncd.database import Database, Tx
from heapsyncd.server.input import KEY_BYTES, SIGNATURE_BYTES, base58_bytes
from heapsyncd.server.limits import Limits
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.tokens import Signer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Accept:
    """Which keys may sign in, beside those that did before and those of the ``accounts`` file.

    ``keys``: base58 public keys. ``open``: any key. With neither, on a server without accounts,
    the first key that signs in becomes the owner; after that, nobody new.
    """

    keys: tuple[str, ...] = ()
    open: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may sign in."""

    id: str
    public_key: str
    name: str
    is_owner: bool
    disabled: bool = False

    def public(self) -> dict[str, object]:
        """The profile, as ``/api/me`` shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "public_key": self.public_key,
            "is_admin": self.is_owner,
        }


def parse_list(text: str) -> dict[str, str | None]:
    """Read an ``accounts`` file: public key to name, or to None when the key is shut out.

    One key a line, a name may follow; ``!`` before the key shuts it out; ``#`` begins a comment.
    """
    listed: dict[str, str | None] = {}
    for line in text.splitlines():
        entry = line.partition("#")[0].strip()
        key, _, name = entry.removeprefix("!").strip().partition(" ")
        if key:
            listed[key] = None if entry.startswith("!") else name.strip()
    return listed


class Accounts:
    """The accounts, their challenges and tokens.

    Args:
        db: the server's database.
        signer: issues the tokens.
        accept: who may sign in.
        list_file: the ``accounts`` file; it need not exist.
        limits: life times.
        now_ms: the wall clock.
    """

    def __init__(
        self,
        db: Database,
        signer: Signer,
        accept: Accept,
        list_file: Path,
        limits: Limits,
        now_ms: Callable[[], int],
    ) -> None:
        self._db = db
        self._signer = signer
        self._accept = accept
        self._list_file = list_file
        self._limits = limits
        self._now_ms = now_ms
        self._challenges: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._by_key: dict[str, Account] = {}
        self._by_id: dict[str, Account] = {}

    async def open(self) -> None:
        """Read the accounts, and add those that were named."""
        for account in await self._db.read(_accounts):
            self._remember(account)
        for key in self._accept.keys:
            await self.add(key, "")

    async def add(self, public_key: str, name: str, *, owner: bool = False) -> Account:
        """Make (or find) the account of a key; Refusal 400 when it is no key."""
        base58_bytes(public_key, KEY_BYTES, "public_key")
        known = self._by_key.get(public_key)
        if known is not None:
            return known
        account = Account(str(ULID()), public_key, name or public_key[:8], owner)
        await self._db.write(lambda tx: _insert(tx, account))
        return self._remember(self._by_key.get(public_key, account))

    async def disable(self, public_key: str, *, disabled: bool = True) -> Account:
        """Shut an account out (or let it in again): its tokens stop working at once."""
        account = replace(self._by_key[public_key], disabled=disabled)
        sql = "UPDATE accounts SET disabled = ? WHERE id = ?"
        await self._db.write(lambda tx: tx.execute(sql, (disabled, account.id)).rowcount)
        return self._remember(account)

    async def revoke(self) -> None:
        """Make every refresh token unusable; access tokens run out by themselves."""
        await self._db.write(lambda tx: tx.execute("DELETE FROM refresh_tokens").rowcount)

    def challenge(self, public_key: str) -> dict[str, object]:
        """A text to sign, good for one attempt. Any key gets one: who is accepted is not told
        here.
        """
        base58_bytes(public_key, KEY_BYTES, "public_key")
        text = f"heapsyncd sign-in {ULID()} {secrets.token_hex(16)}"
        expires_ms = self._now_ms() + self._limits.challenge_ttl_s * 1000
        self._challenges[text] = (public_key, expires_ms)
        while len(self._challenges) > self._limits.challenges:
            self._challenges.popitem(last=False)
        return {"challenge": text, "expires_at": expires_ms}

    async def verify(self, public_key: str, message: str, signature: str) -> dict[str, object]:
        """Tokens for whoever signed the challenge with an accepted key; Refusal 400 or 401."""
        raw_key = base58_bytes(public_key, KEY_BYTES, "public_key")
        raw_signature = base58_bytes(signature, SIGNATURE_BYTES, "signature")
        asked_by, expires_ms = self._challenges.pop(message, ("", 0))
        if asked_by != public_key or expires_ms < self._now_ms():
            raise Refusal(401, "the challenge is unknown, used or expired")
        try:
            VerifyKey(raw_key).verify(message.encode(), raw_signature)
        except (BadSignatureError, ValueError) as error:
            raise Refusal(401, "the signature is not of this key") from error
        account = await self._admit(public_key)
        return {**await self._pair(account), "user": account.public()}

    async def refresh(self, token: str) -> dict[str, object]:
        """A new pair for a refresh token, which is used up by it; Refusal 401."""
        claims = self._signer.check(token, "refresh")
        account = await self._admitted(self._by_id.get(claims.account_id))
        sql = "DELETE FROM refresh_tokens WHERE jti = ?"
        if not await self._db.write(lambda tx: tx.execute(sql, (claims.jti,)).rowcount):
            raise Refusal(401, "the refresh token was used before")
        return await self._pair(account)

    def holder(self, token: str) -> Account:
        """Whose access token this is; Refusal 401."""
        account = self._by_id.get(self._signer.check(token, "access").account_id)
        if account is None or account.disabled:
            raise Refusal(401, "the account is not accepted here")
        return account

    async def _admit(self, public_key: str) -> Account:
        """The account of a key that proved itself; 401 when it is not accepted."""
        listed = await asyncio.to_thread(_read_list, self._list_file)
        named = public_key in listed or public_key in self._accept.keys
        first = not self._by_key and not listed
        if public_key not in self._by_key and (named or first or self._accept.open):
            await self.add(public_key, listed.get(public_key) or "", owner=first)
        account = self._by_key.get(public_key)
        if account is None:
            log.warning("a key that is not accepted wanted to sign in", public_key=public_key)
        return await self._admitted(account, listed)

    async def _admitted(
        self, account: Account | None, listed: dict[str, str | None] | None = None
    ) -> Account:
        if listed is None:
            listed = await asyncio.to_thread(_read_list, self._list_file)
        shut_out = account is not None and listed.get(account.public_key, "") is None
        if account is None or account.disabled or shut_out:
            raise Refusal(401, "the key is not accepted here")
        return account

    async def _pair(self, account: Account) -> dict[str, object]:
        access, _ = self._signer.issue(account.id, "access", self._limits.access_ttl_s)
        refresh, claims = self._signer.issue(account.id, "refresh", self._limits.refresh_ttl_s)
        now_s = self._now_ms() // 1000

        def keep(tx: Tx) -> None:
            tx.execute("DELETE FROM refresh_tokens WHERE expires_s < ?", (now_s,))
            row = (claims.jti, claims.account_id, claims.expires_s)
            tx.execute("INSERT INTO refresh_tokens VALUES (?, ?, ?)", row)

        await self._db.write(keep)
        return {"accessToken": access, "refreshToken": refresh}

    def _remember(self, account: Account) -> Account:
        self._by_key[account.public_key] = account
        self._by_id[account.id] = account
        return account


def _accounts(tx: Tx) -> Iterable[Account]:
    rows = tx.execute("SELECT id, public_key, name, is_owner, disabled FROM accounts")
    return [Account(i, k, n, bool(o), bool(d)) for i, k, n, o, d in rows]


def _insert(tx: Tx, account: Account) -> None:
    row = (account.id, account.public_key, account.name, account.is_owner)
    tx.execute(
        "INSERT INTO accounts (id, public_key, name, is_owner) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (public_key) DO NOTHING",
        row,
    )


def _read_list(path: Path) -> dict[str, str | None]:
    try:
        return parse_list(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}

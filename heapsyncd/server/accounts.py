"""Decide who may sign in: ed25519 challenges, tokens, the accepted keys (PROTOCOL §3)."""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
from msgspec import Struct
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from ulid import ULID

from heapsyncd.database import Database, Tx
from heapsyncd.errors import ConfigError
from heapsyncd.own_files import write_whole
from heapsyncd.server.challenges import Challenges
from heapsyncd.server.input import KEY_BYTES, SIGNATURE_BYTES, base58_bytes
from heapsyncd.server.limits import Limits
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.tokens import Claims, Signer

log = structlog.get_logger(__name__)

_CODE_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class Accept(Struct, frozen=True):
    """Which keys may sign in, besides those that did before and those of the ``accounts`` file.

    ``keys``: base58 public keys. ``open``: any key. With neither, on a server without accounts,
    the first key that signs in with the one-time code becomes the owner; after that, no new one.
    """

    keys: tuple[str, ...] = ()
    open: bool = False


class Account(Struct, frozen=True):
    """Someone who may sign in."""

    id: str
    public_key: str
    name: str
    is_owner: bool

    def public(self) -> dict[str, object]:
        """Return the profile as ``/api/me`` shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "public_key": self.public_key,
            "is_admin": self.is_owner,
        }


class SignedIn(Struct, frozen=True):
    """The account of a token, and the token's claims."""

    account: Account
    claims: Claims


def parse_list(text: str) -> dict[str, str | None]:
    """Parse an ``accounts`` file: public key to name, or to None when the key is shut out.

    One key a line, optionally followed by a name; ``!`` before the key shuts it out; ``#`` starts
    a comment.
    """
    listed: dict[str, str | None] = {}
    for line in text.splitlines():
        entry = line.partition("#")[0].strip()
        key, _, name = entry.removeprefix("!").strip().partition(" ")
        if key:
            listed[key] = None if entry.startswith("!") else name.strip()
    return listed


def list_with(text: str, key: str, name: str | None) -> str:
    """Return an ``accounts`` file that lets a key in; all other lines stay as they are.

    ``name`` None shuts the key out; without a new name, the one it had stays beside it.

    Raises:
        ConfigError: key or name can't stand in it.
    """
    try:
        base58_bytes(key, KEY_BYTES, "public_key")
    except Refusal as error:
        raise ConfigError(
            f"{key!r} is no public key; `heapsyncd key show` prints the one of a device."
        ) from error
    if name and ("#" in name or not name.isprintable()):
        raise ConfigError("A name must be printable, on one line and without #.")
    listed = parse_list(text)
    if key in listed and (name is None) == (listed[key] is None):
        return text
    lines = text.splitlines()
    mine = [line for line in lines if key in parse_list(line)]
    entry = mine[-1].strip().removeprefix("!").strip() if mine else key
    if name:
        entry = f"{key} {name}"
    elif name is None:
        entry = f"!{entry}"
    return "".join(f"{line}\n" for line in [*(one for one in lines if one not in mine), entry])


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
        self._challenges = Challenges(limits.challenges)
        self._by_key: dict[str, Account] = {}
        self._by_id: dict[str, Account] = {}
        self._sessions: set[str] = set()
        self._shut_out: frozenset[str] = frozenset()
        self._code = ""
        self._admitting = asyncio.Lock()

    @property
    def code(self) -> str | None:
        """The code with which the first sign-in becomes the owner; None when none is needed (any
        more).
        """
        return self._code or None

    @property
    def owner(self) -> Account | None:
        """The account that owns the server; None if nobody brought the one-time code."""
        return next((a for a in self._by_key.values() if a.is_owner), None)

    async def open(self) -> None:
        """Load the accounts; make the one-time code when nobody may sign in."""
        for key in self._accept.keys:
            base58_bytes(key, KEY_BYTES, "public_key")
        for account in await self._db.read(_accounts):
            self._remember(account)
        self._sessions = await self._db.read(_sessions)
        listed = await self._read_listed()
        if not (self._by_key or listed or self._accept.keys or self._accept.open):
            self._code = _new_code()

    async def add(self, public_key: str, name: str, *, owner: bool = False) -> Account:
        """Add, or find, the account of a key; Refusal 400 when it is not a key."""
        base58_bytes(public_key, KEY_BYTES, "public_key")
        known = self._by_key.get(public_key)
        if known is not None:
            return known
        account = Account(str(ULID()), public_key, name or public_key[:8], owner)
        await self._db.write(lambda tx: _insert(tx, account))
        return self._remember(self._by_key.get(public_key, account))

    async def accept(self, public_key: str, name: str | None = "") -> None:
        """Let a key sign in from now on, by a line in the ``accounts`` file; None shuts it out.

        The tokens of a key that is shut out stop working at once, and for good.

        Raises:
            ConfigError: it is not a public key.
            OSError: the file can't be written.
        """
        async with self._admitting:
            text = await asyncio.to_thread(_read_text, self._list_file)
            changed = list_with(text, public_key, name)
            if changed != text:
                # Only public keys stand in it, and the server may run as another user.
                await asyncio.to_thread(write_whole, self._list_file, changed, 0o644, replace=True)
        await self._read_listed()
        account = self._by_key.get(public_key)
        if name is None and account is not None:
            # Whoever has a copy of them would be let in again together with the key.
            over = await self._db.write(lambda tx: _end_sessions(tx, account.id))
            self._sessions.difference_update(over)

    async def sign_out(self, token: str) -> None:
        """End the sign-in that an access token belongs to; Refusal 401."""
        await self._end(self.signed_in(token).claims.session)

    def challenge(self, public_key: str, address: str) -> dict[str, object]:
        """Return a text to sign, good for one attempt.

        Any key gets one, so that it does not show which keys are accepted.
        """
        base58_bytes(public_key, KEY_BYTES, "public_key")
        text = f"heapsyncd sign-in {ULID()} {secrets.token_hex(16)}"
        now_ms = self._now_ms()
        expires_ms = now_ms + self._limits.challenge_ttl_s * 1000
        self._challenges.put(text, address, public_key, expires_ms, now_ms)
        return {"challenge": text, "expires_at": expires_ms}

    async def verify(
        self, public_key: str, message: str, signature: str, code: str = ""
    ) -> dict[str, object]:
        """Return tokens for a challenge signed with an accepted key; Refusal 400 or 401."""
        raw_key = base58_bytes(public_key, KEY_BYTES, "public_key")
        raw_signature = base58_bytes(signature, SIGNATURE_BYTES, "signature")
        if not self._challenges.take(message, public_key, self._now_ms()):
            raise Refusal(401, "the challenge is unknown, used or expired")
        try:
            VerifyKey(raw_key).verify(message.encode(), raw_signature)
        except (BadSignatureError, ValueError) as error:
            raise Refusal(401, "the signature is not of this key") from error
        account = await self._admit(public_key, code)
        answer, refresh = self._pair(account, secrets.token_urlsafe(16))
        now_s, most = self._now_ms() // 1000, self._limits.sessions
        over = await self._db.write(lambda tx: _store_session(tx, refresh, now_s, most))
        self._sessions.difference_update(over)
        self._sessions.add(refresh.session)
        return {**answer, "user": account.public()}

    async def refresh(self, token: str) -> dict[str, object]:
        """Exchange a refresh token, which serves once, for a new pair; Refusal 401.

        A token that is used twice ends the whole sign-in: either it was stolen or its answer was
        lost, and only the owner of the key can sign in again.
        """
        claims = self._signer.check(token, "refresh")
        await self._read_listed()
        account = self._accepted(self._by_id.get(claims.account_id))
        answer, fresh = self._pair(account, claims.session)
        if not await self._db.write(lambda tx: _rotate_refresh_token(tx, claims.jti, fresh)):
            if claims.session in self._sessions:
                log.warning("refresh token used twice: sign-in ended", account=account.name)
                await self._end(claims.session)
            raise Refusal(401, "the refresh token was used before, or its sign-in has ended")
        return answer

    def signed_in(self, token: str) -> SignedIn:
        """Return the account of an access token; Refusal 401."""
        claims = self._signer.check(token, "access")
        return SignedIn(self.entitled(claims), claims)

    def entitled(self, claims: Claims) -> Account:
        """Return the account of claims that are still valid; Refusal 401."""
        self._signer.check_time(claims)
        if claims.session not in self._sessions:
            raise Refusal(401, "the sign-in has ended")
        return self._accepted(self._by_id.get(claims.account_id))

    async def reload_list(self) -> bool:
        """Reload the ``accounts`` file; returns whether the keys that are shut out changed."""
        before = self._shut_out
        await self._read_listed()
        return self._shut_out != before

    async def _admit(self, public_key: str, code: str) -> Account:
        """Return the account of a key that proved itself; Refusal 401 when it is not accepted."""
        async with self._admitting:  # so that only one key can be the first
            listed = await self._read_listed()
            if public_key not in self._by_key:
                named = listed.get(public_key) is not None or public_key in self._accept.keys
                first = not (self._by_key or listed) and _is_code(code, self._code)
                if named or first or self._accept.open:
                    added = await self.add(public_key, listed.get(public_key) or "", owner=first)
                    self._code = ""
                    if added.is_owner:
                        log.info("this server has an owner now", public_key=public_key)
            account = self._by_key.get(public_key)
        if account is None:
            log.warning("sign-in refused: key not accepted", public_key=public_key)
        return self._accepted(account)

    def _accepted(self, account: Account | None) -> Account:
        if account is None or account.public_key in self._shut_out:
            raise Refusal(401, "the key is not accepted here")
        return account

    async def _read_listed(self) -> dict[str, str | None]:
        listed = await asyncio.to_thread(_read_list, self._list_file)
        self._shut_out = frozenset(key for key, name in listed.items() if name is None)
        return listed

    def _pair(self, account: Account, session: str) -> tuple[dict[str, object], Claims]:
        """Issue both tokens; also returns the claims of the refresh token."""
        limits, issue = self._limits, self._signer.issue
        access, _ = issue(account.id, session, "access", limits.access_ttl_s)
        refresh, claims = issue(account.id, session, "refresh", limits.refresh_ttl_s)
        return {"accessToken": access, "refreshToken": refresh}, claims

    async def _end(self, session: str) -> None:
        self._sessions.discard(session)
        sql = "DELETE FROM sessions WHERE id = ?"
        await self._db.write(lambda tx: tx.execute(sql, (session,)).rowcount)

    def _remember(self, account: Account) -> Account:
        self._by_key[account.public_key] = account
        self._by_id[account.id] = account
        return account


def _accounts(tx: Tx) -> Iterable[Account]:
    rows = tx.execute("SELECT id, public_key, name, is_owner FROM accounts")
    return [Account(i, k, n, bool(o)) for i, k, n, o in rows]


def _sessions(tx: Tx) -> set[str]:
    return {session for (session,) in tx.execute("SELECT id FROM sessions")}


def _end_sessions(tx: Tx, account_id: str) -> set[str]:
    """End all sign-ins of an account; return them."""
    sql = "DELETE FROM sessions WHERE account_id = ? RETURNING id"
    return {session for (session,) in tx.execute(sql, (account_id,))}


def _store_session(tx: Tx, refresh: Claims, now_s: int, most: int) -> set[str]:
    """Store a sign-in; returns those that ended: expired, or too many of the account."""
    row = (refresh.session, refresh.account_id, refresh.jti, refresh.expires_s)
    tx.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", row)
    sql = (
        "DELETE FROM sessions WHERE expires_s < ? OR id IN (SELECT id FROM sessions"
        " WHERE account_id = ? AND id <> ? ORDER BY expires_s DESC LIMIT -1 OFFSET ?) RETURNING id"
    )
    params = (now_s, refresh.account_id, refresh.session, most - 1)
    return {session for (session,) in tx.execute(sql, params)}


def _rotate_refresh_token(tx: Tx, used: str, fresh: Claims) -> bool:
    """Replace the used refresh token by a new one; returns False if it was not the newest."""
    sql = "UPDATE sessions SET jti = ?, expires_s = ? WHERE id = ? AND jti = ?"
    params = (fresh.jti, fresh.expires_s, fresh.session, used)
    return tx.execute(sql, params).rowcount == 1


def _new_code() -> str:
    """Make 60 random bits that are easy to read and type: no letters or digits that look alike."""
    text = "".join(secrets.choice(_CODE_LETTERS) for _ in range(12))
    return "-".join(text[k : k + 4] for k in range(0, 12, 4))


def _is_code(said: str, code: str) -> bool:
    plain = said.replace("-", "").replace(" ", "").upper()
    return bool(code) and secrets.compare_digest(plain.encode(), code.replace("-", "").encode())


def _insert(tx: Tx, account: Account) -> None:
    row = (account.id, account.public_key, account.name, account.is_owner)
    tx.execute(
        "INSERT INTO accounts (id, public_key, name, is_owner) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (public_key) DO NOTHING",
        row,
    )


def _read_list(path: Path) -> dict[str, str | None]:
    return parse_list(_read_text(path))


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""

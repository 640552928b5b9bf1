"""Signing in, tokens, and who is let in."""

import stat
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from heapsyncd.errors import ConfigError, StateLocked
from heapsyncd.server import Limits, Server
from heapsyncd.server.accounts import parse_list
from heapsyncd.wire import hocuspocus as hp
from tests.server.rig import Client, Clock, Keys, name_of, serving

LIMITS = Limits(auth_calls=1_000)


async def verify(client: Client, **changes: str) -> int:
    body = {**await client.signed_challenge(), **changes}
    return (await client.ask("POST", "/api/auth/verify_session", json=body))[0]


async def test_sign_in(client: Client, server: Server) -> None:
    """Whoever signs a challenge with an accepted key gets tokens and the profile."""
    answer = await client.post("/api/auth/verify_session", await client.signed_challenge())
    profile = await client.post("/api/me")
    assert answer["user"]["id"] == profile["id"]
    assert profile["public_key"] == client.keys.public
    head = jwt.get_unverified_header(answer["accessToken"])
    claims = jwt.decode(answer["accessToken"], options={"verify_signature": False})
    assert head["alg"] == "EdDSA"
    assert claims["sub"] == profile["id"]
    assert claims["exp"] > claims["iat"]


async def test_challenge_is_used_once(client: Client) -> None:
    """A challenge is good for one attempt, also a failed one."""
    body = await client.signed_challenge()
    assert (await client.ask("POST", "/api/auth/verify_session", json=body))[0] == 200
    assert (await client.ask("POST", "/api/auth/verify_session", json=body))[0] == 401
    body = await client.signed_challenge()
    wrong = {**body, "signature": client.keys.sign("something else")}
    assert (await client.ask("POST", "/api/auth/verify_session", json=wrong))[0] == 401
    assert (await client.ask("POST", "/api/auth/verify_session", json=body))[0] == 401


async def test_refused_sign_ins(client: Client) -> None:
    """A wrong signature, another's challenge, another's key: 401. What is no key: 400."""
    other = Keys()
    assert await verify(client, public_key=other.public) == 401
    assert await verify(client, message="never asked") == 401
    signed = other.sign("x")
    assert await verify(client, signature=signed) == 401
    assert await verify(client, signature="0OIl") == 400
    assert await verify(client, signature="abc") == 400
    assert await verify(client, public_key="abc") == 400
    for body in ({}, {"public_key": "abc"}, {"public_key": 5}, {"public_key": ""}):
        assert (await client.ask("POST", "/api/auth/create_session", json=body))[0] == 400


async def test_challenge_expires(tmp_path: Path) -> None:
    """A challenge that was not answered in time is refused."""
    clock = Clock()
    async with serving(tmp_path, now_ms=clock) as (_, client):
        body = await client.signed_challenge()
        clock.now_ms += 61_000
        assert (await client.ask("POST", "/api/auth/verify_session", json=body))[0] == 401


async def test_tokens_expire_and_are_refreshed(tmp_path: Path) -> None:
    """An access token runs out; a refresh token gives a new pair, once, also after a restart."""
    clock, keys = Clock(), Keys()
    async with serving(tmp_path, now_ms=clock, keys=keys) as (_, client):
        await client.sign_in()
        clock.now_ms += LIMITS.access_ttl_s * 1000
        assert (await client.ask("POST", "/api/me"))[0] == 401
    async with serving(tmp_path, now_ms=clock, keys=keys) as (_, again):
        path = "/api/auth/refresh_token"
        status, pair = await again.ask("POST", path, token=client.refresh)
        assert status == 200
        assert (await again.ask("POST", "/api/me", token=pair["accessToken"]))[0] == 200
        assert (await again.ask("POST", path, token=client.refresh))[0] == 401
        assert (await again.ask("POST", path, token=pair["accessToken"]))[0] == 401
        assert (await again.ask("POST", "/api/me", token=pair["refreshToken"]))[0] == 401
        clock.now_ms += LIMITS.refresh_ttl_s * 1000
        assert (await again.ask("POST", path, token=pair["refreshToken"]))[0] == 401


async def test_foreign_tokens(client: Client) -> None:
    """No token, another scheme, another's signature, no signature at all: 401, in JSON."""
    claims = {"sub": "x", "use": "access", "jti": "j", "exp": 2**40}
    unsigned = jwt.encode(claims, "", algorithm="none")
    shared = jwt.encode(claims, "k" * 32, algorithm="HS256")
    for token in (unsigned, shared, "x", "a.b.c", "x" * 5_000):
        status, answer = await client.ask("POST", "/api/heaps", token=token)
        assert (status, "error" in answer) == (401, True)
    client.token = None
    for head in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
        assert (await client.ask("POST", "/api/heaps", headers=head))[0] == 401


async def test_rate_limit(tmp_path: Path) -> None:
    """Too many sign-in calls are refused with the time to wait; other calls are not."""
    async with serving(tmp_path, limits=Limits(auth_calls=3)) as (_, client):
        await client.sign_in()
        body = {"public_key": client.keys.public}
        assert (await client.ask("POST", "/api/auth/create_session", json=body))[0] == 200
        async with client.raw("POST", "/api/auth/create_session", json=body) as answer:
            assert answer.status == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 10
        assert (await client.ask("POST", "/api/me"))[0] == 200


async def test_first_key_becomes_owner(tmp_path: Path) -> None:
    """On a new server without named keys the first key that brings the code is the owner, and gets
    the first heap; a second key is refused.
    """
    options: dict[str, Any] = {"accounts": [], "first_heap": "Home"}
    async with serving(tmp_path, **options) as (server, client):
        client.code = server.code
        await client.sign_in()
        assert (await client.get("/api/"))["is_admin"] is True
        assert [h["title"] for h in (await client.post("/api/heaps"))["heaps"]] == ["Home"]
        second = Client(client.http, client.url, Keys())
        assert await verify(second) == 401
    async with serving(tmp_path, keys=client.keys, **options) as (_, client):
        await client.sign_in()
        assert len((await client.post("/api/heaps"))["heaps"]) == 1


async def test_named_keys(tmp_path: Path) -> None:
    """With keys named, only these are let in, and nobody becomes owner by being first."""
    async with serving(tmp_path) as (_, client):
        assert await verify(Client(client.http, client.url, Keys())) == 401
        await client.sign_in()
        assert (await client.get("/api/"))["is_admin"] is False


async def test_open_registration(tmp_path: Path) -> None:
    """An open server takes any key."""
    async with serving(tmp_path, open_registration=True) as (_, client):
        for _ in range(3):
            await Client(client.http, client.url, Keys()).sign_in()


async def test_accounts_file(tmp_path: Path) -> None:
    """The accounts file is read at each sign-in: a line lets a key in, ``!`` shuts it out."""
    async with serving(tmp_path) as (_, client):
        other = Client(client.http, client.url, Keys())
        assert await verify(other) == 401
        file = tmp_path / "accounts"
        file.write_text(f"# family\n{other.keys.public} Jo's laptop\n")
        await other.sign_in()
        assert (await other.post("/api/me"))["name"] == "Jo's laptop"
        file.write_text(f"! {other.keys.public}\n")
        assert await verify(other) == 401
        status, _answer = await other.ask("POST", "/api/auth/refresh_token", token=other.refresh)
        assert status == 401


async def test_a_key_that_is_refused(tmp_path: Path) -> None:
    """Its tokens and open documents stop at once; accepted again it is back."""
    async with serving(tmp_path) as (server, client):
        await client.sign_in()
        heap = await server.add_heap("H")
        block = await server.add_block(heap)
        async with client.live() as live:
            await live.open(name_of(heap, block))
            await server.refuse(client.keys.public)
            assert "unauthorized" in (await live.next(name_of(heap, block), hp.Close)).reason
        assert (await client.ask("POST", "/api/me"))[0] == 401
        assert await verify(client) == 401
        async with client.live() as live:
            assert isinstance(await live.sign_in(name_of(heap, block)), hp.PermissionDenied)
        await server.accept(client.keys.public)
        assert await verify(client) == 200


async def test_server_key(tmp_path: Path) -> None:
    """The server's key is made once, readable by its owner alone; a readable or damaged one is
    refused with what to do.
    """
    async with serving(tmp_path) as (_, client):
        public = (await client.get("/api/"))["public_key"]
    file = tmp_path / "server.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "server.db").stat().st_mode) == 0o600
    async with serving(tmp_path) as (_, client):
        assert (await client.get("/api/"))["public_key"] == public
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        await Server(tmp_path).__aenter__()
    file.chmod(0o600)
    file.write_text("nonsense")
    with pytest.raises(ConfigError, match="is not a key"):
        await Server(tmp_path).__aenter__()


async def test_one_server_a_directory(tmp_path: Path) -> None:
    """A second server on the same data is refused; the first goes on."""
    async with serving(tmp_path) as (_, client):
        with pytest.raises(StateLocked):
            await Server(tmp_path).__aenter__()
        await client.sign_in()


async def test_grant_to_one(tmp_path: Path) -> None:
    """A grant to one account leaves the others as they were, also after a restart."""
    keys, guest = Keys(), Keys()
    options: dict[str, Any] = {"accounts": [keys.public, guest.public]}
    async with serving(tmp_path, keys=keys, **options) as (server, client):
        heap = await server.add_heap("H")
        await server.grant(heap, "none", guest.public)
    async with serving(tmp_path, keys=keys, **options) as (server, client):
        await client.sign_in()
        other = await Client(client.http, client.url, guest).sign_in()
        assert len((await client.post("/api/heaps"))["heaps"]) == 1
        assert (await other.post("/api/heaps"))["heaps"] == []


def test_parse_list() -> None:
    """Keys, names, comments, shut-out keys and blank lines of an accounts file."""
    text = "# c\n\nK1 Jo Doe # note\n  K2\n!K3 Old phone\n! K4\n"
    assert parse_list(text) == {"K1": "Jo Doe", "K2": "", "K3": None, "K4": None}


async def test_two_addresses_of_the_instance(client: Client) -> None:
    """The instance tells about itself without a token; health asks the database."""
    async with aiohttp.ClientSession() as http, http.get(client.url + "/api/") as answer:
        about = await answer.json()
    assert about["selfhosted"] is True
    assert about["public_url"] == client.url
    assert "is_admin" not in about
    health = await client.get("/api/health")
    assert health["database"]["status"] == "ok"
    assert health["public_key"] == about["public_key"]
    assert (await client.ask("GET", "/api/", token="nonsense"))[0] == 401

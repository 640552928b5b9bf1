"""``setup``: from an address to a configuration that works."""

import stat
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from heapsyncd.ids import HeapId, Seed
from heapsyncd.server import Server
from heapsyncd.wire.signin import public_key
from tests.cli.devices import Device
from tests.oneheap.service import EMAIL, PASSWORD, Oneheap


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_setup_writes_a_configuration_that_works(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """With a key that is accepted it signs in, lists the heaps, and sync goes on from there."""
    device.key.touch(0o600)
    device.key.write_text(device.seed.reveal_text())
    folder = device.base / "Heaps"
    done = await device(
        *("setup", "--server", server.url, "--folder", str(folder), "--key-file", str(device.key))
    )
    assert done.code == 0, done.err
    assert "Home" in done.out
    assert str(device.config) in done.out
    account = tomllib.loads(device.config.read_text())["accounts"]["home"]
    assert account["server"] == server.url
    assert account["folder"] == str(folder)
    assert device.key.read_text() == device.seed.reveal_text(), "a key that is there is kept"
    assert (await device.inside("sync")).code == 0
    assert (folder / "Home" / "Groceries.md").exists()


async def test_setup_for_an_obsidian_vault(device: Device, server: Server) -> None:
    """Its line ends are breaks, as Obsidian shows them; elsewhere they are spaces."""
    for name, made in (("vault", "Heaps/Home/.obsidian"), ("plain", "Other/Home")):
        (device.base / made).mkdir(parents=True)
        folder = device.base / made.partition("/")[0]
        await device(
            *("setup", "--account", name, "--server", server.url, "--folder", str(folder)),
            *("--key-file", str(device.base / f"{name}.key")),
        )
    accounts = tomllib.loads(device.config.read_text())["accounts"]
    assert accounts["vault"]["line_breaks"] == "break"
    assert accounts["plain"]["line_breaks"] == "space"


async def test_setup_makes_a_key_and_says_who_has_to_accept_it(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Refused with exit 3, it keeps what it wrote; run again once accepted, it succeeds."""
    done = await device("setup", "--server", server.url)
    assert done.code == 3
    key = device.base / "home.key"
    public = public_key(Seed.parse(key.read_text()))
    assert f"heapsyncd server accept {public}\n" in done.err
    assert f"run again: heapsyncd --config {device.config} setup\n" in done.err
    assert mode(key) == 0o600
    before = key.read_text(), device.config.read_text()
    assert before[0].strip() not in done.out + done.err
    await server.add_account(public)
    done = await device.inside("setup")
    assert done.code == 0, done.err
    assert "Home" in done.out
    assert (key.read_text(), device.config.read_text()) == before
    assert (device.base / "Heaps").is_dir()


async def test_setup_adds_an_account_and_leaves_the_rest(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """A second account is appended; the file's own lines and comments stay."""
    device.configure(server.url, "# mine\n")
    before = device.config.read_text()
    done = await device(
        *("setup", "--server", server.url, "--account", "work"),
        *("--folder", "work", "--key-file", str(device.key)),
    )
    assert done.code == 0, done.err
    assert device.config.read_text().startswith(before)
    work = tomllib.loads(device.config.read_text())["accounts"]["work"]
    assert work["folder"] == str(device.base / "work")


async def test_setup_changes_nothing_that_is_there(device: Device, server: Server) -> None:
    """Other values for an account that exists are refused, naming both."""
    device.configure(server.url)
    before = device.config.read_text()
    done = await device.inside("setup", "--server", "https://other.example")
    assert done.code == 2
    assert server.url in done.err
    assert "--account" in done.err
    assert device.config.read_text() == before


@pytest.mark.slow
async def test_setup_knows_the_server_of_a_cache(
    device: Device, server: Server, heap_id: HeapId, tmp_path: Path
) -> None:
    """An account whose cache is there is not connected to another server: nothing is written, and
    what to do is said. To its own server it is, under any address.
    """
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    setup = ["setup", "--folder", str(device.folder), "--key-file", str(device.key), "--server"]
    async with Server(tmp_path / "other", accounts=[device.public]) as other:
        device.configure(other.url)
        assert (await device(*setup[:1])).code == 3
        device.config.unlink()
        env = {"XDG_STATE_HOME": str(device.base)}
        device.state.rename(device.base / "heapsyncd")
        done = await device(*setup, other.url, **env)
        assert done.code == 3
        assert "is not the server that the cache of account home belongs to" in done.err
        assert "server accept" not in done.err, "no owner can help"
        assert not device.config.exists()
        done = await device(*setup, other.url, "--account", "new", **env)
        assert done.code == 0, done.err
    device.config.unlink()
    url = server.url.replace("127.0.0.1", "localhost")
    done = await device(*setup, url, **env)
    assert done.code == 0, done.err
    assert (await device("sync", **env)).code == 0


async def test_setup_refuses_before_it_writes(device: Device, server: Server) -> None:
    """What is no address, or a key file that holds no key, leaves nothing behind."""
    done = await device.inside("setup", "--server", "heaper example")
    assert done.code == 2
    assert "write it as in the browser, https://" in done.err
    assert list(device.base.iterdir()) == []
    (device.base / "home.key").write_text("nonsense")
    (device.base / "home.key").chmod(0o600)
    done = await device.inside("setup", "--server", server.url)
    assert done.code == 2
    assert "holds no key" in done.err
    assert not device.config.exists()


@pytest.mark.parametrize(
    ("trouble", "says"),
    [("nobody", "the server does not answer"), ("page", "something answers, but no Heaper")],
)
async def test_setup_without_a_heaper_server(device: Device, trouble: str, says: str) -> None:
    """Exit 4. Nothing is written: the next try may name another address."""

    async def page(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    async with RawTestServer(page) as other:
        url = "127.0.0.1:1" if trouble == "nobody" else f"127.0.0.1:{other.port}"
        done = await device.inside("setup", "--server", url)
    assert done.code == 4
    assert f"http://{url}: {says}" in done.err
    assert "Nothing was written" in done.err
    assert list(device.base.iterdir()) == []


async def test_setup_asks_until_it_can_go_on(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """On a terminal, a wrong address or key is said and asked again. The key is not shown, and the
    scheme of the address is added.
    """
    secret = device.seed.reveal_text()
    shown = await device.on_terminal(
        *("setup", "--import-key", "--server", "not an address"),
        answers={
            "The key from the other device (not shown)": [secret[:-5], secret],
            "The server's address": ["127.0.0.1:1", server.url.removeprefix("http://")],
            "The folder of the mirror [~/Heaps]": "Mine",
        },
    )
    code, screen = shown.code, shown.out
    assert code == 0, screen
    assert screen.index("write it as in the browser") < screen.index("does not answer")
    assert "That is no key" in screen
    assert secret not in screen
    assert secret[:-5] not in screen
    assert "Home" in screen
    assert device.key.read_text().strip() == secret
    assert mode(device.key) == 0o600
    account = tomllib.loads(device.config.read_text())["accounts"]["home"]
    assert account["server"] == server.url
    assert account["folder"] == str(device.base / "Mine")


async def test_a_second_device_imports_the_key(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """From the file that `key export` wrote, or from standard input; what it was is said in terms
    of the public key. A key that is there is kept, and none is taken from an argument.
    """
    device.configure(server.url)
    file = device.base / "exported"
    assert (await device.inside("key", "export", "--output", str(file))).code == 0
    setup = ("setup", "--server", server.url, "--folder", "mirror", "--import-key")
    for name, source, text in (("a", str(file), ""), ("b", "-", file.read_text())):
        second = Device(device.base / name)
        done = await second.inside(*setup, source, stdin=text)
        assert done.code == 0, done.err
        assert second.key.read_text() == device.key.read_text()
        assert mode(second.key) == 0o600
        assert (await second.inside("key", "show")).out == f"{device.public}\n"
    third = Device(device.base / "third")
    for source, text, says in (
        ("-", "nonsense", "Standard input: That is no key"),
        (str(device.config), "", f"{device.config}: That is no key"),
        ("absent", "", "absent can't be read"),
        (device.seed.reveal_text(), "", "A key must not be an argument"),
    ):
        done = await third.inside(*setup, source, stdin=text)
        assert done.code == 2
        assert says in done.err
        assert list(third.base.iterdir()) == []
    third.key.touch(0o600)
    third.key.write_text(Seed(bytes([1]) * 32).reveal_text())
    done = await third.inside(*setup, str(file))
    assert done.code == 2
    assert "holds another key, and was kept" in done.err
    assert not third.config.exists()


@pytest.fixture
async def service() -> AsyncIterator[Oneheap]:
    async with Oneheap() as running:
        running.add("box", name="Projects")
        yield running


def team(device: Device) -> dict[str, object]:
    """The section that setup wrote."""
    found: dict[str, object] = tomllib.loads(device.config.read_text())["accounts"]["team"]
    return found


async def test_setup_of_an_account_with_a_password(device: Device, service: Oneheap) -> None:
    """What is missing is asked for, the password is not shown, and its file is for the owner."""
    shown = await device.on_terminal(
        *("setup", "--kind", "oneheap", "--account", "team", "--server", service.url),
        answers={
            "Your e-mail address": EMAIL,
            "The folder of the mirror [~/Oneheap]": "~/Mine",
            f"The password of {EMAIL}": PASSWORD,
        },
    )
    code, screen = shown.code, shown.out
    assert code == 0, screen
    assert "Projects" in screen
    assert PASSWORD not in screen, "it is typed without an echo"
    file = device.base / "team.password"
    assert file.read_text() == f"{PASSWORD}\n"
    assert mode(file) == 0o600
    account = team(device)
    assert account["email"] == EMAIL
    assert account["folder"] == str(device.base / "Mine")
    assert account["poll_interval"] == 60
    assert (device.base / "Mine").is_dir()
    done = await device.inside("heaps")
    assert done.code == 0, done.err
    assert "Projects" in done.out


async def test_setup_with_a_password_file(device: Device, service: Oneheap) -> None:
    """Without a terminal; run again it changes nothing, and other values are refused."""
    file = device.base / "secret"
    file.touch(0o600)
    file.write_text(PASSWORD)
    setup = ("setup", "--kind", "oneheap", "--account", "team", "--email", EMAIL)
    more = ("--server", service.url, "--password-file", str(file))
    done = await device(*setup, *more)
    assert done.code == 0, done.err
    assert file.read_text() == PASSWORD
    assert team(device)["password_file"] == str(file)
    assert team(device)["folder"] == str(device.base / "Oneheap")
    before = device.config.read_text()
    assert (await device.inside("setup", "--account", "team")).code == 0
    for other in (
        ("--email", "k@x"),
        ("--password-file", "else"),
        ("--server", "http://x"),
        ("--kind", "heaper"),
    ):
        done = await device.inside("setup", "--account", "team", *other)
        assert done.code == 2
        assert other[0].removeprefix("--").replace("-", "_") in done.err
    assert device.config.read_text() == before


@pytest.mark.parametrize(
    ("trouble", "code", "says"),
    [
        ("password", 3, "does not accept the account"),
        ("page", 4, "a web page: configure the service's address, which ends in Api/Rest/"),
        ("heaper", 4, "configure the service's address"),
        ("nobody", 4, "no connection"),
    ],
)
async def test_setup_that_can_not_sign_in(
    device: Device, server: Server, service: Oneheap, trouble: str, code: int, says: str
) -> None:
    """A wrong password or address is named, and nothing is written."""
    file = device.base / "team.password"
    file.touch(0o600)
    file.write_text("wrong-one" if trouble == "password" else PASSWORD)
    if trouble == "page":
        service.fail("page", "POST", "/Authentications/")
    url = {"nobody": "http://127.0.0.1:1", "heaper": server.url}.get(trouble, service.url)
    names = sorted(path.name for path in device.base.iterdir())
    done = await device.inside(
        *("setup", "--kind", "oneheap", "--account", "team", "--email", EMAIL, "--server", url)
    )
    assert done.code == code
    assert says in done.err
    assert "Nothing was written" in done.err
    assert "public key" not in done.err
    assert (str(file) in done.err) is (trouble == "password")
    assert file.read_text() not in done.out + done.err
    assert sorted(path.name for path in device.base.iterdir()) == names


async def test_a_password_that_is_mistyped_is_not_kept(device: Device, service: Oneheap) -> None:
    """There is no file with a wrong one; the next try asks again."""
    setup = ("setup", "--kind", "oneheap", "--email", EMAIL, "--server", service.url)
    shown = await device.on_terminal(
        *(*setup, "--folder", "mirror"),
        answers={f"The password of {EMAIL}": "wrong-one"},
    )
    code, screen = shown.code, shown.out
    assert code == 3, screen
    assert list(device.base.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--kind", "oneheap"), "--email is missing"),
        (("--kind", "oneheap", "--email", "j@x"), "home.password; write the password into it"),
        (("--kind", "oneheap", "--email", "j"), "`email` must be the account's e-mail address"),
        (("--kind", "oneheap", "--key-file", "k"), "--key-file is for --kind heaper"),
        (("--kind", "oneheap", "--code", "1"), "--code is for --kind heaper"),
        (("--server", "http://x", "--email", "j@x"), "--email is for --kind oneheap"),
        (("--server", "http://x", "--password-file", "p"), "--password-file is for --kind"),
        (("--kind", "oneheap", "--password", "p"), "No such option '--password'"),
    ],
)
async def test_setup_says_what_an_account_needs(
    device: Device, arguments: tuple[str, ...], says: str
) -> None:
    """Options of the other kind, and what is missing without a terminal."""
    done = await device.inside("setup", *arguments)
    assert done.code == 2
    assert says in done.err
    assert list(device.base.iterdir()) == []


async def test_a_password_is_for_one_service(device: Device, service: Oneheap) -> None:
    """The file of another account's password, or of its key, is not sent to a second server."""
    device.configure("http://127.0.0.1:1")
    done = await device(
        *("setup", "--kind", "oneheap", "--account", "team", "--email", EMAIL),
        *("--server", service.url, "--password-file", str(device.key)),
    )
    assert done.code == 2
    assert f"{device.key} is the key for http://127.0.0.1:1" in done.err
    assert service.requests == []


async def test_setup_knows_the_account_of_a_cache(device: Device, service: Oneheap) -> None:
    """Another e-mail address is another account, whose items a cache does not know."""
    service.accounts["k@x"] = PASSWORD
    file = device.base / "team.password"
    file.touch(0o600)
    file.write_text(PASSWORD)
    device.config.write_text(
        f'state_dir = "state"\n[accounts.team]\nkind = "oneheap"\nserver = "{service.url}"\n'
        f'email = "{EMAIL}"\nfolder = "mirror"\n'
    )
    assert (await device.inside("sync")).code == 0
    device.config.write_text(device.config.read_text().replace(EMAIL, "k@x"))
    for command in ("setup", "sync", "heaps"):
        service.requests.clear()
        done = await device(command, *(["--account", "team"] if command == "setup" else []))
        assert done.code == 3
        assert "Correct `server` or `email`" in done.err
        assert service.requests == []

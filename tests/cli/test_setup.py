"""``setup``: from an address to a configuration that works."""

import stat
import tomllib
from pathlib import Path

from heapsyncd.ids import HeapId, Seed
from heapsyncd.server import Server
from heapsyncd.wire.signin import public_key
from tests.cli.devices import Device


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
    assert (await device("sync")).code == 0
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
    assert public in done.err
    assert mode(key) == 0o600
    before = key.read_text(), device.config.read_text()
    assert before[0].strip() not in done.out + done.err
    await server.add_account(public)
    done = await device("setup")
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
    done = await device("setup", "--server", "https://other.example")
    assert done.code == 2
    assert server.url in done.err
    assert "--account" in done.err
    assert device.config.read_text() == before


async def test_setup_knows_the_server_of_a_cache(
    device: Device, server: Server, heap_id: HeapId, tmp_path: Path
) -> None:
    """An account whose cache is there is not connected to another server: nothing is written, and
    what to do is said. To its own server it is, under any address.
    """
    device.configure(server.url)
    assert (await device("sync")).code == 0
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
        assert "public key:" not in done.err, "no operator can help"
        assert not device.config.exists()
        done = await device(*setup, other.url, "--account", "new", **env)
        assert done.code == 0, done.err
    device.config.unlink()
    url = server.url.replace("127.0.0.1", "localhost")
    done = await device(*setup, url, **env)
    assert done.code == 0, done.err
    assert (await device("sync", **env)).code == 0


async def test_setup_refuses_before_it_writes(device: Device) -> None:
    """A wrong address or a wrong key leaves no configuration behind."""
    done = await device("setup", "--server", "heaper.example")
    assert done.code == 2
    assert "`server`" in done.err
    (device.base / "home.key").write_text("nonsense")
    (device.base / "home.key").chmod(0o600)
    done = await device("setup", "--server", "https://heaper.example")
    assert done.code == 2
    assert "holds no key" in done.err
    assert not device.config.exists()


async def test_setup_without_a_server_that_answers(device: Device) -> None:
    """Exit 4; configuration and key are kept for the next try."""
    done = await device("setup", "--server", "http://127.0.0.1:1")
    assert done.code == 4
    assert "run `heapsyncd setup` again" in done.err
    assert device.config.exists()
    assert (device.base / "home.key").exists()

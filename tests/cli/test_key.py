"""``key``: what the owner of a server gets to see, and what only a second device may."""

import json
import stat

from tests.cli.devices import Device


async def test_the_public_key_is_shown(device: Device) -> None:
    """Alone, so that it can be copied; with several accounts each has its name."""
    device.configure("http://127.0.0.1:1")
    assert (await device.inside("key", "show")).out == f"{device.public}\n"
    other = '[accounts.work]\nserver = "http://x"\nfolder = "w"\nkey_file = "home.key"\n'
    team = '[accounts.team]\nkind = "oneheap"\nfolder = "t"\nemail = "j@x"\n'
    device.config.write_text(device.config.read_text() + other + team)
    done = await device.inside("key", "show")
    assert done.out == f"home: {device.public}\nwork: {device.public}\n"
    done = await device.inside("key", "show", "--account", "work", "--json")
    (account,) = json.loads(done.out)["accounts"]
    assert account["public_key"] == device.public
    assert account["file"] == str(device.key)
    for name, says in (("team", "has a password"), ("nope", "there are: home, work, team")):
        done = await device.inside("key", "show", "--account", name)
        assert done.code == 2
        assert says in done.err
    done = await device.inside("key", "export", "--output", "x")
    assert done.code == 2
    assert "choose with --account: home, work" in done.err


async def test_the_secret_key_goes_to_a_file_of_its_own(device: Device) -> None:
    """With mode 600 and a warning; an existing file is kept, and a pipe gets nothing."""
    device.configure("http://127.0.0.1:1")
    file = device.base / "my key"
    done = await device.inside("key", "export", "--output", str(file))
    assert done.code == 0, done.err
    assert "can read and change your notes" in done.err
    assert "--import-key 'my key'" in done.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == f"{device.seed.reveal_text()}\n"
    file.write_text("mine")
    done = await device.inside("key", "export", "--output", str(file))
    assert done.code == 1
    assert "exists and was kept" in done.err
    assert file.read_text() == "mine"
    done = await device.inside("key", "export")
    assert done.code == 2
    assert "--output FILE" in done.err


async def test_the_secret_key_is_shown_on_a_terminal(device: Device) -> None:
    """Where nobody else reads along, with a warning."""
    device.configure("http://127.0.0.1:1")
    shown = await device.on_terminal("key", "export")
    code, screen = shown.code, shown.out
    assert code == 0, screen
    lines = screen.splitlines()
    assert "can read and change your notes" in lines[0]
    assert lines[-1] == device.seed.reveal_text()

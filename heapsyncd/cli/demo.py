"""``demo``: run the embedded server with a sample heap and mirror it with the real daemon.

Everything is in the demo's folder: the mirror itself, and the rest (server, state, key,
configuration) in a hidden folder. Run again, it continues where it stopped.
"""

import asyncio
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from heapsyncd import logs
from heapsyncd.cli.credentials import with_secret, write_secret
from heapsyncd.cli.output import say
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.cli.sync import print_verdicts
from heapsyncd.config import Account, Config, Log, render_account
from heapsyncd.errors import FolderTrouble, StateLocked
from heapsyncd.statelock import hold_state

HIDDEN: Final = ".heapsyncd-demo"
NAME: Final = "demo"
FIRST_PASS_S: Final = 120.0
HINTS: Final = """
The notes are in {root}
Open the folder in any editor and try:
  - change a line and save: a moment later it is on the server
  - make a new .md file: it becomes a note and gets its id
  - rename a note that others link to: the [[links]] to it follow
Watch from another terminal:
  heapsyncd --config {config} status --watch
Ctrl-C stops."""


@click.command("demo")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default="heapsyncd-demo",
    show_default=True,
    help="The demo's folder.",
)
@click.option("--once", is_flag=True, help="Stop as soon as everything is in sync.")
@pass_options
def command(options: Options, directory: Path, *, once: bool) -> int:
    """Start a sample server on this machine and mirror it into a folder.

    Nothing needs to be set up, and nothing leaves this machine.
    """
    logs.configure(Log(level="warning"), level=options.level)
    place = Place(directory.absolute())
    place.prepare()
    try:
        with hold_state(place.hidden):
            return asyncio.run(_demo(place, once=once))
    except StateLocked as error:
        raise StateLocked(f"The demo in {place.root} is running already.") from error


@dataclass(frozen=True, slots=True)
class Place:
    """The demo's folder and the paths in it."""

    root: Path

    @property
    def hidden(self) -> Path:
        """The folder for everything that is not the mirror."""
        return self.root / HIDDEN

    @property
    def config(self) -> Path:
        """The configuration. Other commands can use it too."""
        return self.hidden / "config.toml"

    @property
    def server(self) -> Path:
        """The server's data directory."""
        return self.hidden / "server"

    @property
    def seeded(self) -> Path:
        """A file that exists once the server holds the whole sample."""
        return self.hidden / "planted"

    def prepare(self) -> None:
        """Create the folder. A folder with other content is refused."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not self.hidden.exists() and any(self.root.iterdir()):
                raise click.UsageError(
                    f"{self.root} is not empty; choose another folder with --dir."
                )
            self.hidden.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise FolderTrouble(f"{self.root} can't be made: {error.strerror}.") from error

    def port(self) -> int:
        """Return the last port, so that the mirror recognises its server; 0 the first time."""
        if not self.config.exists():
            return 0
        return urlsplit(load(self.config).accounts[0].server).port or 0

    def configure(self, account: Account) -> Config:
        """Write the configuration, for other commands too, and return it."""
        state_dir = self.hidden / "state"
        head = f"# Written by `heapsyncd demo`.\nstate_dir = {json.dumps(str(state_dir))}\n\n"
        self.config.write_text(head + render_account(account), encoding="utf-8")
        return Config(self.config, state_dir, (account,))


async def _demo(place: Place, *, once: bool) -> int:
    from heapsyncd.server import Server
    from heapsyncd.server.sample import plant
    from heapsyncd.wire.signin import public_key

    key_file = place.hidden / f"{NAME}.key"
    account = Account(NAME, "heaper", "", place.root, key_file, poll_interval_s=1.0)
    write_secret(account)
    account = with_secret(account, place.config)
    assert account.seed is not None
    fresh = not place.seeded.exists()
    if fresh:
        # The sample is incomplete or missing. Nothing was mirrored from it yet, so start over.
        shutil.rmtree(place.server, ignore_errors=True)
    server = Server(place.server, port=place.port(), accounts=[public_key(account.seed)])
    async with server:
        if fresh:
            await plant(server)
            place.seeded.touch()
        config = place.configure(replace(account, server=server.url))
        return await _mirror(place, config, once=once)


async def _mirror(place: Place, config: Config, *, once: bool) -> int:
    from heapsyncd.cli.progress import progress_bar
    from heapsyncd.daemon import Daemon, run_once
    from heapsyncd.notify import Notifier

    with progress_bar() as progress:
        verdicts = await run_once(config, timeout_s=FIRST_PASS_S, progress=progress)
    code = print_verdicts(verdicts)
    if code or once:
        return code
    say(*HINTS.format(root=place.root, config=place.config).split("\n"))
    await Daemon(config, lambda: config, notifier=Notifier(_discard)).run()
    say(f"Stopped. `heapsyncd demo` continues it; to remove it, delete {place.root}")
    return 0


def _discard(_message: str) -> None:
    """Drop a message for systemd: the demo is not a service."""

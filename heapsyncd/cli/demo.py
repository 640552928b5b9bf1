"""``demo``: run the embedded server with a sample heap, and mirror it to two devices.

The devices are two accounts of the real daemon, each with a key, a cache and a folder of its own.
Everything is in the demo's folder: ``laptop/`` and ``phone/``, and the rest (server, state, keys,
configuration) in a hidden folder. Run again, it continues where it stopped.
"""

import asyncio
import contextlib
import json
import math
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
from msgspec import Struct
from msgspec.structs import replace

from heapsyncd import logs
from heapsyncd.cli.activity import Event
from heapsyncd.cli.credentials import with_secret, write_secret
from heapsyncd.cli.output import say
from heapsyncd.cli.paths import shown
from heapsyncd.cli.settings import Options, load, pass_options
from heapsyncd.cli.sync import print_verdicts
from heapsyncd.config import Account, Config, Log, render_account
from heapsyncd.errors import FolderTrouble, StateLocked
from heapsyncd.statelock import hold_state
from heapsyncd.tasks import TaskGroup

HIDDEN: Final = ".heapsyncd-demo"
DEVICES: Final = ("laptop", "phone")
FIRST_PASS_S: Final = 120.0
EVENTS: Final = 100
"""At most so many arrivals are shown at once."""
LOOK_S: Final = 0.2
"""How often to look for arrivals. What is said of them does not depend on it."""
HINTS: Final = """
Two devices mirror one heap: {laptop} and {phone}
Open a note of one in any editor, look at the same note of the other, and try:
  - change a line and save: a moment later it is on the other device
  - make a new .md file: it becomes a note and gets its id
  - rename a note that others link to: the [[links]] to it follow
What arrives is shown here, with the time since it was saved.
Watch from another terminal:
  heapsyncd --config {config} status --watch
Ctrl-C stops."""


EXAMPLES: Final = """\b
Examples:
  heapsyncd demo
  heapsyncd demo --once --dir /tmp/try"""


@click.command("demo", epilog=EXAMPLES)
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
    """Start a sample server on this machine and mirror it into two folders, as on two devices.

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


class Place(Struct, frozen=True):
    """The demo's folder and the paths in it."""

    root: Path

    @property
    def hidden(self) -> Path:
        """The folder for everything that is not a mirror."""
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

    def account(self, device: str) -> Account:
        """Return a device's account, with its key, which is made if missing."""
        key_file = self.hidden / f"{device}.key"
        account = Account(device, "heaper", "", self.root / device, key_file, poll_interval_s=1.0)
        write_secret(account)
        return with_secret(account, self.config)

    def configure(self, accounts: Sequence[Account]) -> Config:
        """Write the configuration, for other commands too, and return it."""
        state_dir = self.hidden / "state"
        head = f"# Written by `heapsyncd demo`.\nstate_dir = {json.dumps(str(state_dir))}\n"
        text = "\n".join([head, *map(render_account, accounts)])
        self.config.write_text(text, encoding="utf-8")
        return Config(self.config, state_dir, tuple(accounts))


async def _demo(place: Place, *, once: bool) -> int:
    from heapsyncd.server import Server
    from heapsyncd.server.sample import plant
    from heapsyncd.wire.signin import public_key

    accounts = [place.account(device) for device in DEVICES]
    keys = [public_key(account.seed) for account in accounts if account.seed is not None]
    fresh = not place.seeded.exists()
    if fresh:
        # The sample is incomplete or missing. Nothing was mirrored from it yet, so start over.
        shutil.rmtree(place.server, ignore_errors=True)
    async with Server(place.server, port=place.port(), accounts=keys) as server:
        if fresh:
            await plant(server)
            place.seeded.touch()
        config = place.configure([replace(a, server=server.url) for a in accounts])
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
    folders = {device: shown(place.root / device) for device in DEVICES}
    say(*HINTS.format(**folders, config=shlex.quote(str(place.config))).split("\n"))
    async with TaskGroup() as group:
        showing = group.create_task(_show_arrivals(config))
        await Daemon(config, lambda: config, notifier=Notifier(_discard)).run()
        showing.cancel()
    say(f"Stopped. `heapsyncd demo` continues it; to remove it, delete {shown(place.root)}")
    return 0


async def _show_arrivals(config: Config) -> None:
    """Print what arrives on a device, until cancelled."""
    from heapsyncd.sync.offline.activity import cached_activity

    seen = dict.fromkeys(DEVICES, 0)
    begun_ms = time.time_ns() // 1_000_000
    sent: dict[str, Event] = {}
    while True:
        await asyncio.sleep(LOOK_S)
        events = [
            event
            for account in config.accounts
            for event in await cached_activity(
                account, config.state_dir, begun_ms, EVENTS, seen[account.name]
            )
        ]
        seen.update((event["account"], event["number"]) for event in events)
        sent.update((event["path"], event) for event in events if event["direction"] == "up")
        for event in sorted(events, key=lambda event: event["at_ms"]):
            if event["direction"] == "down":
                say(arrival(event, sent.get(event["path"])))


def arrival(event: Event, sent: Event | None) -> str:
    """Return an arrival as a line for people.

    Args:
        event: what arrived.
        sent: what the other device sent of the same path, if known.
    """
    (source,) = set(DEVICES) - {event["account"]}
    what = "" if event["what"] in {"edited", "content"} else f" ({event['what']})"
    line = f"  {source} -> {event['account']}  {event['heap']}/{event['path']}{what}"
    if sent is None or sent["latency_ms"] is None:
        return line
    saved_ms = min(sent["at_ms"] - sent["latency_ms"], _changed_ms(sent))
    return f"{line}  {max(0, event['at_ms'] - saved_ms):.0f} ms"


def _changed_ms(sent: Event) -> float:
    """Return when a person changed a file, which was read a moment later; inf if not known.

    A new file says nothing of it: it was written again, with its id.
    """
    file = Path(sent["file"])
    with contextlib.suppress(OSError):
        if sent["what"] in {"edited", "content"}:
            return file.stat().st_mtime_ns / 1e6
        if sent["what"] == "renamed":
            return file.stat().st_ctime_ns / 1e6
        if sent["what"] == "deleted":
            return file.parent.stat().st_mtime_ns / 1e6
    return math.inf


def _discard(_message: str) -> None:
    """Drop a message for systemd: the demo is not a service."""

"""``serve``: run the embedded Heaper-compatible server on its own."""

import asyncio
import contextlib
import shlex
import signal
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from heapsyncd import control, logs
from heapsyncd.cli.output import say
from heapsyncd.cli.server import data_option, handlers
from heapsyncd.cli.settings import Options, pass_options
from heapsyncd.config import Log

if TYPE_CHECKING:
    from heapsyncd.server import Server

DEFAULT_PORT: Final = 8790


EXAMPLES: Final = """\b
Examples:
  heapsyncd serve --data ~/heapsyncd-server
  heapsyncd serve --host 0.0.0.0 --trusted-proxy 10.0.0.2"""


@click.command("serve", epilog=EXAMPLES)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True)
@data_option
@click.option(
    "--accept",
    "keys",
    multiple=True,
    metavar="KEY",
    help="A public key that may sign in; may be repeated.",
)
@click.option(
    "--open", "everybody", is_flag=True, help="Let any key sign in; only on this machine."
)
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy (or its network) in front, whose X-Forwarded-For names the caller.",
)
@pass_options
def command(
    options: Options,
    host: str,
    port: int,
    data: Path,
    keys: tuple[str, ...],
    proxies: tuple[str, ...],
    *,
    everybody: bool,
) -> None:
    """Run the embedded Heaper-compatible server until SIGTERM or SIGINT.

    Keys that may sign in: those accepted with `heapsyncd server accept KEY`, and those given with
    --accept. Without either, a new server prints a code. The first device that presents it, with
    `heapsyncd setup --code CODE`, becomes the owner; nobody becomes it without.

    The server speaks plain HTTP. For other machines put a proxy with TLS in front of it and name
    it with --trusted-proxy, so that each caller is counted by their own address.
    """
    from heapsyncd.server import Accept, serve
    from heapsyncd.server.addresses import is_loopback

    logs.configure(Log(), level=options.level)
    data = data.absolute()
    if everybody and (proxies or not is_loopback(host)):
        raise click.UsageError(
            "--open would let in anyone who can reach the server; name keys with "
            "--accept, or omit both and use the code that is printed."
        )

    @contextlib.asynccontextmanager
    async def beside(server: "Server") -> AsyncIterator[None]:
        async with control.serve(data, handlers(server)):
            say(f"Listening on {server.url}, data in {data}")
            _print_owner(server, data)
            if not is_loopback(host):
                say("The server speaks plain HTTP; put a proxy with TLS in front of it.", err=True)
            yield

    serving = serve(
        data,
        host,
        port,
        accept=Accept(keys=keys, open=everybody),
        trusted_proxies=proxies,
        beside=beside,
    )
    asyncio.run(until_signalled(serving))


def _print_owner(server: "Server", data: Path) -> None:
    """Print who owns the server, or how somebody becomes its owner, and how others get in."""
    if server.code is not None:
        say("Nobody can sign in yet. The first device with this code becomes the owner:")
        say(f"  heapsyncd setup --server {server.url} --code {server.code}")
    elif (owner := server.owner) is not None:
        say(f"Owner: {owner.public_key}")
    say("A key that is shown on another device is let in by:")
    say(f"  heapsyncd server accept KEY --data {shlex.quote(str(data))}")


async def until_signalled(serving: Coroutine[None, None, None]) -> None:
    """Run until done or signalled. A signal is the ordinary end: no error, exit 0."""
    task = asyncio.create_task(serving)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()

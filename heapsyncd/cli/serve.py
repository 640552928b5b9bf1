"""``serve``: run the embedded Heaper-compatible server on its own."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Final

import click

from heapsyncd import logs
from heapsyncd.cli.output import say
from heapsyncd.cli.settings import Options, pass_options
from heapsyncd.config import Log

DEFAULT_PORT: Final = 8790


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default="heapsyncd-server",
    show_default=True,
    help="The directory for all data.",
)
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

    Keys that may sign in: those given with --accept, and those in the file `accounts` of the data
    directory. Without either, a new server prints a code. The first device that presents it, with
    `heapsyncd setup --code CODE`, becomes the owner.

    The server speaks plain HTTP. For other machines put a proxy with TLS in front of it and name
    it with --trusted-proxy, so that each caller is counted by their own address.
    """
    from heapsyncd.server import Accept, serve
    from heapsyncd.server.addresses import is_loopback

    logs.configure(Log(), level=options.level)
    if everybody and (proxies or not is_loopback(host)):
        raise click.UsageError(
            "--open would let in anyone who can reach the server; name keys with "
            "--accept, or omit both and use the code that is printed."
        )

    def ready(url: str, code: str | None) -> None:
        say(f"Listening on {url}, data in {data.absolute()}")
        if code is not None:
            say("Nobody can sign in yet. The first device with this code becomes the owner:")
            say(f"  heapsyncd setup --server {url} --code {code}")
        if not is_loopback(host):
            say("The server speaks plain HTTP; put a proxy with TLS in front of it.", err=True)

    serving = serve(
        data,
        host,
        port,
        accept=Accept(keys=keys, open=everybody),
        trusted_proxies=proxies,
        ready=ready,
    )
    asyncio.run(until_signalled(serving))


async def until_signalled(serving: Coroutine[None, None, None]) -> None:
    """Run until done or signalled. A signal is the ordinary end: no error, exit 0."""
    task = asyncio.create_task(serving)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()

"""``serve``: the embedded Heaper-compatible server on its own."""

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
    help="Where everything is kept.",
)
@click.option(
    "--accept", "keys", multiple=True, metavar="KEY", help="A public key that may sign in."
)
@click.option("--open", "everybody", is_flag=True, help="Any key may sign in.")
@pass_options
def command(
    options: Options, host: str, port: int, data: Path, keys: tuple[str, ...], *, everybody: bool
) -> None:
    """Run the embedded Heaper-compatible server until SIGTERM or SIGINT.

    Who may sign in: the first key that does becomes the owner, unless keys are named with
    --accept (may be repeated) or in the data directory's file `accounts`.
    """
    from heapsyncd.server import Accept, serve

    logs.configure(Log(), level=options.level)
    accept = Accept(keys=keys, open=everybody)

    def ready(url: str) -> None:
        say(f"Listening on {url}, data in {data.absolute()}")

    asyncio.run(_until_signalled(serve(data, host, port, accept=accept, ready=ready)))


async def _until_signalled(serving: Coroutine[None, None, None]) -> None:
    """Being told to stop is the ordinary end of a server: no error, exit 0."""
    task = asyncio.create_task(serving)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()

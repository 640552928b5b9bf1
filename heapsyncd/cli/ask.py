"""Ask on a terminal for what the command line does not say."""

import asyncio

import click

from heapsyncd.cli.output import is_terminal, say
from heapsyncd.errors import ConfigError, NotHeaper, TryLater, Unreachable, for_people
from heapsyncd.wire.address import as_typed


def ask(option: str, what: str) -> str:
    """Ask for what an option does not say."""
    if not is_terminal():
        raise click.UsageError(f"{option} is missing; give it, or run setup on a terminal.")
    answer: str = click.prompt(what, type=str)
    return answer


def typed_server(text: str | None, *, ask_again: bool) -> str | None:
    """Return the full address that --server means; None if there is none, or to ask for another.

    Raises:
        ConfigError: it is not an address, and nobody is to be asked.
    """
    try:
        return as_typed(text) if text else None
    except ConfigError as error:
        if not (ask_again and is_terminal()):
            raise
        say(f"heapsyncd: {error}", err=True)
        return None


def answering_server(server: str | None) -> str:
    """Return the address of a Heaper server that answers; on a terminal, ask until it does.

    Raises:
        NotHeaper, Unreachable: there is none, and nobody to ask.
    """
    while True:
        try:
            url = server or as_typed(ask("--server", "The server's address"))
            asyncio.run(_find_server(url))
        except (ConfigError, NotHeaper, TryLater) as error:
            if not is_terminal():
                raise
            say(f"heapsyncd: {error}", err=True)
            server = None
        else:
            return url


async def _find_server(url: str) -> None:
    """Check that a Heaper server answers.

    Raises:
        NotHeaper, Unreachable: for people, with what to do.
    """
    from heapsyncd.backends.factory import find_heaper

    try:
        await find_heaper(url)
    except NotHeaper as error:
        raise NotHeaper(
            f"{url}: something answers, but no Heaper server ({error}).\n"
            "Use the address at which you open the app. Nothing was written."
        ) from error
    except TryLater as error:
        plain = "; if it has no TLS, write http://" if url.startswith("https:") else ""
        raise Unreachable(
            f"{url}: {for_people(error)}.\n"
            f"Check the address and your connection{plain}. Nothing was written."
        ) from error

"""The command line: finds the command, and turns every error into one line and an exit code.

A command's module is imported when it is called, and imports what its work needs when the work
begins: help, a mistyped option and a wrong configuration are answered at once.
"""

import atexit
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import click

from heapsyncd import __version__, config
from heapsyncd.cli.output import say
from heapsyncd.cli.settings import Options
from heapsyncd.errors import HeapsyncdError, leaves, meant

COMMANDS: Final = {
    "demo": "Start a sample server and mirror it into a folder: nothing to set up.",
    "setup": "Connect an account: write the configuration and the key, sign in.",
    "run": "Mirror until stopped (the daemon).",
    "sync": "One full pass both ways, then exit: 0 when everything is in sync.",
    "status": "What is in sync, what is not, and why.",
    "heaps": "The heaps the accounts can see, and which are mirrored.",
    "search": "Find notes that have all the words; works offline.",
    "fetch": "Bring files here that are on the server only.",
    "history": "The earlier versions of a note; works offline.",
    "restore": "Put an earlier version of a note back.",
    "trash": "The deleted notes: see them, bring them back.",
    "deletions": "Deletions held back because they are many: see, confirm or undo them.",
    "explain": "Why a file is as it is: base, disk, server, and the rule that applies.",
    "serve": "Run the embedded Heaper-compatible server.",
}
"""Each command's one line; the command itself is ``heapsyncd.cli.<name>.command``."""

EXIT_CODES: Final = """\b
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not signed in or refused,
4 server unreachable, 5 another daemon holds this state."""
INTERRUPTED: Final = 130
STOPS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
SERVICES: Final = frozenset({"run", "serve"})
"""Commands whose ordinary end is to be told to stop."""


class Commands(click.Group):
    """A group that knows its commands by name and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order in which they are met."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import a command; None for a name that is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"heapsyncd.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--config", "path", metavar="FILE", help="The configuration to use.")
@click.option("-v", "--verbose", is_flag=True, help="Log everything.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
@click.version_option(__version__, prog_name="heapsyncd")
@click.pass_context
def cli(ctx: click.Context, path: str | None, *, verbose: bool, quiet: bool) -> None:
    """Mirrors Heaper heaps to folders of markdown files, both ways."""
    take_signals(ctx.invoked_subcommand)
    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet exclude each other.")
    found = Path(path).absolute() if path else config.default_path(os.environ)
    ctx.obj = Options(found, "debug" if verbose else "error" if quiet else None)


def take_signals(command: str | None) -> None:
    """Let the signals through that were held back (``__main__``).

    A service exits with 0 from now on; once it runs, it ends in order instead. It exits at once:
    there is nothing yet to put in order, and an exception could be raised in an import, or in what
    swallows it.
    """
    if command in SERVICES:
        for number in STOPS:
            signal.signal(number, _exit_well)
        atexit.register(_ignore_stops)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _exit_well(_number: int, _frame: object) -> None:
    os._exit(0)


def _ignore_stops() -> None:
    """For the very end: the interpreter takes its handlers off, and the default would kill."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code; an error is said on stderr, never as a traceback."""
    try:
        code = cli.main(args=arguments, prog_name="heapsyncd", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone: nobody is left to tell, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except BaseException as error:  # noqa: BLE001 - the last place: all of them end here
        code = _report(error)
    sys.exit(code if isinstance(code, int) else 0)


def _report(error: BaseException) -> int:
    """Say what ended the command; return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "heapsyncd"
        _say(f"{error.format_message()} See `{where} --help`.")
        return error.exit_code
    if isinstance(error, click.ClickException):
        _say(error.format_message())
        return error.exit_code
    causes = leaves(error)
    if any(isinstance(cause, (KeyboardInterrupt, click.Abort)) for cause in causes):
        return INTERRUPTED
    if (cause := meant(error)) is None:
        return _report_bug(error)
    _say(*dict.fromkeys(map(str, causes)))
    return cause.exit_code


def _report_bug(error: BaseException) -> int:
    bug = next(cause for cause in leaves(error) if not isinstance(cause, HeapsyncdError))
    text = " ".join(str(bug).split())[:300]
    _say(
        f"internal error: {type(bug).__name__}: {text}",
        "This is a bug of heapsyncd. Run it again with --verbose for the details of a report.",
    )
    if {"-v", "--verbose"} & set(sys.argv):
        say(*"".join(traceback.format_exception(error)).split("\n"), err=True)
    return 1


def _say(*lines: str) -> None:
    say(*(f"heapsyncd: {line}" for text in lines for line in text.split("\n")), err=True)

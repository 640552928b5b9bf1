"""The command line: find the command, turn every error into a short message and an exit code.

A command's module is imported when it is called, and imports the rest when its work begins. So
help, a mistyped option and a wrong configuration are answered at once.
"""

import atexit
import difflib
import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import click
from msgspec.structs import replace

from heapsyncd import __version__, config
from heapsyncd.cli.output import say
from heapsyncd.cli.settings import Options
from heapsyncd.errors import HeapsyncdError, expected_error, leaf_errors

COMMANDS: Final = {
    "demo": "Try heapsyncd with a sample server; nothing to set up.",
    "setup": "Connect an account: write the configuration, sign in.",
    "key": "Show the public key; export the secret one for a second device.",
    "run": "Mirror until stopped (the daemon).",
    "sync": "Sync once in both directions, then exit.",
    "status": "Show what is in sync, what is not, and why.",
    "activity": "Show what came and went lately (offline).",
    "heaps": "List your heaps or boxes and which of them are mirrored.",
    "search": "Find notes by their words, tags and places (offline).",
    "links": "List the notes that a note names (offline).",
    "backlinks": "List the notes that name a note (offline).",
    "fetch": "Download files that are only on the server.",
    "history": "List the earlier versions of a note and what they changed (offline).",
    "show": "Print one version of a note (offline).",
    "log": "List what changed in all notes (offline).",
    "restore": "Restore an earlier version of a note.",
    "undo": "Take back what was done on this device lately.",
    "trash": "List deleted notes and bring them back.",
    "deletions": "Show, confirm or undo deletions held because there are many.",
    "web": "Show status, activity and history as a page on this machine.",
    "explain": "Explain why a file is in its current state (offline).",
    "check": "Compare cache, folder and server; repair damage.",
    "doctor": "Look at the set-up and say what to mend.",
    "completion": "Print a script that completes commands in your shell.",
    "service": "Install, remove or show the systemd service.",
    "serve": "Run the embedded Heaper-compatible server.",
    "server": "Accept keys, add heaps and back up the embedded server.",
}
"""Each command's one-line help. The command itself is ``heapsyncd.cli.<name>.command``."""

EXIT_CODES: Final = """\b
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not signed in or refused,
4 server unreachable, 5 another daemon holds this state, 6 `check` found damage.

Answers for people go to stdout, everything else to stderr. NO_COLOR and TERM=dumb are heeded."""
EXCLUSIVE: Final = "--verbose and --quiet exclude each other; give one of them."
INTERRUPTED: Final = 130
DISK: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
"""Errors that are never the program's."""
STOPS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
SERVICES: Final = frozenset({"run", "serve"})
"""Commands for which a request to stop is the ordinary end."""


class Commands(click.Group):
    """A group that knows its commands by name and imports only the called one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order of first use."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import a command. Returns None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"heapsyncd.cli.{cmd_name}")
        command: click.Command = module.command
        return _with_levels(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a mistyped name, suggest one."""
        name = args[0]
        similar = difflib.get_close_matches(name, COMMANDS, n=1)
        if name not in COMMANDS and similar and not ctx.resilient_parsing and name[:1] != "-":
            ctx.fail(f"No such command '{name}'. Did you mean '{similar[0]}'?")
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _with_levels(command: click.Command) -> click.Command:
    """Let a command take ``--verbose`` and ``--quiet`` too."""
    if not any(param.name == "verbose" for param in command.params):
        command.params += [
            _level_option("-v", "--verbose", "debug"),
            _level_option("-q", "--quiet", "error"),
        ]
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _with_levels(inner)
    return command


def _level_option(short: str, long: str, level: str) -> click.Option:
    def given(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value:
            before = ctx.find_object(Options)
            assert before is not None
            if before.level not in {None, level}:
                raise click.UsageError(EXCLUSIVE)
            ctx.obj = replace(before, level=level)

    return click.Option(
        [short, long], is_flag=True, expose_value=False, hidden=True, callback=given
    )


@click.command(
    cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--config", "path", type=click.Path(), metavar="FILE", help="The configuration file to use."
)
@click.option("-v", "--verbose", is_flag=True, help="Log everything; also behind COMMAND.")
@click.option("-q", "--quiet", is_flag=True, help="Log only errors; also behind COMMAND.")
@click.version_option(__version__, prog_name="heapsyncd")
@click.pass_context
def cli(ctx: click.Context, path: str | None, *, verbose: bool, quiet: bool) -> None:
    """Mirror heaps (Heaper, oneheap) to folders of markdown files, in both directions."""
    unblock_signals(ctx.invoked_subcommand)
    if verbose and quiet:
        raise click.UsageError(EXCLUSIVE)
    _check_directory()
    found = Path(path).absolute() if path else config.default_path(os.environ)
    ctx.obj = Options(found, "debug" if verbose else "error" if quiet else None)


def _check_directory() -> None:
    """Refuse to work in a directory that is gone: nothing that is typed there means a path."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise click.UsageError("The current directory is gone; go to another one (cd).") from None


def unblock_signals(command: str | None) -> None:
    """Unblock the signals that ``__main__`` blocked.

    From now on a service exits with 0 when told to stop; once it runs, it shuts down in order
    instead. Here it exits at once: there is nothing to shut down yet, and an exception could be
    raised inside an import or be swallowed.
    """
    if command in SERVICES:
        for number in STOPS:
            signal.signal(number, _exit_success)
        atexit.register(_ignore_stops)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _exit_success(_number: int, _frame: object) -> None:
    os._exit(0)


def _ignore_stops() -> None:
    """Ignore stop signals at the very end.

    The interpreter removes its handlers before it ends, and the default action would kill the
    process.
    """
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code. Errors go to stderr, never as a traceback."""
    try:
        code = cli.main(args=arguments, prog_name="heapsyncd", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output is gone. Python must not try to flush it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except BaseException as error:  # noqa: BLE001 - the outermost handler
        code = _report(error)
    sys.exit(code if isinstance(code, int) else 0)


def _report(error: BaseException) -> int:
    """Print what ended the command. Returns the exit code."""
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
    causes = leaf_errors(error)
    if any(isinstance(cause, (KeyboardInterrupt, click.Abort)) for cause in causes):
        return INTERRUPTED
    if (cause := expected_error(error)) is None:
        return _report_disk(error) or _report_bug(error)
    _say(*dict.fromkeys(map(str, causes)))
    return cause.exit_code


def _report_disk(error: BaseException) -> int:
    """Print trouble of the disk that nobody expected at this place. Returns 0 for other errors."""
    causes = leaf_errors(error)
    if not all(isinstance(c, OSError) and c.errno in DISK and c.filename for c in causes):
        return 0
    _say(*dict.fromkeys(f"{c.filename}: {c.strerror}." for c in causes if isinstance(c, OSError)))
    return 1


def _report_bug(error: BaseException) -> int:
    bug = next(cause for cause in leaf_errors(error) if not isinstance(cause, HeapsyncdError))
    text = " ".join(str(bug).split())[:300]
    _say(
        f"internal error: {type(bug).__name__}: {text}",
        "This is a bug in heapsyncd. Run the command again with --verbose and report the details.",
    )
    if {"-v", "--verbose"} & set(sys.argv):
        say(*"".join(traceback.format_exception(error)).split("\n"), err=True)
    return 1


def _say(*lines: str) -> None:
    say(*(f"heapsyncd: {line}" for text in lines for line in text.split("\n")), err=True)

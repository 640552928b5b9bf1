"""Print the manual page, made of the commands' own help: ``python -m heapsyncd.cli.manual``.

One page for all commands: whoever looks for something finds it by searching one text. The wheel
has what it printed, ``heapsyncd/cli/heapsyncd.1``; a test tells when that has to be made anew.
"""

import re
import sys
from collections.abc import Iterator

import click

from heapsyncd.cli.main import COMMANDS, cli

HEAD = r"""
.TH HEAPSYNCD 1 "" heapsyncd "User Commands"
.SH NAME
heapsyncd \- mirror heaps (Heaper, oneheap) to folders of markdown files, in both directions
.SH SYNOPSIS
.B heapsyncd
[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGS\fR]...
.SH DESCRIPTION
A note is a file, and a change of one is a change of the other.
.B heapsyncd setup
connects an account,
.B heapsyncd run
mirrors until it is stopped, and
.B heapsyncd status
says what is in sync, what is not, and why.
.B heapsyncd demo
tries it out, with nothing to set up.
"""
TAIL = r"""
.SH ENVIRONMENT
.TP
.B XDG_CONFIG_HOME, XDG_STATE_HOME
Where the configuration and the state are, instead of ~/.config and ~/.local/state.
.TP
.B CREDENTIALS_DIRECTORY
Keys and passwords that systemd passes to the service.
.TP
.B NO_COLOR, TERM
With NO_COLOR, or TERM=dumb, the output is plain text.
.SH FILES
.TP
.I ~/.config/heapsyncd/config.toml
The configuration.
.TP
.I ~/.local/state/heapsyncd/
The state of the accounts: a cache, which is rebuilt if it is lost, and the history of the notes.
.TP
.I .heapsyncd
Marks a directory as the mirror of a heap. Where it is absent, nothing counts as deleted.
.TP
.I .heaperignore
Names what is not mirrored, as .gitignore does.
"""


def page() -> str:
    """Return the manual page in roff."""
    ctx = click.Context(cli, info_name="heapsyncd", help_option_names=["-h", "--help"])
    parts = [HEAD.strip(), ".SH OPTIONS", *_options(ctx), ".SH COMMANDS"]
    for name in COMMANDS:
        found = cli.get_command(ctx, name)
        assert found is not None
        parts += _command(click.Context(found, info_name=name, parent=ctx))
    codes, *rest = (cli.epilog or "").split("\n\n")
    parts += [".SH EXIT STATUS", *_text(codes.replace("Exit codes: ", "")), *rest]
    return "\n".join([*parts, TAIL.strip(), ""])


def _command(ctx: click.Context) -> Iterator[str]:
    """Yield a command, and the commands below it."""
    path = ctx.command_path.removeprefix("heapsyncd ")
    yield f".SS {_escaped(path)}"
    usage = " ".join(ctx.command.collect_usage_pieces(ctx))
    yield f".B heapsyncd {_escaped(path)}\n{_escaped(usage)}\n.PP"
    yield from _text(ctx.command.help or "")
    yield from _options(ctx)
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            inner = ctx.command.get_command(ctx, name)
            assert inner is not None
            yield from _command(click.Context(inner, info_name=name, parent=ctx))
    if ctx.command.epilog:
        yield ".PP"
        yield from _text(ctx.command.epilog)


def _options(ctx: click.Context) -> Iterator[str]:
    for param in ctx.command.get_params(ctx):
        record = param.get_help_record(ctx)
        if isinstance(param, click.Option) and record is not None and "--help" not in param.opts:
            yield f".TP\n.B {_escaped(record[0])}\n{_escaped(record[1])}"


def _text(text: str) -> Iterator[str]:
    """Yield paragraphs; those that click leaves as they are are left so here."""
    for paragraph in text.strip().split("\n\n"):
        lines = paragraph.split("\n")
        if "\b" in paragraph:
            kept = [_escaped(line) for line in lines if line.strip() != "\b"]
            yield "\n".join([".nf", *kept, ".fi", ".PP"])
        else:
            yield _escaped(" ".join(line.strip() for line in lines)) + "\n.PP"


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-")
    text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


if __name__ == "__main__":
    sys.stdout.write(page())

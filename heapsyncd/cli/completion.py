"""``completion``: what a shell needs to complete commands, paths and names of heaps."""

from typing import Final

import click
from click.shell_completion import get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")
EXAMPLES: Final = """\b
Examples:
  heapsyncd completion bash > ~/.local/share/bash-completion/completions/heapsyncd
  heapsyncd completion zsh > ~/.zfunc/_heapsyncd       (with ~/.zfunc in fpath)
  heapsyncd completion fish > ~/.config/fish/completions/heapsyncd.fish"""


@click.command("completion", epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, options, paths and names of heaps.

    The shell runs it at its start. For one session: eval "$(heapsyncd completion bash)"
    """
    made = get_completion_class(shell)
    assert made is not None
    root = ctx.find_root().command
    script = made(root, {}, "heapsyncd", "_HEAPSYNCD_COMPLETE")
    # ``source`` of bash also runs the bash that is there, to warn of very old ones.
    click.echo(script.source_template % script.source_vars())

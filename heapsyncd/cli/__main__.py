"""Entry point of the ``heapsyncd`` script and of ``python -m heapsyncd.cli``.

Importing what the commands need takes a moment. Until it is known which command a signal is for,
SIGTERM and SIGINT are blocked: they wait in the kernel until ``main.unblock_signals``.

Names of files are UTF-8, whatever the terminal shows. Where the locale has another encoding, the
program starts again in Python's UTF-8 mode, and only what it prints and is told is in the
terminal's encoding. What that cannot show is replaced.
"""

import locale
import os
import signal
import sys
from typing import Final, NoReturn

AGAIN: Final = ["-X", "utf8"]


def main() -> NoReturn:
    """Run a command and exit with its code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    arguments = _in_utf8()
    from heapsyncd.cli import main as entry

    entry.main(arguments)


def _in_utf8() -> list[str]:
    """Return the arguments; in a locale with another encoding, start again first."""
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        os.execv(sys.executable, [sys.executable, *AGAIN, *sys.orig_argv[1:]])  # noqa: S606
    is_again = sys.orig_argv[1:3] == AGAIN
    encoding = locale.getencoding() if is_again else None
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if stream is not None and (is_again or stream.encoding.lower() != "utf-8"):
            stream.reconfigure(encoding=encoding, errors="replace")  # type: ignore[union-attr]
    return [_decoded(a, encoding) if encoding else a for a in sys.argv[1:]]


def _decoded(argument: str, encoding: str) -> str:
    """Return an argument that is UTF-8, as names of files are, or was typed in the terminal."""
    if argument.isascii() or max(argument) < "\udc80":
        return argument
    return os.fsencode(argument).decode(encoding, "replace")


if __name__ == "__main__":  # a helper process of the server imports this module too
    main()

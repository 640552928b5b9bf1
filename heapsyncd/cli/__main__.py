"""Entry point of the ``heapsyncd`` script and of ``python -m heapsyncd.cli``.

Importing what the commands need takes a moment. Until it is known which command a signal is for,
SIGTERM and SIGINT are blocked: they wait in the kernel until ``main.unblock_signals``. Two things
make that moment shorter: nobody searches what imports create for garbage, and structlog does not
load rich, which only the progress bar needs.

Names of files are UTF-8, whatever the terminal shows. Where the locale has another encoding, the
program starts again in Python's UTF-8 mode, and only what it prints and is told is in the
terminal's encoding. What that cannot show is replaced.
"""

import gc
import locale
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

AGAIN: Final = ["-X", "utf8"]
IMPORTED: Final = 300_000
"""More values than the imports of any command create, none of which is garbage."""


def main() -> NoReturn:
    """Run a command and exit with its code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    arguments = _in_utf8()
    prepare_imports()
    from heapsyncd.cli import main as entry

    entry.main(arguments)


def prepare_imports() -> None:
    """Make the imports of a command quick."""
    _collect_later()
    _import_structlog()


def _collect_later() -> None:
    """Let the first search for garbage wait until the imports are over; the next come as usual."""
    usual = gc.get_threshold()

    def begins(_phase: str, _info: Mapping[str, int]) -> None:
        gc.set_threshold(*usual)
        gc.callbacks.remove(begins)

    gc.callbacks.append(begins)
    gc.set_threshold(IMPORTED)


def _import_structlog() -> None:
    """Import structlog as if rich were not installed: nobody asks for its tracebacks."""
    if "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]
        import structlog  # noqa: F401

        del sys.modules["rich"]


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

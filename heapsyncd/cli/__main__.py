"""Entry point of the ``heapsyncd`` script and of ``python -m heapsyncd.cli``.

Importing what the commands need takes a moment. Until it is known which command a signal is for,
SIGTERM and SIGINT are blocked: they wait in the kernel until ``main.unblock_signals``.
"""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run a command and exit with its code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    from heapsyncd.cli import main as entry

    entry.main()


if __name__ == "__main__":  # a helper process of the server imports this module too
    main()

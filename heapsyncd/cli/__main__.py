"""The entry point of the ``heapsyncd`` script and of ``python -m heapsyncd.cli``: holds signals
back until it is known for which command they are.

Importing what the commands need takes a moment. A signal that comes meanwhile waits in the kernel
until ``main.take_signals``.
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

"""``run``: the daemon, in the foreground."""

import asyncio
import os
from typing import Final

import click
import structlog

from heapsyncd import logs
from heapsyncd.cli.settings import Options, load_with_secrets, pass_options
from heapsyncd.config import Config
from heapsyncd.errors import expected_error
from heapsyncd.wire.address import plaintext_warning

log = structlog.get_logger()


EXAMPLES: Final = """\b
Examples:
  heapsyncd run
  heapsyncd run --verbose 2> heapsyncd.log
  heapsyncd service install       (runs it from login on)"""
AS_ROOT: Final = (
    "runs as root: the files it writes belong to root, and a mistake in it could harm the whole"
    " system; run it as the user whose notes they are"
)


@click.command("run", epilog=EXAMPLES)
@pass_options
def command(options: Options) -> None:
    """Mirror every account until SIGTERM or SIGINT.

    SIGHUP reloads the configuration. Made for systemd (Type=notify), but runs anywhere.
    """

    def load() -> Config:
        config = load_with_secrets(options.path)
        logs.configure(config.log, level=options.level)
        for account in config.accounts:
            if warning := plaintext_warning(account.server):
                log.warning(warning, account=account.name)
        return config

    from heapsyncd.notify import Notifier

    notifier = Notifier.from_environment()
    try:
        config = load()
        if os.geteuid() == 0:
            log.warning(AS_ROOT)
        from heapsyncd.daemon import Daemon
        from heapsyncd.dbus import Bus
        from heapsyncd.desktop import Desktop
        from heapsyncd.logind import SuspendLock

        daemon = Daemon(
            config,
            load,
            notifier=notifier,
            desktop=Desktop(Bus.of_session()),
            suspends=SuspendLock(Bus.of_system()),
        )
        asyncio.run(daemon.run())
    except Exception as error:
        expected = expected_error(error)
        notifier.failed(str(expected) if expected else "internal error; the log has the details")
        raise

"""``run``: the daemon, in the foreground."""

import asyncio

import click
import structlog

from heapsyncd import logs
from heapsyncd.cli.settings import Options, load_with_secrets, pass_options
from heapsyncd.config import Config, plaintext_warning
from heapsyncd.errors import expected_error

log = structlog.get_logger()


@click.command("run")
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
        from heapsyncd.daemon import Daemon
        from heapsyncd.desktop import Desktop

        desktop = Desktop.from_environment()
        asyncio.run(Daemon(config, load, notifier=notifier, desktop=desktop).run())
    except Exception as error:
        expected = expected_error(error)
        notifier.failed(str(expected) if expected else "internal error; the log has the details")
        raise

"""Edge: log to stderr without secrets, as lines for people on a terminal or as JSON.

Everything logs through ``structlog.get_logger()``. What libraries log through the standard library
takes the same path. ``configure`` may be called again (SIGHUP).
"""

import json
import logging
import re
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from heapsyncd.config import Log
from heapsyncd.ids import HIDDEN, hide

_SECRET_NAME: Final = re.compile(
    r"pass(word|phrase)|secret|seed|token|authorization|signature|private", re.IGNORECASE
)


def configure(log: Log, stream: TextIO | None = None, *, level: str | None = None) -> None:
    """Set up logging for the process.

    Args:
        log: level and format.
        stream: the destination; stderr by default.
        level: overrides the level (``--verbose``, ``--quiet``).
    """
    stream = stream or sys.stderr
    console = log.format == "console" or (log.format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        structlog.processors.format_exc_info,
        redact,
        *([_make_printable] if console else []),
    ]
    last: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            pad_event_to=0,
            # Exceptions are already text here, so they were redacted too.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else structlog.processors.JSONRenderer(json_text)
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel((level or log.level).upper())
    # Libraries log only warnings and errors; their debug lines would drown ours.
    for library in ("aiohttp", "aiosqlite", "asyncio", "watchfiles"):
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def printable(text: str) -> str:
    """Return a text on one line, without anything that controls a terminal or reverses text."""
    if text.isprintable():
        return text
    return "".join(c if _is_printable(c) else "\N{REPLACEMENT CHARACTER}" for c in text)


def json_text(value: Any, **options: Any) -> str:
    """Return JSON for people and machines: what ``printable`` would replace is escaped."""
    text = json.dumps(value, ensure_ascii=False, **options)
    if text.isprintable():
        return text
    return "".join(c if _is_printable(c) else json.dumps(c)[1:-1] for c in text)


def _is_printable(char: str) -> bool:
    # Joiners are needed for emoji and several scripts. A tab only moves along the line.
    return char in "\t\u200c\u200d" or unicodedata.category(char) not in {
        "Cc",
        "Cf",
        "Cs",
        "Zl",
        "Zp",
    }


def _make_printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor for terminals, see ``printable``."""
    return {k: _printable_lines(v) if isinstance(v, str) else v for k, v in event.items()}


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor that hides secrets, recognised by name or by shape."""
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: Any) -> Any:
    if isinstance(value, (str, bytes)) and _SECRET_NAME.search(key):
        return HIDDEN
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, Mapping):
        return {k: _clean(str(k), v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(key, item) for item in value]
    return value

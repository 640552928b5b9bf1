"""Edge: log to stderr without secrets, as lines for people on a terminal or as JSON.

On a terminal only what concerns people is logged, in their words (``WORDS``); with the level debug
every event is, with its values. The JSON format has every event of the level.

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

WORDS: Final[Mapping[str, str]] = {
    "arrived": "{heap}: {path} arrived{what}",
    "changes": "{heap}: {count} changes {way}",
    "configuration reloaded": "configuration reloaded",
    "configured heaps not found": "{account}: {reason}",
    "cannot sync folder": "{heap}: {reason}",
    "could not list heaps": "{account}: {reason}",
    "could not open heap": "{heap}: {reason}",
    "deletions held": "{heap}: {count} deletions held; `heapsyncd deletions` shows them",
    "held deletions decided": "{heap}: {count} held deletions decided",
    "in sync": "{account}: in sync",
    "mirror stopped": "{account}: {reason}",
    "ready": "ready: {accounts}",
    "restored from the trash": "{path} is back from the trash",
    "sent": "{heap}: {path} sent{what}",
    "server answers again": "{account}: the server answers again",
    "server work failed": "{heap}: {reason}",
    "serving": "serving at {url}",
    "sign-in refused: key not accepted": "the key {public_key} is not accepted;"
    " `heapsyncd server accept` lets it in",
    "stopped": "stopped",
    "stopping": "stopping",
    "suspend ended": "{account}: awake again, after {slept_s} s",
    "text kept for review": "{path}: an earlier text is kept; `heapsyncd status` says why",
    "this server has an owner now": "this server has an owner now: {public_key}",
    "version restored": "{path}: version {number} is back",
}
"""What people read of an event. Others of the level info are not for them; warnings and errors
without words here are shown as they are.
"""
_UNREMARKABLE: Final = frozenset({"edited", "content"})

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
    level = (level or log.level).upper()
    console = log.format == "console" or (log.format == "auto" and (stream or sys.stderr).isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        structlog.processors.format_exc_info,
        redact,
        *([_make_printable] if console else []),
    ]
    last: Processor = structlog.processors.JSONRenderer(json_text)
    if console:
        last = _in_words
    if console and level == "DEBUG":
        last = structlog.dev.ConsoleRenderer(
            colors=False,
            pad_event_to=0,
            # Exceptions are already text here, so they were redacted too.
            exception_formatter=structlog.dev.plain_traceback,
        )
    handler = logging.StreamHandler(stream) if stream else _ToStderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    if last is _in_words:
        handler.addFilter(_is_for_people)
    root.setLevel(level)
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


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is now: progress bars put a stream there that makes room."""

    @property
    def stream(self) -> TextIO:
        """Return the destination."""
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        """Keep it as it is."""


def _is_for_people(record: logging.LogRecord) -> bool:
    event = record.msg.get("event") if isinstance(record.msg, Mapping) else None
    return record.levelno > logging.INFO or event in WORDS


def _in_words(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """A structlog processor that makes a line for people."""
    values = {key: value for key, value in event.items() if value is not None}
    name = str(values["event"])
    what = values.get("what", "edited")
    values["what"] = "" if what in _UNREMARKABLE else f" ({what})"
    values["accounts"] = ", ".join(map(str, values.get("accounts", ())))
    if name in WORDS:
        line = WORDS[name].format_map(_Values(values))
    else:
        where = next((f"{values[k]}: " for k in ("heap", "account") if k in values), "")
        path = f" ({values['path']})" if "path" in values else ""
        reason = f": {values['reason']}" if "reason" in values else ""
        line = f"{where}{name}{path}{reason}"
    level = str(values["level"])
    mark = "" if level == "info" else f"{level}: "
    trace = f"\n{values['exception']}" if "exception" in values else ""
    return f"{values['timestamp']} {mark}{line}{trace}"


class _Values(dict[str, Any]):
    """Values for a format; one that is not there is shown as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


def printable(text: str) -> str:
    """Return a text on one line, without anything that controls a terminal or reverses text."""
    if text.isprintable():
        return text
    return "".join(c if _is_printable(c) else "\N{REPLACEMENT CHARACTER}" for c in text)


def json_text(value: Any, **options: Any) -> str:
    """Return JSON for people and machines: what ``printable`` would replace is escaped."""
    text = json.dumps(value, **{"ensure_ascii": False, **options})
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

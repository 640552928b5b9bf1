"""The configuration as frozen values. Pure: text in, values or a ConfigError out.

``cli/settings.py`` reads the file, and the accounts' keys and passwords. The tables of settings
below are the only place that defines which settings a kind of account has, and what they are if
left out. ``config.example.toml`` explains each of them to users.
"""

import difflib
import json
import posixpath
import re
import tomllib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from heapsyncd.errors import ConfigError
from heapsyncd.ids import ULID_PATTERN, Password, Seed
from heapsyncd.model import HistoryLimits, LineBreaks

Section = tuple[str, ...]
"""A section's name in parts, () for the top level."""
Kind = Literal["heaper", "oneheap"]
Live = Literal["all", "recent", "off"]
Files = Literal["all", "on-demand"]
Source = Literal["document", "local"]
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "console", "json"]

_Text = Annotated[str, msgspec.Meta(min_length=1)]


def _list_of(entry: Any) -> Any:
    return Annotated[tuple[entry, ...], msgspec.Meta(min_length=1)]


ACCOUNT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Account names become part of file names (cache, key, credential)."""

SECRET: Final[Mapping[Kind, str]] = {"heaper": "key", "oneheap": "password"}
"""What an account of each kind signs in with. It names the setting ``key_file``, and the default
file and the credential ``<account>.key``.
"""


class Account(Struct, frozen=True):
    """One account on one server, and the folder it is mirrored to."""

    name: str
    kind: Kind
    server: str
    """Origin, with the path prefix if any, without a trailing slash."""
    folder: Path
    """Absolute. Contains one subfolder per heap; of a oneheap account, one per box."""
    secret_file: Path
    """Absolute. The file of the key or password, unless systemd provides it as a credential."""
    email: str = ""
    """Who signs in with a password; "" for an account that is its key."""
    heaps: tuple[str, ...] = ("*",)
    """What to mirror: titles, ids, or globs of titles; of a oneheap account, globs of boxes."""
    live: Live = "all"
    """Which notes are followed over the live connection."""
    poll_interval_s: float = 5.0
    """Seconds between requests for changes while idle."""
    files: Files = "all"
    """Whether every file is downloaded, or large ones only on demand."""
    files_limit_mb: float = 10.0
    """With ``on-demand``, larger files (in 10^6 bytes) are downloaded only when asked for."""
    source: Source = "document"
    """Whether a file's exact text goes with its document, or stays on this device."""
    line_breaks: LineBreaks = "space"
    """What a line end inside a paragraph means in notes that are created here."""
    processes: Literal["auto", "off"] = "auto"
    """Whether other processes take a part of the work on many notes."""
    history: HistoryLimits = field(default_factory=HistoryLimits)
    """How long earlier texts are kept: the section [history], the same for all accounts."""
    seed: Seed | None = None
    """The key; None until ``cli/settings.py`` has read it, and for an account with a password."""
    password: Password | None = None
    """The password; None until it has been read, and for an account with a key."""

    def __repr__(self) -> str:
        """Return the name alone: a line of the log must not even say that there is a secret."""
        return f"Account({self.name!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the same for tracebacks."""
        return [("name", self.name)]

    @property
    def selects_boxes(self) -> bool:
        """Whether ``heaps`` selects boxes of the account's one heap, which is always mirrored."""
        return self.kind == "oneheap"


class Log(Struct, frozen=True):
    """What is logged to stderr, and in which format."""

    level: Level = "info"
    format: Format = "auto"


class Config(Struct, frozen=True):
    """The whole configuration. ``accounts`` is in the file's order and never empty."""

    path: Path | None
    state_dir: Path
    accounts: tuple[Account, ...]
    log: Log = Log()
    desktop_notices: bool = True
    """Whether the daemon tells on the desktop what waits for a person."""


class Setting(Struct, frozen=True):
    """One key of the file: its type, and how a message describes the expected value."""

    type: Any
    must_be: str
    required: bool = False
    default: Any = None
    """The value if the key is left out, where it is not the one of ``Account``."""
    field: str = ""
    """The field of ``Account``, if its name is not the key's."""


TOP: Final[Mapping[str, Setting]] = {
    "state_dir": Setting(str, "a path in quotes"),
    "accounts": Setting(dict[str, Any], "written as sections, [accounts.NAME]", required=True),
    "log": Setting(dict[str, Any], "written as a section, [log]"),
    "desktop_notices": Setting(bool, "true or false", default=True),
    "history": Setting(dict[str, Any], "written as a section, [history]"),
}
_KIND: Final = Setting(Kind, '"heaper" or "oneheap"', default="heaper")
_SERVER: Final = Setting(str, 'the server\'s address in quotes, "https://…"', required=True)
_FOLDER: Final = Setting(str, "a path in quotes", required=True)
_SECRET_FILE: Final = Setting(str, "a path in quotes", field="secret_file")
_POLL_INTERVAL: Final = Setting(
    Annotated[float, msgspec.Meta(ge=0.5, le=3600)],
    "a number of seconds from 0.5 to 3600",
    field="poll_interval_s",
)
_MEGABYTES: Final = Setting(
    Annotated[float, msgspec.Meta(ge=0, le=1e9)], "a number of megabytes, 0 or more"
)
_OF_BOTH: Final[Mapping[str, Setting]] = {
    "files": Setting(Files, '"all" or "on-demand"'),
    "files_limit_mb": _MEGABYTES,
    "processes": Setting(Literal["auto", "off"], '"auto" or "off"'),
}
_HEAPER: Final[Mapping[str, Setting]] = {
    "kind": _KIND,
    "server": _SERVER,
    "folder": _FOLDER,
    "key_file": _SECRET_FILE,
    "heaps": Setting(_list_of(_Text), 'a list of titles or ids, ["*"] for all'),
    "live": Setting(Live, '"all", "recent" or "off"'),
    "poll_interval": _POLL_INTERVAL,
    **_OF_BOTH,
    "source": Setting(Source, '"document" or "local"'),
    "line_breaks": Setting(LineBreaks, '"space" or "break"'),
}
_ONEHEAP: Final[Mapping[str, Setting]] = {
    "kind": _KIND,
    "server": replace(_SERVER, required=False, default="https://oneheap.com/service/v1/Api/Rest/"),
    "folder": _FOLDER,
    "email": Setting(
        Annotated[str, msgspec.Meta(pattern=r"\A[^\s@]+@[^\s@]+\Z")],
        "the account's e-mail address in quotes",
        required=True,
    ),
    "password_file": _SECRET_FILE,
    "heaps": Setting(
        _list_of(Annotated[str, msgspec.Meta(pattern=f"\\A(?!{ULID_PATTERN}\\Z)(?s:.+)")]),
        'a list of the names of boxes, ["*"] for all; an id does not name a box',
    ),
    "poll_interval": replace(_POLL_INTERVAL, default=60.0),
    **_OF_BOTH,
    "source": Setting(
        Literal["document"], '"document": the service keeps each text exactly as it was written'
    ),
}
ACCOUNT: Final[Mapping[Kind, Mapping[str, Setting]]] = {"heaper": _HEAPER, "oneheap": _ONEHEAP}
"""The settings of each kind of account."""
OF_OTHERS: Final[Mapping[Kind, Mapping[str, str]]] = {
    "heaper": dict.fromkeys(
        ("email", "password_file"),
        'is for `kind = "oneheap"`; an account of a Heaper server signs in with `key_file`',
    ),
    "oneheap": {
        "key_file": 'is for `kind = "heaper"`; a oneheap account signs in with `password_file`',
        "live": 'is for `kind = "heaper"`: a oneheap service tells no changes as they happen;'
        " remove the line, and see `poll_interval`",
        "line_breaks": 'is for `kind = "heaper"`: a oneheap service keeps each text as it was'
        " written; remove the line",
    },
}
"""For each kind, the settings that only another kind has, and what to do with them."""
LOG: Final[Mapping[str, Setting]] = {
    "level": Setting(Level, '"debug", "info", "warning" or "error"'),
    "format": Setting(Format, '"auto", "console" or "json"'),
}
HISTORY: Final[Mapping[str, Setting]] = {
    "days": Setting(Annotated[int, msgspec.Meta(ge=0, le=99_999)], "a number of days, 0 or more"),
    "mb": _MEGABYTES,
}


def parse(text: str, path: Path, env: Mapping[str, str]) -> Config:
    """Parse a configuration.

    Args:
        text: the file's text.
        path: the file's absolute path, for messages and for relative paths in it.
        env: environment variables such as HOME and XDG_STATE_HOME.

    Raises:
        ConfigError: one line that names the file, the line or key, and what is expected.
    """
    return _Reader(text, path, env).config()


def base_directory(env: Mapping[str, str], variable: str, below_home: str) -> Path:
    """Return an XDG base directory.

    A relative one is ignored, as the XDG specification demands.
    """
    named = Path(env.get(variable) or "")
    return named if named.is_absolute() else Path(env.get("HOME") or "/") / below_home


def default_path(env: Mapping[str, str]) -> Path:
    """Return the configuration's path for when the command line names none."""
    return base_directory(env, "XDG_CONFIG_HOME", ".config") / "heapsyncd" / "config.toml"


def render_account(account: Account) -> str:
    """Return an account's section. ``parse`` reads all of the account back but its secret."""
    values = {
        key: getattr(account, setting.field or key)
        for key, setting in ACCOUNT[account.kind].items()
    }
    # JSON's strings, lists and numbers are valid TOML, except that TOML requires DEL escaped.
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}"
        for key, value in values.items()
    ]
    return "\n".join([f"[accounts.{account.name}]", *lines, ""]).replace("\x7f", "\\u007f")


class _Reader:
    def __init__(self, text: str, path: Path, env: Mapping[str, str]) -> None:
        self.text, self.path, self.env = text, path, env

    def config(self) -> Config:
        try:
            top = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{self.path} is not valid TOML: {error}") from error
        values = self._check(top, TOP, ())
        if not top["accounts"]:
            raise self._error((), "accounts", "there is no account; add a section [accounts.home]")
        accounts = tuple(self._account(name, table) for name, table in top["accounts"].items())
        self._check_folders(accounts)
        log = Log(**self._check(top.get("log", {}), LOG, ("log",)))
        history = HistoryLimits(**self._check(top.get("history", {}), HISTORY, ("history",)))
        state = top.get("state_dir")
        default = base_directory(self.env, "XDG_STATE_HOME", ".local/state") / "heapsyncd"
        return Config(
            path=self.path,
            state_dir=self._path(state, (), "state_dir") if state is not None else default,
            accounts=tuple(replace(account, history=history) for account in accounts),
            log=log,
            desktop_notices=values["desktop_notices"],
        )

    def _account(self, name: str, table: Any) -> Account:
        where = ("accounts", name)
        if not ACCOUNT_NAME.fullmatch(name):
            what = "an account's name may have only letters, digits, - and _"
            raise self._error(where, None, what)
        if not isinstance(table, dict):
            raise self._error(("accounts",), name, f"write it as a section, [accounts.{name}]")
        kind: Kind = self._value(where, "kind", table.get("kind", _KIND.default), _KIND)
        for key in table:
            if reason := OF_OTHERS[kind].get(key):
                raise self._error(where, key, reason)
        known, secret = ACCOUNT[kind], SECRET[kind]
        values = self._check(table, known, where)
        values[f"{secret}_file"] = values.get(f"{secret}_file", f"{name}.{secret}")
        for key in ("folder", f"{secret}_file"):
            values[key] = self._path(values[key], where, key)
        values["server"] = self._server(values["server"], where)
        return Account(name, **{known[key].field or key: v for key, v in values.items()})

    def _check(
        self, table: Mapping[str, Any], known: Mapping[str, Setting], where: Section
    ) -> dict[str, Any]:
        """Return the values of a section, with the defaults that ``known`` names."""
        values = {k: s.default for k, s in known.items() if s.default is not None}
        for key, value in table.items():
            if key not in known:
                raise self._error(where, key, _unknown(key, known))
            values[key] = self._value(where, key, value, known[key])
        for key, setting in known.items():
            if setting.required and key not in table:
                raise self._error(where, None, f"{key} is missing; it must be {setting.must_be}")
        return values

    def _value(self, where: Section, key: str, value: Any, setting: Setting) -> Any:
        try:
            return msgspec.convert(value, setting.type)
        except msgspec.ValidationError:
            # The value is not quoted: it may be a secret in the wrong place.
            raise self._error(where, key, f"must be {setting.must_be}") from None

    def _server(self, url: str, where: Section) -> str:
        try:
            parts = urlsplit(url)
            right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            right = False
        if not right:
            raise self._error(where, "server", f"must be {_SERVER.must_be}")
        if parts.username is not None or parts.query or parts.fragment:
            raise self._error(where, "server", "must be an address without user, ? and #")
        return url.rstrip("/")

    def _path(self, value: str, where: Section, key: str) -> Path:
        if _looks_like_key(value):
            what = "must be a path, but this looks like a key; put the key into a file of its own"
            raise self._error(where, key, what)
        if value == "~" or value.startswith("~/"):
            value = (self.env.get("HOME") or "/") + value[1:]
        if not value or value.startswith("~") or "\0" in value:
            raise self._error(where, key, "must be a path: absolute, or beginning with ~/")
        # Stay pure: resolve `..` textually and follow no symlink.
        return Path(posixpath.normpath(self.path.parent / value))

    def _check_folders(self, accounts: tuple[Account, ...]) -> None:
        for earlier, later in combinations(accounts, 2):
            one, other = earlier.folder, later.folder
            if one.is_relative_to(other) or other.is_relative_to(one):
                message = f"overlaps with the folder of [accounts.{earlier.name}]; use another"
                raise self._error(("accounts", later.name), "folder", message)

    def _error(self, where: Section, key: str | None, what: str) -> ConfigError:
        line = _line_of(self.text, where, key)
        place = f"{self.path}, line {line}" if line else str(self.path)
        names = [f"[{'.'.join(where)}]" if where else "", f"`{key}`" if key else ""]
        return ConfigError(f"{place}: {' '.join(filter(None, [*names, what]))}")


_HEADER = re.compile(r"\s*+\[([^\[\]]+)\]\s*+(?:#.*)?")
_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*[=.]""")


def _line_of(text: str, where: Section, key: str | None) -> int | None:
    """Return the line of a key in a section, or of the section's header.

    None if the section is written in another notation.
    """
    section: Section = ()
    head = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            section = tuple(part.strip(" \t\"'") for part in header[1].split("."))
            if section in {where, (*where, key)} and head is None:
                head = number
        elif section == where and key and (match := _KEY.match(line)) and key in match.groups():
            return number
    return head


def _unknown(key: str, known: Mapping[str, Setting]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"possible here: {', '.join(known)}"
    return f"is not a setting; {hint}"


def _looks_like_key(value: str) -> bool:
    try:
        Seed.parse(value)
    except ValueError:
        return False
    return True

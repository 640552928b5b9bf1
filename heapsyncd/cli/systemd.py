"""Edge: systemd: the units of this package, and what a service manager says of them."""

import getpass
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import click
from msgspec import Struct

import heapsyncd
from heapsyncd import __version__
from heapsyncd.config import base_directory
from heapsyncd.errors import FolderTrouble, UserError

UNIT: Final = "heapsyncd.service"
RELOAD_SINCE: Final = 253
"""The first version of systemd that knows ``Type=notify-reload``."""
NAMESPACES: Final = "10-namespaces.conf"
RELOAD: Final = "20-reload.conf"
CALL_TIMEOUT_S: Final = 60.0
"""More than a stop takes, after which systemd kills (``TimeoutStopSec=`` of the unit)."""

_PLAIN: Final = re.compile(r"[\w/.:@+=,-]+", re.ASCII)


class Manager(Struct, frozen=True):
    """The service manager of the person at the keyboard, or the system's.

    Args:
        user: whose mirror the system's manager runs; None: the person's own manager.
    """

    user: str | None = None

    @property
    def unit(self) -> str:
        """Return the service's name."""
        return UNIT if self.user is None else f"heapsyncd@{self.user}.service"

    @property
    def home(self) -> Path:
        """Return the home of the user whose mirror it is.

        Raises:
            click.UsageError: there is no such user.
        """
        if self.user is None:
            return Path.home()
        try:
            return Path(pwd.getpwnam(self.user).pw_dir)
        except KeyError:
            raise click.UsageError(f"There is no user {self.user}.") from None

    @property
    def scope(self) -> list[str]:
        """Return the option of systemd's commands that selects this manager."""
        return ["--user"] if self.user is None else ["--system"]

    def command(self, program: str, *arguments: str) -> str:
        """Return a command of systemd as a person would type it."""
        words = [program, *(["--user"] if self.user is None else []), *arguments]
        return " ".join(words if self.user is None else ["sudo", *words])

    def connect(self) -> int:
        """Return the manager's version.

        Raises:
            UserError: there is no such manager, or it cannot be reached.
            click.UsageError: only root may use it.
        """
        if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
            raise UserError(
                "This system is not run by systemd. Start `heapsyncd run` with your desktop's"
                " autostart or your own service supervisor instead."
            )
        if self.user is not None and os.geteuid() != 0:
            raise click.UsageError("--system is for root; run the command with sudo.")
        answer = self._call("systemctl", ["show", "--property=Version", "--value"])
        if answer.returncode != 0:
            name = getpass.getuser()
            raise UserError(
                f"The systemd session of {name} can't be reached ({_first_line(answer.stderr)}).\n"
                f"Log in as {name}: su, sudo and containers have no session. A machine on which"
                f" nobody logs in can use `sudo heapsyncd service install --system {name}`."
            )
        number = re.match(r"\D*(\d+)", answer.stdout)
        return int(number[1]) if number else 0

    def directory(self) -> Path:
        """Return the directory in which the manager looks for an administrator's or user's units.

        The manager is asked, because its environment is not that of this command.
        """
        if self.user is not None:
            return Path("/etc/systemd/system")
        answer = self._call("systemctl", ["show", "--property=UnitPath", "--value"])
        places = [Path(p) for p in answer.stdout.split() if p.endswith("/systemd/user")]
        default = base_directory(os.environ, "XDG_CONFIG_HOME", ".config") / "systemd" / "user"
        return next((p for p in places if p.is_relative_to(self.home)), default)

    def systemctl(self, *arguments: str) -> None:
        """Carry out a command of ``systemctl``.

        Raises:
            UserError: it failed, with systemd's own words.
        """
        answer = self._call("systemctl", arguments)
        if answer.returncode != 0:
            typed = self.command("systemctl", *arguments)
            raise UserError(f"`{typed}` failed: {_first_line(answer.stderr)}")

    def forget_failures(self) -> None:
        """Let the unit start again, however often it was started or failed before."""
        self._call("systemctl", ["reset-failed", self.unit])  # fails if it was never loaded

    def show(self, *properties: str) -> Mapping[str, str]:
        """Return properties of the unit; what systemd does not know is empty."""
        answer = self._call("systemctl", ["show", f"--property={','.join(properties)}", self.unit])
        found = dict(line.partition("=")[::2] for line in answer.stdout.splitlines())
        return {name: found.get(name, "") for name in properties}

    def accepts(self, properties: Iterable[str]) -> bool:
        """Return whether the manager can start a service with these lines of a unit."""
        options = [f"--property={line}" for line in properties]
        words = ["--wait", "--quiet", "--collect", *options, "--", "true"]
        return self._call("systemd-run", words).returncode == 0

    def lingers(self) -> bool:
        """Return whether the user's manager goes on without a login."""
        answer = self._call(
            "loginctl", ["show-user", getpass.getuser(), "--property=Linger", "--value"], scope=()
        )
        return answer.stdout.strip() == "yes"

    def _call(
        self, program: str, arguments: Sequence[str], scope: Sequence[str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of systemd. One that is missing or late is one that failed."""
        words = [program, *(self.scope if scope is None else scope), *arguments]
        env = {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
        runtime = f"/run/user/{os.geteuid()}"
        if "XDG_RUNTIME_DIR" not in env and Path(runtime).is_dir():
            env["XDG_RUNTIME_DIR"] = runtime  # a shell of `sudo -u`, beside a lingering session
        try:
            return subprocess.run(  # noqa: S603 - names of programs, and our own units
                words,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=CALL_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(words, 1, "", str(error))


def unit_text(name: str) -> str:
    """Return a unit file or drop-in: beside the modules in a wheel, at the top of a checkout."""
    package = Path(heapsyncd.__file__).parent
    inside = package / "systemd"
    place = inside if inside.is_dir() else package.parent / "systemd"
    return (place / name).read_text(encoding="utf-8")


def drop_in_text(name: str) -> str:
    """Return a drop-in of this package."""
    return unit_text(f"{UNIT}.d/{name}")


def settings_of(text: str) -> list[str]:
    """Return the lines of a unit file that set something."""
    return re.findall(r"^\w+=.*$", text, re.MULTILINE)


def with_settings(text: str, settings: Mapping[str, Sequence[str]]) -> str:
    """Return a unit file's text with other values; several values become several lines."""
    for key, values in settings.items():
        lines = "\n".join(f"{key}={value}" for value in values).replace("\\", r"\\")
        text, found = re.subn(rf"^{key}=.*$", lines, text, flags=re.MULTILINE)
        assert found == 1, key
    return text


def quoted(word: str) -> str:
    """Return an argument as it must stand in a unit file."""
    word = word.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", r"\\").replace('"', r"\"")
    # A line end of any kind would begin another setting.
    return '"' + "".join(c if c.isprintable() else _hex(c) for c in escaped) + '"'


def command_line(command: Sequence[str]) -> str:
    """Return a command as the value of ExecStart=."""
    program, *arguments = command
    # systemd replaces variables in arguments, but not in the program's path.
    return " ".join([quoted(program), *(quoted(word.replace("$", "$$")) for word in arguments)])


def installation() -> list[Path]:
    """Return the directories that this installation is run from."""
    called = Path(sys.argv[0]).absolute().parent
    return list(dict.fromkeys([called, Path(sys.prefix), Path(sys.base_prefix)]))


def program() -> list[str]:
    """Return the command that starts this installation, from anywhere and at any time.

    Raises:
        UserError: there is none.
    """
    called = Path(sys.argv[0]).absolute()
    command = [sys.executable, "-m", "heapsyncd.cli"]
    if called.name == "heapsyncd" and called.is_file():
        command = [str(called)]
    elif sys.prefix != sys.base_prefix:
        script = Path(sys.executable).with_name("heapsyncd")
        command = [str(script)] if script.is_file() else command
    advice = "Install it with `pipx install` or `uv tool install` and try again."
    # `uvx` and `pipx run` make an environment that is cleaned away some day.
    cache = base_directory(os.environ, "XDG_CACHE_HOME", ".cache")
    places = (Path(command[0]), Path(sys.prefix))
    if any(path.is_relative_to(cache) or ".cache" in path.parts for path in places):
        raise UserError(f"This heapsyncd runs from a cache ({sys.prefix}). {advice}")
    env = {key: os.environ[key] for key in ("HOME", "PATH") if key in os.environ}
    try:
        answer = subprocess.run(  # noqa: S603 - our own program
            [*command, "--version"],
            cwd="/",
            env=env,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=CALL_TIMEOUT_S,
            check=False,
        )
        starts, why = answer.stdout.rstrip().endswith(__version__), _first_line(answer.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        starts, why = False, str(error)
    if not starts:
        raise UserError(f"{' '.join(command)} does not start from elsewhere ({why}). {advice}")
    return command


def unwritable(error: OSError) -> FolderTrouble:
    """Return the error for a unit that cannot be written or removed."""
    return FolderTrouble(f"{error.filename} can't be changed: {error.strerror}.")


def _hex(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "no reason given")

"""Judge the facts of a set-up: what is fine, what is not, and what mends it. Pure."""

import shlex
from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct, field

Grade = Literal["ok", "warning", "wrong"]

FREE_WRONG_BYTES: Final = 50_000_000
FREE_WARNING_BYTES: Final = 500_000_000
CLOCK_S: Final = 120.0
"""Clocks that differ by more are worth a word: times in histories and logs are this machine's."""
WATCHES: Final = 524_288
INSTANCES: Final = 1024
"""What to raise the limits of inotify to."""
NETWORK: Final = frozenset(
    {
        "9p", "afs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.davfs2", "fuse.glusterfs",
        "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
        "smb3", "smbfs", "virtiofs",
    }
)  # fmt: skip
"""File systems that others may change unseen, and whose locks may be nobody's."""


class Line(Struct, frozen=True):
    """One thing that was looked at."""

    grade: Grade
    about: str
    """What it is about, in one or two words."""
    what: str
    mend: str | None = None
    """What to do about it, a command if there is one."""


class Package(Struct, frozen=True):
    """A library that the program needs."""

    name: str
    needs: str
    """As in the requirement, ``>=1.2,<2``; '' for any."""
    found: str | None
    """Its version; None: it is missing."""


class Program(Struct, frozen=True):
    """The program itself."""

    version: str
    python: tuple[int, ...]
    path: str
    packages: tuple[Package, ...]


class Place(Struct, frozen=True):
    """A directory: of the state, or of a mirror."""

    path: str
    exists: bool
    is_writable: bool = False
    trouble: str | None = None
    """Why it cannot be used, with what to do."""
    file_system: str | None = None
    free_bytes: int | None = None
    ignores_case: bool | None = None
    directories: int = 0
    was_mirrored: bool = False
    """There is a cache, so that it had files."""


class Watching(Struct, frozen=True):
    """The limits of inotify, and what this user's programs use of them; None: not known."""

    watches: int | None = None
    instances: int | None = None
    instances_used: int | None = None


class Server(Struct, frozen=True):
    """How a server answers."""

    address: str
    answer: str
    """What it said, or what went wrong."""
    is_good: bool
    is_transient: bool = False
    """Nothing is wrong here: it is only not there now."""
    plaintext: str | None = None
    """A warning that the traffic can be read on the way."""
    clock_ahead_s: float | None = None


class AccountFacts(Struct, frozen=True):
    """One account of the configuration."""

    name: str
    secret: str
    """What it signs in with, and where that is; or what is wrong with it."""
    has_secret: bool
    folder: Place
    server: Server | None
    """None: it could not be asked without a key."""


class Unit(Struct, frozen=True):
    """The systemd service. ``trouble``: why nothing can be known of it."""

    name: str = ""
    trouble: str | None = None
    is_installed: bool = False
    is_enabled: bool = False
    state: str = ""
    """ActiveState."""
    program: str = ""
    program_exists: bool = True
    lingers: bool = True


class Suspends(Struct, frozen=True):
    """Whether a suspend waits until edits are sent."""

    delay_s: float | None = None
    """For how long at most; None: it does not wait."""
    reason: str = "not looked at"
    """Why it does not."""


Daemon = Literal["running", "not running", "not answering"]


class Facts(Struct, frozen=True):
    """Everything that is looked at."""

    program: Program
    config: str
    config_error: str | None = None
    state: Place | None = None
    daemon: Daemon = "not running"
    unit: Unit = field(default_factory=Unit)
    watching: Watching = field(default_factory=Watching)
    accounts: tuple[AccountFacts, ...] = ()
    suspends: Suspends = field(default_factory=Suspends)


def judge(facts: Facts) -> Iterator[Line]:
    """Yield a line for everything that was looked at."""
    yield from _program(facts.program)
    if facts.config_error is not None:
        yield Line("wrong", "configuration", facts.config_error)
    else:
        yield Line("ok", "configuration", facts.config)
    if facts.state is not None:
        yield from _state(facts.state)
    for account in facts.accounts:
        yield from _account(account)
    if facts.accounts:
        yield from _watching(facts.watching, facts.accounts)
    yield from _unit(facts.unit, facts.daemon)
    yield _suspends(facts.suspends)
    yield _daemon(facts)


def _program(program: Program) -> Iterator[Line]:
    python = ".".join(map(str, program.python[:3]))
    name = f"heapsyncd {program.version} ({program.path}), Python {python}"
    again = "install heapsyncd again (`pipx install`, `uv tool install` or pip)"
    if program.python < (3, 11):
        yield Line("wrong", "program", f"{name}: 3.11 or newer is needed", again)
    else:
        yield Line("ok", "program", name)
    bad = [p for p in program.packages if p.found is None or not satisfies(p.found, p.needs)]
    for package in bad:
        found = "missing" if package.found is None else f"version {package.found}"
        what = f"{package.name} is {found}; {package.needs or 'any version'} is needed"
        yield Line("wrong", "packages", what, again)
    if not bad:
        yield Line("ok", "packages", f"all {len(program.packages)} have a version that fits")


def satisfies(found: str, needs: str) -> bool:
    """Return whether a version fits a requirement such as ``>=1.2,<2``."""
    for part in filter(None, (p.strip() for p in needs.split(","))):
        operator = part.rstrip("0123456789.")
        wanted, have = _numbers(part[len(operator) :]), _numbers(found)
        length = max(len(wanted), len(have))
        wanted, have = wanted + (0,) * (length - len(wanted)), have + (0,) * (length - len(have))
        fits = {"==": have == wanted, ">=": have >= wanted, "<": have < wanted}
        if not fits.get(operator.strip(), True):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _state(place: Place) -> Iterator[Line]:
    about, path = "state", shlex.quote(place.path)
    if place.trouble is not None:
        yield Line("wrong", about, place.trouble)
        return
    if not place.exists:
        yield Line("ok", about, f"{place.path}: it is made by the first run")
        return
    if not place.is_writable:
        yield Line("wrong", about, f"{place.path} can't be written", f"chmod u+rwx {path}")
    elif place.file_system in NETWORK:
        yield Line(
            "wrong",
            about,
            f"{place.path} is on a network file system ({place.file_system}), where a database is"
            " not safe",
            "set `state_dir` in the configuration to a directory of a local disk",
        )
    else:
        yield Line("ok", about, f"{place.path}{_of(place)}")
    yield from _room(place, about)


def _of(place: Place) -> str:
    return "" if place.file_system is None else f" ({place.file_system})"


def _room(place: Place, about: str) -> Iterator[Line]:
    if place.free_bytes is None or place.free_bytes >= FREE_WARNING_BYTES:
        return
    grade: Grade = "wrong" if place.free_bytes < FREE_WRONG_BYTES else "warning"
    free = f"{place.free_bytes / 1e6:.0f} MB are free for {place.path}"
    yield Line(grade, about, free, f"free some space: df -h {shlex.quote(place.path)}")


def _account(account: AccountFacts) -> Iterator[Line]:
    name = account.name
    yield Line("ok" if account.has_secret else "wrong", f"{name}: sign-in", account.secret)
    yield from _folder(account.folder, f"{name}: folder")
    if account.server is not None:
        yield from _server(account.server, f"{name}: server")


def _folder(place: Place, about: str) -> Iterator[Line]:
    path = shlex.quote(place.path)
    if place.trouble is not None:
        yield Line("wrong", about, place.trouble)
    elif not place.exists:
        if place.was_mirrored:
            what = f"{place.path} is missing, and had files; nothing is deleted because of it"
            yield Line("wrong", about, what, "mount its disk, or put the folder back")
        else:
            yield Line("ok", about, f"{place.path}: it is made by the first run")
        return
    elif not place.is_writable:
        yield Line("wrong", about, f"{place.path} can't be written", f"chmod u+rwx {path}")
    elif place.file_system in NETWORK:
        what = (
            f"{place.path} is on a network file system ({place.file_system}): what another machine"
            " changes there is seen only every ten minutes"
        )
        yield Line("warning", about, what, "mirror to a local disk on each machine instead")
    else:
        case = "; names that differ only by case are one there" if place.ignores_case else ""
        yield Line("ok", about, f"{place.path}{_of(place)}{case}")
    yield from _room(place, about)


def _server(server: Server, about: str) -> Iterator[Line]:
    if server.plaintext is not None:
        yield Line("warning", about, server.plaintext)
    grade: Grade = "ok" if server.is_good else "warning" if server.is_transient else "wrong"
    yield Line(grade, about, f"{server.address}: {server.answer}")
    ahead_s = server.clock_ahead_s
    if ahead_s is None:
        return
    if abs(ahead_s) > CLOCK_S:
        side = "ahead of" if ahead_s > 0 else "behind"
        what = f"this machine's clock is {_span(abs(ahead_s))} {side} the server's"
        yield Line("warning", "clock", what, "timedatectl set-ntp true")
    else:
        yield Line("ok", "clock", "it agrees with the server's")


def _span(seconds: float) -> str:
    for unit, length_s in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _watching(watching: Watching, accounts: tuple[AccountFacts, ...]) -> Iterator[Line]:
    needed = sum(account.folder.directories for account in accounts)
    limit = watching.watches
    if limit is not None:
        what = f"{needed} directories to watch, of at most {limit} for all programs"
        if needed > limit:
            yield Line("wrong", "inotify", what, _sysctl("max_user_watches", WATCHES))
        elif needed > limit // 2:
            yield Line("warning", "inotify", what, _sysctl("max_user_watches", WATCHES))
        else:
            yield Line("ok", "inotify", what)
    used, most = watching.instances_used, watching.instances
    if used is not None and most is not None and used >= most:
        what = f"all {most} instances are in use, so that folders are polled instead"
        yield Line("wrong", "inotify", what, _sysctl("max_user_instances", INSTANCES))


def _sysctl(name: str, value: int) -> str:
    return (
        f"echo fs.inotify.{name}={value} | sudo tee /etc/sysctl.d/60-heapsyncd-{name[9:]}.conf"
        " && sudo sysctl --system"
    )


def _unit(unit: Unit, daemon: Daemon) -> Iterator[Line]:
    about, install = "service", "heapsyncd service install"
    if unit.trouble is not None:
        yield Line("warning", about, unit.trouble)
        return
    if not unit.is_installed:
        if daemon == "running":
            what = f"{unit.name} is not installed; the daemon was started otherwise"
            yield Line("ok", about, what)
        else:
            yield Line("warning", about, f"{unit.name} is not installed", install)
        return
    start = f"systemctl --user start {unit.name}"
    if not unit.program_exists:
        yield Line("wrong", about, f"its program {unit.program} is not there", install)
    elif unit.state == "failed":
        yield Line("wrong", about, f"{unit.name} failed", "heapsyncd service status")
    elif unit.state in {"active", "reloading", "activating"}:
        yield Line("ok", about, f"{unit.name} runs")
    elif daemon == "running":
        what = f"{unit.name} does not run, but another `heapsyncd run` does"
        yield Line(
            "warning", about, what, f"end that one, and: systemctl --user start {unit.name}"
        )
    else:
        start = f"systemctl --user start {unit.name}"
        yield Line("warning", about, f"{unit.name} does not run", start)
    if not unit.is_enabled:
        what = f"{unit.name} does not start at login"
        yield Line("warning", about, what, f"systemctl --user enable {unit.name}")
    elif not unit.lingers:
        what = "it ends at logout, and is not started before a login"
        yield Line("warning", about, what, "loginctl enable-linger")


def _suspends(suspends: Suspends) -> Line:
    if suspends.delay_s is None:
        what = f"it does not wait for edits, which are sent afterwards ({suspends.reason})"
    else:
        what = f"it waits until edits are sent, {suspends.delay_s:.1f} s at most"
    return Line("ok", "suspend", what)


def _daemon(facts: Facts) -> Line:
    if facts.daemon == "not answering":
        what = "a daemon is running and does not answer"
        return Line("wrong", "daemon", what, "end it and start it again; its log says more")
    if facts.daemon == "running":
        return Line("ok", "daemon", "it is running and answers")
    if facts.unit.state == "active":
        what = "the service runs, but not with the state directory of this configuration"
        return Line("wrong", "daemon", what, "heapsyncd service install")
    return Line("warning", "daemon", "none is running, so nothing is mirrored", "heapsyncd run")

"""A real systemd as process 1 of a machine of its own, made of namespaces.

The machine's root is a tmpfs. Before systemd starts, the host's file systems are detached from it:
only ``/usr``, this checkout and its interpreter can be reached, read-only. systemd empties
``/tmp`` when it boots, so none of the host's directories may be there.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

USER: Final = "reader"
UID: Final = 4711
HOME: Final = Path("/home") / USER
ROOT: Final = Path(__file__).parents[1]
DEADLINE_S: Final = 60
LOOK_EVERY_S: Final = 0.05

_NEEDED: Final = ("unshare", "nsenter", "setpriv", "systemctl", "systemd-run")
_SYSTEMD: Final = Path("/usr/lib/systemd/systemd")
_NAMESPACES: Final = ("--mount", "--pid", "--ipc", "--uts", "--cgroup", "--net")

_BOOT: Final = r"""
set -eu
new=$1
shift
mount -t tmpfs -o mode=755 tmpfs "$new"
cd "$new"
mkdir usr etc proc sys dev run tmp var home old
mkdir -p var/tmp var/lib etc/systemd/system
mount -t tmpfs -o mode=755 tmpfs run
chmod 1777 tmp var/tmp
for d in bin sbin lib lib64; do [ ! -e "/$d" ] || ln -s "usr/$d" "$d"; done
mount --bind /usr usr
mount -o remount,bind,ro usr
for seen in "$@"; do
    mkdir -p ".$seen"
    mount --bind "$seen" ".$seen"
    mount -o remount,bind,ro ".$seen"
done
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
# What systemd says can be read here.
mkdir dev/pts dev/shm
touch dev/kmsg
chmod 1777 dev/shm
chmod 666 dev/kmsg
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
cp -L /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache etc/
pivot_root . old
cd /
umount -l old
rmdir old
# The last look: nothing that systemd may write to is the host's.
[ "$$" = 1 ]
for place in / /etc /home /run /tmp /var /var/tmp /var/lib; do
    [ "$(stat -f -c %T "$place")" = tmpfs ]
done
for seen in /usr "$@"; do
    [ ! -w "$seen" ]
done
echo "reader:x:4711:4711::/home/reader:/bin/sh" >> /etc/passwd
echo "reader:x:4711:" >> /etc/group
# systemd makes unit-root for the first service of its own that has namespaces.
mkdir -p /run/user/4711 /home/reader /run/systemd/unit-root
chown 4711:4711 /run/user/4711 /home/reader
chmod 700 /run/user/4711 /home/reader
for target in default sysinit basic shutdown multi-user; do
    printf '[Unit]\nDefaultDependencies=no\n' > "/etc/systemd/system/$target.target"
done
cat > /etc/systemd/system/user@.service <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=notify
User=%i
Environment=XDG_RUNTIME_DIR=/run/user/4711
ExecStart=/usr/lib/systemd/systemd --user --log-target=kmsg
Delegate=yes
KillMode=mixed
UNIT
# It sets no clock and loads no module, whatever it tries; and none of the host's units is there.
exec setpriv --bounding-set -sys_time,-sys_module,-sys_boot,-sys_rawio,-syslog \
    env -i container=test PATH=/usr/bin:/usr/sbin SYSTEMD_UNIT_PATH=/etc/systemd/system \
    SYSTEMD_GENERATOR_PATH=/nowhere SYSTEMD_LOG_TARGET=kmsg \
    /usr/lib/systemd/systemd --system
"""


class NoMachine(Exception):
    """No machine can be had here; says why."""


@dataclass(frozen=True)
class Machine:
    """A running machine, with a user ``reader`` who is logged in.

    Args:
        init: its process 1, as the host numbers it.
    """

    init: int

    def path(self, inside: str | Path) -> Path:
        """A file of the machine, as the host reaches it."""
        return Path(f"/proc/{self.init}/root") / Path(inside).relative_to("/")

    def words(self, words: Sequence[str], *, root: bool = False, **env: str) -> list[str]:
        """The command that runs ``words`` in the machine, as the user or as root."""
        enter = ["nsenter", f"--target={self.init}", "-m", "-p", "-i", "-u", "-n", "-C", "--"]
        home = "/root" if root else str(HOME)
        runtime = {} if root else {"XDG_RUNTIME_DIR": f"/run/user/{UID}"}
        variables = {"HOME": home, "PATH": "/usr/bin:/usr/sbin", **runtime, **env}
        become = [] if root else ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        return [*enter, *become, "env", "-i", *(f"{k}={v}" for k, v in variables.items()), *words]

    def run(
        self, *words: str, root: bool = False, check: bool = True, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the machine to its end."""
        done = subprocess.run(
            self.words(words, root=root, **env),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr, self.log())
        return done

    def write(self, inside: str | Path, text: str, *, mode: int = 0o600) -> None:
        """Write a file of the user's, and the directories above it."""
        path = self.path(inside)
        for directory in [*reversed(path.parents), path]:
            if not directory.exists():
                directory.touch() if directory == path else directory.mkdir()
                os.chown(directory, UID, UID)
        path.write_text(text)
        path.chmod(mode)

    def shows(self, unit: str, name: str, *, root: bool = False) -> str:
        """A property of a unit, of the user's manager or (``root``) the system's."""
        scope = "--system" if root else "--user"
        return self.run(
            "systemctl", scope, "show", f"--property={name}", "--value", unit, root=root
        ).stdout.strip()

    def log(self) -> str:
        """The end of what both managers said."""
        return "\n".join(self.path("/dev/kmsg").read_text().splitlines()[-15:])


@contextlib.contextmanager
def machine(base: Path) -> Iterator[Machine]:
    """Boot a machine, end it with the context. ``base`` is a directory for the mounts.

    Raises:
        NoMachine: it is not possible here.
    """
    if os.geteuid() != 0:
        raise NoMachine("only root may start a system manager")
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        raise NoMachine(f"{', '.join(missing)} not installed")
    if not _SYSTEMD.exists():
        raise NoMachine("systemd is not installed")
    root = base / "root"
    root.mkdir()
    seen = [str(ROOT)]
    seen += [
        p for p in (sys.prefix, sys.base_prefix) if not Path(p).is_relative_to(ROOT)
        and not Path(p).is_relative_to("/usr")
    ]  # fmt: skip
    with _cgroup() as group:
        boot = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                'echo $$ > "$0/cgroup.procs" && exec "$@"',
                str(group),
                # No machine outlives its test, whatever ends that.
                *("setpriv", "--pdeathsig=KILL"),
                *("unshare", *_NAMESPACES, "--fork", "--kill-child", "--propagation=private"),
                *("/bin/sh", "-c", _BOOT, "boot", str(root), *seen),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            booted = Machine(_init(boot))
            booted.run("systemctl", "start", f"user@{USER}", root=True)
            yield booted
        finally:
            boot.kill()
            boot.communicate()


@contextlib.contextmanager
def _cgroup() -> Iterator[Path]:
    """A control group of its own, which is the root of the machine's."""
    mounts = Path("/proc/self/mountinfo").read_text()
    found = re.search(r"^(?:\S+ ){4}(\S+) .* - cgroup2 ", mounts, re.MULTILINE)
    if found is None:
        raise NoMachine("there is no cgroup2")
    (own,) = re.findall(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    group = Path(found[1], own, f"heapsyncd-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as error:
        raise NoMachine(f"no control group can be made: {error}") from error
    try:
        yield group
    finally:
        _remove_group(group)


def _remove_group(group: Path) -> None:
    """Remove a control group once its processes are gone, which takes the kernel a moment."""
    end_s = time.monotonic() + DEADLINE_S
    while group.exists():
        with contextlib.suppress(OSError):
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()
        assert time.monotonic() < end_s, f"{group} is still in use"
        time.sleep(LOOK_EVERY_S)


def _init(boot: "subprocess.Popen[str]") -> int:
    """Wait until systemd listens, and return its process id."""
    end_s = time.monotonic() + DEADLINE_S
    while boot.poll() is None and time.monotonic() < end_s:
        for process in psutil.Process(boot.pid).children():
            with contextlib.suppress(psutil.Error, OSError):
                socket = Path(f"/proc/{process.pid}/root/run/systemd/private")
                if process.exe() == str(_SYSTEMD) and socket.exists():
                    return int(process.pid)
        time.sleep(LOOK_EVERY_S)
    boot.kill()
    raise NoMachine(f"systemd does not boot in namespaces: {boot.communicate()[1].strip()}")

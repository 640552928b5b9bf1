"""What else keeps folders the same, measured as the mirror is; each may be missing."""

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

from heapsyncd.document.edit import Target, express
from heapsyncd.markdown.frontmatter import split
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from tests.bench.folders import fill, has, prepared, quantiles, spread, until, wait_for
from tests.bench.mirror_process import memory_mb, processor_s
from tests.peers.programs import HERE, encoded, running

Found = dict[str, float]
BURST: Final = 1000
_ISOLATED_S: Final = 1.6
"""Syncthing's clock of one second runs on after a save: one that follows sooner waits longer."""


class Peer(Protocol):
    """Something to stand beside."""

    name: ClassVar[str]

    def missing(self) -> str | None:
        """Why it cannot be measured here; None: it can."""

    def measure(self, base: Path) -> Found:
        """Its figures, made in an empty directory."""


def _command(name: str) -> str | None:
    return (
        None if shutil.which(name) else f"{name} is not installed (Debian: apt-get install {name})"
    )


class Rsync:
    """A run that finds nothing changed: what reading the folder costs at the least."""

    name: ClassVar = "rsync, no change"

    def __init__(self, notes: Mapping[str, str]) -> None:
        self._notes = notes

    def missing(self) -> str | None:
        """It is a command."""
        return _command("rsync")

    def measure(self, base: Path) -> Found:
        """The second copy of the same."""
        fill(base / "one", self._notes)
        took = []
        for _ in range(3):
            started = time.monotonic()
            subprocess.run(["rsync", "-a", f"{base}/one/", f"{base}/two/"], check=True)
            took.append(time.monotonic() - started)
        return {"restart": min(took[1:])}


class NodeMirror:
    """One ``@hocuspocus/provider`` a document, against npm's own server with all in memory."""

    name: ClassVar = "Node mirror"

    def __init__(self, notes: Mapping[str, str], idle_s: float) -> None:
        self._notes = notes
        self._idle_s = idle_s
        self._documents: list[str] = []

    def missing(self) -> str | None:
        """It needs Node and what ``tests/peers`` names."""
        if not (HERE / "node_modules").exists():
            return "its parts are not installed (npm ci --prefix tests/peers)"
        return _command("node")

    def measure(self, base: Path) -> Found:
        """The first mirror, its memory, and what it needs when nothing happens."""
        for path, text in self._notes.items() if not self._documents else ():
            made = express([], Target(body=parse(split(text)[1], NO_LINKS))).update
            self._documents.append(json.dumps({"name": path, "update": encoded(made or b"\0\0")}))
        documents = base / "documents"
        documents.write_text("\n".join(self._documents), "utf-8")
        return asyncio.run(self._measure(documents, base / "folder"))

    async def _measure(self, documents: Path, folder: Path) -> Found:
        async with running("mirror.mjs") as server, running("mirror.mjs") as mirror:
            port = (await server.ask("serve", documents=str(documents)))["port"]
            where = {"port": port, "documents": str(documents), "folder": str(folder)}
            started = time.monotonic()
            await mirror.ask("mirror", **where)
            found = {"first mirror": time.monotonic() - started}
            assert sum(1 for _ in folder.rglob("*.md")) == len(self._notes)
            pid = mirror.pid
            await asyncio.sleep(2)  # what came with the start is over
            before = processor_s(pid)
            await asyncio.sleep(self._idle_s)
            found["idle"] = (processor_s(pid) - before) / self._idle_s * 100
            found["memory at rest"] = memory_mb(pid, "VmRSS")
            found["memory, mirror"] = memory_mb(pid, "VmHWM")
            return found


class Syncthing:
    """Two instances with one folder, at its shortest delay, on loopback alone."""

    name: ClassVar = "Syncthing, 1 s"

    def __init__(self, notes: Mapping[str, str], saves: int) -> None:
        self._notes = notes
        self._saves = saves

    def missing(self) -> str | None:
        """It is a command."""
        return _command("syncthing")

    def measure(self, base: Path) -> Found:
        """The first sync, isolated saves, and many at once."""
        fill(base / "one/folder", self._notes)
        one, two = _Instance(base / "one", 0), _Instance(base / "two", 1)
        one.meet(two)
        two.meet(one)
        with one.running():
            until(lambda: one.has(len(self._notes)), "Syncthing does not read its folder")
            started = time.monotonic()
            with two.running():
                until(lambda: two.has(len(self._notes)), "Syncthing does not sync")
                found = {"first upload": time.monotonic() - started}
                found["memory, upload"] = memory_mb(one.pid, "VmHWM")
                found["save p95"] = self._save(one.folder, two.folder)
                found["at once"] = self._burst(one.folder, two.folder)
        return found

    def _save(self, one: Path, two: Path) -> float:
        arrived = []
        for turn, path in enumerate(spread(list(self._notes), self._saves)):
            time.sleep(_ISOLATED_S)  # an isolated save is what is asked for
            word = f"turn{turn:04}"
            save = prepared(one / path, turn, word)
            started = time.monotonic()
            save()
            wait_for(two, [path], has(word))
            arrived.append(time.monotonic() - started)
        return quantiles(arrived)["p95"]

    def _burst(self, one: Path, two: Path) -> float:
        time.sleep(_ISOLATED_S)
        paths = spread(list(self._notes), BURST)
        saves = [prepared(one / path, self._saves, "atonce") for path in paths]
        started = time.monotonic()
        for save in saves:
            save()
        wait_for(two, paths, has("atonce"))
        return time.monotonic() - started


class _Instance:
    """One Syncthing: everything that talks to others but its peer is off."""

    OFF: ClassVar = {
        "globalAnnounceEnabled": "false",
        "localAnnounceEnabled": "false",
        "relaysEnabled": "false",
        "natEnabled": "false",
        "crashReportingEnabled": "false",
        "startBrowser": "false",
        "urAccepted": "-1",
        "autoUpgradeIntervalH": "0",
        "stunKeepaliveStartS": "0",
        "setLowPriority": "false",
        "reconnectionIntervalS": "1",
    }

    def __init__(self, base: Path, number: int) -> None:
        self.folder = base / "folder"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._home = base / "home"
        self._gui, self._port = 18384 + number, 22100 + number
        self._process: subprocess.Popen[bytes] | None = None
        command = ["syncthing", "generate", f"--home={self._home}", "--no-default-folder"]
        subprocess.run([*command, "--skip-port-probing"], check=True, capture_output=True)
        self._file = self._home / "config.xml"
        root = self._config()
        self.id = str(root.find("device").get("id"))  # type: ignore[union-attr]
        self._key = str(root.findtext("gui/apikey"))

    @property
    def pid(self) -> int:
        """Its working process: the one that a monitor started."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return int(children.split()[0]) if children.split() else self._process.pid

    def _config(self) -> ET.Element:
        return ET.parse(self._file).getroot()

    def meet(self, other: "_Instance") -> None:
        """Share the folder with another instance."""
        root = self._config()
        for name, text in {**self.OFF, "listenAddress": f"tcp://127.0.0.1:{self._port}"}.items():
            _set(root, f"options/{name}", text)
        _set(root, "gui/address", f"127.0.0.1:{self._gui}")
        folder = {
            "id": "notes",
            "path": str(self.folder),
            "rescanIntervalS": "3600",
            "fsWatcherEnabled": "true",
            "fsWatcherDelayS": "1",
        }
        shared = ET.SubElement(root, "folder", folder)
        for device in (self.id, other.id):
            ET.SubElement(shared, "device", {"id": device})
        peer = ET.SubElement(root, "device", {"id": other.id, "name": "peer"})
        ET.SubElement(peer, "address").text = f"tcp://127.0.0.1:{other._port}"
        ET.ElementTree(root).write(self._file)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Up and answering while the block runs."""
        command = ["syncthing", "serve", f"--home={self._home}", "--no-browser", "--no-upgrade"]
        quiet = {"STNOUPGRADE": "1", "STNORESTART": "1"}
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | quiet
        )
        try:
            until(lambda: self._ask("system/ping") is not None, "Syncthing does not answer")
            yield
        finally:
            self._process.terminate()
            self._process.wait(30)

    def has(self, files: int) -> bool:
        """Whether everything is here and nothing is left to do."""
        found = self._ask("db/status?folder=notes") or {}
        return (
            found.get("localFiles", 0) >= files
            and found.get("needFiles") == 0
            and found.get("state") == "idle"
        )

    def _ask(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self._gui}/rest/{path}"
        request = urllib.request.Request(url, headers={"X-API-Key": self._key})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read())
        except OSError:
            return None


def _set(root: ET.Element, path: str, text: str) -> None:
    parent, _, name = path.rpartition("/")
    above = root.find(parent)
    assert above is not None
    for old in above.findall(name):
        above.remove(old)
    ET.SubElement(above, name).text = text


def present(peers: Sequence[Peer]) -> tuple[list[Peer], dict[str, str]]:
    """Those that can be measured here, and why the others can't, by name."""
    absent = {p.name: reason for p in peers if (reason := p.missing()) is not None}
    return [p for p in peers if p.name not in absent], absent

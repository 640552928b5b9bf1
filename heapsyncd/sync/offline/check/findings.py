"""What a check can find, and what repairs it. Pure values."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct, field

from heapsyncd.ids import BlockId, HeapId
from heapsyncd.sync.report import Progress

Repair = Literal[
    "rebuild", "reindex", "rebuild search", "remove rows", "fetch", "forget",
    "forget path", "renumber", "describe", "forget texts", "forget versions", "read", "write",
    "list", "pull", "mark", "clear",
]  # fmt: skip

REPAIRS: Final[Mapping[Repair, tuple[str, str]]] = {
    "rebuild": (
        "put the cache aside; the next sync makes a new one from folder and server",
        "the cache was put aside; the next sync makes a new one from folder and server",
    ),
    "reindex": ("make the indexes anew", "the indexes were made anew"),
    "rebuild search": ("make the search index anew", "the search index was made anew"),
    "remove rows": ("remove these rows", "the rows were removed"),
    "fetch": (
        "get its document from the server, and merge the file into it with the next sync",
        "its document was fetched again; the next sync merges the file into it",
    ),
    "forget": (
        "forget the block, which the server never had; the next sync makes a new one of the file",
        "the block was forgotten; the next sync makes a new one of the file",
    ),
    "forget path": (
        "forget this path; the next sync makes the file, a copy, a note of its own",
        "the path was forgotten; the next sync finds the file as a copy",
    ),
    "renumber": ("correct the number", "the number was corrected"),
    "describe": (
        "take these from the document",
        "these were taken from the document; the next sync carries it out",
    ),
    "forget texts": (
        "forget these texts; the next sync reads the file and merges it with its document",
        "the texts were forgotten; the next sync reads the file and merges it with its document",
    ),
    "forget versions": ("remove it from the history", "it was removed from the history"),
    "read": (
        "read it with the next sync as if you had saved it; its former text stays in its history",
        "the next sync reads it as if you had saved it; its former text stays in its history",
    ),
    "write": ("write it with the next sync", "the next sync writes it"),
    "list": (
        "read the server's whole list with the next sync",
        "the next sync reads the server's whole list",
    ),
    "pull": (
        "compare it whole with the server in the next sync, and send or fetch what lacks",
        "the next sync compares it whole with the server, and sends or fetches what lacks",
    ),
    "mark": ("write the marker again", "the marker was written again"),
    "clear": ("remove it", "it was removed"),
}
"""For each repair: what it would do, and what it did."""


class Finding(Struct, frozen=True):
    """One thing that is wrong.

    Args:
        what: a sentence part for people, without the path.
        path: of the file, relative to its heap's folder, or a block's title if it has no file.
        heap: the heap; None: the account's cache as a whole.
        block: the block.
        repair: what mends it; None: a person must, see ``advice``.
        advice: what a person can do.
        is_damage: whether something is broken; otherwise it is only left over.
        is_file: whether ``path`` is a path.
    """

    what: str
    path: str = ""
    heap: HeapId | None = None
    block: BlockId | None = None
    repair: Repair | None = None
    advice: str = ""
    is_damage: bool = True
    is_file: bool = True


class Heap(Struct, frozen=True):
    """A heap that was checked."""

    id: HeapId
    title: str
    folder: str
    notes: int
    files: int
    server: str | None = None
    """Why it was not compared with the server; None: it was."""


class Checked(Struct):
    """What was found in one account."""

    name: str
    cache: str
    """The path of its cache; '' if there is none yet."""
    heaps: list[Heap] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    """What is not in sync yet, which is no damage."""
    repaired: list[Finding] = field(default_factory=list)
    put_aside: str = ""
    """The copy of the cache from before the repair."""

    @property
    def damage(self) -> list[Finding]:
        """Return what is broken."""
        return [f for f in self.findings if f.is_damage]

    def as_dict(self) -> dict[str, Any]:
        """Return the account's object in ``check --json``."""
        heaps = {heap.id: heap for heap in self.heaps}

        def shown(finding: Finding, *, is_repaired: bool) -> dict[str, Any]:
            heap = heaps.get(finding.heap) if finding.heap else None
            would, did = ("", "") if finding.repair is None else REPAIRS[finding.repair]
            is_file = heap is not None and finding.is_file
            return {
                "heap": None if heap is None else heap.title,
                "path": finding.path,
                "file": f"{heap.folder}/{finding.path}".rstrip("/") if heap and is_file else None,
                "what": finding.what,
                "damage": finding.is_damage,
                "repair": did if is_repaired else would or None,
                "repaired": is_repaired,
                "advice": finding.advice or None,
            }

        return {
            "name": self.name,
            "cache": self.cache or None,
            "heaps": [
                {
                    "id": heap.id,
                    "title": heap.title,
                    "folder": heap.folder,
                    "notes": heap.notes,
                    "files": heap.files,
                    "server": heap.server or "compared",
                }
                for heap in self.heaps
            ],
            "findings": [
                *(shown(f, is_repaired=True) for f in self.repaired),
                *(shown(f, is_repaired=False) for f in self.findings),
            ],
            "waiting": list(self.waiting),
            "put_aside": self.put_aside or None,
        }


Step = Callable[[Progress], None]
"""Takes the progress of the work."""

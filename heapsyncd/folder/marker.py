"""Edge: the file ``.heapsyncd``, which marks a folder as the mirror of one heap.

Without the marker, missing files never count as deleted and nothing is written: the folder may be
an empty mount point, or not ours.
"""

import json
import os
from pathlib import Path

from heapsyncd.errors import FolderTrouble, StateLocked
from heapsyncd.folder import replace, safe_open, syscalls
from heapsyncd.folder.ignore import MARKER
from heapsyncd.folder.safe_open import restoring
from heapsyncd.folder.trouble import translated
from heapsyncd.ids import HeapId, is_ulid
from heapsyncd.own_files import lock

VERSION = 1
_MAX_BYTES = 4096


def create(root: Path, heap_id: HeapId, title: str) -> None:
    """Create folder and marker if missing.

    Raises:
        FolderTrouble: the folder belongs to another heap, or cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderTrouble(
            f"{root} can't be made: {error.strerror}; correct `folder` in the configuration, or"
            " the owner and mode of the directory above."
        ) from error
    with translated(str(root)):
        above = safe_open.open_root(root.parent)
        try:
            syscalls.fsync(above)  # otherwise a power cut could remove the folder, as if unmounted
        finally:
            os.close(above)
    if read(root) is None:
        text = json.dumps(
            {"heap": heap_id, "title": title, "version": VERSION}, ensure_ascii=False
        )
        data = f"{text}\n".encode(errors="replace")
        (result,) = replace.write_all(root, [replace.Write(MARKER, data, None)])
        # If another process created the marker meanwhile, the check below reports whose it is.
        if isinstance(result, FolderTrouble):
            raise result
    check(root, heap_id)


def read(root: Path) -> HeapId | None:
    """Return the heap named in the marker, None if there is no marker or no folder.

    Raises:
        FolderTrouble: the marker cannot be read or is not valid.
    """
    path = str(root / MARKER)
    if not root.is_dir():
        return None
    with translated(path), safe_open.parent_of(root, MARKER) as (dir_fd, name):
        try:
            fd = safe_open.open_file(name, dir_fd)
        except FileNotFoundError:
            return None
        try:
            data = os.read(fd, _MAX_BYTES)
        finally:
            os.close(fd)
    try:
        found = json.loads(data)
        heap, version = found["heap"], found["version"]
    except (ValueError, KeyError, TypeError):
        heap, version = "", VERSION
    if not isinstance(version, int) or version > VERSION:
        raise FolderTrouble(f"{path} was written by a newer heapsyncd; install the newer version.")
    if not isinstance(heap, str) or not is_ulid(heap):
        raise FolderTrouble(
            f"{path} is damaged; move it away and start again. "
            "Notes are recognised by the id in their front matter."
        )
    return HeapId(heap)


def check(root: Path, heap_id: HeapId | None) -> None:
    """Check that the folder has a marker, and that of this heap (None accepts any).

    Raises:
        FolderTrouble: it has none, or another heap's.
    """
    found = read(root)
    if found is None:
        os.close(safe_open.open_root(root))  # raises its own error if the folder is missing
        raise FolderTrouble(
            f"{root} has no {MARKER} file, so it may be the wrong folder or an empty mount point. "
            f"Mount its disk, or have it written again: {restoring(root)}. Nothing was deleted."
        )
    if heap_id is not None and found != heap_id:
        raise FolderTrouble(
            f"{root} mirrors another heap ({found}); move it away or set another folder."
        )


def claim(root: Path, heap_id: HeapId) -> int:
    """Lock the heap's marker for this process. Returns the descriptor to close when done.

    The lock ends with the process, however it ends.

    Raises:
        FolderTrouble: the marker is missing or another heap's.
        StateLocked: another process holds it.
    """
    check(root, heap_id)
    with translated(str(root / MARKER)), safe_open.parent_of(root, MARKER) as (dir_fd, name):
        fd = safe_open.open_file(name, dir_fd)
    try:
        if lock(fd):
            return fd
    except OSError as error:
        os.close(fd)
        raise FolderTrouble(f"{root / MARKER} can't be locked: {error.strerror}.") from error
    os.close(fd)
    raise StateLocked(f"Another heapsyncd mirrors into {root}; stop it, or set another folder.")

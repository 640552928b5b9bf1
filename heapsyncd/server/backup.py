"""Copy a server's data into one file, also while the server runs.

The file is a tar archive of a data directory: unpacked, it can be served. The database is copied
as it is at one moment. Contents of attachments are copied after it: they are on the disk before
the database names them, never change, and are never removed.
"""

import os
import secrets
import tarfile
from pathlib import Path
from typing import BinaryIO, Final

from heapsyncd.database import copy_database
from heapsyncd.errors import ConfigError, FolderTrouble
from heapsyncd.own_files import PRIVATE, place_whole

DATABASE: Final = "server.db"
SMALL_FILES: Final = ("server.key", "accounts")
FILES: Final = "files"


def check_data(data_dir: Path) -> None:
    """Raise ConfigError if a directory holds no server's data."""
    if not (data_dir / DATABASE).is_file():
        raise ConfigError(
            f"{data_dir} holds no server's data; name the directory of `heapsyncd serve` with"
            " --data."
        )


def back_up(data_dir: Path, file: Path) -> int:
    """Write a backup to a new file, with mode 600: it holds the server's key. Blocking.

    Returns:
        Its size in bytes.

    Raises:
        ConfigError: there is no server's data.
        FolderTrouble: the data can't be read, or the file not written; an existing one is kept.
    """
    check_data(data_dir)
    copy = data_dir / f"backup-{secrets.token_hex(4)}.db"

    def write(out: BinaryIO) -> None:
        copy_database(data_dir / DATABASE, copy)
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.add(copy, DATABASE)
            for name in (*SMALL_FILES, FILES):
                if (data_dir / name).exists():
                    tar.add(data_dir / name, name)

    try:
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))
        if os.path.lexists(file) or not place_whole(file, write):
            raise FolderTrouble(f"{file} exists and was kept; choose another name.")
        return file.stat().st_size
    except OSError as error:
        raise FolderTrouble(f"{error.filename or file}: {error.strerror}.") from error
    finally:
        copy.unlink(missing_ok=True)

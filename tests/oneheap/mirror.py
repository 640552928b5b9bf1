"""A mirror of a oneheap account, with its folder."""

from pathlib import Path
from typing import Any

from heapsyncd.config import Account
from heapsyncd.ids import Password
from heapsyncd.markdown.frontmatter import split
from tests.oneheap.service import EMAIL, PASSWORD, Oneheap
from tests.sync.rig import Device


class OneheapDevice(Device):
    """One installation whose folder is the mirror."""

    @property
    def root(self) -> Path:
        """The folder."""
        return self.base / "folder"

    @property
    def account(self) -> Account:
        """The account as configured."""
        return Account(
            name="home",
            kind="oneheap",
            server=self.server.url,
            folder=self.root,
            secret_file=self.base / "key",
            email=EMAIL,
            password=Password.parse(PASSWORD),
            live="off",
            poll_interval_s=self.poll_interval_s,
        )

    def read(self, path: str) -> str:
        """What stands in a file."""
        return (self.root / path).read_text("utf-8")

    def ids_in(self, path: str) -> tuple[str, ...]:
        """All ids in a note's front matter."""
        return split(self.read(path))[0].id_values

    def write(self, path: str, text: str) -> None:
        """Save a file."""
        (self.root / path).write_text(text, "utf-8")


def mirror_of(service: Oneheap, base: Path, **more: Any) -> OneheapDevice:
    """A device of the account at a service."""
    address: Any = service  # a device needs its address alone
    return OneheapDevice(address, base, **more)

"""A device that mirrors a oneheap account to a folder, whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from heapsyncd.config import Account
from heapsyncd.ids import Password
from heapsyncd.markdown.frontmatter import split
from heapsyncd.server import Server
from tests.oneheap.service import EMAIL, PASSWORD, Oneheap
from tests.sync.rig import Device


@dataclass
class Mirror(Device):
    """One installation of an account; its folder is the account's."""

    password: str = PASSWORD
    heaps: tuple[str, ...] = ("*",)

    @classmethod
    def of(cls, service: Oneheap, base: Path, **more: object) -> "Mirror":
        """A device of a service, which is all that it knows of a server."""
        return cls(cast("Server", service), base, **more)  # type: ignore[arg-type]

    @property
    def root(self) -> Path:
        """The mirror's folder."""
        return self.base / "folder"

    @property
    def account(self) -> Account:
        """The account as configured."""
        return Account(
            name="home",
            kind="oneheap",
            server=self.server.url,
            folder=self.root,
            secret_file=self.base / "password",
            email=EMAIL,
            password=Password.parse(self.password),
            heaps=self.heaps,
            live="off",
            poll_interval_s=self.poll_interval_s,
            files=self.files,  # type: ignore[arg-type]
            files_limit_mb=self.files_limit_mb,
        )

    def read(self, path: str) -> str:
        """A file's text without the line of its id."""
        lines = (self.root / path).read_text("utf-8").splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("id: "))
        return text.removeprefix("---\n---\n")

    def ids_in(self, path: str) -> tuple[str, ...]:
        """All ids in a note's front matter."""
        return split((self.root / path).read_text("utf-8"))[0].id_values

    def write(self, path: str, text: str) -> None:
        """Save a file."""
        (self.root / path).write_text(text, "utf-8")

    def edit(self, path: str, old: str, new: str) -> None:
        """Put one text for another in a file."""
        file = self.root / path
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new), "utf-8")

    def files_here(self) -> dict[str, bytes]:
        """All files of the folder, by path."""
        return {
            str(p.relative_to(self.root)): p.read_bytes()
            for p in sorted(self.root.rglob("*"))
            if p.is_file() and not p.name.startswith(".")
        }

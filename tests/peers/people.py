"""People at their editors, on the programs' side of the wire: ``editor.mjs`` in words."""

from dataclasses import dataclass
from typing import Any

from tests.peers.programs import Program, decoded, encoded


@dataclass(frozen=True, slots=True)
class Person:
    """One editor with one document. Every wait ends with AssertionError after its deadline."""

    program: Program
    doc: str

    async def edit(self, do: str, **how: Any) -> bool:
        """Carry out one edit of edits.mjs; whether it changed anything."""
        return (await self.edits([{"do": do, **how}]))[0]

    async def edits(self, edits: list[dict[str, Any]]) -> list[bool]:
        """Carry out edits; which of them changed anything."""
        answer = await self.program.ask("edit", doc=self.doc, edits=edits)
        applied: list[bool] = answer["applied"]
        return applied

    async def title(self, text: str) -> None:
        """Set the title."""
        await self.program.ask("title", doc=self.doc, text=text)

    async def apply(self, update: bytes) -> None:
        """Make a change given as an update."""
        await self.program.ask("apply", doc=self.doc, update=encoded(update))

    async def read(self) -> dict[str, Any]:
        """What the editor shows and knows."""
        return await self.program.ask("read", doc=self.doc)

    async def state(self) -> bytes:
        """The whole document here."""
        return decoded((await self.read())["state"])

    async def leave(self) -> None:
        """Close the document."""
        await self.program.ask("leave", doc=self.doc)

    async def synced(self) -> dict[str, Any]:
        """Wait for the first synchronisation."""
        return await self._wait("synced")

    async def saved(self) -> dict[str, Any]:
        """Wait until the server has confirmed every local change."""
        return await self._wait("saved")

    async def sees(self, text: str) -> dict[str, Any]:
        """Wait for a text in the body."""
        return await self._wait("text", text=text)

    async def sees_no_more(self, text: str) -> dict[str, Any]:
        """Wait until a text is gone from the body."""
        return await self._wait("gone", text=text)

    async def holds(self, update: bytes) -> dict[str, Any]:
        """Wait until everything of an update is here."""
        return await self._wait("holds", update=encoded(update))

    async def refused(self) -> str:
        """Wait for the server's refusal; its reason."""
        return str((await self._wait("denied"))["denied"])

    async def closed(self) -> str:
        """Wait until the server closes the document; its code and reason."""
        return str((await self._wait("closed"))["closed"])

    async def present(self, who: str) -> None:
        """Say who sits here (awareness)."""
        await self.program.ask("present", doc=self.doc, who=who)

    async def meets(self, who: str) -> dict[str, Any]:
        """Wait until somebody else of that name is present."""
        return await self._wait("meets", who=who)

    async def misses(self, who: str) -> dict[str, Any]:
        """Wait until nobody of that name is present."""
        return await self._wait("misses", who=who)

    async def _wait(self, condition: str, **more: Any) -> dict[str, Any]:
        return await self.program.ask("wait", doc=self.doc, **{"for": condition}, **more)


@dataclass(frozen=True, slots=True)
class Device:
    """One WebSocket of @hocuspocus/provider."""

    program: Program
    name: str

    @classmethod
    async def connect(cls, program: Program, name: str, url: str, major: int) -> "Device":
        """Open the socket with that version's provider."""
        await program.ask("connect", socket=name, url=url, major=major)
        return cls(program, name)

    async def open(self, document: str, token: str, *, key: str = "", **options: Any) -> Person:
        """Follow a document, by its name on the wire; ``options`` are editor.mjs's.

        Opened twice on one socket it needs a ``key`` to tell the two apart here.
        """
        key = f"{self.name}/{key or document}"
        await self.program.ask(
            "open", doc=key, socket=self.name, name=document, token=token, **options
        )
        return Person(self.program, key)

    async def pause(self) -> None:
        """Disconnect, until ``resume``."""
        await self.program.ask("pause", socket=self.name)

    async def resume(self) -> None:
        """Connect again."""
        await self.program.ask("resume", socket=self.name)

    async def disconnect(self) -> None:
        """Close the socket for good."""
        await self.program.ask("disconnect", socket=self.name)

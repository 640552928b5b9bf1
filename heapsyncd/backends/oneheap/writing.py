"""Send a pushed document as requests: what a block shows now, against its item's last state.

An item is read before it is written. If somebody changed it meanwhile, its new state is announced
and the push is stale: the mirror merges, and pushes again. After a write the service's answer is
the new state; where the block then has to show something else, that is announced, too.
"""

from msgspec.structs import replace

from heapsyncd.backends.oneheap.account import OneheapAccount
from heapsyncd.backends.oneheap.catalogue import dated
from heapsyncd.backends.oneheap.documents import Shown, marked, with_front
from heapsyncd.backends.oneheap.intents import intent_of
from heapsyncd.backends.oneheap.places import (
    Misplaced,
    directory_of,
    new_item,
    placed,
    sidecar_of,
    why_unmovable,
)
from heapsyncd.backends.oneheap.refresh import Seen, publish, remove
from heapsyncd.backends.oneheap.shapes import (
    LACKS_TEXT,
    content_of,
    decode,
    item_of,
    lacks_text,
    state_of,
)
from heapsyncd.cache.remote_items import Part, RemoteItem
from heapsyncd.errors import ProtocolError, RequestRefused
from heapsyncd.items.changes import Changes, changes, creation, reminder_arguments
from heapsyncd.items.values import Item
from heapsyncd.markdown.item_file import read_file
from heapsyncd.model import PushResult, PushStatus


class Write:
    """Carries one pushed update out."""

    def __init__(
        self,
        account: OneheapAccount,
        seen: Seen,
        row: RemoteItem,
        before: Shown,
        after: Shown,
        document: bytes,
    ) -> None:
        self._account, self._seen, self._row = account, seen, row
        self._before, self._after, self._document = before, after, document
        self._catalogue, self._calls = account.catalogue, account.calls
        self._remarks: list[str] = []
        self._version = row.version
        """The version that was pushed to. If the row has another, that was announced meanwhile."""

    async def carry_out(self) -> PushResult:
        """Return the result; raises Misplaced, and what the calls raise."""
        row = self._row
        if row.gone:
            # Deleted here, and restored: it is created anew, and has no contents there yet.
            self._row = row = replace(row, gone="", item_id="", item=b"", part="item")
            files = tuple(replace(f, is_uploaded=False) for f in self._after.files)
            self._after = replace(self._after, files=files)
            self._document = marked(self._document, files)
        if self._after.is_deleted:
            return await self._delete()
        if row.kind == "folder" and not row.item_id:
            place = directory_of(self._catalogue, self._after)
            if place is not None:
                return await self._bind(*place)
        if row.part in {"archive", "archived", "comments"}:
            return await self._put_back()
        if row.kind == "document" and not row.item_id:
            owner = sidecar_of(self._catalogue, self._after)
            if owner is not None:
                return await self._bind(owner.id, "sidecar", then=True)
        return await self._write_item()

    # ---- items ------------------------------------------------------------------------------

    async def _write_item(self) -> PushResult:
        known = await self._current() if self._row.item_id else await self._create()
        if known is None:
            return self._result("not_found")
        if self._row.version != self._version:
            return self._result("stale")
        item = await self._send(known, self._wanted(known))
        await self._settle(item)
        return await self._done()

    async def _current(self, *, with_files: bool = False) -> Item | None:
        """Read the item; where its block has to show something else now, that is announced.

        Args:
            with_files: contents count as well: the item is to be deleted.

        Returns:
            The item; None if it is gone.

        Raises:
            ProtocolError: it cannot be shown, so nothing may be written over it.
        """
        row = self._row
        (own,) = await self._account.rows_of([(row.item_id, "item")])
        known = decode(own.item) if own is not None else None
        found = await self._calls.item(known.type if known else row.type, row.item_id)
        if found is None or known is None:
            await remove(self._account, row.item_id)
            return None
        if lacks_text(found):
            raise ProtocolError(LACKS_TEXT)
        item, state = item_of(found, known), state_of if with_files else content_of
        if state(item) != state(known):
            self._catalogue.put(item)
            await publish(self._account, self._catalogue.dependents(item.id), {item.id: item})
            self._row = await self._account.row(row.block_id) or row
        if item.id in self._account.unshown:
            raise ProtocolError(self._account.unshown[item.id])
        return item

    def _wanted(self, known: Item) -> Item:
        """Return the item that the block shows; what cannot be sent becomes a remark."""
        after, name = self._after, known.name
        is_renamed = after.title != self._before.title and self._row.part == "item"
        if known.type == "file":
            wanted = known
            if is_renamed:
                own = after.title if known.name in {"", known.filename} else known.name
                wanted = replace(known, filename=after.title, name=own)
        else:
            wanted = replace(known, name=after.title if is_renamed else name)
        if after.data is not None:
            around = self._catalogue.around(wanted, self._account.now())
            read = read_file(with_front(after.data, known.id), wanted, around)
            wanted = read.item
            is_told = bool(self._remarks)
            self._remarks += [r.reason for r in read.remarks if r.key != "type" or not is_told]
        return self._placed(wanted)

    def _placed(self, item: Item) -> Item:
        """Return an item with the box and the archive that its block's directory says."""
        folder = self._after.folder
        if self._row.part == "sidecar" or folder == self._catalogue.folder_of(item):
            return item
        reason = why_unmovable(self._catalogue, item, folder)
        if reason is not None:
            self._remarks.append(reason)
            return item
        return self._asked_for(placed(self._catalogue, item, self._after.folder))

    def _asked_for(self, item: Item) -> Item:
        """Return an item that the configuration asks for.

        Raises:
            Misplaced: its file would leave the folder at once.
        """
        if not self._catalogue.is_mirrored(item):
            raise Misplaced(
                "`heaps` in the configuration does not ask for this place: it is not sent"
            )
        return item

    async def _send(self, known: Item, wanted: Item) -> Item:
        """Send what differs; return the item as it is then."""
        known = await self._send_files(known)
        made = changes(known, replace(wanted, files=known.files))
        self._remarks += [f"the service takes no change of `{name}` here" for name in made.refused]
        if not made:
            return known
        item, arguments = known, {k: v for k, v in made.arguments.items() if k != "priotity"}
        if arguments:
            answer = await self._calls.update(known.type, known.id, arguments)
            item = item_of(answer, wanted)
        if made != Changes(made.arguments, refused=made.refused):
            await self._send_relations(wanted, made)
            found = await self._calls.item(known.type, known.id)
            item = item_of(found, wanted) if found is not None else wanted
        return item

    async def _send_relations(self, wanted: Item, made: Changes) -> None:
        """Send what has requests of its own: reminders, the parent task, the archive."""
        for gone in made.remove_reminders:
            if gone.id:
                await self._calls.remove_reminder(wanted.type, wanted.id, gone.id)
        for new in made.add_reminders:
            arguments = reminder_arguments(wanted, new)
            await self._calls.add_reminder(wanted.type, wanted.id, arguments)
        if made.parent is not None:
            before, after = made.parent
            if before is not None:
                await self._calls.remove_child(before, wanted.id)
            if after is not None:
                await self._calls.add_child(after, wanted.id)
        if made.archived is True:
            await self._calls.archive(wanted.id)
        elif made.archived is False:
            await self._calls.unarchive(wanted.id)

    async def _send_files(self, known: Item) -> Item:
        """Detach and rename attachments; new ones are sent by ``contents.upload``.

        Returns:
            The item as it is then.
        """
        mine = self._catalogue.files_of(known.id) if known.type != "file" else {}
        now = {f.key: f for f in self._after.files}
        is_changed = False
        for old in self._before.files:
            file, new = mine.get(old.key), now.get(old.key)
            if file is None or (new is not None and new.name == old.name):
                continue
            is_changed = True
            if new is None:
                await self._calls.detach(known.type, known.id, file.file_id)
                await self._account.save(without=file.file_id)
            else:
                fields = {"name": new.name, "filename": new.name}
                answer = await self._calls.update("file", file.file_id, fields)
                self._catalogue.put_file(replace(file, modified=dated(answer.modified)))
        found = await self._calls.item(known.type, known.id) if is_changed else None
        return known if found is None else item_of(found, known)

    async def _settle(self, item: Item) -> None:
        """Store what was carried out, and announce what has to be shown otherwise now."""
        catalogue, row = self._catalogue, self._row
        row = replace(row, document=self._document, intent=b"")
        catalogue.put(item)
        if item.type == "file" and (file := catalogue.files.get(item.id)) is not None:
            catalogue.put_file(replace(file, modified=dated(item.modified)))
        concerned = [*catalogue.directories(item), *catalogue.dependents(item.id)]
        if catalogue.has_sidecar(item):
            concerned.append((item.id, "sidecar"))
        await publish(self._account, concerned, {item.id: item}, row)

    # ---- creating -----------------------------------------------------------------------------

    async def _create(self) -> Item:
        """Create the item. What it is to be is stored first, to know it again (``pushes``)."""
        row, account = self._row, self._account
        wanted = self._asked_for(self._new())
        self._row = row = replace(row, intent=intent_of(wanted, account.date_s), type=wanted.type)
        await account.save([row])
        try:
            answer = await self._calls.create(wanted.type, creation(wanted).arguments)
        except RequestRefused:
            self._row = replace(row, intent=b"")
            await account.save([self._row])
            raise
        item = item_of(answer, wanted)
        self._row = replace(account.with_item(row, item), intent=b"")
        await account.save([self._row])
        self._catalogue.put(item)
        self._catalogue.bind(row.block_id, item.id)
        return item

    def _new(self) -> Item:
        """Return the item that a new block shows."""
        row, after = self._row, self._after
        inserted = decode(row.item)
        title = after.title or (inserted.name if inserted is not None else "")
        empty = new_item(self._catalogue, after, title)
        if empty.type == "file":
            return placed(self._catalogue, empty, self._after.folder)
        if after.data is None:
            return empty
        around = self._catalogue.around(empty, self._account.now())
        read = read_file(after.data, None, around)
        item = read.item
        # Of the fields it is told when the item is there, of its type only now.
        self._remarks += [remark.reason for remark in read.remarks if remark.key == "type"]
        if item.type == "comment":
            return item
        item = placed(self._catalogue, item, self._after.folder)
        if item.type != "sticky":
            return item
        # A sticky is in no box: it belongs to one.
        return replace(item, box_id=None, parent_id=item.parent_id or item.box_id)

    # ---- deleting -----------------------------------------------------------------------------

    async def _delete(self) -> PushResult:
        row, catalogue = self._row, self._catalogue
        if row.part == "item" and row.item_id:
            known = await self._current(with_files=True)
            if self._row.version != self._version:
                return self._result("stale")  # an edit wins over the deletion
            if known is not None:
                await self._calls.delete(known.type, known.id)
                comments = [o for o in catalogue.owned(known.id) if o.type == "comment"]
                for comment in comments:
                    await remove(self._account, comment.id)
                catalogue.drop(known.id)
                self._seen.forget({known.id, *(c.id for c in comments)})
        catalogue.unbind(row.block_id)
        row = replace(self._row, document=self._document, gone="here", intent=b"")
        await self._account.save([row])
        if row.part == "sidecar":
            await publish(self._account, [(row.item_id, "sidecar")])
        return self._result("ok")

    # ---- directories and sidecars -------------------------------------------------------------

    async def _bind(self, item_id: str, part: Part, *, then: bool = False) -> PushResult:
        """Take a new block for a part of an item."""
        self._row = replace(self._row, item_id=item_id, part=part, item=b"", type="")
        self._catalogue.bind(self._row.block_id, item_id, part)
        if then:
            # Stored first, without the update: whatever ends the writing, it goes on as this part.
            await self._account.save([self._row])
            return await self._write_item()
        await self._account.save([replace(self._row, document=self._document)])
        return self._result("ok")

    async def _put_back(self) -> PushResult:
        """Answer a change of a directory whose name and place follow from its item."""
        if (self._after.title, self._after.folder) != (self._before.title, self._before.folder):
            self._remarks.append("its name and place follow from what it belongs to: put back")
        row = replace(self._row, document=self._document)
        await publish(self._account, [(row.item_id, row.part)], None, row)
        return await self._done()

    async def _done(self) -> PushResult:
        """Return the result of what was carried out, with the version that is to be shown now."""
        self._row = await self._account.row(self._row.block_id) or self._row
        return self._result("ok")

    def _result(self, status: PushStatus) -> PushResult:
        remarks = tuple(dict.fromkeys(self._remarks))
        return PushResult(self._row.block_id, status, self._row.version, remarks)

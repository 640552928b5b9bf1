"""What must be true of the world when it has come to rest."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise, permutations
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from heapsyncd.cache import blocks, entries, history
from heapsyncd.document.replica import Replica
from heapsyncd.folder.ignore import TEMP
from heapsyncd.folder.names import carries
from heapsyncd.ids import BlockId
from heapsyncd.markdown.front_lines import TITLE_KEYS
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.merge.link_meanings import mentions
from heapsyncd.sync.merge.note_file import shown_file
from heapsyncd.sync.merge.note_source import read_source
from heapsyncd.sync.merge.note_text import (
    Note,
    our_keys,
    owner,
    recall,
    shown_files,
    shows,
)
from heapsyncd.sync.merge.unmatched_text import is_extended_by
from heapsyncd.sync.offline.check.account import check
from heapsyncd.tree import Atom, Inline, Text
from heapsyncd.tree.nodes import plain
from tests.sync.rig import Device
from tests.world.player import Player
from tests.world.text import TOKEN, id_in, tokens

_NO_LINK: Final = re.compile(f"({TOKEN.pattern})?" + r"\[\[[^\[\]]*\]\]")

if TYPE_CHECKING:
    from tests.world.play import Game


async def hold(game: "Game", *, may_leave_temporary: bool = False) -> None:
    """Hold every law; AssertionError names the one that is broken.

    Args:
        game: what was played.
        may_leave_temporary: a temporary file could not be removed, and the next pass does it.
    """
    replicas = {b: await game.server.document(b) for b in await game.world.blocks()}
    kinds = {b: (await game.server.row(b)).type for b in replicas}
    live = {
        b: r for b, r in replicas.items()
        if kinds[b] == "document" and r.fields().deleted_at_ms is None
        and r.fields().permanently_deleted_at_ms is None
    }  # fmt: skip
    kept, versions = set[str](), set[str]()
    for player in game.players:
        kept |= await _folder_shows(game, player, live, kinds)
        versions |= await _versions(player, kinds)
        await _nothing_damaged(player, may_leave_temporary=may_leave_temporary)
    _same_bytes(game.players, is_exact=game.is_exact)
    if game.is_exact:
        await _a_later_device_shows_them(game)
    _nothing_doubled(game, live)
    for block, replica in live.items():
        _links_are_links(game, block, replica)
    words = {w for r in replicas.values() for w in tokens(r.view().words())}
    lost = game.spoken - words - kept - game.excused - (game.replaced & versions)
    assert not lost, f"lost: {sorted(lost)}"
    if game.is_contest:
        # An edit wins over a deletion by somebody who had not seen it.
        alive = {w for r in live.values() for w in tokens(r.view().words())}
        gone = game.spoken - alive - game.excused - game.dropped
        where = {
            w: [b for b, r in replicas.items() if w in tokens(r.view().words())] or "versions only"
            for w in sorted(gone)
        }
        assert not gone, f"deleted with their notes: {where}"


def _links_are_links(game: "Game", block: BlockId, replica: Replica) -> None:
    """A link that was written is a link, and stands once."""
    for leaf in replica.view().walk():
        said = "".join(_shown(item) for item in leaf.inline)
        for found in _NO_LINK.finditer(said):
            written = set(tokens(found[0]))
            known = written and written <= game.loose | game.copied
            assert known, f"{block}: {found[0]} is no link in\n{said}"
        # Two people may link at the end of one line, where the words then stand before the links.
        linking = game.linking & set(tokens(_NO_LINK.sub("", said)))
        links = (i if isinstance(i, Atom) and i.kind == "mention" else None for i in leaf.inline)
        doubled = any(a is not None and a == b for a, b in pairwise(links))
        is_twice = said.count("«»") > len(linking) if game.linking else doubled
        assert not is_twice, f"{block}: a link twice in\n{said}"


def _shown(item: Inline) -> str:
    if isinstance(item, Text) or item.kind != "mention":
        return plain(item)
    return f"«{item.get('label') or ''}»"


async def memory_is_what_was_stored(player: Player) -> None:
    """What the last life had in memory of blocks, files and names is what it had stored, however
    it ended.
    """
    state = player.device.base / "state"
    async with await open_cache(player.device.account, state) as db:
        for heap in player.life.heaps:
            stored = await db.read(
                lambda tx, i=heap.id: Index(  # type: ignore[misc]
                    blocks.of_heap(tx, i),
                    entries.of_heap(tx, i),
                    entries.aliases(tx, i),
                    blocks.unsent(tx, i),
                )
            )
            told = ("born", "unsent", "wanted", "stale", "troubled")
            for what in ("blocks", "entries", "aliases", "path_of", "notes", "unplaced", *told):
                there, here = getattr(stored, what), getattr(heap.index, what)
                assert here == there, f"{player.name}: {what} in memory {here}, stored {there}"


def _same_bytes(players: Sequence[Player], *, is_exact: bool = True) -> None:
    """Every note is the same file on every device; ``is_exact``: names in links too."""
    first, *others = (_by_note(player) for player in players)
    for player, files in zip(players[1:], others, strict=True):
        # A device may call one of two notes of equal titles otherwise, and links to it as well.
        paths = [{b: p for b, (p, _) in some.items()} for some in (first, files)]
        hidden = re.compile(b"(?!)") if paths[0] == paths[1] else _NAMES
        for block in first.keys() | files.keys():
            one, other = (hidden.sub(b"", some[block][1]) for some in (first, files))
            if not is_exact:
                one, other = _without_names(one), _without_names(other)
            assert one == other, (
                f"{paths} on {players[0].name}:\n{one!r}\n{player.name}:\n{other!r}"
            )


_LINKED: Final = re.compile(rb"\[\[[^\[\]|]*")
_NAMES: Final = re.compile(rb"\[\[[^\[\]]*\]\]|^(heaper_)?title: .*\n", re.MULTILINE)


def _by_note(player: Player) -> dict[str, tuple[str, bytes]]:
    found = {}
    for path in player.notes():
        data = (player.root / path).read_bytes()
        found[id_in(data.decode()) or path] = (path, data)
    return found


def _without_names(data: bytes) -> bytes:
    """A file without the names in its links: a device may still have the former name of a note
    that is gone, or show the id of one that it could not place at once.
    """
    return _LINKED.sub(b"[[", data)


async def _a_later_device_shows_them(game: "Game") -> None:
    """A device that comes now shows the same bytes, and sends nothing."""
    before = [(await game.server.document(b)).fingerprint() for b in await game.world.blocks()]
    late = Player("late", Device(game.server, game.base / "late"))
    verdict = await late.once()
    assert verdict is not None
    assert verdict.exit_code == 0, verdict
    _same_bytes([game.players[0], late])
    now = [(await game.server.document(b)).fingerprint() for b in await game.world.blocks()]
    assert now == before, "a later device sent something"


def _nothing_doubled(game: "Game", live: dict[BlockId, Replica]) -> None:
    """Each word stands once, and in one note."""
    titles: dict[str, list[str]] = {}
    for block, replica in live.items():
        said = replica.view().words()
        counted = Counter(tokens(said))
        # Without a base, two words that are neither one another's beginning nor end are two words,
        # whatever letters they share.
        forgot = any(player.forgot for player in game.players)
        doubled = (w for w, n in counted.items() if n > 1)
        twice = [w for w in doubled if not (forgot and _are_unlike(w, said))]
        assert not twice, f"{block} says twice: {twice}\n{said}"
        for word in counted:
            titles.setdefault(word, []).append(replica.fields().title)
    twice = [
        w for w, found in titles.items()
        if len(found) > 1 and w not in game.copied
        and not (w in game.nameless and len(set(found)) == len(found))
    ]  # fmt: skip
    assert not twice, f"in two notes: {twice}"


async def _nothing_damaged(player: Player, *, may_leave_temporary: bool) -> None:
    """Cache, folder and server agree in all that `heapsyncd check` compares."""
    device = player.device
    state = device.base / "state"
    found = await check(device.account, state, lambda _: None, offline=None, is_running=False)
    findings = [
        f
        for f in found.findings
        if not (may_leave_temporary and TEMP.fullmatch(PurePosixPath(f.path or "").name))
    ]
    assert not findings, f"{player.name}: {findings}"
    assert not found.waiting, f"{player.name}: {found.waiting}"


def _are_unlike(token: str, text: str) -> bool:
    """Whether a token is in different words, none of which is a longer one of another."""
    words = [w for w in re.findall(r"\w+", text) if token in w]
    pairs = permutations(words, 2)
    is_once = all(w.count(token) == 1 for w in words)
    return is_once and not any(is_extended_by(a, b) for a, b in pairs)


async def _folder_shows(
    game: "Game", player: Player, live: dict[BlockId, Replica], kinds: dict[BlockId, str]
) -> set[str]:
    """Every live note has exactly one file, in its folder, under its title, and its text is the
    document's; nothing else is there. Returns the words of the device's history.
    """
    state = player.device.base / "state"
    async with await open_cache(player.device.account, state) as db:
        rows, held = await db.read(
            lambda tx: (list(blocks.of_heap(tx, game.heap)), list(entries.of_heap(tx, game.heap)))
        )
        index, states = Index(rows, held), {row.id: row for row in rows}
        versions = await db.read(lambda tx: [v for b in kinds for v in history.of_block(tx, b)])
    found: dict[BlockId, str] = {}
    at = {path: block for block, path in index.path_of.items()}
    for path in player.notes():
        note_id = id_in(player.read(path))
        if game.is_exact and note_id not in kinds:
            # The id of a note that nobody ever sent is taken for the user's after a lost cache.
            note_id = at.get(path)
        assert note_id is not None, f"{player.name}: {path} has no id"
        assert BlockId(note_id) not in found, f"{player.name}: {path} and {found}"
        found[BlockId(note_id)] = path
    assert set(found) == set(live), f"{player.name}: {_difference(found, live)}"
    for block, path in found.items():
        fields, view = live[block].fields(), live[block].view()
        links = NoteLinks(index, block)
        data = (player.root / path).read_bytes()
        # A link to a note that was deleted since may have its name still.
        source = read_source(live[block], live[block].view, links).source
        note = Note.of(data)
        if source is not None:
            note = replace(note, line_breaks=source.line_breaks)
        known = recall(None, note, live[block], (), links)
        assert shows(note, view, links) or note.view(known) == view, (
            f"{player.name}: {path} does not show\n{view.words()}\nbut\n{data.decode()}"
        )
        if source is not None:
            ours = our_keys(index, states[block], path, fields)
            alone = links.restricted(mentions(view), shown_files(view))
            exact = shown_file(source, view, ours, alone)
            one, other = (
                text if game.is_exact else _without_names(text) for text in (data, exact)
            )
            assert one == other, f"{player.name}: {path} is not what its source shows: {exact!r}"
        name = PurePosixPath(path).name.removesuffix(".md")
        title = fields.title or (await game.server.row(block)).title
        written = {note.file(owner(index, block, key)).title for key in TITLE_KEYS}
        assert title in written or carries(name, title), f"{path} for {title}"
        folders = [t for t in fields.tags if kinds.get(t) == "folder"]
        folder = min((f for f in folders if index.path_of.get(f)), default=None)
        above = str(PurePosixPath(path).parent)
        assert above == (index.path_of[folder] if folder else "."), f"{path} in {folders}"
    strange = [
        str(p) for p in player.root.rglob("*")
        # A temporary whose removal failed is swept away by the next start.
        if p.is_file() and p.suffix != ".md"
        and p.name != ".heapsyncd" and not TEMP.fullmatch(p.name)
    ]  # fmt: skip
    assert not strange, f"{player.name}: {strange}"
    return {w for v in versions for w in tokens(v.data.decode("utf-8", "replace"))}


async def _versions(player: Player, found: Iterable[BlockId]) -> set[str]:
    """The words of all that ``history`` shows on a device."""
    async with await open_cache(player.device.account, player.device.base / "state") as db:
        texts = await db.read(lambda tx: [v.data for b in found for v in history.versions(tx, b)])
    return {w for text in texts for w in tokens(text.decode("utf-8", "replace"))}


def _difference(found: dict[BlockId, str], live: dict[BlockId, Replica]) -> str:
    too_many = {b: p for b, p in found.items() if b not in live}
    missing = {b: r.fields().title for b, r in live.items() if b not in found}
    return f"without a live document {too_many}, without a file {missing}"

"""Carries an edit out: what differs between two versions of a body becomes operations.

From right to left, so that every index is one of the old state. Inserting and deleting need not be
minimal here: what is to stay has been decided (``raw`` and ``origin``), and is not touched.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment, XmlText

from heapsyncd.document.build import fast_blocks
from heapsyncd.document.build.fast_blocks import Unmade
from heapsyncd.document.view.from_nodes import Path, View
from heapsyncd.document.xml.nodes import Elem, Formats, Node, Run, Txt, read_node
from heapsyncd.document.xml.schema import ITEMS, LISTS, same
from heapsyncd.errors import InvalidEdit


def write(old: Elem, new: Elem, txn: Transaction) -> list[Path]:
    """Turn the element that ``old`` was read from into ``new``, whose ``raw`` is the same.

    Returns:
        Where it changed: the child indexes that lead to each node whose attributes, text or list
        of children did.
    """
    changed: list[Path] = []
    todo: list[tuple[Path, Elem, Elem]] = [((), old, new)]
    while todo:
        path, before, after = todo.pop()
        if before is after:
            continue
        raw = before.raw
        assert raw is not None
        assert raw is after.raw
        is_changed = isinstance(raw, XmlElement) and _write_attributes(
            raw, before.attrs, after.attrs, txn
        )
        kept, is_other = _write_children(raw, before.children, after.children, txn)
        if is_changed or is_other:
            changed.append(path)
        for k, was, node in kept:
            if isinstance(was, Elem) and isinstance(node, Elem):
                todo.append(((*path, k), was, node))
            else:
                changed.append((*path, k))
    return changed


def _write_attributes(
    raw: XmlElement, old: dict[str, Any], new: dict[str, Any], txn: Transaction
) -> bool:
    """Set and remove attributes; whether there were any to be."""
    gone = [name for name in old if name not in new]
    for name in gone:
        raw.remove_attribute(txn, name)
    set_ = [n for n, value in new.items() if n not in old or not same(old[n], value)]
    for name in set_:
        raw.insert_attribute(txn, name, new[name])
    return bool(gone or set_)


def _write_children(
    raw: XmlElement | XmlFragment, old: Sequence[Node], new: Sequence[Node], txn: Transaction
) -> tuple[list[tuple[int, Node, Node]], bool]:
    """Insert and delete children, and change texts.

    Returns:
        The children that stay but not as they are, with their old index; whether any other came
        or went.
    """
    head, tail = _same_ends(old, new)
    at = {id(node.raw): k for k, node in enumerate(old)}
    stays: list[tuple[int, Node, Node]] = []
    right = len(old) - tail
    for node in reversed(new[head : len(new) - tail]):
        if node.raw is None:
            plant(raw, right, node, txn)
            continue
        k = at[id(node.raw)]
        assert k < right, "children that stay keep their order"
        _remove(raw, k + 1, right, txn)
        right = k
        before = old[k]
        if before is not node:
            stays.append((k, before, node))
            if isinstance(before, Txt) and isinstance(node, Txt):
                _write_text(before, node, txn)
    _remove(raw, head, right, txn)
    is_other = len(old) != len(new) or any(n.raw is None for n in new[head : len(new) - tail])
    return stays, is_other


def _same_ends(old: Sequence[Node], new: Sequence[Node]) -> tuple[int, int]:
    """How many children at either end are untouched."""
    most = min(len(old), len(new))
    head = next((k for k in range(most) if old[k] is not new[k]), most)
    rest = range(most - head)
    tail = next((k for k in rest if old[-1 - k] is not new[-1 - k]), most - head)
    return head, tail


def verify(old: Elem, new: Elem, txn: Transaction) -> None:
    """Read back what was written: it must show as the values it was written from.

    Raises:
        InvalidEdit: it does not; nothing of it may be sent.
    """
    todo = [(old, new)]
    while todo:
        before, after = todo.pop()
        assert after.raw is not None
        untouched = {id(n) for n in before.children}
        stays = {id(n.raw): n for n in before.children if isinstance(n, Elem)}
        written = after.raw.children(txn)
        if len(written) != len(after.children):
            raise InvalidEdit(_UNPLANNED)
        for raw, node in zip(written, after.children, strict=True):
            if id(node) in untouched or isinstance(raw, XmlText):
                continue
            was = stays.get(id(node.raw)) if _is_container(node) else None
            if was is not None and isinstance(node, Elem) and _is_as(raw, node, txn):
                todo.append((was, node))
            elif not _shows(raw, node, txn):
                raise InvalidEdit(_UNPLANNED)


_UNPLANNED = "the edit was not carried out as planned"


def _is_container(node: Node) -> bool:
    """Whether a node stays and holds blocks or items: only what is new among these is read."""
    tags = {"blockquote", *LISTS, *ITEMS.values()}
    return isinstance(node, Elem) and node.raw is not None and node.tag in tags


def _is_as(raw: XmlElement | XmlFragment, node: Elem, txn: Transaction) -> bool:
    if not isinstance(raw, XmlElement):
        return False
    found = dict(raw.attributes(txn))
    return (
        raw.tag() == node.tag  # type: ignore[attr-defined]  # missing in the stubs
        and found.keys() == node.attrs.keys()
        and all(same(found[k], v) for k, v in node.attrs.items())
    )


def _shows(raw: XmlElement | XmlFragment, node: Node, txn: Transaction) -> bool:
    if isinstance(node, Unmade) and node.block is not None:
        spelling = fast_blocks.spelling(node.block, node.spoken)
        return isinstance(raw, XmlElement) and raw.get_string(txn) == spelling
    view, read = View(numbered=False), read_node(raw, txn)
    if _is_alike(read, node):
        return True
    if isinstance(node, Elem) and node.tag in ITEMS.values():
        return read.tag == node.tag and view.blocks(read, ()) == view.blocks(node, ())
    return view.block(read, ()) == view.block(node, ())


def _is_alike(a: Node, b: Node) -> bool:
    """Whether two nodes are the same to the letter, so that they need not be viewed."""
    todo = [(a, b)]
    while todo:
        x, y = todo.pop()
        if isinstance(x, Txt) and isinstance(y, Txt):
            if not _are_alike(x.runs, y.runs):
                return False
        elif isinstance(x, Elem) and isinstance(y, Elem):
            if x.tag != y.tag or len(x.children) != len(y.children):
                return False
            if (x.attrs or y.attrs) and not same(x.attrs, y.attrs):
                return False
            todo += zip(x.children, y.children, strict=True)
        else:
            return False
    return True


def _are_alike(a: Sequence[Run], b: Sequence[Run]) -> bool:
    if len(a) == len(b) == 1 and not (a[0].formats or b[0].formats):
        return a[0].text == b[0].text and a[0].embed == b[0].embed
    return _joined(a) == _joined(b)


def _joined(runs: Sequence[Run]) -> list[tuple[str, Formats, Any]]:
    """The runs as they are read: neighbours with equal formats as one."""
    out: list[tuple[str, Formats, Any]] = []
    for run in runs:
        last = out[-1] if out else None
        if last and last[2] is None and run.embed is None and same(last[1], run.formats):
            out[-1] = (last[0] + run.text, run.formats, None)
        else:
            out.append((run.text, run.formats, run.embed))
    return out


def _remove(
    raw: XmlElement | XmlFragment | XmlText, start: int, end: int, txn: Transaction
) -> None:
    if start < end:
        raw.remove_range(txn, start, end - start)


def plant(raw: XmlElement | XmlFragment, index: int, node: Node, txn: Transaction) -> None:
    """Create a node with everything below it as a child of ``raw``."""
    todo = [(raw, index, node)]
    while todo:
        parent, at, item = todo.pop()
        if isinstance(item, Txt):
            _plant_text(parent, at, item, txn)
            continue
        if isinstance(item, Unmade) and item.block is not None:
            fast_blocks.plant(parent, at, item.block, item.spoken, txn)
            continue
        made = parent.insert_element_prelim(txn, at, item.tag)
        for name, value in item.attrs.items():
            made.insert_attribute(txn, name, value)
        # The last child first, always to the front: an index further in is counted from there.
        todo += [(made, 0, child) for child in item.children]


def _plant_text(parent: XmlElement | XmlFragment, at: int, node: Txt, txn: Transaction) -> None:
    runs = node.runs
    plain = runs[0].text if runs and not runs[0].formats and runs[0].embed is None else ""
    made = parent.insert_str(txn, at, plain)
    end = len(plain.encode())
    for run in runs[1:] if plain else runs:
        _insert(made, end, run, txn)
        end += 1 if run.embed is not None else len(run.text.encode())


def _insert(raw: XmlText, at: int, run: Run, txn: Transaction) -> None:
    # All formats are named: inserted text inherits none by itself.
    if run.embed is None:
        raw.insert(txn, at, run.text, iter(run.formats.items()))
    elif isinstance(run.embed, dict):
        raw.insert_embed(txn, at, run.embed, iter(run.formats.items()))  # type: ignore[attr-defined]
    else:
        raise InvalidEdit("an embedded object can't be copied")


def _write_text(old: Txt, new: Txt, txn: Transaction) -> None:
    raw = old.raw
    assert raw is not None
    offsets = old.offsets()
    right = len(old.text)
    for run in reversed(new.runs):
        if run.origin is None:
            _insert(raw, offsets.byte(right), run, txn)
            continue
        end = run.origin + len(run.text)
        _remove(raw, offsets.byte(end), offsets.byte(right), txn)
        right = run.origin
        for start, stop, change in _changes(old, right, end, run.formats):
            a, b = offsets.byte(start), offsets.byte(stop)
            raw.format(txn, a, b - a, iter(change.items()))
    _remove(raw, 0, offsets.byte(right), txn)


def _changes(
    old: Txt, start: int, end: int, wanted: Formats
) -> Iterator[tuple[int, int, Formats]]:
    """The net changes of formats in a stretch; neighbouring equal ones as one."""
    found: list[tuple[int, int, Formats]] = []
    for run in old.runs:
        assert run.origin is not None
        first, last = max(start, run.origin), min(end, run.origin + len(run.text))
        if first >= last:
            continue
        have = run.formats
        change = {k: None for k in have if k not in wanted}
        change |= {k: v for k, v in wanted.items() if k not in have or not same(have[k], v)}
        if found and found[-1][1:] == (first, change):
            found[-1] = (found[-1][0], last, change)
        elif change:
            found.append((first, last, change))
    yield from found

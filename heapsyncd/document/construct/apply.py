"""Write the difference between two versions of a body to the document.

Works from right to left, so that every index is one of the old state. What stays is marked by
``raw`` and ``origin`` and is not touched; insertions and deletions are not minimised here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment, XmlText

from heapsyncd.document.construct import fast_blocks
from heapsyncd.document.construct.fast_blocks import DeferredElem
from heapsyncd.document.view.from_nodes import Path, View
from heapsyncd.document.xml.nodes import Elem, Formats, Node, Run, Txt, read_node
from heapsyncd.document.xml.schema import ITEMS, LISTS, js_equal
from heapsyncd.errors import InvalidEdit


def write(old: Elem, new: Elem, txn: Transaction) -> list[Path]:
    """Turn the element that ``old`` was read from into ``new``, whose ``raw`` is the same.

    Returns:
        The paths of the nodes whose attributes, text or list of children changed.
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
    """Set and remove attributes; returns whether any changed."""
    gone = [name for name in old if name not in new]
    for name in gone:
        raw.remove_attribute(txn, name)
    set_ = [n for n, value in new.items() if n not in old or not js_equal(old[n], value)]
    for name in set_:
        raw.insert_attribute(txn, name, new[name])
    return bool(gone or set_)


def _write_children(
    raw: XmlElement | XmlFragment, old: Sequence[Node], new: Sequence[Node], txn: Transaction
) -> tuple[list[tuple[int, Node, Node]], bool]:
    """Insert and delete children, and change texts.

    Returns:
        The changed children that stay, each with its old index; whether others were added or
        removed.
    """
    head, tail = _same_ends(old, new)
    at = {id(node.raw): k for k, node in enumerate(old)}
    stays: list[tuple[int, Node, Node]] = []
    right = len(old) - tail
    for node in reversed(new[head : len(new) - tail]):
        if node.raw is None:
            insert(raw, right, node, txn)
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
    """Count the untouched children at both ends."""
    most = min(len(old), len(new))
    head = next((k for k in range(most) if old[k] is not new[k]), most)
    rest = range(most - head)
    tail = next((k for k in rest if old[-1 - k] is not new[-1 - k]), most - head)
    return head, tail


def verify(old: Elem, new: Elem, txn: Transaction) -> None:
    """Read back what was written and check that it shows what the new nodes show.

    Raises:
        InvalidEdit: it does not; the update must not be sent.
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
    """Tell whether a node stays and holds blocks or items; only new ones among those are read."""
    tags = {"blockquote", *LISTS, *ITEMS.values()}
    return isinstance(node, Elem) and node.raw is not None and node.tag in tags


def _is_as(raw: XmlElement | XmlFragment, node: Elem, txn: Transaction) -> bool:
    if not isinstance(raw, XmlElement):
        return False
    found = dict(raw.attributes(txn))
    return (
        raw.tag() == node.tag  # type: ignore[attr-defined]  # missing in the stubs
        and found.keys() == node.attrs.keys()
        and all(js_equal(found[k], v) for k, v in node.attrs.items())
    )


def _shows(raw: XmlElement | XmlFragment, node: Node, txn: Transaction) -> bool:
    if isinstance(node, DeferredElem) and node.block is not None:
        spelling = fast_blocks.spelling(node.block, node.vocabulary)
        return isinstance(raw, XmlElement) and raw.get_string(txn) == spelling
    view, read = View(numbered=False), read_node(raw, txn)
    if _is_identical(read, node):
        return True
    if isinstance(node, Elem) and node.tag in ITEMS.values():
        return read.tag == node.tag and view.blocks(read, ()) == view.blocks(node, ())
    return view.block(read, ()) == view.block(node, ())


def _is_identical(a: Node, b: Node) -> bool:
    """Tell whether two nodes are exactly equal, so that their views need no comparison."""
    todo = [(a, b)]
    while todo:
        x, y = todo.pop()
        if isinstance(x, Txt) and isinstance(y, Txt):
            if not _are_identical(x.runs, y.runs):
                return False
        elif isinstance(x, Elem) and isinstance(y, Elem):
            if x.tag != y.tag or len(x.children) != len(y.children):
                return False
            if (x.attrs or y.attrs) and not js_equal(x.attrs, y.attrs):
                return False
            todo += zip(x.children, y.children, strict=True)
        else:
            return False
    return True


def _are_identical(a: Sequence[Run], b: Sequence[Run]) -> bool:
    if len(a) == len(b) == 1 and not (a[0].formats or b[0].formats):
        return a[0].text == b[0].text and a[0].embed == b[0].embed
    if len(a) == len(b) and all(map(_are_same, a, b)):
        return True
    return _joined(a) == _joined(b)


def _are_same(a: Run, b: Run) -> bool:
    if a.text != b.text or a.embed is not None or b.embed is not None:
        return False
    return not (a.formats or b.formats) or js_equal(a.formats, b.formats)


def _joined(runs: Sequence[Run]) -> list[tuple[str, Formats, Any]]:
    """Return the runs as they would be read: neighbours with equal formats joined."""
    out: list[tuple[str, Formats, Any]] = []
    for run in runs:
        last = out[-1] if out else None
        if last and last[2] is None and run.embed is None and js_equal(last[1], run.formats):
            out[-1] = (last[0] + run.text, run.formats, None)
        else:
            out.append((run.text, run.formats, run.embed))
    return out


def _remove(
    raw: XmlElement | XmlFragment | XmlText, start: int, end: int, txn: Transaction
) -> None:
    if start < end:
        raw.remove_range(txn, start, end - start)


def insert(raw: XmlElement | XmlFragment, index: int, node: Node, txn: Transaction) -> None:
    """Create a node with everything below it as a child of ``raw``."""
    todo = [(raw, index, node)]
    while todo:
        parent, at, item = todo.pop()
        if isinstance(item, Txt):
            _insert_text(parent, at, item, txn)
            continue
        if isinstance(item, DeferredElem) and item.block is not None:
            fast_blocks.insert(parent, at, item.block, item.vocabulary, txn)
            continue
        made = parent.insert_element_prelim(txn, at, item.tag)
        for name, value in item.attrs.items():
            made.insert_attribute(txn, name, value)
        # Last child first, always at index 0: yrs walks to an index from the front.
        todo += [(made, 0, child) for child in item.children]


def _insert_text(parent: XmlElement | XmlFragment, at: int, node: Txt, txn: Transaction) -> None:
    runs = node.runs
    plain = runs[0].text if runs and not runs[0].formats and runs[0].embed is None else ""
    made = parent.insert_str(txn, at, plain)
    end = len(plain.encode())
    for run in runs[1:] if plain else runs:
        _insert_run(made, end, run, txn)
        end += 1 if run.embed is not None else len(run.text.encode())


def _insert_run(raw: XmlText, at: int, run: Run, txn: Transaction) -> None:
    # All formats are passed: inserted text inherits none by itself.
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
            _insert_run(raw, offsets.byte(right), run, txn)
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
    """Yield the format changes of a range, adjacent equal ones joined; None removes a format."""
    found: list[tuple[int, int, Formats]] = []
    for run in old.runs:
        assert run.origin is not None
        first, last = max(start, run.origin), min(end, run.origin + len(run.text))
        if first >= last:
            continue
        have = run.formats
        change = {k: None for k in have if k not in wanted}
        change |= {k: v for k, v in wanted.items() if k not in have or not js_equal(have[k], v)}
        if found and found[-1][1:] == (first, change):
            found[-1] = (found[-1][0], last, change)
        elif change:
            found.append((first, last, change))
    yield from found

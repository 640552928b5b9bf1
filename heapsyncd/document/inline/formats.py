"""Formats of edited text: shown marks as wished, everything markdown can't say carried along."""

from collections.abc import Iterable, Sequence

from heapsyncd.document.xml.nodes import Formats
from heapsyncd.document.xml.schema import is_link, mark_value, marks_of, same, shown
from heapsyncd.tree import Marks


def restyle(formats: Formats, marks: Marks) -> Formats:
    """A run's formats with exactly these marks shown; keys and values that can stay do."""
    if marks_of(formats) == marks:
        return formats
    have = shown(formats)
    links = [k for k, v in formats.items() if is_link(k, v)]
    wants_link = any(m.kind == "link" for m in marks)
    out = {
        k: v
        for k, v in formats.items()
        if (k not in have or have[k] in marks) and (wants_link or k not in links)
    }
    for mark in marks:
        if mark in have.values():
            continue
        key = links[0] if mark.kind == "link" and links else mark.kind
        out[key] = mark_value(mark, formats.get(key))
    return out


def hidden(formats: Formats) -> Formats:
    """The formats markdown can't say."""
    if not formats:
        return formats
    have = shown(formats)
    return {k: v for k, v in formats.items() if k not in have and not is_link(k, v)}


def common(runs: Sequence[Formats]) -> Formats:
    """The formats that all runs have with the same value."""
    if not runs:
        return {}
    first = runs[0]
    return {k: v for k, v in first.items() if all(k in r and same(r[k], v) for r in runs[1:])}


def inherit(marks: Marks, unseen: Formats, neighbours: Iterable[Formats]) -> Formats:
    """Formats for inserted text.

    Args:
        marks: what it is to show.
        unseen: formats markdown can't say that it inherits.
        neighbours: runs whose marks it extends: their keys and values are copied verbatim.
    """
    out = dict(unseen)
    for mark in marks:
        for formats in neighbours:
            key = next((k for k, m in shown(formats).items() if m == mark), None)
            if key is not None:
                out[key] = formats[key]
                break
        else:
            out[mark.kind] = mark_value(mark)
    return out

"""Compute the formats of edited text: visible marks as wanted, hidden formats carried along."""

from collections.abc import Iterable, Sequence

from heapsyncd.document.xml.nodes import Formats
from heapsyncd.document.xml.schema import is_link, js_equal, mark_value, marks_of, visible_marks
from heapsyncd.tree import Marks


def restyle(formats: Formats, marks: Marks) -> Formats:
    """Return a run's formats changed so that exactly these marks show; the rest is kept."""
    if marks_of(formats) == marks:
        return formats
    have = visible_marks(formats)
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
    """Return the formats that markdown cannot express."""
    if not formats:
        return formats
    have = visible_marks(formats)
    return {k: v for k, v in formats.items() if k not in have and not is_link(k, v)}


def common(runs: Sequence[Formats]) -> Formats:
    """Return the formats that all runs have with the same value."""
    if not runs:
        return {}
    first = runs[0]
    return {k: v for k, v in first.items() if all(k in r and js_equal(r[k], v) for r in runs[1:])}


def inherit(marks: Marks, inherited: Formats, neighbours: Iterable[Formats]) -> Formats:
    """Return the formats for inserted text.

    Args:
        marks: the marks that it shows.
        inherited: the hidden formats that it takes over.
        neighbours: formats of adjacent runs. A mark that one of them has is continued: its key and
            value are copied verbatim.
    """
    out = dict(inherited)
    for mark in marks:
        for formats in neighbours:
            key = next((k for k, m in visible_marks(formats).items() if m == mark), None)
            if key is not None:
                out[key] = formats[key]
                break
        else:
            out[mark.kind] = mark_value(mark)
    return out

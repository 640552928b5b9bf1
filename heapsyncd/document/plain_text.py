"""Extract a document's text for search and listings.

It costs a fraction of the markdown view, and includes text inside nodes that markdown cannot
express.
"""

from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import pycrdt_errors
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.nodes import Elem, Txt


def text(replica: Replica) -> str:
    """Return all text of the body, with a line for each element that contains some.

    Raises:
        UnreadableDocument: the body can't be read.
    """
    with pycrdt_errors():
        body = nodes.read(replica.doc, nodes.BODY)
    lines: list[str] = []
    todo: list[Elem] = [body]
    while todo:
        elem = todo.pop()
        line = "".join(_shown(child) for child in elem.children)
        if line.strip():
            lines.append(line)
        todo += [child for child in reversed(elem.children) if isinstance(child, Elem)]
    return "\n".join(lines)


def _shown(child: Elem | Txt) -> str:
    """Return a text as it is and a mention's label; '' for elements, which get own lines."""
    if isinstance(child, Txt):
        return child.text.replace(nodes.OBJECT, " ")
    label = child.attrs.get("label")
    return label if isinstance(label, str) else ""

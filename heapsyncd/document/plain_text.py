"""A document's text and nothing else: for search and listings.

It costs a fraction of the markdown view, and shows more: also the text inside nodes that markdown
can't say.
"""

from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import contained
from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.nodes import Elem, Txt


def text(replica: Replica) -> str:
    """All text of the body, a line for each element that holds some.

    Raises:
        UnreadableDocument: the body can't be read.
    """
    with contained():
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
    """A text as it is, a mention as its label; another element has lines of its own."""
    if isinstance(child, Txt):
        return child.text.replace(nodes.OBJECT, " ")
    label = child.attrs.get("label")
    return label if isinstance(label, str) else ""

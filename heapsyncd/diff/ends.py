"""Compare two texts that were inserted at one position."""

from heapsyncd.diff.sequences import shared_ends


def common_ends(a: str, b: str, old: str) -> tuple[int, int]:
    """Count the characters that two texts share at their starts and at their ends.

    Only whole words count, and all of ``old``, the text that both replace.
    """
    if a == b:
        return len(a), 0
    head, tail = shared_ends(a, b)
    most = min(len(a), len(b))
    least = len(old) if a[:head].startswith(old) else 0
    while head > least and not (_edge(a, head, most) and _edge(b, head, most)):
        head -= 1
    most -= head
    tail = min(tail, most)
    least = len(old) if a[len(a) - tail :].endswith(old) else 0
    while tail > least and not (_edge(a[::-1], tail, most) and _edge(b[::-1], tail, most)):
        tail -= 1
    return head, tail


def _edge(text: str, at: int, most: int) -> bool:
    """Tell whether no word continues across a position; a space belongs to the word after it.

    ``most`` is where the shorter text ends; a space at that end stands alone.
    """
    if at == most:
        return not (at < len(text) and text[at - 1].isalnum() and text[at].isalnum())
    return not text[at - 1].isspace() and not (text[at - 1].isalnum() and text[at].isalnum())

"""What two texts that were written at one place have in common."""

from heapsyncd.diff.sequences import shared_ends


def common_ends(a: str, b: str, old: str) -> tuple[int, int]:
    """How many characters, of whole words or of the text they stand for, two texts share at their
    beginnings and ends.
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
    """Whether no word goes on here; a space stays with the word behind it, if there is any on both
    sides (``most``: where one of them ends).
    """
    if at == most:
        return not (at < len(text) and text[at - 1].isalnum() and text[at].isalnum())
    return not text[at - 1].isspace() and not (text[at - 1].isalnum() and text[at].isalnum())

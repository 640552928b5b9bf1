"""Find what two sequences share: exactly where that is cheap, well enough where it is not."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence

Match = tuple[int, int, int]
"""``a[i:i+n]`` equals ``b[j:j+n]``: (i, j, n)."""

Gap = tuple[int, int, int, int]
"""``a[i1:i2]`` became ``b[j1:j2]``."""

_TABLE_CELLS = 4_000_000
"""The largest product of lengths for the exact LCS, which keeps a bit a cell (half a megabyte)."""
_MOST_EDITS = 160
"""The most edits that Myers' algorithm looks for."""


def matches(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[Match]:
    """Find stretches that a and b share in order.

    They form a longest common subsequence, or a good one where that costs too much. The time is
    bounded: a hundred thousand equal elements with a few edits, or with unique ones among them,
    take well below a second.
    """
    out: list[Match] = []
    todo = [(0, len(a), 0, len(b))]
    while todo:
        i1, i2, j1, j2 = todo.pop()
        head, tail = shared_ends(a[i1:i2], b[j1:j2])
        if head:
            out.append((i1, j1, head))
        if tail:
            out.append((i2 - tail, j2 - tail, tail))
        i1, i2, j1, j2 = i1 + head, i2 - tail, j1 + head, j2 - tail
        if i1 == i2 or j1 == j2:
            continue
        found = _few_or_small(a[i1:i2], b[j1:j2])
        if found is not None:
            out += [(i + i1, j + j1, n) for i, j, n in found]
            continue
        at = (i1, j1)
        anchors = _unique_anchors(a[i1:i2], b[j1:j2])
        for i, j in [(i + i1, j + j1) for i, j in anchors]:
            out.append((i, j, 1))
            if at[0] < i and at[1] < j:
                todo.append((at[0], i, at[1], j))
            at = (i + 1, j + 1)
        if anchors:
            todo.append((at[0], i2, at[1], j2))
    return _merged(sorted(out))


def _merged(found: list[Match]) -> list[Match]:
    out: list[Match] = []
    for i, j, n in found:
        if out and out[-1][0] + out[-1][2] == i and out[-1][1] + out[-1][2] == j:
            out[-1] = (out[-1][0], out[-1][1], out[-1][2] + n)
        else:
            out.append((i, j, n))
    return out


def gaps_between(found: list[Match], len_a: int, len_b: int) -> list[Gap]:
    """Return what the matches leave out."""
    out: list[Gap] = []
    i = j = 0
    for i2, j2, n in [*found, (len_a, len_b, 0)]:
        if i < i2 or j < j2:
            out.append((i, i2, j, j2))
        i, j = i2 + n, j2 + n
    return out


def _shared(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Return the length of the common prefix, comparing ever longer slices (at the speed of C)."""
    low, most, step = 0, min(len(a), len(b)), 16
    while low < most:
        high = min(most, low + step)
        if a[low:high] != b[low:high]:
            break
        low, step = high, step * 4
    else:
        return most
    high = min(most, low + step)
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def shared_ends(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[int, int]:
    """Return the lengths of the common prefix and of the common suffix of the rest."""
    head = _shared(a, b)
    return head, _shared(a[head:][::-1], b[head:][::-1])


def _few_or_small(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[Match] | None:
    if len(a) * len(b) <= _TABLE_CELLS:
        from rapidfuzz.distance import LCSseq

        blocks = LCSseq.opcodes(a, b)
        return [
            (o.src_start, o.dest_start, o.src_end - o.src_start)
            for o in blocks
            if o.tag == "equal"
        ]
    return _few_edits(a, b)


def _few_edits(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[Match] | None:
    """Run Myers' greedy algorithm, comparing slices; None when there are too many edits."""
    furthest = {1: 0}
    trace: list[dict[int, int]] = []
    for d in range(_MOST_EDITS):
        trace.append(dict(furthest))
        for k in range(-d, d + 1, 2):
            down = k == -d or (k != d and furthest[k - 1] < furthest[k + 1])
            x = furthest[k + 1] if down else furthest[k - 1] + 1
            if x > len(a) or x - k > len(b):
                furthest[k] = x
                continue
            x += _snake(a, b, x, x - k)
            furthest[k] = x
            if x >= len(a) and x - k >= len(b):
                return _backtrack(trace, d, len(a), len(b))
    return None


def _snake(a: Sequence[Hashable], b: Sequence[Hashable], x: int, y: int) -> int:
    """Return how many elements a from x and b from y share."""
    start, step = x, 8
    while x < len(a) and y < len(b):
        part_a, part_b = a[x : x + step], b[y : y + step]
        if part_a != part_b:
            return x - start + _shared(part_a, part_b)
        x, y, step = x + len(part_a), y + len(part_a), step * 4
    return x - start


def _backtrack(trace: list[dict[int, int]], d: int, x: int, y: int) -> list[Match]:
    out: list[Match] = []
    for step in range(d, -1, -1):
        before, k = trace[step], x - y
        down = k == -step or (k != step and before[k - 1] < before[k + 1])
        k_before = k + 1 if down else k - 1
        x0 = before[k_before] if step else 0
        y0 = x0 - k_before if step else 0
        start = (x0 if down else x0 + 1) if step else 0
        if x > start:
            out.append((start, start - k, x - start))
        x, y = x0, y0
    return sorted(out)


def _unique_anchors(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the longest ordered chain of elements that are unique on each side (patience)."""
    once_a = {x for x, n in Counter(a).items() if n == 1}
    once_b = {x for x, n in Counter(b).items() if n == 1}
    where = {x: j for j, x in enumerate(b) if x in once_a and x in once_b}
    pairs = [(i, where[x]) for i, x in enumerate(a) if x in where]
    tails: list[int] = []
    links: list[int] = []
    last: list[int] = []
    for n, (_, j) in enumerate(pairs):
        at = bisect_left(tails, j)
        if at == len(tails):
            tails.append(j)
            last.append(n)
        else:
            tails[at], last[at] = j, n
        links.append(last[at - 1] if at else -1)
    chain: list[tuple[int, int]] = []
    n = last[-1] if last else -1
    while n >= 0:
        chain.append(pairs[n])
        n = links[n]
    return chain[::-1]

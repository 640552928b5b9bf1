"""Yjs updates made struct by struct: sound ones, odd ones, and such as nobody should make."""

import json
from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from heapsyncd.document.encoding.state_vectors import encode_varint

CRASHERS = [
    [bytes.fromhex(data) for data in json.loads(line)]
    for line in (Path(__file__).parent.parent / "data/yrs-crashers.txt").read_text().splitlines()
    if not line.startswith("#")
]
"""Sequences that end the process of pycrdt."""

CLIENTS = (1, 2, 7)
CLOCKS = st.integers(0, 12)
ROOTS = st.sampled_from([b"content_v0", b"meta_v0", b"title_v0", b"files_v0", b"m"])
NAMES = st.sampled_from([b"paragraph", b"listItem", b"hardBreak", b"p"])
KEYS = st.sampled_from([b"k", b"deleted_at", b"level", b"bold"])
TEXTS = st.sampled_from([b"a", b"ab", b"abc", "é".encode(), "👋".encode(), "x👋y".encode()])
JSON = st.sampled_from([b"null", b"{}", b"true", b'"x"', b'{"a":[1]}'])

Struct = tuple[bytes, int]
"""Its bytes and its length."""


def span(data: bytes) -> bytes:
    """A string or byte array."""
    return encode_varint(len(data)) + data


def update(
    sections: Sequence[tuple[int, int, Sequence[Struct]]], deletions: bytes = b"\0"
) -> bytes:
    """An update of (client, clock, structs)."""
    parts = [encode_varint(len(sections))]
    for client, clock, structs in sections:
        parts += [encode_varint(len(structs)), encode_varint(client), encode_varint(clock)]
        parts += [data for data, _ in structs]
    return b"".join([*parts, deletions])


def deleting(client: int, *ranges: tuple[int, int]) -> bytes:
    """The deletions of one client, as the end of an update."""
    numbers = [encode_varint(n) for pair in ranges for n in pair]
    return b"\1" + encode_varint(client) + encode_varint(len(ranges)) + b"".join(numbers)


def item(kind: int, content: bytes, head: bytes = b"\1\1m", flags: int = 0) -> bytes:
    """An item; without flags ``head`` says in what it lies."""
    return bytes([flags | kind]) + head + content


IDS = st.builds(
    lambda client, clock: encode_varint(client) + encode_varint(clock),
    st.sampled_from(CLIENTS),
    CLOCKS,
)
VALUES = st.recursive(
    st.sampled_from([b"\x78", b"\x79", b"\x7e", b"\x7f", b"\x7d\x05", b"\x7d\xc5\x03"])
    | TEXTS.map(lambda t: b"\x77" + span(t))
    | st.binary(min_size=8, max_size=8).map(lambda b: b"\x7b" + b)
    | st.binary(min_size=4, max_size=4).map(lambda b: b"\x7c" + b)
    | st.binary(max_size=3).map(lambda b: b"\x74" + span(b)),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda v: b"\x75" + encode_varint(len(v)) + b"".join(v))
        | st.lists(st.tuples(KEYS, inner), max_size=2).map(
            lambda v: b"\x76" + encode_varint(len(v)) + b"".join(span(k) + x for k, x in v)
        )
    ),
    max_leaves=4,
)
CONTENT: st.SearchStrategy[tuple[int, bytes, int]] = st.one_of(
    st.integers(1, 4).map(lambda n: (1, encode_varint(n), n)),
    st.binary(max_size=3).map(lambda b: (3, span(b), 1)),
    TEXTS.map(lambda t: (4, span(t), len(t.decode().encode("utf-16-le")) // 2)),
    JSON.map(lambda j: (5, span(j), 1)),
    st.builds(lambda k, j: (6, span(k) + span(j), 1), KEYS, JSON),
    st.sampled_from([0, 1, 2, 4, 6]).map(lambda t: (7, bytes([t]), 1)),
    NAMES.map(lambda n: (7, b"\3" + span(n), 1)),
    st.lists(VALUES, min_size=1, max_size=3).map(
        lambda v: (8, encode_varint(len(v)) + b"".join(v), len(v))
    ),
    st.just((9, span(b"guid") + b"\x76\0", 1)),
)
HEADS = st.one_of(
    IDS.map(lambda i: (0x80, i)),
    IDS.map(lambda i: (0x40, i)),
    st.builds(lambda a, b: (0xC0, a + b), IDS, IDS),
    IDS.map(lambda i: (0xA0, i)),
    ROOTS.map(lambda r: (0, b"\1" + span(r))),
    IDS.map(lambda i: (0, b"\0" + i)),
    st.builds(lambda r, k: (0x20, b"\1" + span(r) + span(k)), ROOTS, KEYS),
    st.builds(lambda i, k: (0x20, b"\0" + i + span(k)), IDS, KEYS),
)
ITEMS: st.SearchStrategy[Struct] = st.builds(
    lambda head, content: (item(content[0], content[1], head[1], head[0]), content[2]),
    HEADS,
    CONTENT,
)
STRUCTS: st.SearchStrategy[Struct] = (
    ITEMS
    | ITEMS
    | st.integers(1, 4).map(lambda n: (b"\0" + encode_varint(n), n))
    | st.integers(1, 4).map(lambda n: (b"\x0a" + encode_varint(n), n))
)
DELETIONS = st.lists(
    st.tuples(
        st.sampled_from(CLIENTS),
        st.lists(st.tuples(CLOCKS, st.integers(1, 4)), min_size=1, max_size=3),
    ),
    max_size=2,
    unique_by=lambda found: found[0],
).map(
    lambda found: (
        encode_varint(len(found)) + b"".join(deleting(c, *ranges)[1:] for c, ranges in found)
    )
)
SECTIONS = st.lists(
    st.tuples(
        st.sampled_from(CLIENTS),
        st.integers(0, 3) | CLOCKS,
        st.lists(STRUCTS, min_size=1, max_size=5),
    ),
    max_size=3,
    unique_by=lambda section: section[0],
)
UPDATES = st.builds(update, SECTIONS, DELETIONS)
"""Sound updates, that make sense or do not."""
EMPTY_STRUCTS = st.sampled_from(
    [b"\0\0", b"\x0a\0", item(4, b"\0"), item(8, b"\0"), item(1, b"\0")]
)
ODD = st.builds(
    lambda sections, empty, deletions: update(
        [(c, k, [*structs, (empty, 0)]) for c, k, structs in sections], deletions
    ),
    SECTIONS,
    EMPTY_STRUCTS,
    DELETIONS,
)
"""With structs that have no length."""


def chain(depth: int, *, beside: bool = False, clients: int = 1) -> bytes:
    """Types in types; ``beside``: each but the outermost stands beside a text."""
    sections: dict[int, list[tuple[bytes, int]]] = {c: [] for c in range(clients)}
    inside, at = b"\1\1m", 0
    for k in range(depth):
        client = k % clients
        if beside:
            sections[client].append((item(4, b"\1a", inside), 1))
            at = len(sections[client]) - 1
            inside = encode_varint(client) + encode_varint(at)
        flags = 0x80 if beside else 0
        sections[client].append((item(7, b"\3\1p", inside, flags), 1))
        inside = b"\0" + encode_varint(client) + encode_varint(len(sections[client]) - 1)
    return update([(c, 0, s) for c, s in sections.items() if s])

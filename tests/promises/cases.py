"""Cases that were got wrong once (``data/regressions.yaml``), as documents and files."""

from pathlib import Path
from typing import Any

import yaml

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY
from heapsyncd.markdown import frontmatter
from heapsyncd.markdown.encoding import decode
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.write.render import render
from heapsyncd.tree import Block
from tests.document.worlds import build
from tests.markdown.conftest import Heap

CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "regressions.yaml").read_text())
HEAP = Heap()


def document_of(body: list[Any]) -> bytes:
    """A document with a body as the data file says it."""

    def spec(item: list[Any]) -> Any:
        if item and isinstance(item[0], str):
            return item[0], item[1], [spec(child) for child in item[2]]
        return [tuple(run) for run in item]

    return build([spec(item) for item in body])


def body_of(data: bytes) -> str:
    return frontmatter.split(decode(data).text)[1]


def read(data: bytes) -> Block:
    return parse(body_of(data), HEAP)


def started(case: dict[str, Any]) -> tuple[bytes, bytes]:
    """A case's document and the file that shows it."""
    if "doc" in case:
        document = document_of(case["doc"])
        return document, render(Replica.load([document]).view(), HEAP).encode()
    data = case["file"].encode()
    return express([], Target(body=read(data))).update or EMPTY, data

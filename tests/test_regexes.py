"""No regular expression of the project has two ways to read the same text."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import heapsyncd
from tests.doubling import doubling

CHARS = "a0 \t\n\r-#:\"'\\[]<>`|&*/._!=+~,;(){}@%\x00\u2028é"
VERBS = "match|fullmatch|search|sub|finditer|findall|split"
REPEATS = {ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT}
ATTACKS = 150
"""So many for each expression, at most."""
MOST = 2000
"""Repetitions: with these a quadratic search shows, and a linear one takes no time."""


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(heapsyncd.__path__, "heapsyncd."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def expressions() -> Iterator[tuple[str, "re.Pattern[Any]", str]]:
    """Every expression that a module holds or writes in a call, and how it is used."""
    for module in modules():
        source = Path(module.__file__).read_text()
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                verbs = set(re.findall(rf"\b{name}\.({VERBS})\(", source)) or {"search"}
                for verb in sorted(verbs):
                    yield f"{module.__name__}.{name}.{verb}", value, verb
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name("re"), attr=verb),
                    args=[ast.Constant(value=str() | bytes() as text), *_],
                ) if re.fullmatch(VERBS, verb):
                    yield f"{module.__name__}:{node.lineno}", re.compile(text), verb


def holds(items: list[Any], char: str) -> bool:
    """Whether a character class holds a character."""
    classes = {
        ops.CATEGORY_DIGIT: r"\d", ops.CATEGORY_NOT_DIGIT: r"\D", ops.CATEGORY_SPACE: r"\s",
        ops.CATEGORY_NOT_SPACE: r"\S", ops.CATEGORY_WORD: r"\w", ops.CATEGORY_NOT_WORD: r"\W",
    }  # fmt: skip
    found = False
    for op, value in items:
        found |= (
            (op is ops.LITERAL and ord(char) == value)
            or (op is ops.RANGE and value[0] <= ord(char) <= value[1])
            or (op is ops.CATEGORY and re.match(classes[value], char) is not None)
        )
    return found != (items[0][0] is ops.NEGATE)


def words(tree: Any, limit: int) -> list[str]:
    """Some of the texts that a parsed expression reads."""
    out = [""]
    for op, value in tree:
        if op is ops.LITERAL:
            options = [chr(value)]
        elif op in {ops.IN, ops.ANY, ops.NOT_LITERAL}:
            options = [
                c
                for c in CHARS
                if (op is ops.IN and holds(value, c))
                or (op is ops.ANY and c != "\n")
                or (op is ops.NOT_LITERAL and ord(c) != value)
            ][:6] or [
                chr(v if o is ops.LITERAL else v[0]) for o, v in value if o is not ops.NEGATE
            ]
        elif op is ops.BRANCH:
            options = [word for branch in value[1] for word in words(branch, 3)]
        elif op in {ops.SUBPATTERN, ops.ATOMIC_GROUP}:
            options = words(value[3] if op is ops.SUBPATTERN else value, limit)
        elif op in REPEATS:
            least, _, inner = value
            options = [w * max(1, least) for w in words(inner, limit)]
            options += [""] if not least else []
        else:
            options = [""]
        out = [a + b for a in out for b in options][:limit]
    return list(dict.fromkeys(out))


def repeated(tree: Any, before: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Each part that may be repeated without a bound: what can stand before it, what it reads."""
    for op, value in tree:
        if op in REPEATS:
            if value[1] is ops.MAXREPEAT or value[1] > 50:
                yield before, words(value[2], 6)
            yield from repeated(value[2], before)
        elif op in {ops.SUBPATTERN, ops.ATOMIC_GROUP}:
            yield from repeated(value[3] if op is ops.SUBPATTERN else value, before)
        elif op is ops.BRANCH:
            for branch in value[1]:
                yield from repeated(branch, before)
        before = [a + b for a in before for b in words([(op, value)], 3)][:4]


def attacks(pattern: "re.Pattern[Any]") -> Iterator[tuple[str, str, str]]:
    """Beginnings, what to repeat behind them, and ends that make a reading fail."""
    source = pattern.pattern
    text = source if isinstance(source, str) else source.decode("latin-1")
    for starts, inner in repeated(parser.parse(text, pattern.flags), [""]):
        for start in [*starts[:2], "x"]:
            for one in filter(None, inner):
                for pump in (one, *(one + other for other in inner[:3] if other != one)):
                    for end in ("\x01", "", "\n"):
                        yield start, pump, end


ALL = {name: (pattern, verb) for name, pattern, verb in expressions()}


@pytest.mark.parametrize("name", ALL)
def test_reading_is_linear(name: str) -> None:
    """Twice the text takes about twice as long, whatever is repeated in it."""
    pattern, verb = ALL[name]
    read = getattr(pattern, verb if verb in {"match", "fullmatch"} else "search")
    for start, pump, end in islice(attacks(pattern), ATTACKS):

        def work(size: int, parts: tuple[str, str, str] = (start, pump, end)) -> Any:
            text = parts[0] + parts[1] * size + parts[2]
            whole = text if isinstance(pattern.pattern, str) else text.encode()
            return lambda: read(whole)

        assert doubling(work, MOST) < 3, (pattern.pattern, start, pump, end)

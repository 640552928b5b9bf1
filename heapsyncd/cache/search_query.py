"""Read what a person types to search notes. Pure: any text is a valid query.

=============== ==========================================================================
``boat deck``   both words; the last one may be the beginning of a word
``boat*``       words that begin so
``"red boat"``  these words in this order; so is ``red-boat``
``boat OR hut`` one of the two
``-draft``      not this; before everything else, too
``tag:client``  a tag; ``title:`` the title or an alias
``in:Projects`` in this folder or below it; ``heap:Home`` in this heap (title or id)
=============== ==========================================================================

The text of a note is indexed with a separator between characters of scripts that do not put spaces
between words, and so are queries: any part of such a text is found as a phrase.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

Field = Literal["tag", "title"]
COLUMNS: Final = {"tag": "tags", "title": "title names"}
"""The columns of the index that a field means."""
SEPARATOR: Final = "\x01"
"""Stands between characters that are words of their own; the tokenizer takes it for a space."""

_TOKEN = re.compile(r'(-)?(?:(tag|title|heap|in):)?(?:"([^"]*+)(?:"|\Z)|(\S++))', re.IGNORECASE)
_FIELD = re.compile(r"-?(?:tag|title|heap|in):", re.IGNORECASE)
_UNSPACED = re.compile(
    "["
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Chinese
    "\u1100-\u11ff\uac00-\ud7af"  # Korean: particles are written together with words
    "]++"
)
_WORD: Final = r"[\p{L}\p{N}\p{Co}\p{M}]+"
"""What the tokenizer of the index takes for a word."""
_CORE: Final = r"[\p{L}\p{N}\p{Co}]"


class Term(Struct, frozen=True):
    """Words that stand in this order, in any part of a note or in one ``field``."""

    words: tuple[str, ...]
    field: Field | None = None
    is_prefix: bool = False
    """Whether the last word may be the beginning of one."""

    def expression(self) -> str:
        """Return the term as an expression of the index."""
        words = unspaced(" ".join(self.words)).replace(SEPARATOR, " ")
        columns = f"{{{COLUMNS[self.field]}}} : " if self.field else ""
        return f'{columns}"{words}"{" *" if self.is_prefix else ""}'


class Place(Struct, frozen=True):
    """A heap or a folder that notes have to be in, or must not be in."""

    kind: Literal["heap", "in"]
    name: str
    is_excluded: bool = False


class Query(Struct, frozen=True):
    """What to find: of each of ``wanted`` one term, none of ``excluded``, in all ``places``."""

    wanted: tuple[tuple[Term, ...], ...] = ()
    excluded: tuple[Term, ...] = ()
    places: tuple[Place, ...] = ()

    def expression(self) -> str:
        """Return what is wanted as an expression of the index; '' for any note."""
        return " AND ".join(
            f"({' OR '.join(t.expression() for t in terms)})" for terms in self.wanted
        )

    def excluding(self) -> str:
        """Return what is excluded as an expression of the index; '' for nothing."""
        return " OR ".join(t.expression() for t in self.excluded)


def parse(text: str, heap: str | None = None) -> Query:
    """Return the query that a text is; ``heap``: only in this heap."""
    wanted: list[tuple[Term, ...]] = []
    excluded: list[Term] = []
    places: list[Place] = [] if heap is None else [Place("heap", heap)]
    tokens = [found.groups() for found in _TOKEN.finditer(text)]
    joins = False
    for at, (minus, named, quoted, bare) in enumerate(tokens):
        field, value = (named or "").lower(), bare if quoted is None else quoted
        if field in {"heap", "in"}:
            places.append(Place(field, value, bool(minus)))  # type: ignore[arg-type]
            continue
        if bare == "OR" and not minus and not field:
            joins = True
            continue
        is_last = at + 1 == len(tokens) and not minus and not field
        is_prefix = quoted is None and (is_last or value.endswith("*"))
        words = tuple(words_of(value))
        term = Term(words, field or None, is_prefix)  # type: ignore[arg-type]
        if words and minus:
            excluded.append(term)
        elif words and joins and wanted:
            wanted[-1] = (*wanted[-1], term)
        elif words:
            wanted.append((term,))
        joins = False
    return Query(tuple(wanted), tuple(excluded), tuple(places))


def joined(arguments: Sequence[str]) -> str:
    """Return the arguments of a command as a query; a single one is a query as it is.

    Of several, ``tag:red boat`` was quoted, and the shell has taken the quotes away.
    """
    return " ".join(map(_quoted, arguments) if len(arguments) > 1 else arguments)


def _quoted(argument: str) -> str:
    found = _FIELD.match(argument)
    if found is None or '"' in argument or not re.search(r"\s", argument):
        return argument
    return f'{found[0]}"{argument[found.end() :]}"'


def words_of(text: str) -> Iterator[str]:
    """Yield the words of a text."""
    import regex

    is_core = regex.compile(_CORE).search
    for word in regex.findall(_WORD, unicodedata.normalize("NFC", text)):
        if is_core(word):
            yield word


def unspaced(text: str) -> str:
    """Return a text with ``SEPARATOR`` between characters that are words of their own."""
    if text.isascii():
        return text
    return _UNSPACED.sub(_separated, unicodedata.normalize("NFC", text))


def _separated(found: re.Match[str]) -> str:
    return f"{SEPARATOR}{SEPARATOR.join(found[0])}{SEPARATOR}"

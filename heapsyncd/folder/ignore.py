"""Which paths are never synced: our own, what editors leave lying about, ``.heaperignore``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILE = ".heaperignore"
MARKER = ".heapsyncd"
TEMP = re.compile(r"\.heapsyncd-[0-9a-z-]+\.tmp")
"""Our own temporaries, in full. Nothing else may be swept away."""

PLACEHOLDER = ".heapsyncd-remote"
"""How the names end that stand for a content which is on the server only."""

DEFAULTS = (
    ".*",  # dotfiles, and with them .git/ and .obsidian/, .#lock and .swp files
    ".obsidian/",
    ".git/",
    "*~",  # nano, gedit, emacs: backups
    ".#*",  # emacs: lock links
    r"\#*#",  # emacs: auto-saves
    "*.swp",  # vim
    "*.swo",
    "*.swx",
    "4913",  # vim: probes whether it may create files here
    "*.tmp",
    "*.tmp.[0-9]*",  # tools that write name.tmp.<pid> and rename
    "~$*",  # Office: locks
)
"""In the syntax of gitignore; a line ``!pattern`` in ``.heaperignore`` takes one back."""


_STAR: Final = "[^/]*"
_LEADING: Final = "^(?:.+/)?"
_BETWEEN: Final = "(?:/.+)?"
"""How pathspec writes ``*``, and ``**`` before and between other parts; nothing else has a slash
or reads the same."""


class _Pattern(GitIgnoreSpecPattern):
    """A pattern matched in time that is linear in a name's length, however many stars it has.

    What stands between two stars is looked for once, from the left, and not again elsewhere: where
    a later place would do, the first does too, as the star behind it takes what is in between.
    """

    __slots__ = ()

    @classmethod
    def pattern_to_regex(cls, pattern: Any) -> tuple[Any, bool | None]:
        """As pathspec does; the regular expression has atomic groups between stars."""
        regex, include = super().pattern_to_regex(pattern)
        return (_without_choices(regex) if regex else regex), include


def _without_choices(regex: str) -> str:
    first, *others = map(_stars, regex.split(_BETWEEN))
    if not others:
        return first
    head = first.removeprefix(_LEADING)
    if head != first:
        first = f"^(?>(?:.+?/)??{head}(?=/))"
    between = "".join(f"(?>(?:/.+?)??{part}(?=/))" for part in others[:-1])
    return f"{first}{between}{_BETWEEN}{others[-1]}"


def _stars(regex: str) -> str:
    """A part without inner ``**``; the last star of a name needs no group: its end is fixed."""
    first, *others = regex.split(_STAR)
    for k, part in enumerate(others, 1):
        ends = k == len(others) or "/" in part.replace("[^/]", "")
        first += f"{_STAR}{part}" if ends else f"(?>{_STAR}?{part})"
    return first


def _spec(lines: Sequence[str]) -> GitIgnoreSpec:
    # Other engines, which pathspec would take where they are installed, know no atomic groups.
    return GitIgnoreSpec.from_lines(lines, _Pattern, backend="simple")


@dataclass(frozen=True)
class Ignore:
    """The rules of one heap's folder; made by ``parse``."""

    _own: GitIgnoreSpec | None
    """Defaults and own lines; None when there are no own lines (the usual, and quicker)."""

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read a ``.heaperignore``; None when there is none.

        A line that is no pattern is passed over, as git does: one typing error must not make
        the other lines void.
        """
        lines = [line for line in (text or "").splitlines() if line.strip()]
        own = [line for line in lines if not line.startswith("#") and _is_pattern(line)]
        return cls(_spec([*DEFAULTS, *own]) if own else None)

    def match(self, path: str, is_dir: bool) -> bool:
        """Whether a path, or a directory above it, is ignored.

        Args:
            path: relative to the heap's folder, with ``/``.
            is_dir: whether it is a directory, for patterns that end in a slash.
        """
        parts = path.split("/")
        # Not for anybody to take back: the mirror would sync its own bookkeeping.
        if _is_ours(path, parts):
            return True
        if self._own is None:
            return any(_by_default(part) for part in parts)
        # A trailing slash is how pathspec is told of a directory.
        return self._own.match_file(f"{path}/" if is_dir else path)

    def rule(self, path: str, is_dir: bool) -> str | None:
        """Which pattern a path, or a directory above it, is ignored by; None when it is not."""
        if not self.match(path, is_dir):
            return None
        parts = path.split("/")
        if _is_ours(path, parts):
            return "heapsyncd's own bookkeeping"
        spec = self._own or _DEFAULT_SPEC
        for end in range(1, len(parts) + 1):
            above = "/".join(parts[:end])
            found = spec.check_file(f"{above}/" if is_dir or end < len(parts) else above)
            if found.include and found.index is not None:
                text = str(spec.patterns[found.index])
                return f"{text} (by default)" if text in DEFAULTS else f"{text} in {IGNORE_FILE}"
        return "a default rule"


class _OnlyPlaceholders(Ignore):
    def match(self, path: str, is_dir: bool) -> bool:
        """Whether a path is no placeholder, nor a directory that may hold some."""
        if is_dir:
            return super().match(path, is_dir)
        return not path.endswith(PLACEHOLDER)


NO_RULES = Ignore.parse(None)
ONLY_PLACEHOLDERS = _OnlyPlaceholders(None)
"""For a scan that finds placeholders and nothing else."""
_DEFAULT_SPEC = _spec(DEFAULTS)


def _is_ours(path: str, parts: Sequence[str]) -> bool:
    return (
        path == IGNORE_FILE
        or path.endswith(PLACEHOLDER)
        or any(part == MARKER or TEMP.fullmatch(part) for part in parts)
    )


def _is_pattern(line: str) -> bool:
    try:
        _spec([line])
    except ValueError:
        return False
    return True


@lru_cache(maxsize=65536)
def _by_default(name: str) -> bool:
    # Every default concerns one name, so that a name's answer is the same wherever it stands.
    return _DEFAULT_SPEC.match_file(f"{name}/") or _DEFAULT_SPEC.match_file(name)

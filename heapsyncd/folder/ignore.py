"""Decide which paths are never synced: internal files, editors' leftovers, ``.heaperignore``."""

import re
from collections.abc import Sequence
from typing import Any, Final, Self

from msgspec import Struct
from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILE = ".heaperignore"
MARKER = ".heapsyncd"
TEMP = re.compile(r"\.heapsyncd-[0-9a-z-]+\.tmp")
"""Full names of our own temporaries. Only these may be cleaned up."""

PLACEHOLDER = ".heapsyncd-remote"
"""The suffix of files that stand for content which is only on the server."""

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
"""In gitignore syntax. A line ``!pattern`` in ``.heaperignore`` cancels one."""


_STAR: Final = "[^/]*"
_LEADING: Final = "^(?:.+/)?"
_BETWEEN: Final = "(?:/.+)?"
"""How pathspec translates ``*``, and ``**`` before and between other parts.

No other pattern yields the same text or a slash.
"""


class _Pattern(GitIgnoreSpecPattern):
    """A pattern that matches in time linear in the name's length, however many stars it has.

    Text between two stars is searched once, from the left, without backtracking. This is exact: if
    a later occurrence would match, the first does too, because the next star covers what lies
    between.
    """

    __slots__ = ()

    @classmethod
    def pattern_to_regex(cls, pattern: Any) -> tuple[Any, bool | None]:
        """Translate as pathspec does, with atomic groups between stars."""
        regex, include = super().pattern_to_regex(pattern)
        return (_without_backtracking(regex) if regex else regex), include


def _without_backtracking(regex: str) -> str:
    first, *others = map(_atomic_stars, regex.split(_BETWEEN))
    if not others:
        return first
    head = first.removeprefix(_LEADING)
    if head != first:
        first = f"^(?>(?:.+?/)??{head}(?=/))"
    between = "".join(f"(?>(?:/.+?)??{part}(?=/))" for part in others[:-1])
    return f"{first}{between}{_BETWEEN}{others[-1]}"


def _atomic_stars(regex: str) -> str:
    """Make the stars of one part atomic.

    The last star of a name needs no group: its end is fixed.
    """
    first, *others = regex.split(_STAR)
    for k, part in enumerate(others, 1):
        ends = k == len(others) or "/" in part.replace("[^/]", "")
        first += f"{_STAR}{part}" if ends else f"(?>{_STAR}?{part})"
    return first


def _spec(lines: Sequence[str]) -> GitIgnoreSpec:
    # pathspec would prefer other engines where installed; they lack atomic groups.
    return GitIgnoreSpec.from_lines(lines, _Pattern, backend="simple")


def _one_pattern(spec: GitIgnoreSpec) -> "re.Pattern[str]":
    """Return one pattern for all of a specification's, each of which matches a single name.

    A scan asks for every path. It finds such a name anywhere in a path.
    """
    patterns = [p.regex.pattern.removeprefix(_LEADING) for p in spec.patterns if p.regex]
    # Groups of the same name may not be in one pattern.
    any_of_them = "|".join(re.sub(r"\?P<\w+>", "", pattern) for pattern in patterns)
    return re.compile(f"(?:^|/)(?:{any_of_them})")


class Ignore(Struct, frozen=True):
    """The ignore rules of one heap's folder. Created by ``parse``."""

    _own: GitIgnoreSpec | None
    """Defaults and the user's lines; None if there are no user lines, the common case."""

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read the text of a ``.heaperignore``, None if there is none.

        Invalid lines are skipped, as git does: one typo must not disable the other lines.
        """
        lines = [line for line in (text or "").splitlines() if line.strip()]
        own = [line for line in lines if not line.startswith("#") and _is_pattern(line)]
        return cls(_spec([*DEFAULTS, *own]) if own else None)

    def match(self, path: str, is_dir: bool) -> bool:
        """Return whether a path, or a directory above it, is ignored.

        Args:
            path: relative to the heap's folder, with ``/``.
            is_dir: whether it is a directory, for patterns that end with a slash.
        """
        # pathspec recognises a directory by its trailing slash.
        name = f"{path}/" if is_dir else path
        if self._own is None:
            # Of our own internal files only this kind does not begin with a dot.
            return path.endswith(PLACEHOLDER) or _BY_DEFAULT.search(name) is not None
        # No `!pattern` may cancel this, or the mirror would sync its own internal files.
        return _is_internal(path, path.split("/")) or self._own.match_file(name)

    def rule(self, path: str, is_dir: bool) -> str | None:
        """Return, for people, which pattern ignores a path, None if it is not ignored.

        The pattern may also match a directory above the path.
        """
        if not self.match(path, is_dir):
            return None
        parts = path.split("/")
        if _is_internal(path, parts):
            return "heapsyncd's own internal file"
        spec = self._own or _DEFAULT_SPEC
        for end in range(1, len(parts) + 1):
            above = "/".join(parts[:end])
            found = spec.check_file(f"{above}/" if is_dir or end < len(parts) else above)
            if found.include and found.index is not None:
                text = str(spec.patterns[found.index])
                return f"{text} (by default)" if text in DEFAULTS else f"{text} in {IGNORE_FILE}"
        return "a default rule"


class _OnlyPlaceholders(Ignore, frozen=True):
    def match(self, path: str, is_dir: bool) -> bool:
        """Return whether a path is neither a placeholder nor a directory that may hold some."""
        if is_dir:
            return super().match(path, is_dir)
        return not path.endswith(PLACEHOLDER)


NO_RULES = Ignore.parse(None)
ONLY_PLACEHOLDERS = _OnlyPlaceholders(None)
"""For a scan that finds only placeholders."""
_DEFAULT_SPEC = _spec(DEFAULTS)
_BY_DEFAULT: Final = _one_pattern(_DEFAULT_SPEC)


def _is_internal(path: str, parts: Sequence[str]) -> bool:
    """Return whether a path is one of heapsyncd's own files."""
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

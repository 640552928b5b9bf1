"""What is never synced, by default and by ``.heaperignore``."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from heapsyncd.folder.ignore import DEFAULTS, NO_RULES, Ignore
from tests.doubling import doubling

names = st.text("ab.#~ -é", min_size=1).filter(lambda n: n not in {".", ".."})
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@pytest.mark.parametrize(
    "path",
    [
        *(".hidden", "a/.hidden.md", ".git/config", ".obsidian/app.json", "a/.obsidian/b.md"),
        *("note.md~", ".#note.md", "#note.md#", ".note.md.swp", "x.swp", "4913", "a/4913"),
        *("x.tmp", "note.md.tmp.4711.1690", "~$letter.docx", ".~lock.table.ods#", "x.swx"),
        *(".heapsyncd", ".heaperignore", ".heapsyncd-0123456789ab.tmp", "a/.heapsyncd"),
        *(".heapsyncd-part-0123456789abcdef.tmp", ".goutputstream-AB12CD", ".note.md.kate-swp"),
    ],
)
def test_what_editors_leave_is_ignored(path: str) -> None:
    """Locks, backups, probes and temporaries of editors, and our own files, are passed over."""
    assert NO_RULES.match(path, is_dir=False)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "note.md",
            "a/b.md",
            "Boat.assets/plan.pdf",
            "49130",
            "x.tmp.md",
            "a~b",
            "#1.md",
            "~.md",
        ),
        *("heapsyncd.md", "tmp", "a.template", "x.tmp.bak", "$~.md", "...md".lstrip(".")),
    ],
)
def test_ordinary_files_are_not(path: str) -> None:
    """Notes and attachments whose names only resemble such files are synced."""
    assert not NO_RULES.match(path, is_dir=False)


@pytest.mark.parametrize(
    ("line", "path", "is_dir", "ignored"),
    [
        ("drafts/", "drafts", True, True),
        ("drafts/", "drafts/a.md", False, True),
        ("drafts/", "drafts", False, False),
        ("/top.md", "top.md", False, True),
        ("/top.md", "a/top.md", False, False),
        ("*.bak", "a/b/c.bak", False, True),
        ("a/**/z.md", "a/b/c/z.md", False, True),
        ("!*.tmp", "x.tmp", False, False),
        ("# only a comment", "note.md", False, False),
        ("!.heapsyncd", ".heapsyncd", False, True),
        ("!.heapsyncd-*", "a/.heapsyncd-0123456789ab.tmp", False, True),
        ("*.bak", "x.swp", False, True),
    ],
)
def test_own_lines_are_read_as_git_reads_them(
    line: str, path: str, is_dir: bool, ignored: bool
) -> None:
    """A ``.heaperignore`` adds to the defaults and takes them back, but never our own files."""
    assert Ignore.parse(f"{line}\n").match(path, is_dir) is ignored


def test_a_mistyped_line_does_not_make_the_others_void() -> None:
    """A line that is no pattern is passed over."""
    rules = Ignore.parse("!\n*.bak\n///\n\n")
    assert rules.match("x.bak", is_dir=False)
    assert not rules.match("x.md", is_dir=False)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("*a" * 12 + "b", "a"),
        ("*" * 30 + "b", "a"),
        ("*?" * 12 + "[b-c]", "a"),
        ("a/**/" * 12 + "b", "a/"),
        ("**/*a*a/**/*a*b/**/c", "aa/"),
    ],
)
def test_many_stars_cost_no_more_than_a_few(line: str, name: str) -> None:
    """A name twice as long is looked at twice as long."""
    rules = Ignore.parse(line)
    assert doubling(lambda size: lambda: rules.match(name * size + "x", is_dir=False), 2000) < 3


globs = st.text("ab*?/", min_size=1, max_size=9)


@settings(max_examples=500)
@given(
    globs, st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=5), st.booleans()
)
def test_stars_mean_what_pathspec_says(line: str, parts: list[str], is_dir: bool) -> None:
    """The quick way and the simple one agree on every name."""
    path = "/".join(parts)
    try:
        plain = GitIgnoreSpec.from_lines([*DEFAULTS, line], backend="simple")
    except ValueError:
        return
    assert Ignore.parse(line).match(path, is_dir) is plain.match_file(path + "/" * is_dir)


@given(paths, st.booleans())
def test_without_lines_the_defaults_hold(path: str, is_dir: bool) -> None:
    """No file, an empty one, and one of comments mean the same, for every path."""
    expected = NO_RULES.match(path, is_dir)
    for text in (None, "", "\n\n", "# a comment\n"):
        assert Ignore.parse(text).match(path, is_dir) is expected
    # A rule that concerns none of these paths takes the slower way to the same answer.
    assert Ignore.parse("*.zzz\n").match(path, is_dir) is expected


@given(paths, st.text("ab.", min_size=1))
def test_what_is_in_an_ignored_directory_is_ignored(path: str, name: str) -> None:
    """A directory's answer holds for everything in it."""
    if NO_RULES.match(path, is_dir=True):
        assert NO_RULES.match(f"{path}/{name}", is_dir=False)


@given(paths, st.booleans(), st.lists(names, max_size=3))
def test_the_rule_that_ignores_can_be_named(path: str, is_dir: bool, lines: list[str]) -> None:
    """A path has a rule exactly when it is ignored."""
    rules = Ignore.parse("\n".join(lines))
    assert (rules.rule(path, is_dir) is not None) == rules.match(path, is_dir)


def test_the_rule_is_named_as_it_was_written() -> None:
    """Own lines, defaults, a directory above, and our own files are told apart."""
    rules = Ignore.parse("*.log\nbuild/\n")
    assert rules.rule("a/x.log", is_dir=False) == "*.log in .heaperignore"
    assert rules.rule("build/x.md", is_dir=False) == "build/ in .heaperignore"
    assert rules.rule("x.tmp", is_dir=False) == "*.tmp (by default)"
    assert rules.rule(".heapsyncd", is_dir=False) == "heapsyncd's own internal file"

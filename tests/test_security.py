"""Holes that were found once, what holds instead, and the tests that prove it."""

import ast
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent

CLIENT: Final = {
    "C3": (
        "a redirect of the socket's handshake is not followed: no token leaves the server",
        "wire/test_rest.py::test_a_redirected_socket_is_not_followed",
    ),
    "C4": (
        "a number beyond 2^53 says nothing, and is one block's trouble",
        "document/test_fields.py::test_a_number_that_nobody_can_hold_is_none",
        "wire/test_heaper.py::test_a_senseless_time_is_its_own_block_s_trouble",
        "sync/test_files.py::test_an_entry_that_nobody_could_have_meant",
        "cli/test_output.py::test_a_time_beyond_the_calendar_is_a_number",
    ),
    "C5": (
        "a ragged table is not filled up without end: opaque in a document, text in a file",
        "document/test_tree.py::test_a_ragged_table_that_would_take_all_memory_is_opaque",
        "document/test_tree.py::test_files_and_documents_draw_the_line_of_tables_alike",
        "markdown/test_parse.py::test_a_ragged_table_is_text",
    ),
    "C6": (
        "a user's text is read in linear time, beside the loop",
        "test_regexes.py::test_reading_is_linear",
        "markdown/test_frontmatter.py::test_a_note_that_begins_with_a_rule_is_read_in_linear_time",
        "markdown/test_frontmatter.py::test_any_block_is_read_in_linear_time",
        "sync/test_interpreter.py::test_a_note_that_begins_with_a_rule_and_has_crlf",
        "sync/test_interpreter.py::test_files_are_parsed_beside_the_loop",
    ),
    "C7": (
        "nothing that others wrote steers a terminal",
        "cli/test_output.py::test_a_line_stays_one_line_and_is_only_text",
        "cli/test_output.py::test_json_says_the_same_in_escapes",
        "cli/test_output.py::test_a_text_is_exact_for_a_program_and_harmless_for_a_person",
        "cli/test_output.py::test_titles_of_heaps_and_notes",
        "cli/test_output.py::test_a_log_on_a_terminal",
    ),
    "C8": (
        "a hash is 64 hex digits or absent: it names no other address",
        "document/test_fields.py::test_a_hash_is_64_hex_digits_or_absent",
        "sync/test_files.py::test_an_entry_that_nobody_could_have_meant",
    ),
    "C9": (
        "a download ends at the file's size, and is not unpacked",
        "backends/test_download.py::test_a_file_that_goes_on_for_ever_ends_at_its_size",
        "backends/test_download.py::test_a_file_that_is_compressed_is_refused",
    ),
    "C10": (
        "a version that is announced and never delivered is not asked for in a circle",
        "sync/test_refusals.py::test_a_version_that_never_comes",
    ),
    "C11": (
        "an answer is bounded in bytes, values and time",
        "wire/test_rest.py::test_an_answer_is_bounded_while_it_is_read",
        "wire/test_rest.py::test_values_are_counted_before_they_are_made",
        "wire/test_rest.py::test_a_refusal_is_bounded_too",
        "wire/test_rest.py::test_a_compressed_answer_is_refused_unread",
        "wire/test_rest.py::test_a_byte_now_and_then_is_not_waited_for",
        "sync/test_refusals.py::test_a_pass_ends_when_its_time_is_over",
    ),
    "C12": (
        "what is no challenge is not signed, and a key is for one server",
        "wire/test_signin.py::test_what_is_no_challenge_is_not_signed",
        "cli/test_output.py::test_a_key_is_for_one_server",
    ),
    "no encryption": (
        "a server without it is named by setup and run",
        "test_config.py::test_a_server_without_encryption_is_told_apart",
        "cli/test_output.py::test_a_server_without_encryption_is_named",
    ),
    "echoed token": (
        "a refusal is quoted without the token that it repeats",
        "wire/test_rest.py::test_what_a_refusal_says_holds_no_token",
    ),
    "state": (
        "the lock follows no link, and its directory is the user's alone",
        "test_statelock.py::test_a_lock_that_is_a_link_is_not_followed",
        "test_statelock.py::test_a_directory_open_to_others_is_refused",
        "test_statelock.py::test_another_user_s_directory_is_refused",
    ),
    "key and configuration": (
        "another user's key and a configuration that everybody may write are refused",
        "cli/test_output.py::test_a_key_of_another_user_exits_2",
        "cli/test_output.py::test_a_configuration_that_everybody_may_write_exits_2",
    ),
    "control socket": (
        "who hangs up early or nests too deeply is no trouble",
        "test_control.py::test_who_hangs_up_early_or_says_too_much_is_no_trouble",
    ),
    "ignore rules": (
        "many stars cost no more than a few, and mean the same",
        "folder/test_ignore.py::test_many_stars_cost_no_more_than_a_few",
        "folder/test_ignore.py::test_stars_mean_what_pathspec_says",
    ),
    "chunks": (
        "a server's chunks have a sensible size and number",
        "wire/test_upload.py::test_chunks_beyond_all_reason_are_refused",
        "wire/test_upload.py::test_small_chunks_are_taken_where_they_are_few",
    ),
    "core dumps": (
        "none is written where the key is in memory; the unit shuts it in",
        "cli/test_output.py::test_no_core_dump_holds_the_key",
        "test_systemd.py::test_what_holds_the_key_is_shut_in",
    ),
    "dependencies": (
        "declared, and locked by hash",
        "test_dependencies.py::test_what_is_imported_is_declared",
        "test_dependencies.py::test_what_is_declared_is_locked",
        "test_dependencies.py::test_ci_installs_from_the_lock_as_the_readme_says",
    ),
}
"""Of the mirror, by the finding: what holds, then the tests that prove it."""

ALL: Final = {**CLIENT}


@cache
def named_in(path: str) -> frozenset[str]:
    """The names of a file's tests, but for those that are known to fail."""
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    return frozenset(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not any("xfail" in ast.unparse(mark) for mark in node.decorator_list)
    )


@pytest.mark.parametrize("finding", ALL)
def test_every_hole_has_its_tests(finding: str) -> None:
    """What a finding names are tests, at least one, and none that is expected to fail."""
    holds, *tests = ALL[finding]
    assert holds
    assert tests
    for name in tests:
        path, _, function = name.partition("::")
        assert function in named_in(path), name

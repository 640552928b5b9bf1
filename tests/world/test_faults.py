"""Which tests prove the mirror against the known faults of power, disks, editors and links."""

import ast
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]

FAULTS: Final = {
    "killed at any step of a file's write": (
        "folder/test_replace.py::test_a_kill_at_each_call_leaves_old_or_new_text",
        "world/test_kill_points.py::test_kills",
    ),
    "a statement or a call fails: disk full, i/o error": (
        "test_database.py::test_each_failing_statement_leaves_all_or_nothing",
        "folder/test_replace.py::test_each_failing_call_leaves_old_or_new_text",
        "folder/test_replace.py::test_a_full_disk_leaves_no_temporary_behind",
        "world/test_kill_points.py::test_failures",
    ),
    "the cache is gone": (
        "sync/test_mirror.py::test_lost_cache",
        "world/test_world.py::test_world",
    ),
    "the cache is an older one, from a backup": ("world/test_recovery.py::test_older_cache",),
    "temporaries of an earlier life": (
        "folder/test_disk.py::test_only_our_own_temporaries_are_swept",
        "world/test_world.py::test_world",
    ),
    "two daemons on one state or one folder": (
        "test_daemon.py::test_a_second_daemon_is_refused",
        "test_statelock.py::test_a_second_holder_is_refused_and_told_who_holds_it",
        "folder/test_marker.py::test_a_folder_has_one_daemon",
    ),
    "stopped or cancelled in the midst of anything": (
        "test_daemon.py::test_a_mirror_that_does_not_end_is_cancelled",
        "test_database.py::test_a_cancelled_caller_leaves_no_half_transaction",
        "world/test_world.py::test_world",
    ),
    "clocks and stamps that jump": (
        "folder/test_snapshot.py::test_any_stamp_makes_a_file_modified",
        "world/test_recovery.py::test_own_writes_are_no_edits",
    ),
    "the folder is not mounted, deleted or renamed while it is mirrored": (
        "sync/test_mirror.py::test_marker_missing",
        "folder/test_marker.py::test_without_the_marker_nothing_is_written",
        "world/test_recovery.py::test_the_folder_is_renamed_while_it_runs",
    ),
    "the first start: an empty folder, or a full one": (
        "sync/test_mirror.py::test_first_mirror",
        "world/test_recovery.py::test_full_folder_meets_full_server",
        "world/test_recovery.py::test_plain_files_meet_their_notes",
    ),
    "a server that lists nothing, or too little": (
        "world/test_recovery.py::test_an_empty_answer_deletes_nothing",
        "wire/test_answers.py::test_a_body_that_is_not_the_shape",
    ),
    "very many deletions, at once or one by one": (
        "sync/test_holds.py::test_a_mass_deletion_is_held_over_restarts",
        "sync/test_holds.py::test_small_steps_within_an_hour_are_held",
        "sync/test_holds.py::test_a_mass_deletion_from_the_server_is_held",
        "sync/test_holds.py::test_undone",
    ),
    "rules that hide files": ("sync/test_files.py::test_rules_that_change",),
    "a formatter rewrites everything": (
        "sync/test_holds.py::test_a_formatter_is_let_through_and_told_of",
    ),
    "another server under the account's name": ("world/test_recovery.py::test_another_server",),
    "edits on both sides within the debounce": (
        "sync/test_mirror.py::test_both_sides_at_once",
        "world/test_kill_points.py::test_kills",
        "world/test_world.py::test_world",
    ),
    "a save between the last look and the replacing": (
        "folder/test_replace.py::test_a_save_after_the_last_look_is_not_lost",
    ),
    "an editor with an old text saves it": (
        "sync/test_stale.py::test_against_a_remote_change",
        "world/test_world.py::test_world",
    ),
    "edits while nobody mirrors": ("sync/test_mirror.py::test_offline_edits",),
    "the same edit on both sides": (
        "document/test_edit.py::test_the_same_correction_on_both_sides_is_made_once",
    ),
    "a deletion against an edit": (
        "sync/test_mirror.py::test_edit_wins_over_deletion",
        "sync/test_holds.py::test_an_edit_wins_over_a_held_deletion",
        "world/test_kill_points.py::test_kills",
    ),
    "deleted on both sides, made on both sides": (
        "world/test_recovery.py::test_deleted_on_both_sides",
        "world/test_recovery.py::test_made_on_both_sides",
    ),
    "a server that restarts": (
        "world/test_recovery.py::test_the_server_restarts",
        "peers/test_live.py::test_a_server_that_was_away_is_found_again",
    ),
    "characters beyond the plane, combining marks, right to left": (
        "peers/test_documents.py::test_edits_in_bulk_are_taken",
        "test_diff.py::test_hunks_never_split_a_grapheme",
    ),
    "updates that are damaged or none": (
        "document/test_replica.py::test_garbage_never_breaks_a_replica",
        "document/test_replica.py::test_a_panic_is_contained_but_nothing_else",
        "server/test_fuzz.py::test_any_frames",
    ),
    "line ends, BOM, no newline at the end": (
        "world/test_recovery.py::test_line_ends",
        "markdown/test_patch.py::test_line_ends_stay_what_they_are",
    ),
    "a file that is no text": ("sync/test_mirror.py::test_not_text",),
    "long notes": (
        "markdown/test_patch.py::test_size_costs_no_more_than_its_share",
        "test_diff.py::test_long_texts_are_compared_exactly",
    ),
    "a save that empties the file first": ("world/test_recovery.py::test_a_save_in_two_halves",),
    "the ways of editors to save": (
        "folder/test_watch.py::test_every_save_of_a_stream_is_hinted_at",
        "folder/test_ignore.py::test_what_editors_leave_is_ignored",
        "world/test_world.py::test_world",
    ),
    "the watch overflows, fails or misses something": (
        "folder/test_watch.py::test_a_huge_batch_means_everything",
        "folder/test_watch.py::test_what_is_in_a_new_directory_is_found",
        "folder/test_watch.py::test_real_limits_lead_to_polling",
        "folder/test_watch.py::test_a_folder_that_is_gone_is_watched_again_when_back",
    ),
    "our own writes and temporaries": (
        "world/test_recovery.py::test_own_writes_are_no_edits",
        "folder/test_watch.py::test_our_own_temporaries_are_no_hints",
        "sync/test_mirror.py::test_quiet",
    ),
    "renames in a circle, in a chain, together with an edit": (
        "sync/test_plan.py::test_any_permutation_of_names",
        "sync/test_names.py::test_swapped_notes",
        "world/test_kill_points.py::test_kills",
    ),
    "a file that is gone for a moment": ("world/test_recovery.py::test_gone_for_a_moment",),
    "links that time out, break, or end at a login page": (
        "wire/test_answers.py::test_arbitrary_bodies_raise_our_errors_only",
        "wire/test_rest.py::test_a_silent_server_is_unreachable",
        "wire/test_feed.py::test_a_silent_link_is_replaced",
    ),
    "a token that ends in the midst": (
        "wire/test_signin.py::test_a_refused_account_is_not_hammered_and_recovers",
        "backends/test_heaper.py::test_revoked_tokens_are_replaced_by_a_sign_in",
    ),
    "every status a server can answer": (
        "wire/test_answers.py::test_a_status_is_an_error",
        "wire/test_answers.py::test_retry_after_is_read_in_both_forms",
    ),
    "an answer that gets lost": ("world/test_recovery.py::test_an_answer_is_lost",),
    "a cursor that is lost, too old, or ahead": (
        "world/test_recovery.py::test_a_cursor_that_lies",
    ),
    "the same update over two ways, or over one alone": (
        "world/test_recovery.py::test_http_alone",
        "world/test_world.py::test_world",
    ),
    "many devices come back at once": ("wire/test_events.py::test_waits_double_up_to_a_cap",),
    "a live link accepted what the server never stored": (
        "server/test_durability.py::test_kill_loses_nothing_acknowledged",
        "world/test_recovery.py::test_the_server_restarts",
    ),
    "a state or folder of a newer version": (
        "test_database.py::test_a_newer_file_is_refused_by_name",
        "folder/test_marker.py::test_a_newer_marker_is_told",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_tests(fault: str) -> None:
    """The tests that a fault names exist."""
    for name in FAULTS[fault]:
        path, _, function = name.partition("::")
        tree = ast.parse((TESTS / path).read_text("utf-8"))
        found = {
            n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert function in found, name

"""What is known to break such programs, what a user must see then, and the tests that prove it."""

from typing import Final

import pytest

from tests.collected import unproved
from tests.holes import HOLES

AREAS: Final = {
    "power, crash, disk": range(1, 12),
    "the folder's root, and many changes at once": range(12, 25),
    "two people edit one text": range(25, 40),
    "watching, and editors": range(40, 51),
    "names, links, safety": range(51, 58),
    "network and server": range(58, 68),
    "attachments": range(68, 73),
    "the whole": range(75, 79),
    "found in use": range(79, 86),
}
"""Which numbers speak of what; none is left out. What takes days or a bench is not here."""

FAULTS: Final = {
    1: (
        "killed at any call of a file's write: old or new text, entire; the next start converges",
        "folder/test_replace.py::test_a_kill_at_each_call_leaves_old_or_new_text",
        "world/test_kill_points.py::test_kills",
    ),
    2: (
        "a note found empty or full of NULs at a start is damage: written again, never pushed",
        "promises/test_trouble.py::test_damaged_while_nobody_looked",
        "promises/test_trouble.py::test_emptied_again_is_meant",
    ),
    3: (
        "any SQL statement fails (full, i/o, busy, corrupt): no lost edit, never a false in sync",
        "test_database.py::test_each_failing_statement_leaves_all_or_nothing",
        "test_database.py::test_a_damaged_file_is_told_apart",
        "world/test_kill_points.py::test_failures",
    ),
    4: (
        "the cache is gone: rebuilt from folder and server, nothing doubled or deleted",
        "promises/test_mirror.py::test_lost_cache",
        "promises/test_places.py::test_lost_cache_with_folders",
        "world/test_world.py::test_world",
    ),
    5: (
        "the cache is put back from a backup: the old text is not pushed again",
        "world/test_recovery.py::test_older_cache",
        "promises/test_links.py::test_an_older_cache",
    ),
    6: (
        "the disk is full: originals intact, no temporaries left, goes on by itself",
        "folder/test_replace.py::test_a_full_disk_leaves_no_temporary_behind",
        "folder/test_replace.py::test_each_failing_call_leaves_old_or_new_text",
        "test_database.py::test_a_full_disk_stores_nothing_and_heals",
    ),
    7: (
        "one note or directory can't be written or read: it alone is in trouble, until it can",
        "promises/test_trouble.py::test_one_note_can_not_be_written",
        "promises/test_trouble.py::test_one_note_can_not_be_read",
        "folder/test_disk.py::test_an_unreadable_directory_is_a_problem",
    ),
    8: (
        "temporaries of earlier lives: ours are swept, a user's files never",
        "folder/test_disk.py::test_only_our_own_temporaries_are_swept",
    ),
    9: (
        "two daemons on one state or folder, a lock of the dead: refused by name, or taken over",
        "test_daemon.py::test_a_second_daemon_is_refused",
        "test_statelock.py::test_a_second_holder_is_refused_and_told_who_holds_it",
        "folder/test_marker.py::test_a_folder_has_one_daemon",
        "cli/test_run.py::test_a_second_daemon_exits_5_and_a_killed_one_leaves_no_lock",
    ),
    10: (
        "SIGTERM while starting, writing or sending: an end in time, nothing lost",
        "promises/commands/test_stop.py::test_stopped_while_it_starts",
        "promises/commands/test_stop.py::test_stopped_while_the_server_does_not_answer",
        "promises/commands/test_stop.py::test_stopped_in_the_midst",
        "test_daemon.py::test_a_mirror_that_does_not_end_is_cancelled",
        "test_database.py::test_a_cancelled_caller_leaves_no_half_transaction",
    ),
    11: (
        "clocks that jump, stamps that say nothing: the change is found, not all is changed",
        "promises/test_trouble.py::test_stamps_that_say_nothing",
        "promises/test_trouble.py::test_a_clock_that_jumps",
        "folder/test_snapshot.py::test_any_stamp_makes_a_file_modified",
    ),
    12: (
        "the root is not mounted: everything held, nothing deleted, goes on when it is back",
        "promises/test_mirror.py::test_marker_missing",
        "folder/test_marker.py::test_without_the_marker_nothing_is_written",
    ),
    13: (
        "the root is deleted or renamed while it is mirrored: held, nothing made elsewhere",
        "world/test_recovery.py::test_the_folder_is_renamed_while_it_runs",
    ),
    14: (
        "the first start with an empty folder: downloads alone",
        "promises/test_mirror.py::test_first_mirror",
    ),
    15: (
        "the first start with a full folder: matched by id and content, nothing doubled",
        "world/test_recovery.py::test_full_folder_meets_full_server",
        "world/test_recovery.py::test_plain_files_meet_their_notes",
    ),
    16: (
        "a server that lists nothing, too little, or a login page: an error, no deletions",
        "world/test_recovery.py::test_an_empty_answer_deletes_nothing",
        "wire/test_answers.py::test_a_body_that_is_not_the_shape",
        "promises/test_refusals.py::test_trouble_with_all_requests",
    ),
    17: (
        "most notes deleted within seconds: held; confirmed or taken back by a person",
        "promises/test_holds.py::test_confirmed",
        "promises/test_holds.py::test_undone",
        "promises/test_holds.py::test_a_mass_deletion_from_the_server_is_held",
    ),
    18: (
        "deletions that drip: held by the hour",
        "promises/test_holds.py::test_small_steps_within_an_hour_are_held",
    ),
    19: (
        "rules that hide files: those are no deletions",
        "promises/test_files.py::test_rules_that_change",
        "promises/test_files.py::test_rules_that_change_between_lives",
    ),
    20: (
        "a formatter rewrites everything: let through slowly, and told",
        "promises/test_holds.py::test_a_formatter_is_let_through_and_told_of",
        "sync/heap/test_limits.py::test_rewriting_is_bounded",
    ),
    21: (
        "the server is put back from a backup: it gets again what it lost, nothing is deleted",
        "world/test_recovery.py::test_server_from_a_backup",
        "world/test_recovery.py::test_server_from_a_backup_while_it_runs",
    ),
    22: (
        "another server under the account's name: refused, with what to do",
        "world/test_recovery.py::test_another_server",
    ),
    23: (
        "half a year offline: deletions reach unedited notes alone, the others are kept and told",
        "promises/test_trouble.py::test_half_a_year_offline",
    ),
    24: (
        "a hold outlives restarts and stays visible",
        "promises/test_holds.py::test_a_mass_deletion_is_held_over_restarts",
        "cli/test_deletions.py::test_without_a_daemon_the_next_pass_heeds_it",
    ),
    25: (
        "a save and a remote edit within one moment: both insertions are there",
        "promises/test_mirror.py::test_both_sides_at_once",
        "world/test_world.py::test_world",
    ),
    26: (
        "a save between our last look and the replacing: kept, and merged",
        "folder/test_replace.py::test_a_save_after_the_last_look_is_not_lost",
        "folder/test_replace.py::test_what_changed_since_is_not_overwritten",
    ),
    27: (
        "an editor saves an old text: its own edits alone count; that is told",
        "sync/merge/test_base_selection.py::test_against_a_remote_change",
        "promises/test_review.py::test_an_old_text_saved",
        "promises/test_review.py::test_saved_over_what_came",
    ),
    28: (
        "edits while nobody mirrors: merged from the stored base; no notice when one side edited",
        "promises/test_mirror.py::test_offline_edits",
        "promises/test_review.py::test_changes_apart_need_no_look",
        "world/test_apart.py::test_both_know_nothing_of_each_other",
    ),
    29: (
        "the same edit on both sides: made once",
        "document/test_edit.py::test_the_same_correction_on_both_sides_is_made_once",
        "sync/merge/test_overlaps.py::test_what_meets",
    ),
    30: (
        "deleted on one side, edited on the other: the edited text stays, and that is told",
        "promises/test_review.py::test_an_edit_of_a_deleted_note",
        "promises/test_review.py::test_a_deletion_of_an_edited_note",
        "promises/test_review.py::test_a_deletion_of_a_directory_with_an_edited_note",
        "promises/test_holds.py::test_an_edit_wins_over_a_held_deletion",
    ),
    31: (
        "deleted on both sides, made on both sides: silently one, or two under steady names",
        "world/test_recovery.py::test_deleted_on_both_sides",
        "world/test_recovery.py::test_made_on_both_sides",
    ),
    32: (
        "a server that restarts: no document is built anew from text, nothing doubled",
        "world/test_recovery.py::test_the_server_restarts",
        "peers/test_live.py::test_a_server_that_was_away_is_found_again",
    ),
    33: (
        "a document that comes empty after a failed load: refused, the file is kept",
        "promises/test_trouble.py::test_a_blanked_document_is_refused",
        "promises/test_trouble.py::test_a_blank_that_is_meant",
    ),
    34: (
        "emoji, combining marks, right to left at every edge of an edit: byte for byte",
        "peers/test_documents.py::test_edits_in_bulk_are_taken",
        "diff/test_text.py::test_hunks_never_split_a_grapheme",
        "document/test_edit.py::test_an_emoji_is_replaced_as_a_whole",
    ),
    35: (
        "damaged, huge or repeated updates: that block is set aside, all others go on",
        "document/test_replica.py::test_garbage_never_breaks_a_replica",
        "document/test_replica.py::test_a_panic_is_contained_but_nothing_else",
        "promises/test_mirror.py::test_unreadable_document",
        "promises/server/test_fuzz.py::test_any_frames",
    ),
    36: (
        "CRLF, mixed line ends, a BOM, no last newline: kept, never an edit",
        "world/test_recovery.py::test_line_ends",
        "markdown/patch/test_patch.py::test_line_ends_stay_what_they_are",
    ),
    37: (
        "a note that is no UTF-8 or holds NUL: reported, never pushed, never rewritten",
        "promises/test_mirror.py::test_not_text",
        "promises/test_mirror.py::test_trouble_is_remembered",
    ),
    38: (
        "very long notes and lines: bounded work",
        "markdown/patch/test_patch.py::test_size_costs_no_more_than_its_share",
        "diff/test_text.py::test_long_texts_are_compared_exactly",
        "diff/test_blocks.py::test_long_lists_are_aligned_in_order",
    ),
    39: (
        "a save that empties the file first: nothing is deleted before it is steady",
        "world/test_recovery.py::test_a_save_in_two_halves",
        "promises/test_trouble.py::test_emptied_while_it_is_mirrored",
    ),
    40: (
        "the ways of editors to save: one edit, the same note, no helper file uploaded",
        "promises/test_editors.py::test_a_save_is_one_edit",
        "folder/test_ignore.py::test_what_editors_leave_is_ignored",
    ),
    41: (
        "the kernel's queue overflows: everything is looked at",
        "folder/test_watch.py::test_a_burst_that_overflows_the_kernels_queue",
        "folder/test_watch.py::test_a_huge_batch_means_everything",
    ),
    42: (
        "directories made and filled at once, or moved in: all files are found",
        "folder/test_watch.py::test_what_is_in_a_new_directory_is_found",
    ),
    43: (
        "inotify is used up: looked at now and then; status and log say the exact fix",
        "folder/test_watch.py::test_real_limits_lead_to_polling",
        "folder/test_watch.py::test_without_inotify_the_folder_is_polled",
        "promises/test_trouble.py::test_a_folder_that_can_not_be_watched_is_told",
    ),
    44: (
        "a change between scan and watch: found",
        "folder/test_watch.py::test_nothing_falls_between_the_watch_and_the_scan",
    ),
    45: (
        "what we wrote ourselves: recognised by its content, however late",
        "world/test_recovery.py::test_own_writes_are_no_edits",
        "promises/test_mirror.py::test_quiet",
    ),
    46: (
        "our temporaries and locks: never a reason to look",
        "folder/test_watch.py::test_our_own_temporaries_are_no_hints",
    ),
    47: (
        "renames in a circle, in a chain, with an edit, across heaps: the same notes",
        "promises/test_names.py::test_any_renames_and_moves",
        "promises/test_names.py::test_swapped_notes",
        "promises/test_names.py::test_moves_across_heaps",
        "promises/test_places.py::test_chains_on_the_disk",
        "promises/test_places.py::test_swaps_and_chains_in_the_app",
        "promises/test_places.py::test_a_folder_renamed_with_all_in_it_changed",
        "promises/test_mirror.py::test_rename_move_delete",
    ),
    48: (
        "gone for a moment: not deleted",
        "world/test_recovery.py::test_gone_for_a_moment",
    ),
    49: (
        "a directory deleted and at once put back: what is on the disk in the end counts",
        "promises/test_trouble.py::test_a_folder_that_is_put_back_at_once",
    ),
    50: (
        "a watch that dies or goes blind: noticed, told in the log, begun anew",
        "promises/test_trouble.py::test_a_watch_that_went_blind_is_noticed",
        "folder/test_watch.py::test_a_watch_that_broke_starts_anew",
        "folder/test_watch.py::test_a_folder_that_is_gone_is_watched_again_when_back",
    ),
    51: (
        "heaps of one title, titles that differ by case or normalisation: steady, distinct names",
        "promises/test_names.py::test_heaps_with_one_title",
        "promises/test_names.py::test_hostile_titles",
        "folder/test_layout.py::test_the_laws_of_a_layout",
        "folder/test_layout.py::test_devices_agree_on_twins",
        "folder/test_names.py::test_unique_gives_distinct_names",
    ),
    52: (
        "titles with slashes, dots, NUL, reserved names, 300 bytes, emoji: safe, inside the root",
        "promises/test_names.py::test_hostile_titles",
        "promises/test_names.py::test_titles_and_back",
        "folder/test_names.py::test_a_name_is_safe_everywhere",
    ),
    53: (
        "renames of case or normalisation alone, both ways: renames",
        "promises/test_names.py::test_case_and_form_renames",
        "folder/test_disk.py::test_case_and_form_alone_can_be_renamed",
        "folder/test_disk.py::test_case_alone_where_the_file_system_ignores_it",
    ),
    54: (
        "symlinks, swapped in at the last moment too: not followed, not written, not deleted",
        "promises/test_names.py::test_symlinks_that_take_a_place",
        "promises/test_names.py::test_a_symlink_swapped_in_at_the_last_moment",
        "folder/test_disk.py::test_no_call_goes_through_a_symlinked_directory",
        "folder/test_disk.py::test_a_directory_swapped_in_the_midst_leads_nowhere",
        "folder/test_disk.py::test_links_and_special_files_are_told_and_left",
    ),
    55: (
        "a server that names paths which escape, are ours or are ignored: refused",
        "promises/test_names.py::test_hostile_attachments",
        "promises/test_files.py::test_rules_that_change_between_lives",
        "folder/test_disk.py::test_a_path_that_leads_out_is_refused",
    ),
    56: (
        "FIFOs, sockets, devices, hard links, unreadable files: passed over with a reason",
        "promises/test_names.py::test_special_files",
        "folder/test_disk.py::test_links_and_special_files_are_told_and_left",
        "folder/test_disk.py::test_what_can_not_be_read_says_why",
    ),
    57: (
        "a file for a folder or the other way, with unsynced children: nothing of them lost",
        "promises/test_names.py::test_file_and_folder_swap",
    ),
    58: (
        "time-outs, broken and silent links, portals: waited out, no state damaged",
        "promises/test_refusals.py::test_trouble_with_all_requests",
        "wire/test_rest.py::test_a_silent_server_is_unreachable",
        "wire/test_rest.py::test_a_closed_port_and_an_unknown_name_are_unreachable",
        "wire/test_feed.py::test_a_silent_link_is_replaced",
    ),
    59: (
        "401 in the midst: renewed once, then sign-in needed; what is unsent is kept",
        "promises/test_refusals.py::test_shut_out_in_the_midst",
        "wire/test_signin.py::test_a_refused_account_is_not_hammered_and_recovers",
        "backends/test_heaper.py::test_revoked_tokens_are_replaced_by_a_sign_in",
    ),
    60: (
        "every status a server can answer, each by its class; one heap or edit holds up no other",
        "promises/test_refusals.py::test_trouble_with_all_requests",
        "promises/test_refusals.py::test_one_edit_is_refused",
        "promises/test_refusals.py::test_a_heap_that_may_only_be_read",
        "promises/test_refusals.py::test_a_server_that_asks_to_slow_down",
        "wire/test_rest.py::test_what_a_server_answers_is_one_of_our_errors",
        "wire/test_answers.py::test_retry_after_is_read_in_both_forms",
    ),
    61: (
        "an answer that gets lost or cut: done again, nothing doubled, files neither",
        "promises/test_refusals.py::test_answers_that_never_come",
        "world/test_recovery.py::test_an_answer_is_lost",
    ),
    62: (
        "a cursor that is lost, too old or ahead, a feed that repeats itself: no deletions",
        "world/test_recovery.py::test_a_cursor_that_lies",
        "promises/test_refusals.py::test_a_feed_that_repeats_itself",
    ),
    63: (
        "the same update over two ways in any order, or HTTP alone: converges",
        "world/test_recovery.py::test_http_alone",
        "world/test_world.py::test_world",
    ),
    64: (
        "many devices come back at once: spread by chance",
        "test_backoff.py::test_waits_double_up_to_a_cap",
        "wire/test_feed.py::test_an_unreachable_server_is_tried_again",
    ),
    65: (
        "a live link accepted what the server never stored: unsent until HTTP says otherwise",
        "promises/server/test_durability.py::test_kill_loses_nothing_acknowledged",
        "world/test_recovery.py::test_the_server_restarts",
        "world/test_recovery.py::test_server_from_a_backup_while_it_runs",
    ),
    66: (
        "a suspend, another network afterwards: both ways at once, over new connections",
        "promises/test_trouble.py::test_after_a_suspend_both_ways_at_once",
        "promises/test_suspend.py::test_a_suspend_waits_until_edits_are_sent",
        "promises/test_trouble.py::test_a_suspend_is_the_difference_of_two_clocks",
        "wire/test_rest.py::test_given_up_connections_answer_over_new_ones",
    ),
    67: (
        "a state or folder of a newer version: refused by name, nothing written",
        "test_database.py::test_a_newer_file_is_refused_by_name",
        "folder/test_marker.py::test_a_newer_marker_is_told",
    ),
    68: (
        "an upload cut at a chunk, killed, lost or forgotten by the server: goes on, hash equal",
        "promises/test_files.py::test_server_forgets",
        "promises/test_files.py::test_an_upload_goes_on_in_the_next_life",
        "promises/test_files.py::test_refused",
        "wire/test_upload.py::test_only_missing_chunks_are_sent",
        "wire/test_upload.py::test_chunks_the_server_lost_are_sent_again",
        "server/test_transfers.py::test_resume_after_restart",
    ),
    69: (
        "a file changed, replaced, cut or deleted while it is sent: begun anew, never torn",
        "promises/test_files.py::test_changed_while_sent",
    ),
    70: (
        "a download with a wrong hash: thrown away, the old file kept",
        "promises/test_files.py::test_wrong_hash",
        "folder/test_partial_downloads.py::test_a_wrong_digest_makes_no_file",
    ),
    71: (
        "a note that shows an attachment which is not there yet, or not any more: intact",
        "promises/test_files.py::test_shown_before_it_is_there",
        "promises/test_files.py::test_entry_before_its_content",
        "promises/test_files.py::test_removed_while_shown",
    ),
    72: (
        "files of zero bytes, over the limit, larger than the memory: told or streamed",
        "promises/test_files.py::test_empty_file",
        "promises/test_files.py::test_over_the_server_s_limit",
        "promises/test_files.py::test_memory_stays_flat",
    ),
    75: (
        "any course of edits, kills, outages and clocks: folders equal documents, no word lost",
        "world/test_world.py::test_world",
        "world/test_kill_points.py::test_kills",
    ),
    76: (
        "status in each of these: never in sync with a byte unsent; systemd and exit codes agree",
        "promises/test_refusals.py::test_trouble_with_all_requests",
        "test_notify.py::test_the_status_line_tells_the_truth",
        "cli/test_sync.py::test_sync_says_what_is_left",
    ),
    77: (
        "a mass deletion that was confirmed: all notes can come back, with ids and history",
        "promises/test_restore.py::test_a_mass_deletion_that_was_confirmed",
        "cli/test_history.py::test_a_directory_out_of_the_trash",
    ),
    78: (
        "a cache of an older version: taken over with all that is in it, or left as it is",
        "cache/test_schema.py::test_texts_that_an_older_version_kept",
        "cache/test_schema.py::test_troubles_that_an_older_version_knew",
        "test_database.py::test_an_older_file_is_brought_to_the_newest_version",
        "test_database.py::test_a_failed_migration_leaves_the_older_version",
    ),
    79: (
        "the live link is back before the news: nothing is sent; an edit wins over a deletion",
        "promises/test_edit_wins.py::test_nothing_is_sent_before_the_news",
        "promises/test_edit_wins.py::test_old_news_are_not_the_news",
        "promises/test_edit_wins.py::test_an_edit_is_heard_before_the_deletion_is_sent",
        "promises/test_edit_wins.py::test_an_edit_comes_after_the_deletion_was_sent",
        "promises/test_edit_wins.py::test_deleted_and_edited_offline",
        "promises/test_edit_wins.py::test_a_deletion_that_had_seen_the_edit_stays",
        "promises/test_edit_wins.py::test_a_compaction_over_a_deletion_and_an_edit",
        "promises/test_edit_wins.py::test_deleted_for_good_over_an_edit",
        "promises/test_edit_wins.py::test_deleted_there_over_an_unread_save",
        "world/test_kill_points.py::test_kills",
    ),
    80: (
        "the cache is gone while notes link to one another: no byte changes, here or elsewhere",
        "promises/test_links.py::test_a_lost_cache_changes_no_byte",
        "promises/test_links.py::test_renamed_elsewhere_while_the_cache_was_lost",
        "promises/test_links.py::test_a_link_whose_file_is_gone_too",
        "promises/test_links.py::test_a_full_folder_meets_its_notes",
        "world/test_kill_points.py::test_kills",
        "world/test_world.py::test_linked",
    ),
    81: (
        "an update that ends yrs is quarantined; a document that ended two lives is left alone",
        "promises/test_bad_documents.py::test_a_pull_that_would_end_the_process",
        "promises/test_bad_documents.py::test_a_cache_of_an_older_version",
        "document/test_updates.py::test_what_ended_the_process_does_not",
        "promises/commands/test_deaths.py::test_the_third_start_lives",
    ),
    82: (
        "40 CRLF lines that look like front matter, and any other block: read in linear time",
        "markdown/test_frontmatter.py::test_a_note_that_begins_with_a_rule_is_read_in_linear_time",
        "markdown/test_frontmatter.py::test_any_block_is_read_in_linear_time",
        "markdown/test_frontmatter.py::test_any_block_can_be_edited_or_stays",
        "sync/heap/test_gc_control.py::test_a_note_that_begins_with_a_rule_and_has_crlf",
    ),
    83: (
        "the server is heard again: all lanes go; cured files are no trouble, odd ones no failure",
        "promises/test_refusals.py::test_one_answer_ends_every_pause",
        "promises/test_refusals.py::test_a_push_that_fails_waits_for_no_poll",
        "wire/test_feed.py::test_a_server_heard_elsewhere_is_connected_to_at_once",
        "test_backoff.py::test_trouble_is_over_soon_after_its_end",
        "test_backoff.py::test_a_lane_in_trouble_alone_is_not_hurried",
        "promises/test_problems.py::test_cured_is_cured",
        "promises/test_problems.py::test_cured_while_nobody_looked",
        "promises/test_problems.py::test_what_is_left_and_what_is_odd",
        "cli/test_sync.py::test_sync_tells_of_odd_files_and_exits_0",
    ),
    84: (
        "the same server under another address goes on; another one under the same is refused",
        "sync/test_cache_file.py::test_the_same_server_under_another_address",
        "sync/test_cache_file.py::test_another_server_under_the_same_address",
        "sync/test_cache_file.py::test_a_daemon_that_meets_another_server",
        "cli/test_sync.py::test_another_server_exits_3",
        "cli/test_run.py::test_a_daemon_does_not_mirror_another_server",
        "cli/test_setup.py::test_setup_knows_the_server_of_a_cache",
    ),
    85: (
        "a number, hash, name, redirect or answer chosen by others: bounded, one block's trouble",
        "document/test_fields.py::test_a_number_that_nobody_can_hold_is_none",
        "document/test_fields.py::test_a_hash_is_64_hex_digits_or_absent",
        "promises/test_files.py::test_an_entry_that_nobody_could_have_meant",
        "promises/test_refusals.py::test_a_version_that_never_comes",
        "promises/test_refusals.py::test_a_pass_ends_when_its_time_is_over",
        "wire/test_heaper.py::test_a_senseless_time_is_its_own_block_s_trouble",
        "wire/test_rest.py::test_a_redirected_socket_is_not_followed",
        "wire/test_rest.py::test_an_answer_is_bounded_while_it_is_read",
        "backends/test_heaper.py::test_a_file_that_goes_on_for_ever_ends_at_its_size",
        "cli/test_output.py::test_titles_of_heaps_and_notes",
    ),
}
"""By number: the situation and what a user must see, then the tests that prove it."""


def test_every_fault_is_met() -> None:
    """No number is missing, and none is beside the areas."""
    assert list(FAULTS) == [number for area in AREAS.values() for number in area]


@pytest.mark.timeout(180)  # it collects most tests in another process
def test_every_fault_and_hole_has_its_tests() -> None:
    """What a row names are tests that pytest finds and expects to pass; at least one."""
    assert unproved({**FAULTS, **HOLES}) == {}

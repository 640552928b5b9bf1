"""Which tests prove the mirror against the known faults of names, folders and attachments."""

import ast
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]

FAULTS: Final = {
    "heaps of one title, titles that differ by case or normalisation": (
        "sync/test_names.py::test_heaps_with_one_title",
        "sync/test_names.py::test_hostile_titles",
        "folder/test_layout.py::test_the_laws_of_a_layout",
        "folder/test_names.py::test_unique_gives_distinct_names",
    ),
    "titles with slashes, dots, NUL, reserved names, 300 bytes, emoji, newlines": (
        "sync/test_names.py::test_hostile_titles",
        "folder/test_names.py::test_a_name_is_safe_everywhere",
    ),
    "renames of case or normalisation alone, both ways": (
        "sync/test_names.py::test_case_and_form_renames",
        "folder/test_disk.py::test_case_and_form_alone_can_be_renamed",
        "folder/test_disk.py::test_case_alone_where_the_file_system_ignores_it",
    ),
    "symlinks: outside, inside, loop, dangling, swapped in at the last moment": (
        "sync/test_names.py::test_symlinks_that_take_a_place",
        "folder/test_disk.py::test_no_call_goes_through_a_symlinked_directory",
        "folder/test_disk.py::test_a_directory_swapped_in_the_midst_leads_nowhere",
        "folder/test_disk.py::test_links_and_special_files_are_told_and_left",
    ),
    "a server that names paths which escape, are ours or are ignored": (
        "sync/test_names.py::test_hostile_attachments",
        "sync/test_files.py::test_rules_that_change_between_lives",
        "folder/test_disk.py::test_a_path_that_leads_out_is_refused",
    ),
    "hard links, sparse files, FIFOs, sockets, devices, unreadable files": (
        "sync/test_names.py::test_special_files",
        "folder/test_disk.py::test_links_and_special_files_are_told_and_left",
        "folder/test_disk.py::test_what_can_not_be_read_says_why",
    ),
    "a file that becomes a folder or the other way, with unsynced children": (
        "sync/test_names.py::test_file_and_folder_swap",
    ),
    "uploads cut at a chunk, killed, lost or forgotten by the server": (
        "sync/test_files.py::test_server_forgets",
        "sync/test_files.py::test_an_upload_goes_on_in_the_next_life",
        "wire/test_upload.py::test_only_missing_chunks_are_sent",
        "wire/test_upload.py::test_chunks_the_server_lost_are_sent_again",
        "server/test_files.py::test_resume_after_restart",
    ),
    "a file modified, replaced, truncated or deleted while it is sent": (
        "sync/test_files.py::test_changed_while_sent",
    ),
    "a download with a wrong hash": (
        "sync/test_files.py::test_wrong_hash",
        "folder/test_parts.py::test_a_wrong_digest_makes_no_file",
    ),
    "a note that shows an attachment which is not there yet, or not any more": (
        "sync/test_files.py::test_shown_before_it_is_there",
        "sync/test_files.py::test_entry_before_its_content",
        "sync/test_files.py::test_removed_while_shown",
    ),
    "files of zero bytes, over the server's limit, larger than the memory": (
        "sync/test_files.py::test_empty_file",
        "sync/test_files.py::test_over_the_server_s_limit",
        "sync/test_files.py::test_memory_stays_flat",
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

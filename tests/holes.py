"""The holes that were found in it, and the tests that prove each closed."""

from typing import Final

SERVER: Final = {
    "S5": (
        "before a token is shown, a socket may send and name little, and there are few of them",
        "promises/server/test_strangers.py::test_an_unfinished_message_of_a_stranger",
        "promises/server/test_strangers.py::test_long_names_are_refused",
        "promises/server/test_strangers.py::test_refused_sign_ins_are_counted",
        "promises/server/test_strangers.py::test_what_waits_for_a_sign_in_is_little",
        "promises/server/test_strangers.py::test_sockets_of_strangers_are_bounded",
        "promises/server/test_strangers.py::test_a_body_before_signing_in_is_small",
    ),
    "S6": (
        "connections are fewer than descriptors, half requests end and keep nobody out",
        "promises/server/test_strangers.py::test_half_requests_keep_nobody_out",
        "promises/server/test_strangers.py::test_one_address_has_its_share",
        "promises/server/test_strangers.py::test_a_live_connection_makes_no_room",
        "promises/server/test_strangers.py::test_an_unfinished_head_is_cut_off",
        "promises/server/test_strangers.py::test_an_unfinished_body_is_cut_off",
        "promises/server/test_strangers.py::test_a_slow_body_is_taken",
        "cli/test_serve.py::test_more_connections_than_descriptors",
    ),
    "S7": (
        "of several first keys at once one becomes the owner",
        "promises/server/test_strangers.py::test_one_owner_at_once",
    ),
    "S8": (
        "a new server is claimed with its one-time code alone, and by no web page",
        "promises/server/test_strangers.py::test_the_owner_brings_the_code",
        "promises/server/test_strangers.py::test_named_keys_need_no_code",
        "promises/server/test_strangers.py::test_no_web_page_signs_in",
        "cli/test_serve.py::test_the_code_makes_the_owner",
    ),
    "S9": (
        "nobody opens a server to other machines without a key named or a code",
        "cli/test_serve.py::test_open_is_for_this_machine",
        "cli/test_serve.py::test_a_public_address_needs_the_code",
    ),
    "S10": (
        "a seat ends with the token, the grant, the list entry or the sign-in it stands on",
        "promises/server/test_rights.py::test_a_grant_that_is_withdrawn",
        "promises/server/test_rights.py::test_a_grant_that_shrinks",
        "promises/server/test_rights.py::test_a_grant_to_others_changes_nothing",
        "promises/server/test_rights.py::test_a_key_that_is_shut_out",
        "promises/server/test_rights.py::test_a_token_that_expires",
        "promises/server/test_rights.py::test_an_expired_socket_is_reset",
        "promises/server/test_rights.py::test_a_token_is_renewed",
        "promises/server/test_rights.py::test_a_key_that_is_refused",
        "server/test_accounts.py::test_a_key_that_is_refused",
        "backends/test_heaper.py::test_short_tokens_are_renewed_without_a_refusal",
    ),
    "S11": (
        "callers are counted by their own address, also behind a proxy; floods stay their own",
        "promises/server/test_strangers.py::test_callers_behind_a_proxy_are_told_apart",
        "promises/server/test_strangers.py::test_a_proxys_callers_are_no_pages",
        "promises/server/test_strangers.py::test_challenges_of_others_stay",
        "promises/server/test_strangers.py::test_challenges_are_bounded_and_expire",
        "promises/server/test_strangers.py::test_addresses",
    ),
    "S12": (
        "no request holds the loop: large documents are worked on apart, the rest is bounded",
        "promises/server/test_load.py::test_no_request_holds_the_loop",
        "promises/server/test_load.py::test_large_documents_leave_the_loop",
        "promises/server/test_load.py::test_a_document_grows_large_and_small_ones_go_on",
        "promises/server/test_load.py::test_what_was_never_committed_is_forgotten",
        "promises/server/test_load.py::test_what_breaks_the_other_process",
        "promises/server/test_load.py::test_work_apart_ends_in_time",
        "promises/server/test_load.py::test_waiting_updates_are_bounded",
        "promises/server/test_strangers.py::test_bound_of_a_state_vector",
    ),
    "S13": (
        "presence is bounded: a state, a document, a socket, and in all",
        "promises/server/test_load.py::test_presence_is_bounded",
        "promises/server/test_load.py::test_presence_gives_back_what_it_took",
        "promises/server/test_load.py::test_so_many_are_present",
        "promises/server/test_load.py::test_an_awareness_state_is_bounded",
    ),
    "S14": (
        "room on the disk is promised once, and uploads are counted",
        "promises/server/test_load.py::test_room_is_reserved",
        "promises/server/test_load.py::test_what_arrived_counts_once",
        "promises/server/test_load.py::test_uploads_are_counted",
    ),
    "a replayed refresh token": (
        "ends all that descends from its sign-in; signing out does so at will",
        "promises/server/test_rights.py::test_a_replayed_refresh_token",
        "promises/server/test_rights.py::test_signing_out",
        "promises/server/test_rights.py::test_sign_ins_of_one_account_are_bounded",
    ),
    "a block deleted for good": (
        "is gone on every route, and stays so",
        "promises/server/test_rights.py::test_a_block_deleted_for_good_is_nowhere",
        "promises/server/test_rights.py::test_gone_after_a_restart",
    ),
    "a key in another spelling": (
        "is no key",
        "promises/server/test_strangers.py::test_keys_have_one_spelling",
    ),
    "a key of an earlier --accept": (
        "that never signed in may not without it",
        "promises/server/test_rights.py::test_an_earlier_accept",
    ),
    "deep JSON": (
        "is a wrong body, also in a field nobody reads",
        "promises/server/test_strangers.py::test_deep_json_is_refused",
    ),
    "an id of somebody else's block": (
        "is answered like one of no block, or of one that is gone",
        "promises/server/test_rights.py::test_blocks_of_others_are_not_told_of",
        "promises/server/test_rights.py::test_what_others_have_is_answered_like_nothing",
    ),
    "headers": (
        "answers are stored nowhere, addresses with tokens and versions are told to nobody",
        "promises/server/test_strangers.py::test_headers_that_protect",
        "promises/server/test_strangers.py::test_what_is_no_http_gets_an_answer_like_all_others",
    ),
}
"""What was found in the embedded server: what holds now, then the tests that prove it."""

CLIENT: Final = {
    "C3": (
        "a redirect of the socket's handshake is not followed: no token leaves the server",
        "wire/test_rest.py::test_a_redirected_socket_is_not_followed",
    ),
    "C4": (
        "a number beyond 2^53 says nothing, and is one block's trouble",
        "document/test_fields.py::test_a_number_that_nobody_can_hold_is_none",
        "wire/test_heaper.py::test_a_senseless_time_is_its_own_block_s_trouble",
        "promises/test_files.py::test_an_entry_that_nobody_could_have_meant",
        "cli/test_output.py::test_a_time_beyond_the_calendar_is_a_number",
    ),
    "C5": (
        "a ragged table is not filled up without end: opaque in a document, text in a file",
        "document/view/test_from_nodes.py::test_a_ragged_table_that_would_take_all_memory_is_opaque",
        "document/view/test_from_nodes.py::test_files_and_documents_draw_the_line_of_tables_alike",
        "markdown/read/test_parse.py::test_a_ragged_table_is_text",
    ),
    "C6": (
        "a user's text is read in linear time, beside the loop",
        "test_regexes.py::test_reading_is_linear",
        "markdown/test_frontmatter.py::test_a_note_that_begins_with_a_rule_is_read_in_linear_time",
        "markdown/test_frontmatter.py::test_any_block_is_read_in_linear_time",
        "sync/heap/test_gc_control.py::test_a_note_that_begins_with_a_rule_and_has_crlf",
        "sync/heap/test_gc_control.py::test_files_are_parsed_beside_the_loop",
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
        "document/test_fields.py::test_two_spellings_of_a_hash_are_one_file",
        "promises/test_files.py::test_a_key_in_another_spelling",
        "promises/test_files.py::test_an_entry_that_nobody_could_have_meant",
    ),
    "C9": (
        "a download ends at the file's size, and is not unpacked",
        "backends/test_heaper.py::test_a_file_that_goes_on_for_ever_ends_at_its_size",
        "backends/test_heaper.py::test_a_file_that_is_compressed_is_refused",
        "promises/test_files.py::test_a_content_of_no_known_size",
    ),
    "C10": (
        "a version that is announced and never delivered is not asked for in a circle",
        "promises/test_refusals.py::test_a_version_that_never_comes",
    ),
    "C11": (
        "an answer is bounded in bytes, values and time",
        "wire/test_rest.py::test_an_answer_is_bounded_while_it_is_read",
        "wire/test_rest.py::test_values_are_counted_before_they_are_made",
        "wire/test_rest.py::test_a_refusal_is_bounded_too",
        "wire/test_rest.py::test_a_compressed_answer_is_refused_unread",
        "wire/test_rest.py::test_a_byte_now_and_then_is_not_waited_for",
        "promises/test_refusals.py::test_a_pass_ends_when_its_time_is_over",
    ),
    "C12": (
        "what is no challenge is not signed, and a key is for one server",
        "wire/test_signin.py::test_what_is_no_challenge_is_not_signed",
        "cli/test_output.py::test_a_key_is_for_one_server",
    ),
    "no encryption": (
        "a server without it is named by setup and run",
        "wire/test_address.py::test_a_server_without_encryption_is_told_apart",
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

DOCUMENTS: Final = {
    "X1": (
        "an update is examined before yrs has it: none without a length, none that lies",
        "document/encoding/test_examine.py::test_what_yrs_must_not_see_is_refused",
        "document/test_updates.py::test_what_ended_the_process_does_not",
        "document/test_updates.py::test_the_process_survives_any_updates",
        "peers/test_wall.py::test_what_people_send_is_never_refused",
        "peers/test_wall.py::test_what_yjs_answers_harms_nobody",
        "promises/test_bad_documents.py::test_a_pull_that_would_end_the_process",
        "promises/test_bad_documents.py::test_a_live_update_that_would_end_the_process",
        "promises/server/test_durability.py::test_what_ends_yrs_ends_no_server",
        "promises/commands/test_deaths.py::test_the_third_start_lives",
        "test_shape.py::test_bytes_reach_pycrdt_through_one_door",
        "test_shape.py::test_documents_are_made_by_one_constructor",
    ),
    "X2": (
        "values and nodes lie only so deep in one another",
        "document/encoding/test_structure_limits.py::test_levels",
        "document/test_updates.py::test_deep_nodes_are_refused",
        "document/test_updates.py::test_nodes_grow_deep_bit_by_bit",
    ),
    "X3": (
        "no small update holds yrs up for more than seconds",
        "document/test_updates.py::test_what_takes_yrs_too_long_is_refused",
        "document/test_updates.py::test_a_list_that_holds_a_text_holds_nobody_up",
        "document/test_rebuild.py::test_what_is_out_of_place_is_told",
    ),
}
"""Of updates that harm yrs, by the finding: what holds, then the tests that prove it."""

HOLES: Final = {
    (area, hole): row
    for area, holes in {"documents": DOCUMENTS, "server": SERVER, "client": CLIENT}.items()
    for hole, row in holes.items()
}

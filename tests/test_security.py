"""The holes that were found in it, and the tests that prove each closed."""

import ast
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent

SERVER: Final = {
    "S5": (
        "before a token is shown, a socket may send and name little, and there are few of them",
        "server/test_strangers.py::test_an_unfinished_message_of_a_stranger",
        "server/test_strangers.py::test_long_names_are_refused",
        "server/test_strangers.py::test_refused_sign_ins_are_counted",
        "server/test_strangers.py::test_what_waits_for_a_sign_in_is_little",
        "server/test_strangers.py::test_sockets_of_strangers_are_bounded",
        "server/test_strangers.py::test_a_body_before_signing_in_is_small",
    ),
    "S6": (
        "connections are fewer than descriptors, half requests end and keep nobody out",
        "server/test_strangers.py::test_half_requests_keep_nobody_out",
        "server/test_strangers.py::test_one_address_has_its_share",
        "server/test_strangers.py::test_a_live_connection_makes_no_room",
        "server/test_strangers.py::test_an_unfinished_head_is_cut_off",
        "server/test_strangers.py::test_an_unfinished_body_is_cut_off",
        "server/test_strangers.py::test_a_slow_body_is_taken",
        "cli/test_serve.py::test_more_connections_than_descriptors",
    ),
    "S7": (
        "of several first keys at once one becomes the owner",
        "server/test_strangers.py::test_one_owner_at_once",
    ),
    "S8": (
        "a new server is claimed with its one-time code alone, and by no web page",
        "server/test_strangers.py::test_the_owner_brings_the_code",
        "server/test_strangers.py::test_named_keys_need_no_code",
        "server/test_strangers.py::test_no_web_page_signs_in",
        "cli/test_serve.py::test_the_code_makes_the_owner",
    ),
    "S9": (
        "nobody opens a server to other machines without a key named or a code",
        "cli/test_serve.py::test_open_is_for_this_machine",
        "cli/test_serve.py::test_a_public_address_needs_the_code",
    ),
    "S10": (
        "a seat ends with the token, the grant, the list entry or the sign-in it stands on",
        "server/test_rights.py::test_a_grant_that_is_withdrawn",
        "server/test_rights.py::test_a_grant_that_shrinks",
        "server/test_rights.py::test_a_grant_to_others_changes_nothing",
        "server/test_rights.py::test_a_key_that_is_shut_out",
        "server/test_rights.py::test_a_token_that_expires",
        "server/test_rights.py::test_an_expired_socket_is_reset",
        "server/test_rights.py::test_a_token_is_renewed",
        "server/test_rights.py::test_revoked_tokens",
        "server/test_accounts.py::test_disabled_account",
        "backends/test_heaper.py::test_short_tokens_are_renewed_without_a_refusal",
    ),
    "S11": (
        "callers are counted by their own address, also behind a proxy; floods stay their own",
        "server/test_strangers.py::test_callers_behind_a_proxy_are_told_apart",
        "server/test_strangers.py::test_a_proxys_callers_are_no_pages",
        "server/test_strangers.py::test_challenges_of_others_stay",
        "server/test_strangers.py::test_challenges_are_bounded_and_expire",
        "server/test_strangers.py::test_addresses",
    ),
    "S12": (
        "no request holds the loop: large documents are worked on apart, the rest is bounded",
        "server/test_load.py::test_large_documents_leave_the_loop",
        "server/test_load.py::test_a_document_grows_large_and_small_ones_go_on",
        "server/test_load.py::test_what_breaks_the_other_process",
        "server/test_load.py::test_work_apart_ends_in_time",
        "server/test_load.py::test_waiting_updates_are_bounded",
        "server/test_strangers.py::test_bound_of_a_state_vector",
    ),
    "S13": (
        "presence is bounded: a state, a document, a socket, and in all",
        "server/test_load.py::test_presence_is_bounded",
        "server/test_load.py::test_presence_gives_back_what_it_took",
        "server/test_load.py::test_an_awareness_state_is_bounded",
    ),
    "S14": (
        "room on the disk is promised once, and uploads are counted",
        "server/test_load.py::test_room_is_reserved",
        "server/test_load.py::test_what_arrived_counts_once",
        "server/test_load.py::test_uploads_are_counted",
    ),
    "a replayed refresh token": (
        "ends all that descends from its sign-in; signing out does so at will",
        "server/test_rights.py::test_a_replayed_refresh_token",
        "server/test_rights.py::test_signing_out",
        "server/test_rights.py::test_sign_ins_of_one_account_are_bounded",
    ),
    "a block deleted for good": (
        "is gone on every route, and stays so",
        "server/test_rights.py::test_a_block_deleted_for_good_is_nowhere",
        "server/test_rights.py::test_gone_after_a_restart",
    ),
    "a key in another spelling": (
        "is no key",
        "server/test_strangers.py::test_keys_have_one_spelling",
    ),
    "a key of an earlier --accept": (
        "that never signed in may not without it",
        "server/test_rights.py::test_an_earlier_accept",
    ),
    "deep JSON": (
        "is a wrong body, also in a field nobody reads",
        "server/test_strangers.py::test_deep_json_is_refused",
    ),
    "an id of somebody else's block": (
        "is answered like one of no block, or of one that is gone",
        "server/test_rights.py::test_blocks_of_others_are_not_told_of",
    ),
    "headers": (
        "answers are stored nowhere, addresses with tokens and versions are told to nobody",
        "server/test_strangers.py::test_headers_that_protect",
    ),
}
"""What was found in the embedded server: what holds now, then the tests that prove it."""

AREAS: Final = {"server": SERVER}


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


@pytest.mark.parametrize(("area", "hole"), [(a, h) for a, holes in AREAS.items() for h in holes])
def test_every_hole_has_its_tests(area: str, hole: str) -> None:
    """What a hole names are tests, at least one, and none that is expected to fail."""
    what_holds, *tests = AREAS[area][hole]
    assert what_holds
    assert tests
    for name in tests:
        path, _, function = name.partition("::")
        assert function in named_in(path), name

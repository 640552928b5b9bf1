"""What npm yjs makes of updates, honest and other: the one is taken in, the other harms nobody."""

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heapsyncd.document.encoding.examine import examine
from heapsyncd.document.encoding.state_vectors import clocks
from heapsyncd.document.encoding.structure_limits import LIMIT, exact_cost
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge
from tests.document.encodings import CRASHERS, ODD, UPDATES
from tests.document.victim import Victim
from tests.peers.programs import Judge, Program, decoded, encoded, running
from tests.peers.typists import grow_editor_document

pytestmark = pytest.mark.timeout(300)
SESSIONS = 60


async def session(program: Program, seed: int) -> tuple[list[bytes], bytes]:
    found = await program.ask("session", seed=seed, steps=40)
    return [decoded(update) for update in found["updates"]], decoded(found["state"])


async def test_what_people_send_is_never_refused(node: None) -> None:
    """All that several people at one document send, in any order, merged, as differences, or while
    something of it waits, is taken in; the document is the same as theirs.
    """
    async with running("sessions.mjs") as program:
        for seed in range(SESSIONS):
            updates, state = await session(program, seed)
            for update in updates:
                examine(update)
            # Of levels, and of entries of a key that name no other: a person makes one of these.
            assert exact_cost(merge(updates)) < LIMIT // 100, seed
            whole = Replica.load([state])
            assert not whole.has_pending()
            Random(seed).shuffle(updates)
            replica = Replica()
            for update in updates:
                replica.apply(update)
            for found in (replica, Replica.load(updates), Replica.load([merge(updates)])):
                assert clocks(found.state_vector()) == clocks(whole.state_vector()), seed
                assert found.view() == whole.view(), seed
                assert not found.has_pending()


@pytest.mark.parametrize("seed", range(20))
def test_editors_documents_are_never_refused(judge: Judge, seed: int) -> None:
    """What y-prosemirror writes passes, and nothing of it waits."""
    document = judge.write(grow_editor_document(Random(seed)))
    assert examine(document).is_gapless({})
    assert not Replica.load([document]).has_pending()


@given(st.lists(st.lists(UPDATES | ODD, min_size=1, max_size=5), min_size=20, max_size=20))
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_yjs_answers_harms_nobody(node: None, sequences: list[list[bytes]]) -> None:
    """Odd updates that went through an honest server's document do not end the process."""
    answers = relayed([*CRASHERS, *sequences])
    with Victim() as victim:
        for answer in answers:
            updates = [decoded(update) for update in answer["updates"]]
            assert victim.survives(updates), answer["updates"]


def relayed(sequences: list[list[bytes]]) -> list[dict[str, Any]]:
    """What npm yjs says of each sequence."""

    async def ask() -> list[dict[str, Any]]:
        async with running("sessions.mjs") as program:
            coded = [[encoded(update) for update in updates] for updates in sequences]
            answer = await program.ask("relay", sequences=coded)
            found: list[dict[str, Any]] = answer["answers"]
            return found

    return asyncio.run(ask())

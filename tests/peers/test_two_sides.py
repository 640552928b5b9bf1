"""A person in the editor and a person at the file, at once: both documents become one, whole."""

import os
import re
from collections import Counter
from random import Random

import pytest

from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.markdown.write.render import render
from tests.peers.household import Household
from tests.peers.people import Device, Person
from tests.peers.programs import Judge, Program, faults
from tests.peers.trees import mutate
from tests.peers.typists import EDITS, GENTLE, grow_edit, grow_editor_document

ROUNDS = 3
BATCH = 10
BATCHES = int(os.environ.get("HEAPSYNCD_BATCHES", "4"))
"""More of them are for a run by hand."""

_AFTER_A_LETTER = re.compile(r"(?<=[^\W\d_])(?=\s|$)", re.MULTILINE)


def typed_into(random: Random, body: str, word: str) -> str:
    """The file after somebody typed a word after another one, or a paragraph at the end.

    A spot where it would not be text (a link's target, what stands for a node) is not taken.
    """
    comments = [m.span() for m in re.finditer(r"<!--.*?-->", body)]
    spots = [m.start() for m in _AFTER_A_LETTER.finditer(body)]
    spots = [s for s in spots if not any(start < s < end for start, end in comments)]
    random.shuffle(spots)
    for spot in spots[:3]:
        changed = f"{body[:spot]} {word}{body[spot:]}"
        if word in parse(changed, NO_LINKS).words() and random.random() < 0.8:
            return changed
    return f"{body}\n{word}\n"


def file_edit(random: Random, base: bytes, words: list[str], live: Replica) -> bytes | None:
    """What the person at the file did since they read ``base``, as an update."""
    body = render(Replica.load([base]).view(), NO_LINKS)
    for word in words:
        body = typed_into(random, body, word)
    return express([base], Target(body=parse(body, NO_LINKS)), live=live).update


async def editor_edits(random: Random, person: Person, words: list[str]) -> list[str]:
    """Type the words and do other gentle things; the words that could be typed."""
    typed = []
    for word in words:
        edit = grow_edit(random, f" {word} ", GENTLE)
        if await person.edits([edit]) == [True] and edit["do"] == "type":
            typed.append(word)
    return typed


async def sit_down(home: Household, device: Device, document: bytes) -> tuple[BlockId, Person]:
    """A note on the server, open in an editor.

    Without Tiptap's trailing paragraph: to add it y-prosemirror replaces what stands last, and
    what somebody else types there meanwhile goes with it.
    """
    block = await home.server.add_block(home.heap, "document", "Note", document)
    person = await device.open(home.name(block), home.token)
    await person.synced()
    return block, person


async def settle(home: Household, block: BlockId, person: Person) -> Replica:
    """Wait until editor and server hold the same; that document."""
    await person.saved()
    document = await home.server.document(block)
    await person.holds(document.state())
    return document


def shows_itself(document: Replica) -> bool:
    """Whether the file written for a document reads as the document, and as no edit of it."""
    again = parse(render(document.view(), NO_LINKS), NO_LINKS)
    return express([document.state()], Target(body=again)).update is None


async def play_round(
    home: Household, block: BlockId, person: Person, random: Random, number: int
) -> list[str]:
    """Both edit what they saw at the same moment, then hear of each other; what was typed."""
    base = (await home.server.document(block)).state()
    at_file = [f"F{number}x{n}" for n in range(3)]
    typed = await editor_edits(random, person, [f"E{number}x{n}" for n in range(6)])
    await person.saved()
    update = file_edit(random, base, at_file, await home.server.document(block))
    if update is not None:
        await home.server.apply(block, update)
    await settle(home, block, person)
    return typed + at_file


@pytest.mark.timeout(180)
@pytest.mark.parametrize("batch", range(BATCHES))
async def test_both_sides_keep_every_word(
    home: Household, people: Program, judge: Judge, batch: int
) -> None:
    """Every word typed on either side is there once, on both sides, in a sound document."""
    device = await Device.connect(people, "s", home.ws, 3)
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        random = Random(seed)
        block, person = await sit_down(home, device, judge.write(grow_editor_document(random)))
        typed: list[str] = []
        for number in range(ROUNDS):
            typed += await play_round(home, block, person, random, number)
        end = await settle(home, block, person)
        seen = await person.read()
        assert Counter(re.findall(r"[EF]\dx\d", seen["text"])) == Counter(typed), seed
        assert seen["repairs"] == 0, seed
        assert faults(judge.verdict(end.state())) == [], seed
        assert shows_itself(end), seed
        await person.leave()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("batch", range(BATCHES))
async def test_any_two_edits_converge(
    home: Household, people: Program, judge: Judge, batch: int
) -> None:
    """Whatever both sides do at once, deleting and moving too, they end with one document."""
    device = await Device.connect(people, "s", home.ws, 4)
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        random = Random(seed)
        block, person = await sit_down(home, device, judge.write(grow_editor_document(random)))
        for _ in range(ROUNDS):
            base = await home.server.document(block)
            await person.edits([grow_edit(random, "typed ", EDITS) for _ in range(4)])
            await person.saved()
            target = Target(body=mutate(random, base.view()))
            live = await home.server.document(block)
            update = express([base.state()], target, live=live).update
            if update is not None:
                await home.server.apply(block, update)
            end = await settle(home, block, person)
            assert Replica.load([await person.state()]).view() == end.view(), seed
            assert shows_itself(end), seed
        await person.leave()

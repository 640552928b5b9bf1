"""What may happen in the world: moves as plain values, drawn from a seed, so that a game can be
told again and made shorter.

A move names its verb (a method of ``play.Game``) and three numbers that the verb resolves when it
is its turn (the ``who``-th device, the ``which``-th note there is now ...): every list of moves is
a possible game.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that happens."""

    verb: str
    who: int = 0
    which: int = 0
    how: int = 0


WEIGHTS: Final = {
    # an editor on a device
    "save": 14,
    "load": 3,
    "save_stale": 6,
    "new_note": 4,
    "rename": 3,
    "move": 3,
    "copy": 1,
    "delete": 2,
    "make_folder": 1,
    "rename_folder": 1,
    "move_folder": 1,
    "delete_folder": 1,
    # somebody in the app
    "app_edit": 12,
    "app_new": 2,
    "app_title": 3,
    "app_folder": 1,
    "app_move": 2,
    "app_delete": 2,
    "app_restore": 2,
    "compact": 3,
    # a device
    "start": 8,
    "stop": 3,
    "kill": 6,
    "pass_once": 3,
    "lose_cache": 1,
    # the server, and time
    "server_down": 2,
    "server_up": 4,
    "wait": 5,
    "settle": 3,
}
"""How often each verb comes, relative to the others."""
EXACT: Final = WEIGHTS | {
    "styled_note": 4,
    "restyle": 8,
    "edit_front": 8,
    "compact_to_known_roots": 4,
    "lose_cache": 3,
    "new_note": 1,
}
"""The same in games of notes that people write in their own styles, with front matter."""
LINKED: Final = WEIGHTS | {
    "link": 10,
    "app_link": 6,
    "lose_cache": 3,
    "keep_cache": 3,
    "restore_cache": 4,
}
"""The same in games of notes that link to one another, whose caches get lost, or old."""
APART: Final = {
    "save": 8,
    "delete": 6,
    "rename": 2,
    "new_note": 1,
    "start": 2,
    "stop": 1,
    "wait": 2,
}
"""What happens on devices in a contest while the server is away, ..."""
AGAIN: Final = {"app_edit": 4, "app_delete": 3, "app_restore": 1, "app_title": 1, "pass_once": 2}
"""... and elsewhere before they hear of it again."""
NOTES: Final = 3
"""A contest is about so many notes."""

LINKED_FROM: Final = 100_000
CONTESTS_FROM: Final = 200_000
EXACT_FROM: Final = 300_000
"""The first seeds of the games of linked notes, of the contests, and of exact files. Those before
them stay what they are, so that a game that went wrong once can be played for ever."""


def moves_of(seed: int, length: int = 40) -> list[Move]:
    """The moves of a seed."""
    rng = random.Random(seed)
    if seed >= EXACT_FROM:
        return drawn(rng, EXACT, length)
    if seed >= CONTESTS_FROM:
        return _contest(rng, length)
    return drawn(rng, WEIGHTS if seed < LINKED_FROM else LINKED, length)


def drawn(
    rng: random.Random, weights: Mapping[str, int], length: int, notes: int = 60
) -> list[Move]:
    """So many moves by the weights of their verbs."""
    verbs = rng.choices(list(weights), list(weights.values()), k=length)
    return [Move(v, rng.randrange(6), rng.randrange(notes), rng.randrange(10_000)) for v in verbs]


def _contest(rng: random.Random, length: int) -> list[Move]:
    """The server goes away again and again, and meanwhile both sides edit and delete the same few
    notes.
    """
    moves: list[Move] = []
    while len(moves) < length:
        devices = [Move("start", who) for who in range(3) if rng.random() < 0.7]
        settled = [Move("settle", d.who) for d in devices]
        apart = drawn(rng, APART, rng.randrange(2, 8), NOTES)
        again = drawn(rng, AGAIN, rng.randrange(4), NOTES)
        ends = [Move("settle", who) for who in range(3) if rng.random() < 0.5]
        moves += [
            *devices,
            *settled,
            Move("server_down"),
            *apart,
            Move("server_up"),
            *again,
            *ends,
        ]
    return moves

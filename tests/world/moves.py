"""What may happen in the world: moves as plain values, drawn from a seed, so that a game can be
told again and made shorter.

A move names its verb (a method of ``play.Game``) and three numbers that the verb resolves when it
is its turn (the ``who``-th device, the ``which``-th note there is now ...): every list of moves is
a possible game.
"""

import random
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


def moves_of(seed: int, length: int = 40) -> list[Move]:
    """The moves of a seed."""
    rng = random.Random(seed)
    verbs = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=length)
    return [Move(v, rng.randrange(6), rng.randrange(60), rng.randrange(10_000)) for v in verbs]

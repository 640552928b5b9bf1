"""``python -m tests.world --seeds 200``: play many games; a failing one is made shorter."""

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import structlog

from tests.world.base import BaseGame
from tests.world.fast import fast
from tests.world.life import watched
from tests.world.moves import Move, moves_of
from tests.world.oneheap import OneheapGame
from tests.world.oneheap import moves_of as oneheap_moves
from tests.world.play import Game

GAME_S = 120.0
"""A game that takes longer hangs."""


async def play(game: BaseGame, moves: Sequence[Move]) -> None:
    """One game, in its empty directory."""
    async with asyncio.timeout(GAME_S):
        await game.play(moves)


def trouble(seed: int, moves: Sequence[Move], kind: type[BaseGame] = Game) -> str | None:
    """What goes wrong in a game; None when all is well."""
    with tempfile.TemporaryDirectory(prefix="heapsyncd-world-") as base, fast(), watched():
        game = kind(Path(base), seed)
        try:
            asyncio.run(play(game, moves))
        except Exception:  # noqa: BLE001 - everything that goes wrong is what is looked for
            return "\n".join([*game.told, traceback.format_exc()])
    return None


def shorter(
    seed: int,
    moves: Sequence[Move],
    kind: type[BaseGame] = Game,
    tries: int = 2,
    limit_s: float = 60.0,
) -> list[Move]:
    """A shorter game that goes wrong too. Games depend on time a little: each is tried twice."""
    end = time.monotonic() + limit_s
    moves = list(moves)
    size = len(moves) // 2
    while size and time.monotonic() < end:
        start = 0
        while start < len(moves) and time.monotonic() < end:
            fewer = moves[:start] + moves[start + size :]
            if any(trouble(seed, fewer, kind) for _ in range(tries)):
                moves = fewer
            else:
                start += size
        size //= 2
    return moves


def main(arguments: Sequence[str]) -> int:
    """Play; 1 when a game went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many games")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--length", type=int, default=40, help="moves in a game")
    parser.add_argument("--oneheap", action="store_true", help="mirror a oneheap service")
    parser.add_argument("--keep", action="store_true", help="do not make failing games shorter")
    parser.add_argument("--log", action="store_true", help="show what the mirrors say")
    chosen = parser.parse_args(arguments)
    if not chosen.log:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    kind, drawn = (OneheapGame, oneheap_moves) if chosen.oneheap else (Game, moves_of)
    failed = []
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        began = time.monotonic()
        moves = drawn(seed, chosen.length)
        what = trouble(seed, moves, kind)
        print(
            f"seed {seed}: {'WRONG' if what else 'ok'} ({time.monotonic() - began:.1f} s)",
            flush=True,
        )
        if what is None:
            continue
        failed.append(seed)
        print(what, flush=True)
        if not chosen.keep:
            for move in shorter(seed, moves, kind):
                print(f"    {move!r},", flush=True)
    print(f"{chosen.seeds} games, {len(failed)} went wrong: {failed}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

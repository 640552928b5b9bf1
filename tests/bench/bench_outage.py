"""What an outage of the server brings upon it: many daemons, in virtual time.

``python -m tests.bench.bench_outage``, from the project's root. No socket is opened; the daemons'
sessions, pauses and live feeds are the package's own (``tests.bench.outage``). For each second
around the server's return: requests in vain, calls, sockets, documents signed in, and how many
daemons follow all of their notes again.
"""

import argparse
import time
from typing import Final

from tests.bench.outage import RECOVERED_S, Kind, Load, Outage

_KINDS: Final[tuple[Kind, ...]] = ("in vain", "call", "socket", "handshake")
_CLOSE_S: Final = 20
"""Each second is shown for so long after the server's return, ..."""
_BIN_S: Final = 10
"""... and then the most and the mean of so many."""
IN_STEP: Final = 0.25
"""From this on the calls after an outage come in waves."""
OUTAGES: Final = {
    "restart": (2.0, None),
    "outage": (60.0, None),
    "maintenance": (60.0, 20.0),
}
"""How long the server is away, and what a proxy asks everybody to wait meanwhile."""


def show(name: str, load: Load) -> None:
    """Print what happened, and whether it was a wave."""
    outage = load.outage
    told = "nobody answers" if outage.asks_s is None else f"Retry-After: {outage.asks_s:.0f}"
    print(f"\n{name}: {outage.daemons:,} daemons with {outage.notes} notes;")
    print(f"the server is away for {outage.away_s:.0f} s ({told})")
    print(f"{'s':>10}" + "".join(f"{kind + '/s':>16}" for kind in _KINDS) + f"{'live':>9}")
    for k in range(-int(outage.away_s) - 1, _CLOSE_S):
        if k < 3 - outage.away_s or k >= -2:
            counts = "".join(f"{load.each_second(kind, k, k + 1)[0]:16,}" for kind in _KINDS)
            print(f"{k:10}{counts}{load.live[outage.back_at_s + k]:9,}")
        elif k == -3:
            _bin(load, int(3 - outage.away_s), -2)
    for start in range(_CLOSE_S, int(outage.after_s), _BIN_S):
        _bin(load, start, start + _BIN_S)
    calls = load.each_second("call", RECOVERED_S, int(outage.after_s))
    peak, usual = max(load.each_second("call", 0, RECOVERED_S)), sum(calls) / len(calls)
    print(f"all live again after {load.recovered_s} s; most calls {peak / usual:.1f} x the usual")
    wave = "a second wave" if load.in_step >= IN_STEP else "no second wave"
    print(
        f"later: most calls {max(calls) / usual:.2f} x the usual, seconds of a poll interval"
        f" apart by {load.in_step:.0%}: {wave}"
    )


def _bin(load: Load, start: int, end: int) -> None:
    cells = ""
    for kind in _KINDS:
        found = load.each_second(kind, start, end)
        cells += f"{f'{sum(found) / len(found):,.0f} to {max(found):,}':>16}"
    print(f"{f'{start}..{end}':>10}{cells}{load.live[load.outage.back_at_s + end - 1]:9,}")


def main() -> None:
    """Play the outages asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemons", type=int, default=10_000, help="how many")
    parser.add_argument("--notes", type=int, default=20, help="how many each follows live")
    parser.add_argument(
        "--handshakes",
        type=float,
        default=2.0,
        help="how many documents the server can sign in a second, for each daemon",
    )
    parser.add_argument("--seed", type=int, default=1, help="of all chances")
    parser.add_argument("--only", choices=OUTAGES, help="one of them")
    options = parser.parse_args()
    for name, (away_s, asks_s) in OUTAGES.items():
        if options.only in {None, name}:
            started = time.process_time()
            # Twice until all have opened their notes, and half as long again to come to rest.
            opened_s = max(60.0, 3 * options.notes / options.handshakes)
            outage = Outage(
                options.daemons, options.notes, away_s, asks_s, options.handshakes, opened_s,
                max(120.0, opened_s), options.seed,
            )  # fmt: skip
            show(name, outage.play())
            print(f"({time.process_time() - started:.0f} s of processor time)")


if __name__ == "__main__":
    main()

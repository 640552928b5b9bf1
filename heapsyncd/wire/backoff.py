"""How long to wait before trying again; pure, chance and time are passed in."""


def full_jitter_s(
    attempt: int, chance: float, *, base_s: float = 1.0, cap_s: float = 30.0
) -> float:
    """A random wait that spreads clients out after a common failure.

    Args:
        attempt: how many tries have failed, from 1.
        chance: uniform in 0 to 1.
        base_s: the longest wait after the first failure; it doubles with each further one.
        cap_s: the longest wait ever.
    """
    return chance * min(cap_s, base_s * 2.0 ** min(attempt - 1, 30))


def equal_jitter_s(attempt: int, chance: float, *, base_s: float, cap_s: float) -> float:
    """As ``full_jitter_s``, but at least half of the longest wait: for calls that must stay
    rare.
    """
    longest = full_jitter_s(attempt, 1.0, base_s=base_s, cap_s=cap_s)
    return longest * (1 + chance) / 2

"""In which order things happen that are due at one instant."""

import itertools
import random
from collections.abc import Iterator

from jobify_testing._options import Order


def make_ties(order: Order, seed: int) -> Iterator[int]:
    """Return keys, no two alike, by whose order things of one instant happen that got them one by one."""
    if order == "fifo":
        return itertools.count()
    if order == "lifo":
        return itertools.count(0, -1)
    return _shuffled(random.Random(f"ties {seed}"))  # noqa: S311  # reproducible on purpose


def _shuffled(chance: random.Random) -> Iterator[int]:
    for number in itertools.count():
        yield chance.getrandbits(32) << 48 | number

"""A minute cron over a virtual year, with the wall clock patched: how many runs a second, and what takes the time.

    python benchmarks/virtual_year.py [--days 365] [--cron "* * * * *"] [--not-durable] [--profile]

Each run is a real one: the scheduler computes the next time, an alarm rings, a task carries the body, and all
transitions are emitted. It fails if there was a run too many or too few, or one that saw another time than its own;
that is looked at afterwards, and not measured.
With `--not-durable` nothing is stored of it, as on a rival that has no storage.
The same job on a rival is run by its own program, in an environment of its own: compare runs per second of the same
sitting.
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import sys
import time
from array import array
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from jobify import Cron, Jobify
from jobify.storage import MemoryStorage
from jobify_testing import VirtualOptions, run

now = time.perf_counter
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)


class Seen(NamedTuple):
    """What a cron job saw: when it was begun, and what the clock showed at each run, in nanoseconds since 1970."""

    start: datetime
    shown: "array[int]"

    def count_wrong(self, cron: Cron) -> int:
        """Return how many runs saw another time than their own."""
        wrong, moment = 0, self.start
        for shown in self.shown:
            moment = cron.next_after(moment)
            wrong += shown != (moment - _UNIX) // timedelta(microseconds=1) * 1000
        return wrong


async def tick_for(days: float, cron: Cron, *, durable: bool = True) -> Seen:
    """Let a cron job run for so many virtual days."""
    app = Jobify(storage=MemoryStorage())
    seen = Seen(datetime.now(UTC), array("q"))

    @app.task(cron=cron, durable=durable)
    async def tick() -> None:
        seen.shown.append(time.time_ns())

    async with app:
        await asyncio.sleep(days * 86_400)
    return seen


def main() -> None:
    """Print one line of JSON, and the profile if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=365)
    parser.add_argument("--cron", default="* * * * *")
    parser.add_argument("--not-durable", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    profile = cProfile.Profile()
    if options.profile:
        profile.enable()
    start = now()
    cron = Cron(options.cron)
    seen = run(tick_for(options.days, cron, durable=not options.not_durable), options=VirtualOptions(max_jumps=10**9))
    seconds = now() - start
    profile.disable()
    expected = cron.count(after=seen.start, until=seen.start + timedelta(days=options.days))
    runs, wrong = len(seen.shown), seen.count_wrong(cron)
    print(
        json.dumps(
            {
                "scenario": "virtual_cron",
                "cron": options.cron,
                "days": options.days,
                "runs": runs,
                "expected": expected,
                "wrong": wrong,
                "s": round(seconds, 3),
                "runs_per_s": round(runs / seconds),
            }
        )
    )
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    if wrong or runs != expected:
        sys.exit("a run is missing, was too many, or saw a wrong time")


if __name__ == "__main__":
    main()

"""A minute cron over a virtual year, with the wall clock patched: how many runs a second, and what takes the time.

    python benchmarks/virtual_year.py [--days 365] [--cron "* * * * *"] [--profile]

Each run is a real one: the scheduler computes the next time, an alarm rings, a task carries the body, and all
transitions are emitted. It fails if there was a run too many or too few, or one that saw another time than its own.
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
from datetime import UTC, datetime, timedelta

from jobify import Cron, Jobify
from jobify.storage import MemoryStorage
from jobify_testing import VirtualOptions, run

now = time.perf_counter


class Seen:
    """What a cron job saw: its runs, those that saw another time than their own, and how many it should have been."""

    runs = wrong = expected = 0


async def tick_for(days: float, cron: Cron) -> Seen:
    """Let a cron job run for so many virtual days."""
    app = Jobify(storage=MemoryStorage())
    seen = Seen()
    length = timedelta(days=days)
    start = datetime.now(UTC)
    seen.expected = cron.count(after=start, until=start + length)
    nominal = start

    @app.task(cron=cron)
    async def tick() -> None:
        nonlocal nominal
        nominal = cron.next_after(nominal)
        seen.runs += 1
        seen.wrong += datetime.now(UTC) != nominal

    async with app:
        await asyncio.sleep(length.total_seconds())
    return seen


def main() -> None:
    """Print one line of JSON, and the profile if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=365)
    parser.add_argument("--cron", default="* * * * *")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    profile = cProfile.Profile()
    if options.profile:
        profile.enable()
    start = now()
    seen = run(tick_for(options.days, Cron(options.cron)), options=VirtualOptions(max_jumps=10**9))
    seconds = now() - start
    profile.disable()
    print(
        json.dumps(
            {
                "scenario": "virtual_cron",
                "cron": options.cron,
                "days": options.days,
                "runs": seen.runs,
                "expected": seen.expected,
                "wrong": seen.wrong,
                "s": round(seconds, 3),
                "runs_per_s": round(seen.runs / seconds),
            }
        )
    )
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    if seen.wrong or seen.runs != seen.expected:
        sys.exit("a run is missing, was too many, or saw a wrong time")


if __name__ == "__main__":
    main()

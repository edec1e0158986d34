"""What a jump of virtual time costs, beside async-solipsism's; and ten virtual years of an hourly job.

    python benchmarks/jumps.py [--sleeps 20000] [--turns 9] [--years 10]

A jump is an `asyncio.sleep` of a task that does nothing else, so the cost is that of the loop: to set the timer,
to see that nothing can run, to move time, and to wake the task. Ours has the wall clock of the process follow
meanwhile, which theirs does not. They take turns in one process, with nothing left for the garbage collector by
the one before. Read the ratio: the microseconds belong to the machine.

"64 sleepers" do the same in as many tasks, each with a period of its own, so that the timers are many.
"""

import argparse
import asyncio
import gc
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import jobify_testing
from jobify import Jobify
from jobify.storage import MemoryStorage

Program = Callable[[int], Coroutine[Any, Any, float]]
"""Sleeps so many times, and returns the real seconds that it took."""

WARM_UP = 500
SLEEPERS = 64
TARGET = 1.2
"""How many times theirs ours may cost."""

OURS = "ours, wall clock included"
THEIRS = "async-solipsism"
FLOOR = "asyncio, sleep(0)"


async def sleep_in_sequence(sleeps: int, *, duration: float = 1.0) -> float:
    """Sleep again and again."""
    began = time.perf_counter()
    for _ in range(sleeps):
        await asyncio.sleep(duration)
    return time.perf_counter() - began


async def sleep_in_many(sleeps: int) -> float:
    """Do so in many tasks, which never wake at the same instant for long."""
    began = time.perf_counter()
    durations = (1 + number / 101 for number in range(SLEEPERS))
    await asyncio.gather(*(sleep_in_sequence(sleeps // SLEEPERS, duration=duration) for duration in durations))
    return time.perf_counter() - began


def on_ours(program: Program, sleeps: int) -> float:
    """Run on a virtual loop, with the wall clock following."""
    return jobify_testing.run(program(sleeps))


def on_theirs(program: Program, sleeps: int) -> float:
    """Run on a loop of async-solipsism."""
    with asyncio.Runner(loop_factory=importlib.import_module("async_solipsism").EventLoop) as runner:
        return runner.run(program(sleeps))


def on_floor(program: Program, sleeps: int) -> float:  # noqa: ARG001  # nobody waits for time here
    """Run on asyncio's own loop, without timers: what the wake-up of a task costs at least."""
    return asyncio.run(sleep_in_sequence(sleeps, duration=0))


def take_turns(program: Program, sleeps: int, turns: int) -> dict[str, list[float]]:
    """Return the microseconds of a sleep for each, turn by turn; every other turn goes the other way round."""
    runners = {OURS: on_ours, THEIRS: on_theirs, FLOOR: on_floor}
    if importlib.util.find_spec("async_solipsism") is None:
        del runners[THEIRS]
    costs: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(turns + 1):
        for name in list(runners) if turn % 2 else reversed(runners):
            gc.collect()
            cost = runners[name](program, sleeps if turn else WARM_UP)
            if turn:
                costs[name].append(cost / sleeps * 1e6)
    return costs


def show(title: str, costs: dict[str, list[float]]) -> None:
    """Print medians, and ratios to theirs."""
    print(f"{title:32}{'µs: median':>12}{'lowest':>9}{'highest':>9}{'of theirs':>11}")
    theirs = costs.get(THEIRS)
    for name, cost in costs.items():
        ratio = "not installed"
        if theirs is not None:
            ratio = f"{statistics.median(mine / other for mine, other in zip(cost, theirs, strict=True)):.2f}"
        print(f"  {name:30}{statistics.median(cost):>12.2f}{min(cost):>9.2f}{max(cost):>9.2f}{ratio:>11}")


async def run_hourly(years: int) -> tuple[int, float]:
    """Return how often an hourly job ran in so many years, and the real seconds that it took."""
    app, runs = Jobify(storage=MemoryStorage()), 0

    @app.task(cron="0 * * * *")
    async def tick() -> None:
        nonlocal runs
        runs += 1

    began = time.perf_counter()
    async with app:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, jobify_testing.VirtualLoop)
        clock = loop.jobify_runtime.clock
        start = clock.now()
        await clock.advance_to(start.replace(year=start.year + years))
        assert runs == (clock.now() - start) // timedelta(hours=1)
    return runs, time.perf_counter() - began


def main() -> None:
    """Take turns, then let the years pass."""
    parser = argparse.ArgumentParser(description="The cost of a jump of virtual time.")
    parser.add_argument("--sleeps", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--years", type=int, default=10)
    chosen = parser.parse_args()
    print(f"{chosen.sleeps} sleeps, {chosen.turns} turns; the target for ours is at most {TARGET:g} of theirs")
    show("one sleeper", take_turns(sleep_in_sequence, chosen.sleeps, chosen.turns))
    show(f"{SLEEPERS} sleepers", take_turns(sleep_in_many, chosen.sleeps, chosen.turns))
    runs, seconds = jobify_testing.run(run_hourly(chosen.years))
    each = seconds / max(runs, 1) * 1e6
    print(f"{chosen.years} years of an hourly job: {runs} runs in {seconds:.1f} s, {each:.0f} µs a run")


if __name__ == "__main__":
    main()

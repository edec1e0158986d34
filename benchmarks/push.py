"""How many jobs a second can be pushed and awaited, beside the same number of bare asyncio tasks.

    python benchmarks/push.py [--jobs 10000] [--turns 5] [--folder FOLDER]

All contenders do the same: one gather pushes all jobs, another one waits for them. The floor is bare
asyncio, where to push a job is to make a task. They take turns in one process, each turn on a new event
loop, with nothing left for the garbage collector by the one before. Read the ratios: the absolute rates
belong to the machine, and to what else it does.

The SQLite files are made in FOLDER, by default where temporary files go: their rate is that of its disk.
"""

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from jobify import Jobify
from jobify.storage import MemoryStorage, SQLiteStorage, Storage

T = TypeVar("T")
Contender = Callable[[int], Coroutine[Any, Any, float]]
"""Pushes so many jobs, awaits them, and returns the seconds that it took."""

WARM_UP = 200
FLOOR = "bare asyncio"


async def echo(number: int) -> int:
    """Do the least that a job can do."""
    return number


async def time_wave(
    jobs: int, push: Callable[[int], Coroutine[Any, Any, T]], wait: Callable[[T], Coroutine[Any, Any, object]]
) -> float:
    """Return the seconds in which so many jobs are pushed at once, and all have ended."""
    began = time.perf_counter()
    pushed = await asyncio.gather(*[push(number) for number in range(jobs)])
    await asyncio.gather(*[wait(job) for job in pushed])
    return time.perf_counter() - began


async def bare_asyncio(jobs: int) -> float:
    """Push by making a task: what any scheduler in this process has to do at least."""

    async def push(number: int) -> asyncio.Task[int]:
        return asyncio.get_running_loop().create_task(echo(number))

    async def wait(task: asyncio.Task[int]) -> int:
        return await task

    await time_wave(WARM_UP, push, wait)
    return await time_wave(jobs, push, wait)


async def on_storage(make_storage: Callable[[], Storage], jobs: int) -> float:
    """Push through an app with a new storage; its start and its stop are not timed."""
    app = Jobify(storage=make_storage())
    task = app.task(echo)
    async with app:
        await time_wave(WARM_UP, task.push, lambda job: job.wait())
        return await time_wave(jobs, task.push, lambda job: job.wait())


def contenders(folder: Path) -> dict[str, Contender]:
    """Return who takes part, each with a database of its own."""
    full = partial(SQLiteStorage, folder / "full.db")
    normal = partial(SQLiteStorage, folder / "normal.db", synchronous="normal")
    return {
        FLOOR: bare_asyncio,
        "MemoryStorage": partial(on_storage, MemoryStorage),
        "SQLiteStorage": partial(on_storage, full),
        'SQLite, synchronous="normal"': partial(on_storage, normal),
    }


def take_turns(runners: dict[str, Contender], *, jobs: int, turns: int) -> dict[str, list[float]]:
    """Return the jobs per second of each, turn by turn; every other turn goes the other way round."""
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(turns):
        for name in list(runners) if turn % 2 == 0 else reversed(runners):
            gc.collect()
            rates[name].append(jobs / asyncio.run(runners[name](jobs)))
    return rates


def main() -> None:
    """Let all take turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description="Jobs per second of push and wait, against bare asyncio.")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the SQLite files are made, and removed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jobify-push-", dir=chosen.folder) as folder:
        rates = take_turns(contenders(Path(folder)), jobs=chosen.jobs, turns=chosen.turns)

    print(f"{chosen.jobs} jobs, {chosen.turns} turns")
    print(f"{'jobs a second':30}{'median':>10}{'lowest':>10}{'highest':>10}{'of the floor':>15}")
    for name, rate in rates.items():
        ratio = statistics.median(mine / floor for mine, floor in zip(rate, rates[FLOOR], strict=True))
        print(f"{name:30}{statistics.median(rate):>10,.0f}{min(rate):>10,.0f}{max(rate):>10,.0f}{ratio:>15.3f}")


if __name__ == "__main__":
    main()

"""A thousand runs of programs that are prone to races, on virtual time: one and the same history, or not.

    python benchmarks/one_thousand.py [--runs 1000] [--seed 0] [--orders] [--only WORD]

A history is all that a run lets be seen: every transition of every job with its id, instant, attempt and error,
and what the program itself noted, in order. The runs follow each other in one process, so whatever a process
piles up (objects, threads, garbage) would show. So would what Python draws anew for each process: the same is
run in two further ones, with other hashes of strings.

With --orders, also: how many histories the random orders of 20 seeds give, where each seed is run twice and has
to give the same history twice. A program that has but one under all of them leaves nothing to chance.
"""

import argparse
import asyncio
import hashlib
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import jobify_testing
from jobify import Job, Jobify, Retry, Skipped
from jobify.storage import MemoryStorage, SQLiteStorage, Storage
from jobify_testing import VirtualLoop, VirtualOptions, crash

Note = Callable[..., None]
Program = Callable[[Note], Awaitable[None]]

SEEDS = 20
HASH_SEEDS = ("1", "2")
CROWD = 12


async def due_together(make_storage: Callable[[], Storage], note: Note) -> None:
    """Jobs that are due at one instant: some at once, some by a delay, some by a cron, and some make others."""
    app = Jobify(storage=make_storage())

    @app.task(name="child")
    async def child(number: int) -> None:
        note("child", number)

    @app.task(name="work")
    async def work(number: int) -> int:
        note("begins", number)
        await asyncio.sleep(number % 3)
        await child.push(number)
        note("ends", number)
        return number

    @app.task(name="every minute")
    async def tick() -> None:
        note("tick")

    async with app:
        await tick.schedule().cron("* * * * *", job_id="tick")
        jobs = await asyncio.gather(*[work.schedule(number).delay(60) for number in range(CROWD)])
        jobs += [await work.push(CROWD + number) for number in range(CROWD)]
        for run in await asyncio.gather(*[job.wait() for job in jobs]):
            note("seen", run)
        await asyncio.sleep(60)


async def threads_that_sleep(note: Note) -> None:
    """Threads that read, sleep, and write what is not theirs alone."""
    app = Jobify(storage=MemoryStorage())
    total = 0

    @app.task(name="add")
    def add(number: int, seconds: float) -> int:
        nonlocal total
        seen = total
        time.sleep(seconds)
        total = seen + number
        note("added", number, total)
        return total

    async with app:
        jobs = [await add.push(number, seconds) for number in range(4) for seconds in (0, 0.5, 1)]
        await asyncio.gather(*[asyncio.to_thread(time.sleep, seconds) for seconds in (1, 0.5, 0.5)])
        note("slept", total)
        for job in jobs:
            note(await job)


async def retries(note: Note) -> None:
    """Jobs that fail and come back, with a wait that is drawn at random, and without."""
    app = Jobify(storage=MemoryStorage())

    @app.task(name="flaky", retry=Retry(3, delay=1))
    async def flaky(number: int) -> None:
        note("tries", number)
        await asyncio.sleep(0)
        raise OSError(number)

    @app.task(name="steady", retry=Retry(3, delay=1, factor=1, jitter=False, on=OSError))
    async def steady(number: int) -> int:
        await asyncio.sleep(1)
        if tried.setdefault(number, 0) < number % 4:
            tried[number] += 1
            raise OSError(number)
        return number

    tried: dict[int, int] = {}
    async with app:
        for number in range(CROWD):
            await (flaky if number % 2 else steady).schedule(number).delay(number % 2)
        await app.wait_all()


async def timeouts_of_one_instant(note: Note) -> None:
    """Work that ends at the very instant at which its time is over, with the timeouts of jobs and of asyncio."""
    app = Jobify(storage=MemoryStorage())

    @app.task(name="just in time", timeout=1)
    async def just_in_time(number: int) -> int:
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(1)
        except TimeoutError:
            note("own timeout", number)
        return number

    @app.task(name="waits", timeout=2)
    async def waits(number: int) -> int:
        return await asyncio.wait_for(asyncio.sleep(2, number), 2)

    async with app:
        jobs = [await task.push(number) for number in range(CROWD // 2) for task in (just_in_time, waits)]
        done, pending = await asyncio.wait([asyncio.ensure_future(job.wait()) for job in jobs], timeout=2)
        note(len(done), len(pending))
        await asyncio.gather(*pending)


async def cancelled_at_the_instant(note: Note) -> None:
    """Jobs that are cancelled when they are due, by timers set before them and behind them; and so with tasks."""
    app = Jobify(storage=MemoryStorage())
    loop = asyncio.get_running_loop()

    @app.task(name="work")
    async def work(number: int) -> int:
        note("runs", number)
        await asyncio.sleep(0)
        return number

    async def cancel(job: Job[int], number: int) -> None:
        note("cancels", number, await job.cancel())

    async with app, asyncio.TaskGroup() as group:
        for number in range(CROWD):
            job_id = f"job {number}"
            if number % 3 == 0:
                later = asyncio.ensure_future(asyncio.sleep(5))
                later.add_done_callback(lambda done, number=number: note("task", number, done.cancelled()))  # type: ignore[misc]  # bound here
                loop.call_later(5, later.cancel)
            job = await work.schedule(number).delay(5, job_id=job_id)
            start = partial(group.create_task, cancel(job, number))
            loop.call_later(5 if number % 2 else 5 - 1e-9, start)
        await asyncio.sleep(6)
        await app.wait_all()


async def groups_that_fail(note: Note) -> None:
    """Many tasks that are cancelled at once, and each of them makes a job of that; the order is that of a set."""
    app = Jobify(storage=MemoryStorage())

    @app.task(name="mourn")
    async def mourn(number: int) -> int:
        note("mourns", number)
        return number

    async def child(number: int) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await mourn.push(number)

    async def family(size: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(size):
                group.create_task(child(number))
            await asyncio.sleep(1)
            raise LookupError(size)

    async with app:
        families = [asyncio.create_task(family(size)) for size in range(CROWD)]
        for ended in asyncio.as_completed(families):
            try:
                await ended
            except* LookupError as error:
                note(repr(error))
        await app.wait_all()


async def killed_and_started_again(note: Note) -> None:
    """A program that dies in the middle of its jobs, at an instant at which some are due, and is started again."""
    app = Jobify(storage=SQLiteStorage("killed.db"))

    @app.task(name="work", retry=1)
    async def work(number: int) -> None:
        note("begins", number)
        await asyncio.sleep(3)
        note("ends", number)

    @app.task(name="in a thread")
    def thread(number: int) -> None:
        time.sleep(2)
        note("thread", number)

    await app.start()
    for number in range(CROWD):
        await (thread if number % 3 == 2 else work).schedule(number).delay(number % 3)
    await asyncio.sleep(2)
    await crash(app)
    note("killed")
    async with app:
        await app.wait_all()


PROGRAMS: dict[str, Program] = {
    "due together, in memory": partial(due_together, MemoryStorage),
    "due together, in SQLite": partial(due_together, partial(SQLiteStorage, "together.db")),
    "threads that sleep": threads_that_sleep,
    "retries": retries,
    "timeouts of one instant": timeouts_of_one_instant,
    "cancelled at the instant": cancelled_at_the_instant,
    "groups that fail": groups_that_fail,
    "killed and started again": killed_and_started_again,
}


def history_of(program: Program, options: VirtualOptions) -> list[str]:
    """Run a program, and return all that can be seen of it."""
    lines: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)

        def note(*words: object) -> None:
            lines.append(f"{loop.nanoseconds} {words!r}")

        try:
            await program(note)
        finally:
            for event in loop.jobify_runtime.transitions:
                time = event.first if isinstance(event, Skipped) else event.at
                lines.append(f"{time.isoformat()} {event!r}")

    jobify_testing.run(main(), options=options)
    return lines


def digest_of(history: list[str]) -> str:
    """Return a hash of a history, the same in every process."""
    return hashlib.sha256("\n".join(history).encode()).hexdigest()


def run_again_and_again(program: Program, options: VirtualOptions, runs: int) -> tuple[Counter[str], list[str]]:
    """Return how often which history came, and the first of them."""
    first = history_of(program, options)
    digests = Counter([digest_of(first)])
    for _ in range(runs - 1):
        history = history_of(program, options)
        digest = digest_of(history)
        if digest not in digests and len(digests) == 1:  # one difference says enough
            show_difference(first, history)
        digests[digest] += 1
    return digests, first


def show_difference(first: list[str], other: list[str]) -> None:
    """Print where two histories part."""
    for number, (expected, actual) in enumerate(zip(first, other, strict=False)):
        if expected != actual:
            print(f"  line {number}: at first {expected[:300]}\n{'':10}and then {actual[:300]}")
            return
    print(f"  {len(first)} lines at first, and then {len(other)}")


def digest_from_process(name: str, seed: int, hash_seed: str) -> str:
    """Return the digest of one run in a process with other hashes."""
    command = [sys.executable, __file__, "--digest", name, "--seed", str(seed)]
    process = subprocess.run(  # noqa: S603  # our own interpreter
        command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
    )
    return process.stdout.strip()


def histories_of_orders(program: Program) -> int | None:
    """Return how many histories the random orders of some seeds give; None if a seed does not give its own twice."""
    digests: set[str] = set()
    for seed in range(SEEDS):
        options = VirtualOptions(order="random", seed=seed)
        first, second = history_of(program, options), history_of(program, options)
        if first != second:
            show_difference(first, second)
            return None
        # The ids of jobs follow from the seed too: they are no difference of order.
        digests.add(digest_of([without_ids(line) for line in first]))
    return len(digests)


def without_ids(line: str) -> str:
    """Return a line with the ids that were made, and not given, left out."""
    return " ".join(word for word in line.split(" ") if not word.startswith("Transition(job_id='"))


def main() -> None:
    """Run all programs, print a line for each, and exit with 1 if any has two histories."""
    parser = argparse.ArgumentParser(description="Programs that are prone to races, again and again.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--orders", action="store_true", help=f"also with the random orders of {SEEDS} seeds")
    parser.add_argument("--only", default="", help="only the programs with this in their name")
    parser.add_argument("--digest", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    logging.disable()  # that jobs fail is what they are for
    options = VirtualOptions(seed=chosen.seed)
    if chosen.digest:
        print(digest_of(history_of(PROGRAMS[chosen.digest], options)))
        return
    good = True
    titles = ("lines", "histories", "elsewhere", "s") + (("of 20 orders",) if chosen.orders else ())
    print(f"{f'{chosen.runs} runs, seed {chosen.seed}':28}" + "".join(f"{title:>14}" for title in titles))
    for name, program in PROGRAMS.items():
        if chosen.only not in name:
            continue
        began = time.perf_counter()
        digests, first = run_again_and_again(program, options, chosen.runs)
        elsewhere = sum(digest_from_process(name, chosen.seed, seed) == digest_of(first) for seed in HASH_SEEDS)
        columns: list[object] = [len(first), len(digests), f"{elsewhere} of {len(HASH_SEEDS)} same"]
        columns.append(f"{time.perf_counter() - began:.1f}")
        good = good and len(digests) == 1 and elsewhere == len(HASH_SEEDS)
        if chosen.orders:
            orders = histories_of_orders(program)
            columns.append("not repeated" if orders is None else orders)
            good = good and orders is not None
        print(f"{name:28}" + "".join(f"{column!s:>14}" for column in columns), flush=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()

"""The order of things due at one instant is declared, holds for jobs and timers, and finds races."""

import asyncio
from typing import Any

import pytest

from jobify import Jobify
from jobify.storage import MemoryStorage, SQLiteStorage, Storage
from jobify_testing import TransitionLog, VirtualClock, VirtualOptions, run


def start_order(options: VirtualOptions, storage: Storage | None = None) -> list[int]:
    """Return the order in which eight jobs due at one instant start."""
    app = Jobify(storage=storage or MemoryStorage())
    order: list[int] = []

    @app.task
    async def note(n: int) -> None:
        order.append(n)

    async def main() -> None:
        async with app:
            for n in range(8):
                await note.schedule(n).delay(10)
            await app.wait_all()

    run(main(), options=options)
    return order


def timer_order(options: VirtualOptions) -> list[int]:
    """Return the order in which eight timers of one instant are called."""
    order: list[int] = []

    async def main() -> None:
        for n in range(8):
            asyncio.get_running_loop().call_later(10, order.append, n)
        await asyncio.sleep(11)

    run(main(), options=options)
    return order


@pytest.mark.parametrize("storage", [MemoryStorage, SQLiteStorage])
def test_first_come_first_served(storage: Any) -> None:
    """E10: by default what was asked for first happens first, jobs and timers alike."""
    assert start_order(VirtualOptions(), storage()) == timer_order(VirtualOptions()) == list(range(8))


def test_last_come_first_served() -> None:
    """With order="lifo" it is the other way round."""
    options = VirtualOptions(order="lifo")
    assert start_order(options) == timer_order(options) == list(reversed(range(8)))


@pytest.mark.parametrize("storage", [MemoryStorage, SQLiteStorage])
def test_a_random_order_is_that_of_its_seed(storage: Any) -> None:
    """With order="random" a seed gives one order, always the same, and other seeds give others."""
    orders = [start_order(VirtualOptions(order="random", seed=seed), storage()) for seed in range(20)]
    assert orders == [start_order(VirtualOptions(order="random", seed=seed), storage()) for seed in range(20)]
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len({tuple(order) for order in orders}) == 20
    timers = {tuple(timer_order(VirtualOptions(order="random", seed=seed))) for seed in range(20)}
    assert len(timers) == 20


def test_a_random_order_leaves_instants_alone() -> None:
    """Seeds vary who comes first, never when: each history has the same instants."""
    histories: set[tuple[float, ...]] = set()
    for seed in range(10):
        app = Jobify(storage=SQLiteStorage("jobs.db"))
        instants: list[float] = []

        @app.task(retry=1)
        async def work(n: int, instants: list[float]) -> None:
            instants.append(asyncio.get_running_loop().time())
            await asyncio.sleep(n)

        async def main(app: Jobify = app, work: Any = work, instants: list[float] = instants) -> None:
            async with app:
                jobs = [await work.schedule(n, []).delay(5) for n in range(5)]
                for job in jobs:
                    await job.wait()
                    instants.append(asyncio.get_running_loop().time())

        run(main(), options=VirtualOptions(order="random", seed=seed))
        histories.add(tuple(instants))
    assert histories == {(5, 6, 7, 8, 9)}


def balance_of_two_transfers(seed: int) -> int:
    """Return what is left when two jobs draw from one account without a lock."""
    app = Jobify(storage=MemoryStorage())
    balance = 100

    @app.task
    async def draw(amount: int) -> None:
        nonlocal balance
        if balance >= amount:
            await asyncio.sleep(0)  # a look at a database
            balance -= amount

    @app.task
    async def deposit(amount: int) -> None:
        nonlocal balance
        balance += amount

    async def main() -> None:
        async with app:
            await draw.schedule(80).delay(5)
            await deposit.schedule(50).delay(5)
            await draw.schedule(60).delay(5)
            await app.wait_all()

    run(main(), options=VirtualOptions(order="random" if seed else "fifo", seed=seed))
    return balance


def test_a_planted_race_is_found_within_twenty_seeds() -> None:
    """A test that passes in the usual order fails in another one, and that seed fails again."""
    usual = balance_of_two_transfers(0)
    assert usual == 10
    found = [seed for seed in range(1, 21) if balance_of_two_transfers(seed) != usual]
    assert found
    assert balance_of_two_transfers(found[0]) == balance_of_two_transfers(found[0])


async def test_a_timeout_as_long_as_the_job_strikes_first(app: Jobify, job_transitions: TransitionLog) -> None:
    """E15: a job that takes exactly its timeout is TIMEOUT: the timeout was set before the job went to sleep."""

    @app.task(timeout=10)
    async def nap(seconds: float) -> None:
        await asyncio.sleep(seconds)

    async with app:
        exact, shorter = await nap.push(10), await nap.push(9.999999999)
        await app.wait_all()
    assert job_transitions.timeline(exact)[-1] == (10, "timeout")
    assert job_transitions.timeline(shorter)[-1] == (9.999999999, "success")


async def test_two_jobs_and_one_slot(virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """E16: of two jobs due at one instant the first takes the only slot, and the second follows at once behind it."""
    app = Jobify(storage=MemoryStorage(), max_concurrency=1)

    @app.task
    async def nap(seconds: float) -> None:
        await asyncio.sleep(seconds)

    async with app:
        first, second = await nap.schedule(3).delay(5), await nap.schedule(3).delay(5)
        await app.wait_all()
    assert job_transitions.timeline(first)[1:] == [(5, "running"), (8, "success")]
    assert job_transitions.timeline(second)[1:] == [(8, "running"), (11, "success")]


def test_tasks_in_a_set_have_an_order_of_their_own() -> None:
    """A group cancels its tasks, and a wait returns them, in an order that no address of an object decides."""

    async def main() -> list[int]:
        cancelled: list[int] = []

        async def child(number: int) -> None:
            try:
                await asyncio.sleep(10)
            finally:
                cancelled.append(number)

        async def family() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(40):
                    group.create_task(child(number))
                await asyncio.sleep(1)
                raise LookupError

        with pytest.raises(ExceptionGroup):
            await family()
        return cancelled

    kept = [[object() for _ in range(turn * 7)] for turn in range(20)]  # so that addresses differ
    assert len({tuple(run(main())) for _ in kept}) == 1

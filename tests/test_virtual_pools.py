"""Pools of threads on virtual time: what is submitted to them takes turns, and whoever waits for it gives them."""

import asyncio
import concurrent.futures
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobify import Jobify
from jobify_testing import (
    ForbiddenWorkError,
    VirtualClock,
    VirtualDeadlockError,
    VirtualLoop,
    VirtualOptions,
    crash,
    run,
)

Pool = concurrent.futures.ThreadPoolExecutor


@pytest.fixture
def early_pool() -> Iterator[Pool]:
    """A pool whose end is behind that of the test, when no loop runs."""
    with Pool(1) as early_pool:
        yield early_pool


async def test_what_is_submitted_takes_turns(virtual_clock: VirtualClock) -> None:
    """`pool.submit` on the loop makes a call that sleeps in virtual time, in its order, in a thread of the pool."""
    log: list[tuple[str, float]] = []

    def work(name: str, seconds: float) -> str:
        time.sleep(seconds)
        log.append((name, virtual_clock.monotonic()))
        return threading.current_thread().name

    with Pool(2, thread_name_prefix="mine") as pool:
        calls = [pool.submit(work, "a", 30), pool.submit(work, "b", seconds=10), pool.submit(work, "c", 5)]
        names = await asyncio.gather(*map(asyncio.wrap_future, calls))
    assert log == [("b", 10), ("c", 15), ("a", 30)]
    assert {name.partition("_")[0] for name in names} == {"mine"}


async def test_a_call_sees_no_context_of_who_submits_it(virtual_clock: VirtualClock) -> None:
    """A pool knows nothing of contexts, on virtual time as elsewhere: no test passes by one."""
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    with Pool(1) as pool:
        assert await asyncio.wrap_future(pool.submit(variable.get)) == "unset"


async def test_errors_and_cancellations_of_calls(virtual_clock: VirtualClock) -> None:
    """A future of a pool is what it is elsewhere: it raises what the call raised, and can be cancelled before that."""
    called: list[str] = []
    with Pool(1) as pool:
        failing = pool.submit(lambda: 1 // 0)
        cancelled = pool.submit(called.append, "called")
        assert cancelled.cancel()
        with pytest.raises(ZeroDivisionError):
            await asyncio.wrap_future(failing)
        assert pool.submit(len, "four").result() == 4
    assert called == []


async def test_the_loop_waits_for_a_call(virtual_clock: VirtualClock) -> None:
    """A callback that waits for a call, in whatever way, gives the threads their turns, and time passes for it."""
    loop = asyncio.get_running_loop()

    def work(seconds: float) -> float:
        time.sleep(seconds)
        return virtual_clock.monotonic()

    with Pool(1) as pool:
        before = loop.run_in_executor(pool, time.sleep, 5)
        await asyncio.sleep(1)
        assert pool.submit(work, 3).result() == 8  # behind the call that is in the way
        with pytest.raises(TimeoutError):
            pool.submit(work, 10).result(timeout=4)
        assert virtual_clock.monotonic() == 12
        done, _ = concurrent.futures.wait([pool.submit(work, 1), pool.submit(work, 2)])
        assert sorted(call.result() for call in done) == [19, 21]
        assert list(pool.map(work, [1, 2])) == [22, 24]
        with pytest.raises(TimeoutError):
            list(concurrent.futures.as_completed([pool.submit(work, 10)], timeout=6))
        assert virtual_clock.monotonic() == 30
        await before


async def test_a_thread_waits_for_calls_of_other_threads(virtual_clock: VirtualClock) -> None:
    """A pool in a thread that has a turn: calls in it take turns as well, and every way to wait for them gives one."""
    instants: list[float] = []

    def work(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def note(result: object) -> object:
        instants.append(virtual_clock.monotonic())
        return result

    def use_a_pool() -> None:
        with Pool(2) as pool:
            assert note(list(pool.map(work, [5, 3, 4]))) == [5, 3, 4]
            calls = [pool.submit(work, seconds) for seconds in (9, 2, 7)]
            assert [note(call.result()) for call in concurrent.futures.as_completed(calls)] == [2, 9, 7]
            slow = pool.submit(work, 50)
            with pytest.raises(TimeoutError):
                slow.result(timeout=10)
            quick = pool.submit(work, 1)
            done, _ = concurrent.futures.wait([slow, quick], return_when=concurrent.futures.FIRST_COMPLETED)
            assert note(done) == {quick}
            with pytest.raises(TimeoutError):
                list(concurrent.futures.as_completed([slow], timeout=4))
            note(None)
        note(None)  # behind the end of the pool

    await asyncio.to_thread(use_a_pool)
    assert instants == [7, 9, 16, 16, 27, 31, 66]


async def test_a_thread_waits_for_several_coroutines(virtual_clock: VirtualClock) -> None:
    """`concurrent.futures.wait` and `as_completed` in a thread give its turn back, as `result` does."""
    loop = asyncio.get_running_loop()

    def ask() -> list[float]:
        answers = [asyncio.run_coroutine_threadsafe(asyncio.sleep(seconds, seconds), loop) for seconds in (60, 20)]
        concurrent.futures.wait(answers, return_when=concurrent.futures.FIRST_COMPLETED)
        first = virtual_clock.monotonic()
        return [first, *(answer.result() for answer in concurrent.futures.as_completed(answers))]

    assert await asyncio.to_thread(ask) == [20, 20, 60]
    assert virtual_clock.monotonic() == 60


@pytest.mark.parametrize("virtual_first", [True, False])
def test_a_pool_may_end_behind_the_loop_runs(virtual_first: bool) -> None:  # noqa: FBT001  # a parameter of pytest
    """A pool that is shut down while its loop does not run, as by a fixture, gets its turns from who waits for it."""
    ended: list[float] = []

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()

        def work() -> None:
            time.sleep(3600)
            ended.append(loop.time())

        async def main(pool: Pool) -> None:
            calls: list[Callable[[], object]] = [
                lambda: loop.run_in_executor(pool, work),
                lambda: pool.submit(work),
            ]
            for call in calls if virtual_first else reversed(calls):
                call()
            await asyncio.sleep(1)

        with Pool(1) as pool:
            runner.run(main(pool))
    assert ended == [3600, 7200]


async def test_a_pool_of_a_fixture_ends_in_virtual_time(early_pool: Pool, virtual_clock: VirtualClock) -> None:
    """The end of a fixture that waits for the threads of its pool neither hangs nor takes real time."""
    asyncio.get_running_loop().run_in_executor(early_pool, time.sleep, 3600)
    early_pool.submit(time.sleep, 3600)
    await asyncio.sleep(1)


async def test_the_end_of_a_pool_may_call_off_what_has_not_begun(virtual_clock: VirtualClock) -> None:
    """`cancel_futures=True` cancels what waits for a thread, and waits for what has one."""
    loop = asyncio.get_running_loop()
    pool = Pool(1)
    begun, waiting, awaited = (
        pool.submit(time.sleep, 5),
        pool.submit(time.sleep, 6),
        loop.run_in_executor(pool, len, ""),
    )
    await asyncio.sleep(1)
    pool.shutdown(cancel_futures=True)
    assert virtual_clock.monotonic() == 5
    assert begun.result() is None
    assert waiting.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await awaited
    await asyncio.sleep(60)


async def test_a_call_that_waits_for_the_loop_that_waits_for_it(virtual_clock: VirtualClock) -> None:
    """Where it would hang in life, it is an error at once, which names the thread and its line."""
    loop = asyncio.get_running_loop()

    def ask() -> None:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(1), loop).result()

    with Pool(1) as pool:
        call = pool.submit(ask)
        with pytest.raises(VirtualDeadlockError, match=r"they wait for the loop:\n.*in .*ask, at .*test_virtual_pools"):
            call.result()
        await asyncio.wrap_future(call)


async def test_a_crash_frees_the_places_in_a_pool(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A pool outlives the calls of a program that was killed: others get their places, and its end waits for none."""
    loop = asyncio.get_running_loop()

    @app.task
    async def use(seconds: float) -> None:
        await loop.run_in_executor(pool, time.sleep, seconds)

    pool = Pool(1)
    await app.start()
    for _ in range(2):  # one call has the thread, the other waits for it
        await use.push(100)
    await virtual_clock.advance(1)
    ours = loop.run_in_executor(pool, time.sleep, 5)
    await crash(app)
    await ours
    assert virtual_clock.monotonic() == 6
    assert pool.submit(lambda: 42).result() == 42
    pool.shutdown(wait=True)
    assert virtual_clock.monotonic() == 6


def test_a_dead_thread_does_not_sleep_in_its_clean_up() -> None:
    """A thread of a killed program ends with its loop, though its clean-up would sleep, again and again."""
    cleaned: list[str] = []
    app = Jobify()

    @app.task
    def work() -> None:
        try:
            time.sleep(3600)
        finally:
            try:
                time.sleep(3600)
            finally:
                cleaned.append(threading.current_thread().name)
                gone.release()

    async def main() -> None:
        await app.start()
        await work.push()
        await asyncio.sleep(1)
        await crash(app)

    gone = threading.Semaphore(0)
    run(main())
    assert gone.acquire(timeout=10)
    assert len(cleaned) == 1


async def test_a_program_in_a_thread_has_a_time_of_its_own(virtual_clock: VirtualClock) -> None:
    """`run` in a thread that has a turn moves its own clock, and that of the test stands still."""

    async def inner() -> float:
        time.sleep(100)  # blocks its own loop
        await asyncio.sleep(100)
        await asyncio.to_thread(time.sleep, 7)
        with Pool(1) as pool:
            pool.submit(time.sleep, 3).result()
        return asyncio.get_running_loop().time()

    assert await asyncio.to_thread(lambda: run(inner())) == 210
    assert virtual_clock.monotonic() == 0


@pytest.mark.virtual_clock(holds={"executor": "forbid"})
async def test_calls_in_threads_are_forbidden_too(virtual_clock: VirtualClock) -> None:
    """Where executors are forbidden they are, also for calls that take turns."""
    with Pool(1) as pool, pytest.raises(ForbiddenWorkError, match="a call of len in an executor"):
        pool.submit(len, "")


@pytest.mark.virtual_clock(holds={"executor": "ignore"})
async def test_a_poller_in_a_pool_may_be_ignored(virtual_clock: VirtualClock) -> None:
    """What is submitted and never ends runs beside the loop, where a test says so."""
    over = threading.Event()
    with Pool(1) as pool:
        polling = pool.submit(over.wait)
        await asyncio.sleep(3600)
        assert polling.running()
        over.set()
    assert polling.result()
    assert virtual_clock.monotonic() == 3600


@pytest.mark.parametrize("order", ["fifo", "lifo", "random"])
def test_calls_within_calls_are_reproducible(order: Any) -> None:
    """Pools in calls of pools do the same in every run, in every order of what is due at one instant."""

    def record() -> list[tuple[float, str]]:
        log: list[tuple[float, str]] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()

            def leaf(name: str) -> None:
                time.sleep(len(name) % 3)
                log.append((loop.time(), name))

            def branch(name: str) -> None:
                with Pool(2) as pool:
                    calls = [pool.submit(leaf, f"{name}{number}") for number in range(3)]
                    log.extend((loop.time(), str(call.result())) for call in concurrent.futures.as_completed(calls))

            with Pool(3) as pool:
                await asyncio.gather(*(loop.run_in_executor(pool, branch, name) for name in ("a", "bb", "ccc", "d")))
                list(pool.map(branch, ["e", "ff"]))

        run(main(), options=VirtualOptions(order=order, seed=7))
        return log

    first = record()
    assert len(first) == 36
    assert all(record() == first for _ in range(5))

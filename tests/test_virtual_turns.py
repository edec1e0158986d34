"""Threads on virtual time: they take their turn, sleep in no time, and always in the same order."""

import asyncio
import concurrent.futures
import contextvars
import threading
import time
from time import sleep as imported_by_name
from typing import Any

import pytest

from jobify import Jobify, JobStatus, RunMode
from jobify_testing import TransitionLog, VirtualClock, run

pytestmark = pytest.mark.virtual_clock


async def test_sleeping_threads_beside_a_ticking_loop(virtual_clock: VirtualClock) -> None:
    """`time.sleep` in threads takes virtual time, with everything else running meanwhile in the right order."""
    log: list[tuple[float, str]] = []

    def work(name: str, seconds: float) -> None:
        log.append((virtual_clock.monotonic(), f"{name} starts"))
        time.sleep(seconds)
        log.append((virtual_clock.monotonic(), f"{name} wakes"))

    async def tick() -> None:
        for _ in range(4):
            await asyncio.sleep(45)
            log.append((virtual_clock.monotonic(), "tick"))

    await asyncio.gather(tick(), *(asyncio.to_thread(work, f"thread {n}", 60 * n) for n in (1, 2, 3)))
    assert log == [
        (0, "thread 1 starts"),
        (0, "thread 2 starts"),
        (0, "thread 3 starts"),
        (45, "tick"),
        (60, "thread 1 wakes"),
        (90, "tick"),
        (120, "thread 2 wakes"),
        (135, "tick"),
        (180, "thread 3 wakes"),  # it went to sleep before the ticker did
        (180, "tick"),
    ]


async def test_sleep_that_was_imported_by_name(virtual_clock: VirtualClock) -> None:
    """`from time import sleep` is the same function, and takes virtual time, too."""
    await asyncio.to_thread(imported_by_name, 3600)
    assert virtual_clock.monotonic() == 3600


class Whole:
    """A whole number of another library, as those of numpy."""

    def __index__(self) -> int:
        """Be 3."""
        return 3


async def test_sleep_takes_every_whole_number(virtual_clock: VirtualClock) -> None:
    """What `time.sleep` accepts takes virtual time, whatever its type: in a thread, and on the loop."""
    whole: Any = Whole()
    await asyncio.to_thread(time.sleep, whole)
    assert virtual_clock.monotonic() == 3
    time.sleep(whole)  # blocks the loop
    time.sleep(True)  # the same
    assert virtual_clock.monotonic() == 7


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), 10**30, "x", None])
async def test_sleep_refuses_what_it_always_refused(virtual_clock: VirtualClock, wrong: object) -> None:
    """A wrong duration is the error that `time.sleep` raises in real life, in a thread and on the loop."""

    def nap() -> None:
        time.sleep(wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # wrong on purpose

    with pytest.raises((ValueError, TypeError, OverflowError)):
        await asyncio.to_thread(nap)
    with pytest.raises((ValueError, TypeError, OverflowError)):
        nap()
    assert virtual_clock.monotonic() == 0


async def test_thread_jobs_sleep_in_virtual_time(app: Jobify, job_transitions: TransitionLog) -> None:
    """Thread and process jobs that block take the time that they say, and no real one."""

    @app.task(name="thread")
    def thread_job(seconds: float) -> str:
        time.sleep(seconds)
        return "thread"

    async with app:
        job = await thread_job.schedule(7200).delay(10)
        assert await job == "thread"
    assert job_transitions.timeline(job) == [(0, "scheduled"), (10, "running"), (7210, "success")]


processes = Jobify()


@processes.task(run_mode=RunMode.PROCESS)
def nap_in_process(seconds: float) -> str:
    """Sleep in a process, or in what stands for one."""
    time.sleep(seconds)
    return "process"


async def test_process_jobs_sleep_in_virtual_time(virtual_clock: VirtualClock) -> None:
    """A process job runs in a thread that takes its turn, so it sleeps in virtual time."""
    async with processes:
        assert await (await nap_in_process.push(86_400)) == "process"
    assert virtual_clock.monotonic() == 86_400


async def test_a_timeout_abandons_a_sleeping_thread(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A thread job that sleeps beyond its timeout is TIMEOUT; the thread itself sleeps to its end."""
    ended: list[float] = []

    @app.task(timeout=5)
    def slow() -> None:
        time.sleep(60)
        ended.append(virtual_clock.monotonic())

    async with app:
        job = await slow.push()
        await job.wait()
        assert job.status is JobStatus.TIMEOUT
        assert virtual_clock.monotonic() == 5
        await virtual_clock.advance(55)
        assert ended == [60]


async def test_a_pool_has_only_so_many_threads(virtual_clock: VirtualClock) -> None:
    """E29: the calls in a pool of the user's own run in its threads, as many at once as it has, first come first."""
    loop = asyncio.get_running_loop()
    log: list[tuple[float, int, str]] = []

    def work(n: int) -> None:
        log.append((virtual_clock.monotonic(), n, threading.current_thread().name.partition("_")[0]))
        time.sleep(10)

    with concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, work, n) for n in range(5)))
    assert log == [(0, 0, "mine"), (0, 1, "mine"), (10, 2, "mine"), (10, 3, "mine"), (20, 4, "mine")]
    assert virtual_clock.monotonic() == 30


async def test_a_pool_that_is_shut_down_with_calls_in_it(virtual_clock: VirtualClock) -> None:
    """A loop that waits for a pool is blocked for as long as the calls in it take, and does not hang."""
    ended: list[float] = []

    def work(seconds: float) -> None:
        time.sleep(seconds)
        ended.append(virtual_clock.monotonic())

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        calls = [asyncio.get_running_loop().run_in_executor(pool, work, seconds) for seconds in (5, 10)]
    assert ended == [5, 15]
    await asyncio.gather(*calls)
    assert virtual_clock.monotonic() == 15


async def test_a_thread_that_waits_for_a_coroutine(virtual_clock: VirtualClock) -> None:
    """A thread may submit a coroutine and wait for it: its turn goes back meanwhile, and time may move."""
    loop = asyncio.get_running_loop()

    async def answer() -> int:
        await asyncio.sleep(60)
        return 42

    def ask() -> tuple[int, float]:
        value = asyncio.run_coroutine_threadsafe(answer(), loop).result()
        return value, virtual_clock.monotonic()

    def ask_in_haste() -> float:
        with pytest.raises(TimeoutError):
            asyncio.run_coroutine_threadsafe(answer(), loop).result(timeout=5)
        return virtual_clock.monotonic()

    assert await asyncio.to_thread(ask) == (42, 60)
    assert await asyncio.to_thread(ask_in_haste) == 65


async def test_a_call_that_was_cancelled_goes_on_in_its_thread(virtual_clock: VirtualClock) -> None:
    """E29: nobody waits for the call any more, and its thread still wakes at its time."""
    woken: list[float] = []

    def work() -> None:
        time.sleep(30)
        woken.append(virtual_clock.monotonic())

    call = asyncio.create_task(asyncio.to_thread(work))
    await virtual_clock.advance(10)
    call.cancel()
    await virtual_clock.advance(20)
    assert woken == [30]


async def test_a_call_cancelled_before_its_turn_is_not_made(virtual_clock: VirtualClock) -> None:
    """A call whose future is cancelled before its thread got a turn does not happen."""
    called: list[str] = []
    call = asyncio.get_running_loop().run_in_executor(None, called.append, "called")
    call.cancel()
    await virtual_clock.advance(1)
    assert called == []
    assert await asyncio.to_thread(lambda: "the next one") == "the next one"


async def test_exceptions_and_contexts_cross(virtual_clock: VirtualClock) -> None:
    """What a thread raises is raised where it was asked for, even a StopIteration; it sees the caller's context."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("mine")
    assert await asyncio.to_thread(variable.get) == "mine"
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.to_thread(next, iter(()))


def test_the_end_of_the_loop_waits_for_its_threads() -> None:
    """The loop of a program ends behind the calls in its threads, in virtual time."""
    ended: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            time.sleep(3600)
            ended.append(loop.time())

        loop.run_in_executor(None, work)

    run(main())
    assert ended == [3600]


@pytest.mark.slow
@pytest.mark.virtual_clock(threads="real")
async def test_real_threads_run_side_by_side(app: Jobify, virtual_clock: VirtualClock) -> None:
    """With threads="real" two jobs can wait for each other, and time stands still until they are through."""
    meeting = threading.Barrier(2)

    @app.task
    def meet() -> int:
        return meeting.wait()

    async with app:
        async with asyncio.timeout(1):
            jobs = [await meet.push(), await meet.push()]
            assert sorted([await jobs[0], await jobs[1]]) == [0, 1]
    assert virtual_clock.monotonic() == 0

"""A loop that is blocked by a thread that waits for a turn: never a hang, and the error says who and where."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from jobify import Jobify
from jobify_testing import (
    VirtualClock,
    VirtualDeadlockError,
    VirtualLoop,
    VirtualOptions,
    VirtualTimeWarning,
    crash,
    run,
)
from tests.outside import take_a_while

pytestmark = pytest.mark.slow


def sleep_inside(lock: threading.Lock, seconds: float) -> None:
    """Sleep inside of a lock."""
    with lock:
        time.sleep(seconds)


def test_a_loop_that_wants_what_a_sleeping_thread_has() -> None:
    """A lock that a thread holds over a virtual sleep is not waited for longer than the patience of the loop."""
    lock = threading.Lock()
    went_on: list[bool] = []

    async def main() -> None:
        call = asyncio.create_task(asyncio.to_thread(sleep_inside, lock, 5))
        await asyncio.sleep(1)
        with lock:
            went_on.append(True)
        await call

    with pytest.raises(VirtualDeadlockError) as caught:
        run(main(), options=VirtualOptions(patience=0.2))
    told = str(caught.value)
    line = main.__code__.co_firstlineno + 3
    assert f"the loop has been blocked for more than 0.2 real seconds at {__file__}:{line}, perhaps by a thread" in told
    inside = sleep_inside.__code__.co_firstlineno + 3
    assert f"the thread 'jobify worker 1', in {__name__}.sleep_inside, at {__file__}:{inside}" in told
    assert went_on == [True]


def test_a_loop_that_wants_it_in_the_end_while_it_does_not_run() -> None:
    """The same for what comes behind a run, as the end of a fixture; the next run tells of it."""
    lock = threading.Lock()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, sleep_inside, lock, 5)
        await asyncio.sleep(1)

    def run_and_want(options: VirtualOptions) -> None:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(options)) as runner:
            runner.run(main())
            with lock:
                pass

    with pytest.raises(VirtualDeadlockError, match=r"has been blocked for more than 0\.2 real seconds"):
        run_and_want(VirtualOptions(patience=0.2))


def test_two_threads_and_one_lock() -> None:
    """A thread that wants what a sleeping thread has holds time, and both are named when patience is at its end."""
    lock = threading.Lock()

    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread(sleep_inside, lock, 5) for _ in range(2)))

    with (
        pytest.warns(VirtualTimeWarning, match="has kept its turn"),
        pytest.raises(VirtualDeadlockError) as caught,
    ):
        run(main(), options=VirtualOptions(patience=1))
    first, second, third = str(caught.value).splitlines()[:3]
    line = sleep_inside.__code__.co_firstlineno
    assert first.startswith("real work held time for more than 1 real seconds: the thread 'jobify worker 2', in ")
    assert first.endswith(f"{__file__}:{line + 2}")
    assert second == "in virtual time, and perhaps inside of a lock that this work wants, stand still:"
    assert third.startswith("  the thread 'jobify worker 1', in ")
    assert third.endswith(f"{__file__}:{line + 3}")


async def compute(seconds: float) -> None:
    """Keep the loop busy, without a pause."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        take_a_while()


@pytest.mark.virtual_clock(patience=0.2)
@pytest.mark.parametrize("work", [lambda: compute(0.6), lambda: asyncio.to_thread(threading.Event().wait, 0.6)])
async def test_a_loop_that_works_is_not_blocked(
    virtual_clock: VirtualClock, work: Callable[[], Awaitable[object]]
) -> None:
    """A long computation, or a thread that keeps its turn, is no reason to wake those that sleep."""
    sleeping = asyncio.create_task(asyncio.to_thread(time.sleep, 5))
    await asyncio.sleep(1)
    await work()
    await sleeping
    assert virtual_clock.monotonic() == 5


@pytest.mark.virtual_clock(patience=0.2)
async def test_a_person_who_looks_is_no_deadlock(virtual_clock: VirtualClock) -> None:
    """A debugger stops the loop for as long as a person thinks."""
    sleeping = asyncio.create_task(asyncio.to_thread(time.sleep, 5))
    await asyncio.sleep(1)
    debugger = {"__name__": "pdb", "think": threading.Event().wait}
    exec("think(0.8)", debugger)  # noqa: S102  # a frame of a debugger, without its terminal
    await sleeping
    assert virtual_clock.monotonic() == 5


async def yield_often() -> None:
    """Let others run at this instant, without waiting for the end of what they do."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.virtual_clock(patience=1)
async def test_a_dead_thread_that_keeps_its_turn_holds_no_time(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A thread of a killed program that waits for the real world cannot be ended, and keeps nobody waiting."""
    gate = threading.Event()

    @app.task
    def wait() -> None:
        gate.wait()

    await app.start()
    await wait.push()
    with pytest.warns(VirtualTimeWarning, match="has kept its turn"):
        await yield_often()
    await crash(app)
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60
    gate.set()

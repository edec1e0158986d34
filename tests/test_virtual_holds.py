"""Real work in flight holds virtual time: threads, executors, AnyIO's workers, signals, and what the test says."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from jobify import Jobify
from jobify.storage import MemoryStorage
from jobify_testing import ForbiddenWorkError, VirtualClock, VirtualDeadlockError, VirtualLoop, VirtualOptions, crash
from tests.outside import Outside, take_a_while

pytestmark = [pytest.mark.slow, pytest.mark.virtual_clock]

NEVER = pytest.mark.virtual_clock(patience=300.0, grace=300.0)
"""Whoever waits in real time, for what does not come, is noticed: the test does not end."""

REAL = pytest.mark.virtual_clock(threads="real")


@pytest.fixture
def outside() -> Iterator[Outside]:
    """A thread that began before the loop."""
    thread = Outside()
    yield thread
    thread.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """A gate at which threads wait, until the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


# Executors


class OwnExecutor(concurrent.futures.Executor):
    """An executor that inherits from none of the standard library's pools."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "concurrent.futures.Future[Any]":
        """Call in a thread that began before the loop."""
        call: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def work() -> None:
            if call.set_running_or_notify_cancel():
                call.set_result(fn(*args, **kwargs))

        self._outside.do(work)
        return call


@NEVER
async def test_a_call_in_an_executor_of_ones_own_holds_time(outside: Outside, virtual_clock: VirtualClock) -> None:
    """E29: it need not be a pool of the standard library."""
    loop = asyncio.get_running_loop()
    executor = OwnExecutor(outside)
    async with asyncio.timeout(5):
        await loop.run_in_executor(executor, take_a_while)
    assert virtual_clock.monotonic() == 0
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60


async def test_a_cancelled_call_in_an_executor_of_ones_own_holds_time(
    outside: Outside, virtual_clock: VirtualClock
) -> None:
    """E29: the call counts until it has ended, whether somebody waits for it or not."""
    loop = asyncio.get_running_loop()
    began, ended = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        take_a_while()
        ended.set()

    call = loop.run_in_executor(OwnExecutor(outside), work)
    began.wait()
    call.cancel()
    await asyncio.sleep(60)
    assert ended.is_set()


@REAL
async def test_no_answer_of_a_pool_comes_too_late(virtual_clock: VirtualClock) -> None:
    """E36: a call in a real thread is answered at its instant, five hundred times, however close the race."""
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(250):
            async with asyncio.timeout(1):
                await loop.run_in_executor(pool, time.monotonic)
            async with asyncio.timeout(1):
                await asyncio.wrap_future(pool.submit(time.monotonic))
    assert virtual_clock.monotonic() == 0


@NEVER
async def test_a_call_in_another_process_holds_time(virtual_clock: VirtualClock) -> None:
    """E35: a pool of processes works beside the loop, and its calls hold time; the idle pool does not."""
    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        async with asyncio.timeout(5):
            assert await loop.run_in_executor(pool, os.getpid) != os.getpid()
            await loop.run_in_executor(pool, take_a_while)
        assert virtual_clock.monotonic() == 0
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(pool, divmod, 1, 0)
        await asyncio.sleep(60)
        assert virtual_clock.monotonic() == 60


# Threads


@NEVER
async def test_a_thread_ends_before_time_moves(virtual_clock: VirtualClock) -> None:
    """E31: a thread that is started in a test holds time until its end, also if nobody joins it."""
    done: list[str] = []

    def work() -> None:
        take_a_while()
        done.append("work")

    threading.Thread(target=work).start()
    await asyncio.sleep(60)
    assert done == ["work"]
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 120


async def test_a_thread_that_began_before_is_heard_if_nothing_else_is_left(outside: Outside) -> None:
    """E31: where nothing is due, the loop listens to threads of which it knows nothing."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def work() -> None:
        take_a_while()
        loop.call_soon_threadsafe(answer.set_result, "heard")

    outside.do(work)
    assert await answer == "heard"


@NEVER
async def test_a_thread_that_waits_for_a_coroutine_lets_time_pass(virtual_clock: VirtualClock) -> None:
    """A thread holds nothing while the loop works for it, and holds again when it has its answer."""
    loop = asyncio.get_running_loop()
    seen: list[float] = []

    async def work_on_the_loop() -> float:
        await asyncio.sleep(60)
        return loop.time()

    def work() -> None:
        seen.append(asyncio.run_coroutine_threadsafe(work_on_the_loop(), loop).result())
        take_a_while()
        seen.append(loop.time())

    threading.Thread(target=work).start()
    await asyncio.sleep(100)
    assert seen == [60, 60]


# AnyIO


@NEVER
async def test_a_call_in_a_thread_of_anyio_holds_time(virtual_clock: VirtualClock) -> None:
    """E30: `anyio.to_thread` holds time until its call has ended, with a new thread and with one that is kept."""
    for _ in range(2):
        with anyio.fail_after(5):
            await anyio.to_thread.run_sync(take_a_while)
        assert virtual_clock.monotonic() == 0
    with pytest.raises(ZeroDivisionError):
        await anyio.to_thread.run_sync(divmod, 1, 0)
    await anyio.sleep(60)
    assert virtual_clock.monotonic() == 60


async def test_a_call_in_a_thread_of_anyio_that_was_abandoned_holds_time(virtual_clock: VirtualClock) -> None:
    """E30: a call that nobody waits for any more still has to end."""
    began, ended = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        take_a_while()
        ended.set()

    async with anyio.create_task_group() as group:

        async def call() -> None:
            await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

        group.start_soon(call)
        await anyio.to_thread.run_sync(began.wait)
        group.cancel_scope.cancel()
    await asyncio.sleep(60)
    assert ended.is_set()
    assert virtual_clock.monotonic() == 60


@NEVER
async def test_a_thread_of_anyio_that_waits_for_a_coroutine_lets_time_pass(virtual_clock: VirtualClock) -> None:
    """E30: neither the caller of `from_thread.run` holds time, nor who waits for a free thread meanwhile."""
    limiter = anyio.CapacityLimiter(1)
    times: list[float] = []

    def call_back() -> None:
        anyio.from_thread.run(anyio.sleep, 60)
        take_a_while()
        times.append(anyio.from_thread.run_sync(virtual_clock.monotonic))

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(lambda: anyio.to_thread.run_sync(call_back, limiter=limiter))
    assert times == [60, 120]
    assert virtual_clock.monotonic() == 120


async def test_no_answer_of_a_thread_of_anyio_comes_too_late(virtual_clock: VirtualClock) -> None:
    """E30, E36: five hundred calls are answered at their instant, however close the race."""
    for _ in range(500):
        with anyio.fail_after(1):
            await anyio.to_thread.run_sync(time.monotonic)
    assert virtual_clock.monotonic() == 0


# Signals


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no handlers of signals in its loops")
async def test_a_signal_from_a_thread_is_there_before_time_moves(virtual_clock: VirtualClock) -> None:
    """E33: whoever sends a signal holds time until it is sent; the handler itself holds nothing."""
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()

    def send() -> None:
        take_a_while()
        os.kill(os.getpid(), signal.SIGUSR1)

    loop.add_signal_handler(signal.SIGUSR1, signalled.set)
    try:
        threading.Thread(target=send).start()
        await asyncio.wait_for(signalled.wait(), 5)
        assert virtual_clock.monotonic() == 0
        await asyncio.sleep(60)
        assert virtual_clock.monotonic() == 60
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


# Policies, and patience, of each kind but sockets and subprocesses, which have their own files


async def call_in_executor(gate: threading.Event) -> object:
    """Wait at the gate in a thread of an executor."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = asyncio.get_running_loop().run_in_executor(pool, gate.wait)
        try:
            return await asyncio.shield(call)
        finally:
            gate.set()


async def submit_to_executor(gate: threading.Event) -> object:
    """Wait at the gate in a thread of a pool, past the loop."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(gate.wait)
        try:
            return await asyncio.wrap_future(call)
        finally:
            gate.set()


async def call_in_anyio(gate: threading.Event) -> object:
    """Wait at the gate in a thread of AnyIO."""
    return await anyio.to_thread.run_sync(gate.wait, abandon_on_cancel=True)


async def start_thread(gate: threading.Event) -> object:
    """Wait at the gate in a thread of its own."""
    loop = asyncio.get_running_loop()
    passed = asyncio.Event()

    def work() -> None:
        gate.wait()
        loop.call_soon_threadsafe(passed.set)

    thread = threading.Thread(target=work, name="the one at the gate", daemon=True)
    thread.start()
    try:
        return await passed.wait()
    finally:
        gate.set()
        thread.join()


async def hold(gate: threading.Event) -> object:
    """Hold time for what nobody sees."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    with loop.hold("the gate"):
        return await asyncio.Event().wait()


Work = Callable[[threading.Event], Awaitable[object]]
WORK = [
    ("executor", call_in_executor, "a call of Event.wait in an executor"),
    ("executor", submit_to_executor, "a call of Event.wait in an executor"),
    ("executor", call_in_anyio, "a call of Event.wait in a thread of AnyIO"),
    ("thread", start_thread, "the thread 'the one at the gate'"),
    ("hold", hold, "the gate"),
]
EACH = pytest.mark.parametrize(("kind", "work", "name"), WORK, ids=[work.__name__ for _, work, _ in WORK])


def run(main: Awaitable[object], **options: Any) -> float:
    """Run something on a virtual loop, with the end of its clean-up, and return when that was."""

    async def run_main() -> None:
        await main

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(VirtualOptions(threads="real", **options))) as runner:
        loop = runner.get_loop()
        runner.run(run_main())
        return loop.time()


@EACH
def test_work_that_waits_holds_time_and_is_named(kind: str, work: Work, name: str, gate: threading.Event) -> None:
    """With `wait`, the default, time stands still; when patience is at its end, the error names who holds it."""
    with pytest.raises(VirtualDeadlockError, match=r"held time for more than 0\.05 real seconds") as caught:
        run(asyncio.wait_for(work(gate), 5), patience=0.05)
    assert name in str(caught.value).splitlines()[0]


@EACH
def test_work_that_is_forbidden_is_refused_at_the_door(kind: str, work: Work, name: str, gate: threading.Event) -> None:
    """With `forbid`, work does not even begin, and the error names it and its kind."""
    with pytest.raises(ForbiddenWorkError, match=f"this test forbids real work of the kind '{kind}'") as caught:
        run(work(gate), holds={kind: "forbid"})
    assert name in str(caught.value)


@EACH
def test_work_that_is_ignored_holds_nothing(kind: str, work: Work, name: str, gate: threading.Event) -> None:
    """With `ignore`, time passes beside it."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work(gate), 5)
        assert asyncio.get_running_loop().time() == 5

    assert run(main(), holds={kind: "ignore"}, patience=300.0) == 5


@pytest.mark.parametrize(("kind", "work"), [(kind, work) for kind, work, _ in WORK if kind != "hold"])
def test_work_that_is_ignored_is_heard_if_nothing_else_is_left(kind: str, work: Work, gate: threading.Event) -> None:
    """With `ignore`, whoever waits for work, and for nothing else, gets its answer."""

    def open_late() -> None:
        began.wait()
        take_a_while()
        gate.set()

    async def main() -> None:
        asyncio.get_running_loop().call_soon(began.set)
        assert await work(gate) is True

    began = threading.Event()
    thread = threading.Thread(target=open_late)
    thread.start()
    assert run(main(), holds={kind: "ignore"}) == 0
    thread.join()


def test_only_the_end_of_patience_is_an_error(gate: threading.Event) -> None:
    """Work that held time for too long holds no more: the clean-up of the test may take its time."""
    cleaned: list[float] = []

    async def main() -> None:
        thread = threading.Thread(target=gate.wait)
        thread.start()
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(60)
            cleaned.append(asyncio.get_running_loop().time())
            gate.set()
            thread.join()

    with pytest.raises(VirtualDeadlockError, match="the thread"):
        run(main(), patience=0.05)
    assert cleaned == [60]


# What the test holds


@NEVER
async def test_holds_may_overlap(outside: Outside, virtual_clock: VirtualClock) -> None:
    """`hold()` in several tasks keeps time from moving until the last of them has let go."""
    loop = asyncio.get_running_loop()
    released: list[tuple[str, float]] = []

    async def hold_until_told(name: str, told: asyncio.Event) -> None:
        with virtual_clock.hold(name):
            await told.wait()
            released.append((name, virtual_clock.monotonic()))

    def tell() -> None:
        for event in events.values():
            take_a_while()
            loop.call_soon_threadsafe(event.set)

    events = {"first": asyncio.Event(), "second": asyncio.Event()}
    async with asyncio.TaskGroup() as group:
        for name, event in events.items():
            group.create_task(hold_until_told(name, event))
        outside.do(tell)
        await asyncio.sleep(60)
        released.append(("the sleep", virtual_clock.monotonic()))
    assert released == [("first", 0), ("second", 0), ("the sleep", 60)]


@NEVER
async def test_what_a_killed_program_held_holds_no_longer(virtual_clock: VirtualClock) -> None:
    """After `crash` a `hold()` of a job, which will never come to its end, lets time pass."""
    app = Jobify(storage=MemoryStorage())
    holding = asyncio.Event()

    @app.task
    async def hold_for_ever() -> None:
        with virtual_clock.hold("the job"):
            holding.set()
            await asyncio.Event().wait()

    await app.__aenter__()
    await hold_for_ever.push()
    await holding.wait()
    await crash(app)
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60


@pytest.mark.virtual_clock(mode="real")
async def test_in_real_mode_nothing_holds_time(gate: threading.Event) -> None:
    """In real time a timer is due at its time, whatever real work is in flight beside it."""
    loop = asyncio.get_running_loop()
    waiting = loop.run_in_executor(None, gate.wait)
    loop.call_later(0.01, gate.set)
    assert await waiting is True

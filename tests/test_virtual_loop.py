"""The virtual loop: a full asyncio loop whose time moves only when nothing can run."""

import asyncio
import concurrent.futures
import contextlib
import math
import socket
import threading
import time

import pytest

from jobify import to_nanoseconds
from jobify_testing import VirtualClock, VirtualDeadlockError, VirtualLoop

YEAR = 365 * 86_400


pytestmark = pytest.mark.virtual_clock


@pytest.mark.parametrize("seconds", [2.0**24, 2.0**24 + 1, 86_400.0, 31 * 86_400.0, YEAR, 100.0 * YEAR])
async def test_a_sleep_is_one_jump_however_long_it_is(seconds: float) -> None:
    """E1, E2, E5: neither 2**24 seconds, nor a day, nor a century is too long."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(seconds)
    assert loop.time() == seconds
    await asyncio.sleep(1)
    assert loop.time() == seconds + 1


async def test_tiny_sleeps_are_exact_to_the_nanosecond() -> None:
    """E3: time is whole nanoseconds; what is less is no time at all, and negative is now."""
    loop = asyncio.get_running_loop()
    for seconds in (1e-3, 1e-6, 1e-7, 1e-9, 1e-12, 0, -5):
        await asyncio.sleep(seconds)
    assert loop.time() == 0.001001101


async def test_many_small_sleeps_add_up_exactly() -> None:
    """E4: ten thousand tenths are a thousand, and three tenths are 0.3."""
    loop = asyncio.get_running_loop()
    for _ in range(3):
        await asyncio.sleep(0.1)
    assert loop.time() == 0.3
    for _ in range(9_997):
        await asyncio.sleep(0.1)
    assert loop.time() == 1000


async def test_microseconds_are_exact_after_a_year(virtual_clock: VirtualClock) -> None:
    """Where a float of seconds cannot hold nanoseconds any more, it still holds what was meant."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(YEAR)
    for _ in range(10):
        woken: asyncio.Future[None] = loop.create_future()
        loop.call_at(loop.time() + 0.1, woken.set_result, None)
        await woken
    assert loop.time() == YEAR + 1
    assert to_nanoseconds(loop.time()) == (YEAR + 1) * 1_000_000_000


@pytest.mark.parametrize("when", [math.nan, math.inf, -math.inf])
async def test_a_time_that_never_comes_is_refused(when: float) -> None:
    """E6: NaN and the infinities are no times."""
    loop = asyncio.get_running_loop()
    with pytest.raises(ValueError, match="never reached"):
        loop.call_at(when, print)
    with pytest.raises(ValueError, match="never reached"):
        loop.call_later(when, print)


async def test_a_callback_is_never_early() -> None:
    """E7: inside a callback the time is not less than what its timer says."""
    loop = asyncio.get_running_loop()
    times = [0.1 + 0.2, 1 / 3, 2.0**24 + 1 / 3, YEAR + 1 / 3, 50 * YEAR + 1e-9]
    seen: list[bool] = []

    def look(n: int) -> None:
        seen.append(loop.time() >= timers[n].when())

    timers = [loop.call_at(when, look, n) for n, when in enumerate(times)]
    await asyncio.sleep(60 * YEAR)
    assert seen == [True] * len(times)


@pytest.mark.parametrize("when", [0.1 + 0.2, 2.0**24 + 1 / 3, YEAR + 1 / 3, 50 * YEAR + 1e-9])
async def test_who_waits_for_the_rest_of_a_nanosecond_gets_there(when: float) -> None:
    """E7: a callback that finds the time a hair before its own, and waits again, is not called for ever."""
    loop = asyncio.get_running_loop()
    looks: list[float] = []

    def look() -> None:
        looks.append(loop.time())
        if loop.time() < when:
            loop.call_at(when, look)

    loop.call_at(when, look)
    await asyncio.sleep(60 * YEAR)
    assert looks[-1] >= when
    assert len(looks) <= 2


def test_time_can_be_read_after_the_close() -> None:
    """E9: a closed loop still says when that was."""
    loop = VirtualLoop()
    loop.run_until_complete(asyncio.sleep(5))
    loop.close()
    assert loop.time() == 5
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)


async def test_timers_of_one_instant_are_called_in_order() -> None:
    """E10: twenty timers of one instant run first come, first served."""
    loop = asyncio.get_running_loop()
    called: list[int] = []
    for n in range(20):
        loop.call_at(5, called.append, n)
    await asyncio.sleep(5)
    assert called == list(range(20))


async def test_tasks_that_sleep_equally_long_wake_in_order() -> None:
    """E11: as in production, tasks wake in the order in which they went to sleep."""
    woken: list[int] = []

    async def nap(n: int) -> None:
        await asyncio.sleep(1)
        woken.append(n)

    await asyncio.gather(*(nap(n) for n in range(8)))
    assert woken == list(range(8))


async def test_a_timer_cancelled_by_another_of_its_instant_is_not_called() -> None:
    """E12: who runs first can still cancel the next."""
    loop = asyncio.get_running_loop()
    called: list[str] = []
    handles: list[asyncio.TimerHandle] = []

    def cancel_the_next() -> None:
        handles[0].cancel()

    loop.call_at(1, cancel_the_next)
    handles.append(loop.call_at(1, called.append, "cancelled"))
    loop.call_at(1, called.append, "third")
    await asyncio.sleep(2)
    assert called == ["third"]


async def test_a_timer_added_for_now_runs_at_the_same_instant_behind_the_others() -> None:
    """E13: what is added for now during an instant belongs to it."""
    loop = asyncio.get_running_loop()
    called: list[tuple[str, float]] = []

    def note(name: str) -> None:
        called.append((name, loop.time()))

    def add() -> None:
        note("first")
        loop.call_at(1, note, "added")
        loop.call_later(0, note, "added too")

    loop.call_at(1, add)
    loop.call_at(1, note, "second")
    await asyncio.sleep(2)
    assert called == [("first", 1), ("second", 1), ("added", 1), ("added too", 1)]


async def test_a_cancelled_timer_causes_no_jump() -> None:
    """Time does not stop at the instant of a timer that was cancelled."""
    loop = asyncio.get_running_loop()
    loop.call_later(5, print, "never").cancel()
    woken: list[float] = []
    loop.call_later(10, lambda: woken.append(loop.time()))
    await asyncio.sleep(10)
    assert woken == [10]


async def test_many_cancelled_timers_are_forgotten() -> None:
    """A heap of cancelled timers does not grow for ever, and the others keep their order."""
    loop = asyncio.get_running_loop()
    called: list[int] = []
    for n in range(1000):
        handle = loop.call_later(1000 - n, called.append, n)
        if n % 10:
            handle.cancel()
    await asyncio.sleep(2000)
    assert called == list(range(990, -1, -10))


async def test_wait_for_as_long_as_the_sleep_itself() -> None:
    """E14: what takes exactly its timeout is timed out: the limit was set first."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.sleep(5)
    assert asyncio.get_running_loop().time() == 5


async def test_a_chain_of_callbacks_takes_no_time() -> None:
    """E21: five hundred turns of the loop before a timer is set are one instant."""
    loop = asyncio.get_running_loop()

    async def hop_and_nap() -> float:
        for _ in range(500):
            await asyncio.sleep(0)
        await asyncio.sleep(10)
        return loop.time()

    assert list(await asyncio.gather(hop_and_nap(), asyncio.sleep(5, 0.0))) == [10, 0]


@pytest.mark.slow
@pytest.mark.virtual_clock(threads="real")
async def test_work_in_an_executor_holds_time() -> None:
    """E29: a thread in an executor ends before time moves, whoever waits for it."""
    loop = asyncio.get_running_loop()
    gate = threading.Event()
    threading.Timer(0.05, gate.set).start()
    async with asyncio.timeout(5):
        assert await loop.run_in_executor(None, gate.wait) is True
    assert loop.time() == 0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert await loop.run_in_executor(pool, lambda x: x + 1, 41) == 42
    assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 // 0)


@pytest.mark.slow
@pytest.mark.virtual_clock(threads="real")
async def test_a_cancelled_call_in_an_executor_still_holds_time(virtual_clock: VirtualClock) -> None:
    """E29: the thread counts, not its future: a call that nobody waits for any more still has to end."""
    loop = asyncio.get_running_loop()
    gate, ended = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait()
        ended.set()

    call = loop.run_in_executor(None, work)
    await asyncio.sleep(0)
    call.cancel()
    threading.Timer(0.05, gate.set).start()
    await asyncio.sleep(100)
    assert ended.is_set()


@pytest.mark.slow
async def test_a_call_that_never_started_holds_nothing() -> None:
    """A call that was cancelled while it waited for a thread does not hold time for ever."""
    loop = asyncio.get_running_loop()
    gate = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = loop.run_in_executor(pool, gate.wait)
        second = loop.run_in_executor(pool, gate.wait)
        second.cancel()
        gate.set()
        await first
        await asyncio.sleep(100)
    assert loop.time() == 100


@pytest.mark.slow
async def test_no_wake_up_is_lost_between_two_threads() -> None:
    """E36: a thread that ends while the loop decides to jump is seen before the jump, every time."""
    loop = asyncio.get_running_loop()

    async def race() -> None:
        async with asyncio.timeout(1):
            await loop.run_in_executor(None, time.monotonic)

    for _ in range(500):
        await race()
    assert loop.time() == 0


async def test_hold_keeps_time_from_moving() -> None:
    """`hold()` is for real work that the loop cannot see."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    with loop.hold("a test"):
        answered: asyncio.Future[None] = loop.create_future()
        threading.Thread(target=loop.call_soon_threadsafe, args=[answered.set_result, None]).start()
        await asyncio.wait_for(answered, 1)
        assert loop.time() == 0
    await asyncio.sleep(1)
    assert loop.time() == 1


@pytest.mark.slow
async def test_real_sockets_work() -> None:
    """E34: streams over a real socket work, and their timers are virtual."""
    loop = asyncio.get_running_loop()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        await asyncio.sleep(60)
        writer.write(line.upper())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        assert await reader.readline() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()
    assert loop.time() == 60


def test_waiting_for_nothing_is_an_error_and_not_a_hang() -> None:
    """A test that waits while nothing is left to run ends, and says who waits where."""
    cleaned: list[str] = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("up")

    async def main() -> None:
        await asyncio.create_task(wait_for_ever(), name="the lonely one")

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        with pytest.raises(VirtualDeadlockError, match="nothing is scheduled") as caught:
            runner.run(main())
        assert "the lonely one" in str(caught.value)
        assert "test_virtual_loop.py" in str(caught.value)
        assert cleaned == ["up"]
        runner.run(asyncio.sleep(5))


def test_who_swallows_the_end_of_a_deadlock_fails_all_the_same() -> None:
    """A test that catches its cancellation, or waits again for nothing, does not hang, and does not pass."""

    async def stubborn(times: int) -> None:
        for _ in range(times):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    for times in (1, 3):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(VirtualDeadlockError):
            runner.run(stubborn(times))
    loop = VirtualLoop()
    with pytest.raises(VirtualDeadlockError):
        loop.run_until_complete(stubborn(15))
    (stuck,) = asyncio.all_tasks(loop)
    while not stuck.done():
        stuck.cancel()
        with contextlib.suppress(VirtualDeadlockError):
            loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.mark.slow
def test_the_default_executor_is_shut_down_in_real_time() -> None:
    """E38: the five minutes that asyncio gives its threads are not jumped over."""
    gate = threading.Event()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def main() -> None:
            asyncio.get_running_loop().run_in_executor(None, gate.wait)

        runner.run(main())
        threading.Timer(0.05, gate.set).start()
    assert gate.is_set()


def test_is_a_loop_for_asyncio_run_and_in_debug_mode() -> None:
    """Runners, debug mode, `run_forever` and `stop` work as on any loop."""
    with asyncio.Runner(loop_factory=VirtualLoop, debug=True) as runner:
        loop = runner.get_loop()
        runner.run(asyncio.sleep(3600))
        assert loop.time() == 3600
    loop = VirtualLoop()
    loop.call_later(10, loop.stop)
    loop.call_later(11, print, "not yet")
    loop.run_forever()
    assert loop.time() == 10
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def test_a_foreign_thread_is_heard() -> None:
    """What another thread asks for is called, also while the loop has nothing else to do."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    threading.Timer(0.02, loop.call_soon_threadsafe, [answer.set_result, "heard"]).start()
    assert await answer == "heard"
    left, right = socket.socketpair()
    left.setblocking(False)
    threading.Timer(0.02, right.send, [b"x"]).start()
    assert await loop.sock_recv(left, 1) == b"x"
    left.close()
    right.close()

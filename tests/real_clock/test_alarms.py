"""The alarms of the real clock: rung by timer descriptors, where a loop can have them, else by its own timers.

Nothing here sleeps, and nothing has a tolerance: an alarm is waited for, and must not have come early.
"""

import asyncio
import math
import threading
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from jobify import Alarm, SystemClock
from tests.real_clock.axis import Axis

pytestmark = pytest.mark.slow


async def test_no_alarm_is_early(clock: SystemClock) -> None:
    """When an alarm rings, its clock shows its time, or later: on both axes, whatever the digits."""
    early: list[float] = []
    start, wall = clock.monotonic(), clock.now()
    both = [asyncio.get_running_loop().create_future() for _ in range(2)]

    def look(when: float) -> None:
        if clock.monotonic() < when:
            early.append(when)

    def look_at_wall(when: datetime) -> None:
        if clock.now() < when:
            early.append(when.timestamp())

    for number in range(300):
        seconds = number / 3001
        clock.call_at(start + seconds, partial(look, start + seconds))
        at = wall + timedelta(seconds=seconds)
        clock.call_at_wall(at, partial(look_at_wall, at))
    clock.call_at(start + 0.11, lambda: both[0].set_result(None))
    clock.call_at_wall(wall + timedelta(seconds=0.11), lambda: both[1].set_result(None))
    await asyncio.gather(*both)
    assert early == []


async def test_alarms_ring_by_time_and_then_in_the_order_in_which_they_were_set(precise_axis: Axis) -> None:
    """What is due at one instant rings first come, first served."""
    rung: list[tuple[float, int]] = []
    due = [(number * 7 % 5 / 1000, number) for number in range(100)]
    for seconds, number in due:
        precise_axis.call_in(seconds, partial(rung.append, (seconds, number)))
    await precise_axis.wait(0.01)
    assert rung == sorted(due)


async def test_overdue_alarms_ring_in_order(precise_axis: Axis) -> None:
    """So does what was due before it was set."""
    rung: list[int] = []
    for seconds in (-1, -5, -3, -5, -(10**6)):
        precise_axis.call_in(seconds, partial(rung.append, seconds))
    assert rung == []
    await precise_axis.wait(0)
    assert rung == [-(10**6), -5, -5, -3, -1]


async def test_a_cancelled_alarm_does_not_ring(axis: Axis) -> None:
    """Whether it is cancelled at once, later, twice, or by another of the same instant; afterwards is harmless."""
    rung: list[str] = []
    axis.call_in(0.01, lambda: rung.append("at once")).cancel()
    later = axis.call_in(0.02, lambda: rung.append("later"))
    axis.call_in(0.01, later.cancel)

    def end(number: int) -> None:
        rung.append("one of the twins")
        twins[number].cancel()
        twins[1 - number].cancel()

    twins = [axis.call_in(0.015, partial(end, number)) for number in range(2)]
    await axis.wait(0.03)
    for alarm in (later, *twins):
        alarm.cancel()
        alarm.cancel()
    await axis.wait(0.04)
    assert rung == ["one of the twins"]


async def test_a_callback_can_set_alarms(axis: Axis) -> None:
    """For later, and again and again for now, without keeping others from ringing."""
    rung: list[str] = []
    done = asyncio.get_running_loop().create_future()

    def again() -> None:
        rung.append("again")
        if not done.done():
            axis.call_in(0, again)

    def chain(left: int) -> None:
        rung.append("chain")
        if left:
            axis.call_in(0.02 - left / 1000, lambda: chain(left - 1))
        else:
            done.set_result(None)

    again()
    chain(10)
    await done
    assert rung.count("chain") == 11
    assert rung.count("again") >= 11


async def test_a_callback_that_raises_harms_no_other(axis: Axis) -> None:
    """What it raises goes to the loop's exception handler; the alarms after it ring."""
    caught: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context["exception"]))
    error = ValueError("of the user")

    def fail() -> None:
        raise error

    axis.call_in(0.001, fail)
    await axis.wait(0.001)
    await axis.wait(0.01)
    assert caught == [error]


def test_a_callback_that_stops_the_loop_loses_no_other(precise: SystemClock) -> None:
    """`SystemExit` leaves the loop at once; what was due with it rings when the loop runs again."""
    rung: list[int] = []

    def leave() -> None:
        raise SystemExit(3)

    async def set_alarms() -> Alarm:
        when = precise.monotonic() + 0.001
        precise.call_at(when, lambda: rung.append(1))
        precise.call_at(when, leave)
        cancelled = precise.call_at(when, lambda: rung.append(2))
        precise.call_at(when, lambda: rung.append(3))
        precise.call_at(when + 0.001, lambda: rung.append(4))
        return cancelled

    async def wait() -> None:
        await Axis(precise, "monotonic").wait(0.005)

    with asyncio.Runner() as runner:
        task = runner.get_loop().create_task(set_alarms())
        with pytest.raises(SystemExit):
            runner.get_loop().run_forever()
        assert rung == [1]
        task.result().cancel()
        runner.run(wait())
    assert rung == [1, 3, 4]


async def test_a_callback_has_the_context_in_which_its_alarm_was_set(axis: Axis) -> None:
    """As with the timers of asyncio: neither that of the first alarm, nor that of the last."""
    name: ContextVar[str] = ContextVar("name", default="nobody")
    seen: list[str] = []
    for who in ("Ada", "Grace", "Edsger"):
        token = name.set(who)
        axis.call_in(0.001 + len(seen), lambda: seen.append(name.get()))
        name.reset(token)
    await axis.wait(0.005)
    assert sorted(seen) == ["Ada", "Edsger", "Grace"]


async def test_instants_decades_away(axis: Axis) -> None:
    """No instant is too far away, on either side; the alarms between them ring in their time."""
    rung: list[str] = []
    alarms = [axis.call_in(seconds, lambda: rung.append("too early")) for seconds in (1e8, 5e9, 2e11)]
    axis.call_in(-1e9, lambda: rung.append("past"))
    await axis.wait(0.001)
    assert rung == ["past"]
    for alarm in alarms:
        alarm.cancel()
    await axis.wait(0.002)


async def test_the_ends_of_time(clock: SystemClock) -> None:
    """The first and the last instants that there are can be given, and infinity."""
    rung: list[str] = []
    last = [
        clock.call_at_wall(datetime.max.replace(tzinfo=UTC), lambda: rung.append("year 9999")),
        clock.call_at(math.inf, lambda: rung.append("never")),
        clock.call_at(1e300, lambda: rung.append("1e300")),
    ]
    clock.call_at_wall(datetime.min.replace(tzinfo=UTC), lambda: rung.append("year 1"))
    clock.call_at(-math.inf, lambda: rung.append("always"))
    await Axis(clock, "monotonic").wait(0.001)
    await Axis(clock, "wall").wait(0.005)
    assert sorted(rung) == ["always", "year 1"]
    for alarm in last:
        alarm.cancel()


async def test_nan_is_refused(precise: SystemClock) -> None:
    """NaN is at no time, and would put the order of all the others out."""
    with pytest.raises(ValueError, match="NaN"):
        precise.call_at(math.nan, print)


def test_many_loops_at_the_same_time(clock: SystemClock) -> None:
    """One clock serves the loops of many threads, each with alarms of its own."""
    rung: list[str] = []

    async def ring(name: str) -> None:
        for number in range(20):
            await Axis(clock, "monotonic").wait(number / 10_000)
            await Axis(clock, "wall").wait(number / 10_000)
        rung.append(name)

    def in_a_loop(name: str) -> None:
        asyncio.run(ring(name))

    threads = [threading.Thread(target=partial(in_a_loop, f"{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(rung) == [f"{n}" for n in range(8)]


def test_two_loops_by_turns(clock: SystemClock) -> None:
    """Two loops of one thread keep their alarms apart; they wait while their loop does not run."""
    rung: list[str] = []
    with asyncio.Runner() as one, asyncio.Runner() as two:

        async def set_alarm(name: str, seconds: float) -> None:
            clock.call_at(clock.monotonic() + seconds, lambda: rung.append(name))

        async def wait(seconds: float) -> None:
            await Axis(clock, "monotonic").wait(seconds)

        one.run(set_alarm("one", 0.4))  # on a busy machine the end of a run may take long
        two.run(set_alarm("two", 0.001))
        two.run(wait(0.5))
        assert rung == ["two"]
        one.run(wait(0.005))
        assert rung == ["two", "one"]

"""Tests that would hang: each ends, says why, and lets finalizers run."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from jobify import Jobify
from jobify.storage import MemoryStorage
from jobify_testing import VirtualDeadlockError, VirtualLoop, VirtualOptions, VirtualRunawayError, run


async def wait_for_event() -> None:
    """Wait for what nobody sets."""
    await asyncio.Event().wait()


async def wait_for_task() -> None:
    """Wait for another task that waits."""
    await asyncio.create_task(wait_for_event(), name="the other")


async def wait_for_gather() -> None:
    """Wait for several tasks at once."""
    await asyncio.gather(wait_for_event(), wait_for_event())


async def wait_in_shield() -> None:
    """Wait behind a shield."""
    await asyncio.shield(wait_for_event())


async def wait_for_condition() -> None:
    """Wait for a condition that nobody notifies."""
    condition = asyncio.Condition()
    async with condition:
        await condition.wait()


async def wait_in_group() -> None:
    """Wait for the tasks of a group."""
    async with asyncio.TaskGroup() as group:
        group.create_task(wait_for_event())


@pytest.mark.parametrize(
    "wait", [wait_for_event, wait_for_task, wait_for_gather, wait_in_shield, wait_for_condition, wait_in_group]
)
def test_a_deadlock_names_who_waits_where_and_for_what(wait: Callable[[], Awaitable[None]]) -> None:
    """E39, E42: whatever a test waits for in vain, it ends, its clean-up runs, and the report leads to the line."""
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await wait()
        finally:
            await asyncio.sleep(5)
            cleaned.append("up")

    with pytest.raises(VirtualDeadlockError, match="nothing is scheduled, and nothing is running") as caught:
        run(main())
    assert cleaned == ["up"]
    report = str(caught.value)
    assert f"{__file__}:" in report
    assert ".wait" in report or "wait_in_shield" in report
    if wait is wait_for_task:
        assert "awaits task 'the other'" in report
        assert f"task 'the other' of wait_for_event, made at {__file__}:" in report


def test_a_deadlock_tells_which_jobs_are_due() -> None:
    """A test that waits in manual mode is told what would come if somebody advanced."""
    app = Jobify(storage=MemoryStorage())

    @app.task(name="mail")
    async def mail() -> None: ...

    async def main() -> None:
        async with app:
            job = await mail.schedule().delay(3600, job_id="letter")
            await job.wait()

    with pytest.raises(VirtualDeadlockError, match="nobody advances") as caught:
        run(main(), options=VirtualOptions(mode="manual"))
    assert "2026-01-01T01:00:00+00:00  job 'letter' of 'mail'" in str(caught.value)


def test_time_that_runs_away_is_stopped() -> None:
    """E40: recurring work and a wait that never ends: the error names the timers that moved time, and how often."""

    async def heartbeat() -> None:
        while True:
            await asyncio.sleep(60)

    async def main() -> None:
        beating = asyncio.create_task(heartbeat(), name="the heart")
        await asyncio.Event().wait()
        del beating

    with pytest.raises(VirtualRunawayError, match="time has moved 5001 times, to 300000 s") as caught:
        run(main(), options=VirtualOptions(max_jumps=5000))
    assert "1001 x task 'the heart' of" in str(caught.value)


def test_a_long_wait_that_was_asked_for_is_no_runaway() -> None:
    """An advance says how far time is to go, so it may move as often as it takes."""
    ticks: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def tick() -> None:
            while True:
                await asyncio.sleep(1)
                ticks.append(loop.time())

        ticking = asyncio.create_task(tick())
        assert isinstance(loop, VirtualLoop)
        await loop.jobify_runtime.clock.advance(1000)
        ticking.cancel()

    run(main(), options=VirtualOptions(max_jumps=10))
    assert len(ticks) == 1000


def test_a_loop_that_never_sleeps_is_stopped() -> None:
    """E41: tasks that only yield to each other move no time, and end all the same."""

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> None:
        spinning = asyncio.create_task(spin(), name="the spinner")
        await asyncio.sleep(10)
        del spinning

    with pytest.raises(VirtualRunawayError, match="turns at one instant, 0 s: something never sleeps") as caught:
        run(main(), options=VirtualOptions(max_spins=2000))
    assert "task 'the spinner'" in str(caught.value)


async def test_turns_are_counted_at_one_instant_only(virtual_clock: object) -> None:
    """E21: many turns are allowed at each instant; a hop of time begins to count anew."""
    for _ in range(3):
        for _ in range(500):
            await asyncio.sleep(0)
        await asyncio.sleep(1)
    assert asyncio.get_running_loop().time() == 3


class Hostile(asyncio.Future[None]):
    """A future that cannot be shown."""

    def __repr__(self) -> str:
        """Fail."""
        msg = "no"
        raise ValueError(msg)


def test_a_report_gets_along_with_what_cannot_be_shown() -> None:
    """A future whose repr raises is named by its type; the deadlock is still the error."""

    async def main() -> None:
        await Hostile()

    with pytest.raises(VirtualDeadlockError, match="Hostile, whose repr raises ValueError"):
        run(main())


def test_a_thread_that_does_not_start_holds_nothing() -> None:
    """A thread that is started a second time is the error that it always was, and time goes on."""

    async def main() -> None:
        thread = threading.Thread(target=str)
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="once"):
            thread.start()
        await asyncio.sleep(3600)

    run(main(), options=VirtualOptions(patience=5))

"""Claims that are lost, and jobs that are cancelled, at the very moments at which something else is written."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from jobify import Jobify, JobStatus, StorageError
from jobify.storage import Notice, StoredJob
from jobify_testing import VirtualClock
from tests.shared_storage import Hub, SharedStorage


class SlowStorage(SharedStorage):
    """A storage that takes its time, before a start or a release, or before the answer to a claim or a removal."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.during: dict[str, Callable[[], Awaitable[None]]] = {}
        self.refuses = False

    async def _wait(self, verb: str) -> None:
        if (wait := self.during.pop(verb, None)) is not None:
            await wait()

    async def start(self, number: int, /, **what: Any) -> bool:
        """Note a start."""
        await self._wait("start")
        return await super().start(number, **what)

    async def claim(self, before: datetime, /, **what: Any) -> list[StoredJob]:
        """Claim; nothing, if it `refuses`."""
        if self.refuses:
            return []
        rows = list(await super().claim(before, **what))
        await self._wait("claim")
        return rows

    async def remove(self, number: int, /, **what: Any) -> bool:
        """Forget a job."""
        removed = await super().remove(number, **what)
        await self._wait("remove")
        return removed

    async def release(self, jobs: Any, /, **what: Any) -> None:
        """Put jobs back."""
        await self._wait("release")
        await super().release(jobs, **what)


class Program(Jobify):
    """One of the processes."""

    def __init__(self, hub: Hub, name: str, ran: list[tuple[str, int]]) -> None:
        self.way = SlowStorage(hub)
        super().__init__(storage=self.way)

        async def work(n: int) -> int:
            ran.append((name, n))
            return n

        self.work = self.task(work, name="work")


@pytest.fixture
def hub(virtual_clock: VirtualClock) -> Hub:
    """One database."""
    return Hub()


@pytest.fixture
def ran() -> list[tuple[str, int]]:
    """Who has run what."""
    return []


def lose(hub: Hub, program: Program) -> None:
    """Take all claims from a process, and tell it, and the others."""
    lost = [number for number, owner in hub.owner_of.items() if owner is program.way]
    for number in lost:
        del hub.owner_of[number]
        assert program.way.listener is not None
        program.way.listener(Notice("lost", number))
    hub.tell(Notice("look"), besides=program.way)


async def test_a_claim_that_is_lost_while_a_start_is_written(
    hub: Hub, ran: list[tuple[str, int]], virtual_clock: VirtualClock
) -> None:
    """The job does not start here; its handle learns what becomes of it, and it can come back."""
    slow, other = Program(hub, "slow", ran), Program(hub, "other", ran)

    async def lose_it() -> None:
        lose(hub, slow)

    async with slow, other:
        once = await slow.work.schedule(1).delay(10)
        slow.way.during["start"] = lose_it
        assert await once == 1
        again = await slow.work.schedule(2).every(60, job_id="again")
        slow.way.during["start"] = lose_it
        await virtual_clock.advance(60)
        assert not again.is_done()
        await virtual_clock.advance(60)
        await other.stop()
        await virtual_clock.advance(60)
    assert ran == [("other", 1), ("other", 2), ("other", 2), ("slow", 2)]


async def test_a_stop_puts_nothing_back_that_was_lost(
    hub: Hub, ran: list[tuple[str, int]], virtual_clock: VirtualClock
) -> None:
    """A run that another process has done meanwhile is not to be done again."""
    slow, other = Program(hub, "slow", ran), Program(hub, "other", ran)

    async def lose_it() -> None:
        lose(hub, slow)

    async with slow:
        async with other:
            await slow.work.schedule(2).every(60, job_id="again")
            slow.way.during["start"] = lose_it
            await virtual_clock.advance(70)
        await virtual_clock.settle()
        assert set(hub.owner_of.values()) == {slow.way}
        (before,) = await hub.rows.find("again")
    (after,) = await hub.rows.find("again")
    assert (after.scheduled_for, after.runs) == (before.scheduled_for, before.runs)
    assert (ran, after.runs) == ([("other", 2)], 1)


async def test_a_job_that_is_cancelled_elsewhere_while_its_start_is_written(
    hub: Hub, ran: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    """It does not start, and who waits for it here is told."""
    slow, other = Program(hub, "slow", ran), Program(hub, "other", ran)
    async with slow, other:
        job = await slow.work.schedule(1).delay(10, job_id="it")

        async def cancel() -> None:
            await hub.rows.remove(1)
            del hub.owner_of[1]
            hub.tell(Notice("gone", 1), besides=other.way)
            await asyncio.sleep(0.01)

        slow.way.during["start"] = cancel
        assert await job.wait() is None
        assert job.status is JobStatus.CANCELLED
        assert slow.local_jobs() == []
    assert (ran, caplog.records) == ([], [])


@pytest.mark.parametrize("answers", ["before", "behind"])
async def test_a_cancellation_and_a_claim_at_one_moment(
    hub: Hub,
    ran: list[tuple[str, int]],
    virtual_clock: VirtualClock,
    answers: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The job is cancelled, whichever answer comes first; and what was claimed with it runs."""
    first, second = Program(hub, "first", ran), Program(hub, "second", ran)
    claimed, removed = asyncio.Event(), asyncio.Event()

    async def claim() -> None:
        claimed.set()
        await removed.wait()

    async def remove() -> None:
        removed.set()
        if answers == "behind":
            await asyncio.sleep(0.5)

    async with second:
        await first.start()
        await first.work.schedule(1).delay(60, job_id="it")
        await first.work.schedule(2).delay(60, job_id="other")
        job = await second.get_job("it")
        assert job is not None
        second.way.during = {"claim": claim, "remove": remove}
        await first.stop()
        await claimed.wait()
        assert await job.cancel()
        assert (await job.wait(), job.status) == (None, JobStatus.CANCELLED)
        await virtual_clock.advance(60)
        assert second.local_jobs() == []
    assert (ran, caplog.records) == ([("second", 2)], [])


async def test_what_was_claimed_and_cannot_be_brought_back_is_not_forgotten(
    hub: Hub, ran: list[tuple[str, int]], virtual_clock: VirtualClock
) -> None:
    """Nobody else can have it; the next look brings it back, to the handle that follows it."""
    first, second = Program(hub, "first", ran), Program(hub, "second", ran)

    async def fail() -> None:
        msg = "the disk is full"
        raise StorageError(msg)

    async with second:
        await first.start()
        await first.work.schedule(1).delay(60, job_id="it")
        job = await second.get_job("it")
        assert job is not None
        (row,) = await hub.rows.find("it")
        await hub.rows.start(row.number, attempt=1, started_at=row.exec_at, scheduled_for=row.exec_at)
        second.way.during["release"] = fail
        first.abandon()
        await virtual_clock.advance(0.5)
        assert not second.health().ok
        hub.tell(Notice("look"))
        await virtual_clock.advance(60)
        assert job.result() == 1
    assert ran == [("second", 1)]


async def test_a_run_that_a_crash_cuts_short_elsewhere_is_not_its_end(hub: Hub, ran: list[tuple[str, int]]) -> None:
    """Who waits for a job of another process waits on, until it has run again, in a third."""
    first, second, third = (Program(hub, name, ran) for name in ("first", "second", "third"))

    async def be_seen() -> None:
        hub.tell(Notice("look"))
        await asyncio.sleep(10)

    async with second, third:
        await first.start()
        await first.work.schedule(1).delay(60, job_id="it")
        job = await second.get_job("it")
        assert job is not None
        waiting = asyncio.create_task(job.wait())
        (row,) = await hub.rows.find("it")
        await hub.rows.start(row.number, attempt=1, started_at=row.exec_at, scheduled_for=row.exec_at)
        second.way.refuses = True
        third.way.during["start"] = be_seen
        first.abandon()
        run = await waiting
        assert run is not None
        assert run.value == 1

"""Several apps on one storage: each job is run by one of them, and the others can order, follow and cancel it."""

import asyncio
from datetime import timedelta

import pytest

from jobify import ApplicationStateError, DuplicateJobError, ElsewhereError, JobFailedError, Jobify, JobStatus
from jobify.storage import Notice
from jobify_testing import VirtualClock, crash
from tests.shared_storage import Hub, SharedStorage


class Program(Jobify):
    """One of the processes: an app that notes who has called what."""

    def __init__(self, hub: Hub, name: str, calls: list[tuple[str, int]], *, cron: str | None = None) -> None:
        self.way = SharedStorage(hub)
        super().__init__(storage=self.way)

        async def work(n: int) -> int:
            calls.append((name, n))
            await asyncio.sleep(10)
            if n < 0:
                raise ValueError(n)
            return n * n

        async def tick() -> None:
            calls.append((name, 0))

        self.work = self.task(work, name="work")
        if cron is not None:
            self.task(tick, name="tick", cron=cron)


@pytest.fixture(params=[False, True], ids=["all", "one active"])
def hub(request: pytest.FixtureRequest, virtual_clock: VirtualClock) -> Hub:
    """One database; all of its apps run jobs, or only the first."""
    return Hub(active_only=request.param)


async def test_a_job_can_be_ordered_and_awaited_anywhere(hub: Hub) -> None:
    """Whoever runs it: `wait` and `result` work where it was ordered, and it runs once."""
    calls: list[tuple[str, int]] = []
    first, second = Program(hub, "first", calls), Program(hub, "second", calls)
    async with first, second:
        here = await first.work.push(2)
        there = await second.work.schedule(3).delay(60)
        assert (await here, await there) == (4, 9)
        assert (here.status, there.status) == (JobStatus.SUCCESS, JobStatus.SUCCESS)
        assert there.is_done()
        assert there.last_run is not None
        assert there.last_run.attempts == 1
    runner = "first" if hub.active_only else "second"
    assert calls == [("first", 2), (runner, 3)]


async def test_a_failure_elsewhere_is_told_in_words(virtual_clock: VirtualClock) -> None:
    """The exception stays where it was raised; its words come over."""
    hub = Hub(active_only=True)
    calls: list[tuple[str, int]] = []
    active, standby = Program(hub, "active", calls), Program(hub, "standby", calls)
    async with active, standby:
        job = await standby.work.push(-1)
        await job.wait()
        assert job.status is JobStatus.FAILED
        with pytest.raises(JobFailedError, match="ValueError: -1") as caught:
            job.result()
        assert isinstance(caught.value.__cause__, ElsewhereError)
    assert calls == [("active", -1)]


async def test_a_job_is_cancelled_from_elsewhere(virtual_clock: VirtualClock) -> None:
    """One that waits is gone, everywhere; one that runs is not touched."""
    hub = Hub(active_only=True)
    calls: list[tuple[str, int]] = []
    active, standby = Program(hub, "active", calls), Program(hub, "standby", calls)
    async with active, standby:
        waiting = await standby.work.schedule(1).delay(60, job_id="waiting")
        running = await standby.work.push(2)
        await virtual_clock.advance(1)
        local = await active.get_job("waiting")
        assert local is not None
        assert await waiting.cancel()
        assert not await waiting.cancel()
        assert not await running.cancel()
        await virtual_clock.settle()
        assert (waiting.status, local.status) == (JobStatus.CANCELLED, JobStatus.CANCELLED)
        assert await local.wait() is None
        assert await running == 4
        await virtual_clock.advance(100)
        for app in (active, standby):
            assert await app.jobs() == []
    assert calls == [("active", 2)]


async def test_jobs_of_others_are_listed_and_found(virtual_clock: VirtualClock) -> None:
    """`jobs` and `get_job` show what others hold; what only its holder can do is refused."""
    hub = Hub(active_only=True)
    calls: list[tuple[str, int]] = []
    active, standby = Program(hub, "active", calls), Program(hub, "standby", calls)
    async with active, standby:
        await active.work.schedule(1).delay(60, job_id="it")
        (listed,) = await standby.jobs()
        found = await standby.get_job("it")
        assert found is not None
        assert (listed.id, found.status, dict(found.arguments)) == ("it", JobStatus.SCHEDULED, {"n": 1})
        assert found.exec_at - virtual_clock.now() == timedelta(seconds=60)
        for step in (found.pause(), found.resume(), found.trigger(), found.reschedule(delay=5)):
            with pytest.raises(ApplicationStateError, match="another process"):
                await step
        await virtual_clock.advance(61)
        again = await standby.get_job("it")
        assert again is not None
        assert again.status is JobStatus.RUNNING
        assert await again == 1
        assert await standby.get_job("it") is None


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_who_stands_by_takes_over(virtual_clock: VirtualClock, how: str) -> None:
    """When the active app is gone, its jobs are run by the next, at their times, and handles there follow."""
    hub = Hub(active_only=True)
    calls: list[tuple[str, int]] = []
    active, standby = Program(hub, "active", calls), Program(hub, "standby", calls)
    await active.start()
    async with standby:
        job = await standby.work.schedule(1).delay(60)
        own = await standby.work.schedule(2).delay(90)
        await virtual_clock.advance(65)
        if how == "crash":
            await crash(active)
        else:
            await active.stop()  # the run in progress has its grace, and ends
        assert await job == 1
        assert await own == 4
    expected = [("active", 1), ("standby", 1), ("standby", 2)] if how == "crash" else [("active", 1), ("standby", 2)]
    assert calls == expected


async def test_a_declared_recurrence_runs_once_wherever_it_is_declared(hub: Hub, virtual_clock: VirtualClock) -> None:
    """Four processes declare the same cron: each time has one run."""
    calls: list[tuple[str, int]] = []
    apps = [Program(hub, str(n), calls, cron="* * * * *") for n in range(4)]
    await asyncio.gather(*(app.start() for app in apps))
    await virtual_clock.advance(minutes=5)
    assert len(calls) == 5
    for app in apps:
        await app.stop()
        await virtual_clock.advance(minutes=1)
    assert len(calls) == 5 + 3


async def test_jobs_beyond_the_horizon_are_claimed_when_they_come_near(virtual_clock: VirtualClock) -> None:
    """Memory holds what is near; the rest is claimed in time, by one of the processes."""
    hub = Hub(horizon=timedelta(minutes=10))
    calls: list[tuple[str, int]] = []
    first, second = Program(hub, "first", calls), Program(hub, "second", calls)
    async with first, second:
        jobs = [await first.work.schedule(n).delay(n * 400) for n in range(10)]
        assert len(first.local_jobs()) == 2
        assert [await job for job in jobs] == [n * n for n in range(10)]
    assert sorted(n for _, n in calls) == list(range(10))


async def test_who_did_not_answer_for_too_long_follows_what_it_held(virtual_clock: VirtualClock) -> None:
    """A process whose claims have run out starts none of those jobs; a run in progress ends, and no other follows."""
    hub = Hub()
    calls: list[tuple[str, int]] = []
    slow, other = Program(hub, "slow", calls), Program(hub, "other", calls)
    async with slow, other:
        waiting = await slow.work.schedule(2).delay(60)
        running = await slow.work.schedule(3).every(30, job_id="again")
        await virtual_clock.advance(35)
        lost = {number: owner for number, owner in hub.owner_of.items() if owner is slow.way}
        hub.owner_of = {}
        for number in lost:
            hub.tell(Notice("lost", number), besides=other.way)
        hub.tell(Notice("look"), besides=slow.way)
        assert await waiting == 4
        await virtual_clock.advance(60)
        assert running.is_done()
    assert [call for call in calls if call[1] == 2] == [("other", 2)]
    assert calls[0] == ("slow", 3)
    assert {name for name, n in calls[1:] if n == 3} == {"other"}


async def test_a_taken_id_is_taken_everywhere(hub: Hub, virtual_clock: VirtualClock) -> None:
    """An id that another process has given is refused, or replaced there."""
    calls: list[tuple[str, int]] = []
    first, second = Program(hub, "first", calls), Program(hub, "second", calls)
    async with first, second:
        old = await first.work.schedule(1).delay(60, job_id="it")
        with pytest.raises(DuplicateJobError):
            await second.work.schedule(2).delay(60, job_id="it")
        new = await second.work.schedule(3).delay(60, job_id="it", replace=True)
        await virtual_clock.settle()
        assert old.status is JobStatus.CANCELLED
        assert await new == 9
    assert [n for _, n in calls] == [3]

"""Several apps on one SQLite file, each of which stands by: on virtual time, in one process and on one timeline."""

import asyncio
from datetime import timedelta

import pytest

from jobify import ApplicationStateError, DuplicateJobError, Jobify, JobStatus, StorageError
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock, crash


class Program(Jobify):
    """One of the processes: an app that notes who has called what."""

    def __init__(self, name: str, calls: list[tuple[str, int]], *, standby: bool = True) -> None:
        super().__init__(storage=SQLiteStorage("jobs.db", standby=standby))

        async def work(n: int) -> int:
            calls.append((name, n))
            await asyncio.sleep(10)
            return n * n

        async def tick() -> None:
            calls.append((name, 0))

        self.work = self.task(work, name="work")
        self.task(tick, name="tick", cron="* * * * *")


async def test_four_workers_run_each_cron_once(virtual_clock: VirtualClock) -> None:
    """As under a server with four workers: one of them is active, whoever stops the others go on."""
    calls: list[tuple[str, int]] = []
    apps = [Program(str(n), calls) for n in range(4)]
    for app in apps:
        await app.start()
    await virtual_clock.advance(timedelta(minutes=3))
    assert calls == [("0", 0)] * 3
    await apps[0].stop()
    await virtual_clock.advance(timedelta(minutes=3))
    assert len(calls) == 6
    (second,) = {name for name, _ in calls[3:]}
    await crash(apps[int(second)])
    await virtual_clock.advance(timedelta(minutes=3))
    assert len(calls) == 9
    assert len({name for name, _ in calls}) == 3
    for app in apps:
        await app.stop()


async def test_who_stands_by_takes_orders(virtual_clock: VirtualClock) -> None:
    """It can push, schedule, wait and cancel; the active app runs the jobs."""
    calls: list[tuple[str, int]] = []
    active, waiting = Program("active", calls), Program("waiting", calls)
    async with active, waiting:
        pushed = await waiting.work.push(2)
        later = await waiting.work.schedule(3).delay(20, job_id="later")
        never = await waiting.work.schedule(4).delay(30, job_id="never")
        with pytest.raises(DuplicateJobError):
            await waiting.work.schedule(5).delay(30, job_id="never")
        assert await never.cancel()
        assert (await pushed, await later) == (4, 9)
        assert (pushed.status, never.status) == (JobStatus.SUCCESS, JobStatus.CANCELLED)
        await virtual_clock.advance(30)
    assert [call for call in calls if call[1]] == [("active", 2), ("active", 3)]


async def test_all_are_waited_for_wherever_they_are(virtual_clock: VirtualClock) -> None:
    """`wait_all` of an app that stands by sees the one-time jobs through that the active one runs; held ones not."""
    active, waiting = Program("active", []), Program("waiting", [])
    async with active, waiting:
        await waiting.work.push(2)
        await active.work.schedule(3).delay(20)
        paused = await active.work.schedule(4).delay(25, job_id="paused")
        await paused.pause()
        await waiting.wait_all()
        assert virtual_clock.monotonic() == 30
        await waiting.work.push(5)
        with pytest.raises(TimeoutError, match="within 4 s"):
            await waiting.wait_all(timeout=4)
        await waiting.wait_all()
        assert virtual_clock.monotonic() == 40
        await waiting.work.push(6)
        left = asyncio.create_task(waiting.wait_all())
        await virtual_clock.settle()
        await waiting.stop()
        with pytest.raises(ApplicationStateError, match="was stopped"):
            await left


async def test_a_job_that_is_paused_meanwhile_is_waited_for_no_more(virtual_clock: VirtualClock) -> None:
    """Whoever waits for all, there or here, waits only for what starts by itself."""
    active, waiting = Program("active", []), Program("waiting", [])
    async with active, waiting:
        job = await active.work.schedule(3).delay(20, job_id="paused")
        both = [asyncio.create_task(app.wait_all()) for app in (active, waiting)]
        await virtual_clock.advance(5)
        await job.pause()
        await asyncio.gather(*both)
        assert virtual_clock.monotonic() == 5


async def test_a_death_loses_nothing(virtual_clock: VirtualClock) -> None:
    """The next app is active at once; what the dead one had begun is begun again, with a record."""
    calls: list[tuple[str, int]] = []
    active, waiting = Program("active", calls), Program("waiting", calls)
    await active.start()
    async with waiting:
        job = await waiting.work.push(2)
        await virtual_clock.advance(5)
        await crash(active)
        assert await job == 4
        assert [str(run.status) for run in await waiting.history(job_id=job.id)] == ["success", "interrupted"]
    assert [call for call in calls if call[1]] == [("active", 2), ("waiting", 2)]


@pytest.mark.virtual_clock(storage="keep")
async def test_who_does_not_stand_by_is_refused(
    virtual_clock: VirtualClock, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is in use can be opened only by who waits for its turn."""
    monkeypatch.chdir(str(tmp_path))
    calls: list[tuple[str, int]] = []
    async with Program("first", calls, standby=False):
        with pytest.raises(StorageError, match="another app in this process"):
            await Program("second", calls, standby=False).start()
        async with Program("third", calls):
            await virtual_clock.advance(timedelta(minutes=1))
    assert calls == [("first", 0)]

"""Jobs beside a run, while people change it, the storage is slow or fails, and the program dies: no time is lost."""

import asyncio
from datetime import datetime, timedelta

import pytest

from jobify import Cron, Jobify, MisfirePolicy, Retry, RunStatus, StorageError
from jobify_testing import TransitionLog, VirtualClock, crash
from tests.storages import HookedStorage
from tests.test_missed import HOUR, NEW_YEAR, skips

SECOND_ID = "t@2026-01-01T02:00:00Z"
HOURLY = Cron("0 * * * *", overlap="allow")


def at(hours: float) -> datetime:
    """Return an instant of the first day."""
    return NEW_YEAR + timedelta(hours=hours)


class Slow(HookedStorage):
    """A storage whose verbs take time, or fail.

    Attributes:
        seconds: how long each verb of a name takes.
        broken: the verbs that fail.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self.broken: set[str] = set()

    async def before(self, verb: str) -> None:
        """Take so long, and fail."""
        if verb in self.seconds:
            await asyncio.sleep(self.seconds[verb])
        if verb in self.broken:
            raise StorageError("the disk is gone")


class World:
    """An app with a task that lasts for days.

    Attributes:
        begun: the argument of each call, with the time in hours.
        lasts: how many seconds each call of `tick` lasts, the next first; if it is empty, for days.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.storage = Slow()
        self.app = Jobify(storage=self.storage, shutdown_grace=0)
        self.begun: list[tuple[float, str]] = []
        self.lasts: list[float] = []

        @self.app.task(name="tick", on_crash="rerun", retry=Retry(1, delay=3 * HOUR, maximum=3 * HOUR, jitter=False))
        async def tick(text: str, *, fails: bool = False) -> None:
            self.begun.append((clock.monotonic() / HOUR, text))
            if fails and len(self.begun) == 1:
                raise ValueError
            await asyncio.sleep(self.lasts.pop(0) if self.lasts else 100 * HOUR)

        self.tick = tick


@pytest.fixture
def world(virtual_clock: VirtualClock) -> World:
    """An app whose storage can be slow."""
    return World(virtual_clock)


async def test_a_time_that_comes_during_a_pause_does_not_end_it(world: World, virtual_clock: VirtualClock) -> None:
    """The pause was being written when the job of that time began: it is kept over a crash."""
    async with world.app:
        job = await world.tick.schedule("t").cron(HOURLY, job_id="t")
        await virtual_clock.advance(2 * HOUR - 1)
        world.storage.seconds["amend"] = 2
        assert await job.pause()
        await virtual_clock.advance(HOUR)
        assert job.paused
        await crash(world.app)
    async with world.app:
        found = await world.app.get_job("t")
        assert found is not None
        assert found.paused


@pytest.mark.parametrize("works", [True, False])
async def test_a_time_that_comes_during_a_reschedule_does_not_undo_it(
    works: bool,  # noqa: FBT001  # a parameter of the test
    world: World,
    virtual_clock: VirtualClock,
) -> None:
    """A time of the old recurrence came while the new one was being written: it counts if that fails, and only then."""
    async with world.app:
        job = await world.tick.schedule("t").cron(HOURLY, job_id="t")
        await virtual_clock.advance(2 * HOUR - 1)
        world.storage.seconds["amend"] = 2
        if works:
            assert await job.reschedule(Cron("*/7 * * * *", overlap="allow", start_date=at(2.05)))
        else:
            world.storage.broken.add("amend")
            with pytest.raises(StorageError):
                await job.reschedule(Cron("*/7 * * * *", overlap="allow", start_date=at(2.05)))
            world.storage.broken.clear()
        await virtual_clock.advance(5)
        assert [one.id for one in await world.app.jobs()] == ["t"] if works else ["t", SECOND_ID]
        await crash(world.app)
    world.storage.seconds.clear()
    async with world.app:
        await virtual_clock.advance(0.25 * HOUR)
        ids = {one.id for one in await world.app.jobs()}
        assert ids == ({"t", "t@2026-01-01T02:07:00Z", "t@2026-01-01T02:14:00Z"} if works else {"t", SECOND_ID})


async def test_a_time_that_is_skipped_is_told_when_that_is_written(
    world: World, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The storage was down until the stop: the next start decides about it, and tells it, as the first and only one."""
    async with world.app:
        policy = MisfirePolicy.GRACE(60)
        await world.tick.schedule("t").cron(Cron("0 * * * *", overlap="allow", misfire_policy=policy), job_id="t")
        await virtual_clock.advance(1.5 * HOUR)
        world.storage.broken |= {"amend", "release"}
        virtual_clock.step_wall(HOUR)
        await virtual_clock.advance(5)
        assert skips(job_transitions) == []
    world.storage.broken.clear()
    async with world.app:
        await virtual_clock.advance(5)
        assert [str(run.status) for run in await world.app.history()] == ["skipped", "interrupted"]
    assert skips(job_transitions) == [(2 * HOUR, 2 * HOUR, 1, "missed")]


async def test_a_stop_with_the_storage_down_loses_no_time(
    world: World, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The job of a time could not be stored before the stop: the time is seen to by the next start."""
    async with world.app:
        await world.tick.schedule("t").cron(HOURLY, job_id="t")
        await virtual_clock.advance(2 * HOUR - 1)
        world.storage.broken.add("add")
        await virtual_clock.advance(5)
    world.storage.broken.clear()
    world.begun.clear()
    async with world.app:
        await virtual_clock.advance(1)
        assert [job.id for job in await world.app.jobs()] == ["t", SECOND_ID]
    assert skips(job_transitions) == []


@pytest.mark.parametrize("seconds", [1, 3])
async def test_a_crash_in_a_backoff_does_not_drop_what_it_has_begun(
    world: World, virtual_clock: VirtualClock, job_transitions: TransitionLog, seconds: float
) -> None:
    """A job beside a backoff was stored, and its time noted, or not yet: it is no time that was missed."""
    async with world.app:
        await world.tick.schedule("t", fails=True).cron(HOURLY, job_id="t")
        await virtual_clock.advance(2 * HOUR - 1)
        world.storage.seconds["amend"] = 2
        await virtual_clock.advance(1 + seconds)
        await crash(world.app)
    world.storage.seconds.clear()
    async with world.app:
        await virtual_clock.advance(2.5 * HOUR)
        assert [job.id for job in await world.app.jobs()] == ["t", SECOND_ID, "t@2026-01-01T04:00:00Z"]
    assert skips(job_transitions) == [(3 * HOUR, 3 * HOUR, 1, "missed")]


async def test_a_job_beside_a_restored_backoff_has_its_arguments(world: World, virtual_clock: VirtualClock) -> None:
    """Nobody has read those of the job itself yet."""
    async with world.app:
        await world.tick.schedule("t", fails=True).cron(HOURLY, job_id="t")
        await virtual_clock.advance(HOUR + 1)
    async with world.app:
        job = await world.app.get_job("t")
        assert job is not None
        await job.reschedule(Cron("30 * * * *", overlap="allow"))
        await virtual_clock.advance(HOUR)
        assert world.begun == [(1, "t"), (1.5, "t")]


async def test_each_job_beside_is_noted_by_itself(world: World, virtual_clock: VirtualClock) -> None:
    """Several times come at once: a crash between their jobs loses none, and repeats none that has ended."""
    world.lasts += [100 * HOUR, 0.1, 0.1]
    trigger = Cron("0 * * * *", overlap="allow", misfire_policy=MisfirePolicy.ALL)
    async with world.app:
        await world.tick.schedule("t").cron(trigger, job_id="t")
        await virtual_clock.advance(1.5 * HOUR)
        world.storage.seconds["add"] = 1
        virtual_clock.step_wall(3 * HOUR)
        await virtual_clock.advance(2.5)
        await crash(world.app)
    world.storage.seconds.clear()
    async with world.app:
        await virtual_clock.advance(1)
        ended = [run.scheduled_for for run in await world.app.history(status=RunStatus.SUCCESS)]
        assert ended == [at(3), at(2)]
        assert [job.id for job in await world.app.jobs()] == ["t", "t@2026-01-01T04:00:00Z"]

"""What every storage must do that several processes use at the same time."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from jobify import DuplicateJobError
from jobify.storage import Notice, RunQuery, Storage
from jobify_testing._contract import FOREVER, NOON
from jobify_testing.storage_contract import StorageContract

_PATIENCE = 30.0
"""Seconds in which a notice has come, or does not come."""


class _Ear:
    """Hears the notices of a storage."""

    def __init__(self, storage: Storage) -> None:
        self._heard: asyncio.Queue[Notice] = asyncio.Queue()
        storage.watch(self._heard.put_nowait)

    async def hear(self, kind: str, number: int = 0) -> None:
        """Return when a notice has come, whatever comes before."""
        async with asyncio.timeout(_PATIENCE):
            while await self._heard.get() != (kind, number):
                pass


class SharedStorageContract(StorageContract):
    """The contract of storages that are `shared`: two of `make_storage` stand for two processes.

    They have a horizon.
    """

    async def _both_opened(self) -> tuple[Storage, Storage]:
        first, second = self.make_storage(), self.make_storage()
        await first.open(self.make_host())
        await second.open(self.make_host())
        return first, second

    def _far(self, storage: Storage) -> datetime:
        """Return a time behind the horizon."""
        assert storage.shared
        assert storage.horizon is not None
        return max(self.make_host().clock.now(), NOON) + 2 * storage.horizon

    async def test_each_job_is_claimed_by_one(self) -> None:
        """What two claim at the same time they share, and nothing is left."""
        first, second = await self._both_opened()
        far = self._far(first)
        for n in range(20):
            await first.add(self.make_job(first, str(n), exec_at=far), replace=False)
        claims = await asyncio.gather(*(storage.claim(FOREVER) for storage in (first, second) * 5))
        numbers = [job.number for jobs in claims for job in jobs]
        assert len(numbers) == len(set(numbers)) == 20
        for storage, jobs in zip((first, second) * 5, claims, strict=True):
            assert all(storage.is_mine(job.number) for job in jobs)
        await first.close()
        await second.close()

    async def test_what_is_near_is_its_adders_and_what_is_far_is_nobodys(self) -> None:
        """A job that is due within the horizon is claimed by who adds it; a later one waits to be claimed."""
        first, second = await self._both_opened()
        near = await first.add(self.make_job(first, "near"), replace=False)
        far = await first.add(self.make_job(first, "far", exec_at=self._far(first)), replace=False)
        assert (first.is_mine(near), first.is_mine(far), second.is_mine(near)) == (True, False, False)
        assert [job.number for job in await second.claim(FOREVER)] == [far]
        assert (second.is_mine(far), first.is_mine(far)) == (True, False)
        await first.close()
        await second.close()

    async def test_what_a_process_holds_is_given_up_at_its_end(self) -> None:
        """Who closes gives up its claims, and the others are told to look."""
        first, second = await self._both_opened()
        ear = _Ear(second)
        number = await first.add(self.make_job(first), replace=False)
        assert list(await second.claim(FOREVER)) == []
        await first.close()
        await ear.hear("look")
        assert [job.number for job in await second.claim(FOREVER)] == [number]
        await second.close()

    async def test_what_another_holds_is_not_started(self) -> None:
        """Who does not hold a job starts no run of it, and notes nothing."""
        first, second = await self._both_opened()
        number = await first.add(self.make_job(first), replace=False)
        start: dict[str, Any] = {"attempt": 1, "started_at": NOON, "scheduled_for": NOON}
        assert not await second.start(number, **start, runs=[self.make_run(second)])
        assert list(await first.runs(RunQuery())) == []
        assert await first.start(number, **start)
        await first.close()
        await second.close()

    async def test_what_waits_elsewhere_can_be_removed(self) -> None:
        """A job that waits is removed whoever holds it, who is told, and does not start it."""
        first, second = await self._both_opened()
        ear = _Ear(first)
        number = await first.add(self.make_job(first), replace=False)
        assert await second.remove(number)
        await ear.hear("gone", number)
        assert not await first.start(number, attempt=1, started_at=NOON, scheduled_for=NOON)
        await first.close()
        await second.close()

    async def test_what_runs_elsewhere_can_be_left_alone(self) -> None:
        """With `idle_only` a run in another process goes on, and none is said to be cancelled; else the job is gone."""
        first, second = await self._both_opened()
        number = await first.add(self.make_job(first), replace=False)
        await first.start(number, attempt=1, started_at=NOON, scheduled_for=NOON)
        assert not await second.remove(number, idle_only=True, runs=[self.make_run(second, reason="refused")])
        assert first.is_mine(number)
        assert await second.remove(number, runs=[self.make_run(second, reason="removed")])
        assert [run.reason for run in await second.runs(RunQuery())] == ["removed"]
        await first.close()
        await second.close()

    async def test_what_another_holds_can_be_replaced(self) -> None:
        """A job takes the place of another, whoever holds that: who does is told, and starts it no more."""
        first, second = await self._both_opened()
        ear = _Ear(first)
        old = await first.add(self.make_job(first), replace=False)
        new = await second.add(self.make_job(second), replace=True)
        await ear.hear("gone", old)
        assert not await first.start(old, attempt=1, started_at=NOON, scheduled_for=NOON)
        assert second.is_mine(new)
        assert [job.number for job in await first.find("it")] == [new]
        await first.close()
        await second.close()

    async def test_of_all_who_replace_at_once_one_is_the_last(self) -> None:
        """Ten replacements by two processes leave one job, and each has had a number of its own."""
        first, second = await self._both_opened()
        adds = (storage.add(self.make_job(storage), replace=True) for storage in (first, second) * 5)
        numbers = await asyncio.gather(*adds)
        assert len(set(numbers)) == 10
        (job,) = await first.find()
        assert job.number in numbers
        await first.close()
        await second.close()

    async def test_of_two_processes_one_gets_an_id(self) -> None:
        """An id is given once, also if two processes ask at the same time."""
        first, second = await self._both_opened()
        adds = (storage.add(self.make_job(storage), replace=False) for storage in (first, second))
        results = await asyncio.gather(*adds, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == [DuplicateJobError.__name__, int.__name__]
        await first.close()
        await second.close()

    async def test_the_end_of_a_run_is_told(self) -> None:
        """Who waits for a job of another process is told of the end of its run, not of an attempt's."""
        first, second = await self._both_opened()
        ear = _Ear(second)
        number = await first.add(self.make_job(first, trigger="{}"), replace=False)
        other = await first.add(self.make_job(first, "other"), replace=False)
        for started in (number, other):
            await first.start(started, attempt=1, started_at=NOON, scheduled_for=NOON)
        await first.finish(number, self.make_job(first, number=number, trigger="{}"))
        await ear.hear("ended", number)
        await first.finish(other, None)
        await ear.hear("ended", other)
        await first.close()
        await second.close()

    async def test_what_nobody_holds_can_be_amended_by_all(self) -> None:
        """A change of a job that another holds is not made: it would undo what that one is about to write."""
        first, second = await self._both_opened()
        held = await first.add(self.make_job(first, "held"), replace=False)
        far = self._far(first)
        free = await first.add(self.make_job(first, "free", exec_at=far), replace=False)
        await second.amend(self.make_job(second, number=held, paused=True))
        await second.amend(self.make_job(second, number=free, exec_at=far, paused=True))
        assert [(job.id, job.paused) for job in await first.find()] == [("held", False), ("free", True)]
        await first.close()
        await second.close()

    async def test_a_time_of_a_recurring_job_has_one_run(self) -> None:
        """For a time at which a run has ended there is no other start, whoever asks; what was cut short may begin."""
        first, second = await self._both_opened()
        number = await first.add(self.make_job(first, trigger="{}"), replace=False)
        start: dict[str, Any] = {"attempt": 1, "started_at": NOON}
        later = NOON + timedelta(hours=1)
        assert await first.start(number, **start, scheduled_for=NOON)
        assert await first.start(number, **start, scheduled_for=NOON)
        await first.finish(number, self.make_job(first, number=number, trigger="{}", scheduled_for=later))
        await first.close()
        assert [job.scheduled_for for job in await second.claim(FOREVER)] == [later]
        assert not await second.start(number, **start, scheduled_for=NOON)
        assert await second.start(number, **start, scheduled_for=later)
        await second.close()

    async def test_the_dead_hold_their_jobs_for_a_while(self) -> None:
        """What a process that was abandoned has claimed is nobody else's at once."""
        first, second = await self._both_opened()
        await first.add(self.make_job(first), replace=False)
        first.abandon()
        assert list(await second.claim(FOREVER)) == []
        await second.close()

"""What every storage must do when jobs are claimed."""

import asyncio
from datetime import timedelta

from jobify.storage import Storage
from jobify_testing._contract import FOREVER, NOON, ContractBase


class ClaimContract(ContractBase):
    """The part of the contract about claims."""

    async def _stored(self, *hours: int) -> Storage:
        """Return a storage whose owner has claimed nothing of what is there: a job for each hour, by its number."""
        storage = await self.opened()
        for n, hour in enumerate(hours):
            job = self.make_job(storage, str(n), exec_at=NOON + timedelta(hours=hour))
            await storage.add(job, replace=False)
        await storage.close()
        await storage.open(self.make_host())
        return storage

    async def test_a_claim_returns_each_job_once_and_in_order(self) -> None:
        """`claim` returns what is due before a time, by number, and nothing twice for one owner."""
        storage = await self.opened()
        for n in (3, 1, 2):
            await storage.add(self.make_job(storage, f"job {n}", exec_at=NOON + timedelta(hours=n)), replace=False)
        await storage.close()
        await storage.open(self.make_host())
        assert [job.id for job in await storage.claim(NOON + timedelta(hours=3))] == ["job 1", "job 2"]
        assert [job.id for job in await storage.claim(FOREVER)] == ["job 3"]
        assert list(await storage.claim(FOREVER)) == []
        await storage.close()

    async def test_what_an_owner_added_it_need_not_claim(self) -> None:
        """A job is its adder's: `claim` returns it to a later owner only."""
        storage = await self.opened()
        await storage.add(self.make_job(storage), replace=False)
        assert list(await storage.claim(FOREVER)) == []
        assert len(await self.reopened(storage)) == 1
        await storage.close()

    async def test_a_limit_has_the_nearest(self) -> None:
        """Of the jobs that nobody has claimed the nearest are claimed, by number; the others stay unclaimed."""
        storage = await self._stored(5, 1, 4, 2, 3)
        for expected in (["1", "3"], ["2", "4"], ["0"], []):
            claimed = await storage.claim(FOREVER, limit=2)
            assert [job.id for job in claimed] == expected
            assert all(storage.is_mine(job.number) for job in claimed)
        await storage.close()

    async def test_of_one_instant_those_added_first_are_nearest(self) -> None:
        """Where jobs are due at one time, a limit takes them in the order of adding."""
        storage = await self._stored(1, 1, 1, 0, 1)
        assert [job.id for job in await storage.claim(FOREVER, limit=3)] == ["0", "1", "3"]
        assert [job.id for job in await storage.claim(FOREVER, limit=3)] == ["2", "4"]
        await storage.close()

    async def test_a_limit_goes_no_further_than_its_time(self) -> None:
        """What is due at the time, or later, is not claimed, however few others there are."""
        storage = await self._stored(1, 2, 3)
        assert [job.id for job in await storage.claim(NOON + timedelta(hours=2), limit=3)] == ["0"]
        assert [job.id for job in await storage.claim(FOREVER, limit=3)] == ["1", "2"]
        await storage.close()

    async def test_what_is_claimed_takes_no_place_of_a_limit(self) -> None:
        """A limit counts the jobs that are returned: not those that were claimed, or added, by this owner."""
        storage = await self._stored(8, 9)
        for n in range(5):
            await storage.add(self.make_job(storage, f"new {n}"), replace=False)
        adds = [storage.add(self.make_job(storage, f"newer {n}"), replace=False) for n in range(5)]
        *_, claimed = await asyncio.gather(*adds, storage.claim(FOREVER, limit=2))
        assert isinstance(claimed, list)
        assert [job.id for job in claimed] == ["0", "1"]
        await storage.close()

    async def test_concurrent_claims_share_what_is_there(self) -> None:
        """Each job is claimed once, also by claims that are made at the same time."""
        storage = await self._stored(*range(9))
        claims = await asyncio.gather(*(storage.claim(FOREVER, limit=2) for _ in range(6)))
        assert sorted(job.id for jobs in claims for job in jobs) == [str(n) for n in range(9)]
        await storage.close()

    async def test_a_job_is_claimed_by_its_id(self) -> None:
        """With an id that one is claimed, if it is there, due before the time, and not yet claimed."""
        storage = await self._stored(1, 2, 3)
        assert list(await storage.claim(NOON + timedelta(hours=2), job_id="1")) == []
        (job,) = await storage.claim(FOREVER, job_id="1")
        assert (job.id, storage.is_mine(job.number)) == ("1", True)
        assert list(await storage.claim(FOREVER, job_id="1")) == []
        assert list(await storage.claim(FOREVER, job_id="none")) == []
        assert [job.id for job in await storage.claim(FOREVER, limit=5)] == ["0", "2"]
        await storage.close()

    async def test_a_window_leaves_nothing_that_may_not_wait(self) -> None:
        """A storage with a window returns what was cut short or is made up for, and what a set clock made longer."""
        storage = await self._stored()
        if storage.window is None:
            await storage.close()
            return
        far = NOON + timedelta(days=1)
        delays = {"at": None, "overdue by then": 86_400.0, "ordered later": 86_399.0, "ordered now": 0.0}
        for job_id, delay in delays.items():
            await storage.add(self.make_job(storage, job_id, exec_at=far, delay=delay), replace=False)
        number = await storage.add(self.make_job(storage, "running", exec_at=far), replace=False)
        await storage.start(number, attempt=1, started_at=NOON, scheduled_for=NOON)
        await storage.add(self.make_job(storage, "late", exec_at=far, until=far), replace=False)
        await storage.close()
        await storage.open(self.make_host())
        claimed = [job.id for job in await storage.claim(NOON)]
        assert claimed == ["ordered later", "ordered now", "running", "late"]
        assert [job.id for job in await storage.claim(FOREVER, limit=5)] == ["at", "overdue by then"]
        await storage.close()

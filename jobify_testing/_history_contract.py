"""What every storage must do with the history of runs."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

from jobify import DuplicateJobError
from jobify.storage import RunQuery
from jobify_testing._contract import NOON, ContractBase


class HistoryContract(ContractBase):
    """The part of the contract about runs that have ended."""

    async def test_runs_are_added_with_each_verb_that_takes_them(self) -> None:
        """The history grows by the verb that ends a run, or calls one off; it is there for a later owner."""
        storage = await self.opened()
        number = await storage.add(self.make_job(storage), replace=False)
        run = partial(self.make_run, storage)
        await storage.start(number, attempt=1, started_at=NOON, scheduled_for=NOON, runs=[run(reason="start")])
        await storage.amend(self.make_job(storage, number=number), runs=[run(reason="amend")])
        await storage.finish(number, self.make_job(storage, number=number), runs=[run(reason="a"), run(reason="b")])
        await storage.release([self.make_job(storage, number=number)], runs=[run(reason="release")])
        await storage.add(self.make_job(storage), replace=True, runs=[run(reason="add")])
        await storage.finish(number, None, runs=[run(reason="finish")])
        await storage.remove(number, runs=[run(reason="remove")])
        reasons = ["start", "amend", "a", "b", "release", "add", "finish", "remove"]
        await storage.close()
        await storage.open(self.make_host())
        assert [found.reason for found in await storage.runs(RunQuery())] == reasons[::-1]
        await storage.close()

    async def test_a_refused_job_adds_no_run(self) -> None:
        """A taken id leaves the history as it was."""
        storage = await self.opened()
        await storage.add(self.make_job(storage), replace=False)
        try:
            await storage.add(self.make_job(storage), replace=False, runs=[self.make_run(storage)])
        except DuplicateJobError:
            assert list(await storage.runs(RunQuery())) == []
        else:
            msg = "a taken id was accepted"
            raise AssertionError(msg)
        await storage.close()

    async def test_a_run_comes_back_as_it_went(self) -> None:
        """All that is known of a run is found again."""
        storage = await self.opened()
        run = self.make_run(
            storage,
            job=7,
            parent="parent",
            status="failed",
            last=NOON + timedelta(days=1),
            count=12,
            started_at=NOON + timedelta(microseconds=1),
            attempts=3,
            error="ValueError: \U0001f4a5",
            value=b"null" if storage.serialized else ("a", 1),
            reason="why",
        )
        await storage.remove(1, runs=[run])
        (found,) = await storage.runs(RunQuery())
        assert found.number > 0
        assert replace(found, number=0) == replace(run, number=0)
        await storage.close()

    async def test_the_history_is_asked(self) -> None:
        """A query returns what matches all that it gives, the latest first, and no more than its limit."""
        storage = await self.opened()
        hour = timedelta(hours=1)
        runs = [
            self.make_run(storage, job=1, job_id="a", task="x", reason="0"),
            self.make_run(storage, job=1, job_id="a", task="x", status="failed", finished_at=NOON + hour, reason="1"),
            self.make_run(storage, job=2, job_id="a", task="y", finished_at=NOON + 2 * hour, reason="2"),
            self.make_run(storage, job=3, job_id="b", task="y", finished_at=NOON + 3 * hour, reason="3"),
        ]
        await storage.remove(1, runs=runs)
        for query, expected in (
            (RunQuery(), "3210"),
            (RunQuery(limit=2), "32"),
            (RunQuery(job=1), "10"),
            (RunQuery(job_id="a"), "210"),
            (RunQuery(task="y"), "32"),
            (RunQuery(statuses=["failed"]), "1"),
            (RunQuery(statuses=["failed", "success"], job=1), "10"),
            (RunQuery(statuses=[]), ""),
            (RunQuery(since=NOON + hour), "321"),
            (RunQuery(job_id="a", task="x", statuses=["success"], since=NOON), "0"),
            (RunQuery(job_id="'; DROP TABLE"), ""),
        ):
            assert "".join(str(run.reason) for run in await storage.runs(query)) == expected, query
        await storage.close()

    async def test_the_history_is_pruned(self) -> None:
        """What has expired is forgotten, and the oldest beyond a number."""
        storage = await self.opened()
        runs = [self.make_run(storage, reason=str(n), expires_at=NOON + timedelta(hours=n % 5)) for n in range(20)]
        await storage.remove(1, runs=runs)
        await storage.prune(NOON + timedelta(hours=2), most=1000)
        assert [int(run.reason or "") % 5 for run in await storage.runs(RunQuery())] == [4, 3] * 4
        await storage.prune(NOON, most=3)
        assert [run.reason for run in await storage.runs(RunQuery())] == ["19", "18", "14"]
        await storage.close()

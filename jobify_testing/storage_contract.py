"""What every storage must do, as a class of tests to subclass.

    class TestMyStorage(StorageContract):
        def make_storage(self) -> MyStorage:
            return MyStorage(...)

Each test gets a storage of its own, which must be empty and not open. The tests are coroutines: run them
with pytest-asyncio, in its auto mode or by `pytestmark = pytest.mark.asyncio`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from jobify import DuplicateJobError, StorageError
from jobify.storage import RunQuery
from jobify_testing._claim_contract import ClaimContract
from jobify_testing._contract import FOREVER, NOON
from jobify_testing._history_contract import HistoryContract

HOSTILE_IDS = ("'; DROP TABLE jobs; --", 'a"b', "ключ 🗝", "a\nb\tc", "x" * 1000, " ", "%s", "?1", "NULL")


class StorageContract(ClaimContract, HistoryContract):
    """The contract; `make_storage` is all that a subclass has to say."""

    async def test_what_was_added_is_found_by_a_later_owner(self) -> None:
        """Every field of a job comes back as it went."""
        storage = await self.opened()
        job = self.make_job(
            storage,
            trigger='{"every":5}',
            exec_at=NOON + timedelta(microseconds=1),
            scheduled_for=NOON,
            delay=0.1,
            declaration="as it was declared",
            misfire_policy="skip",
            parent="another",
            covered=NOON + timedelta(microseconds=1),
            until=NOON + timedelta(microseconds=2),
            paused=True,
            attempt=2,
            runs=3,
            failures=4,
            interruptions=1,
            started_at=NOON - timedelta(days=1),
        )
        job.number = await storage.add(job, replace=False)
        assert job.number > 0
        assert await self.reopened(storage) == [job]
        await storage.close()

    async def test_a_taken_id_is_refused(self) -> None:
        """A second job of one id raises, and the first stays."""
        storage = await self.opened()
        first = await storage.add(self.make_job(storage), replace=False)
        try:
            await storage.add(self.make_job(storage, task="other"), replace=False)
        except DuplicateJobError as error:
            assert error.job_id == "it"  # noqa: PT017  # pytest is not imported here
        else:
            msg = "a taken id was accepted"
            raise AssertionError(msg)
        assert [(row.number, row.task) for row in await self.reopened(storage)] == [(first, "module:task")]
        await storage.close()

    async def test_of_concurrent_adds_of_one_id_one_wins(self) -> None:
        """Exactly one of ten concurrent adds is accepted."""
        storage = await self.opened()
        adds = (storage.add(self.make_job(storage), replace=False) for _ in range(10))
        results = await asyncio.gather(*adds, return_exceptions=True)
        assert sum(isinstance(result, int) for result in results) == 1
        assert sum(isinstance(result, DuplicateJobError) for result in results) == 9
        assert len(await self.reopened(storage)) == 1
        await storage.close()

    async def test_replace_leaves_one_job_under_a_new_number(self) -> None:
        """A replacement has a number of its own, so that the old job can write nothing under the id."""
        storage = await self.opened()
        old = await storage.add(self.make_job(storage), replace=True)
        new = await storage.add(self.make_job(storage, task="other"), replace=True)
        assert new > old
        await storage.start(old, attempt=5, started_at=NOON, scheduled_for=NOON)
        await storage.finish(old, self.make_job(storage, number=old, runs=9))
        await storage.amend(self.make_job(storage, number=old, paused=True))
        await storage.finish(old, None)
        await storage.remove(old)
        (row,) = await self.reopened(storage)
        assert (row.number, row.task, row.attempt, row.runs, row.running) == (new, "other", 0, 0, False)
        await storage.close()

    async def test_numbers_are_never_used_again(self) -> None:
        """The number of a job that is gone is not given to another, over restarts too."""
        storage = await self.opened()
        numbers: list[int] = []
        for _ in range(3):
            numbers.append(await storage.add(self.make_job(storage), replace=False))
            await storage.remove(numbers[-1])
            assert await self.reopened(storage) == []
        assert numbers == sorted(set(numbers))
        await storage.close()

    async def test_a_start_and_its_end_are_noted(self) -> None:
        """A later owner sees that an attempt was in progress, from the first write on; after its end, what follows."""
        storage = await self.opened()
        at_once = await storage.add(self.make_job(storage, running=True, attempt=1, started_at=NOON), replace=False)
        (row,) = await self.reopened(storage)
        assert (row.running, row.attempt, row.started_at) == (True, 1, NOON)
        await storage.remove(at_once)
        number = await storage.add(self.make_job(storage), replace=False)
        await storage.start(number, attempt=2, started_at=NOON, scheduled_for=NOON)
        (row,) = await self.reopened(storage)
        assert (row.running, row.attempt, row.started_at) == (True, 2, NOON)

        later = NOON + timedelta(hours=1)
        following = self.make_job(storage, number=number, exec_at=later, scheduled_for=later, delay=3600.0, runs=1)
        await storage.finish(number, following)
        assert await self.reopened(storage) == [following]

        await storage.finish(number, None)
        assert await self.reopened(storage) == []
        await storage.close()

    async def test_a_start_notes_the_time_it_is_meant_for(self) -> None:
        """A run may stand for a later time than the one that was stored."""
        storage = await self.opened()
        number = await storage.add(self.make_job(storage), replace=False)
        later = NOON + timedelta(hours=3)
        await storage.start(number, attempt=1, started_at=later, scheduled_for=later)
        (row,) = await self.reopened(storage)
        assert (row.scheduled_for, row.exec_at, row.running) == (later, self.make_job(storage).exec_at, True)
        await storage.close()

    async def test_a_start_says_whether_the_job_is_there(self) -> None:
        """Of a job that is gone no run is to start, and nothing is noted."""
        storage = await self.opened()
        number = await storage.add(self.make_job(storage), replace=False)
        assert await storage.start(number, attempt=1, started_at=NOON, scheduled_for=NOON)
        await storage.remove(number)
        assert not await storage.start(
            number, attempt=1, started_at=NOON, scheduled_for=NOON, runs=[self.make_run(storage)]
        )
        assert list(await storage.runs(RunQuery())) == []
        await storage.close()

    async def test_what_is_amended_leaves_the_run_alone(self) -> None:
        """`amend` writes what a person has changed, while an attempt is in progress too."""
        storage = await self.opened()
        number = await storage.add(self.make_job(storage, runs=7), replace=False)
        await storage.start(number, attempt=3, started_at=NOON, scheduled_for=NOON)
        later = NOON + timedelta(hours=1)
        changes: dict[str, Any] = {
            "trigger": "another recurrence",
            "exec_at": later,
            "scheduled_for": later,
            "delay": 60.0,
            "covered": later,
            "until": later,
            "paused": True,
            "interruptions": 2,
        }
        await storage.amend(self.make_job(storage, number=number, task="other", **changes))
        (row,) = await self.reopened(storage)
        assert {name: getattr(row, name) for name in changes} == changes
        assert (row.task, row.running, row.attempt, row.runs) == ("module:task", True, 3, 7)
        await storage.close()

    async def test_what_is_gone_stays_gone(self) -> None:
        """Verbs on a job that is gone do nothing, and raise nothing."""
        storage = await self.opened()
        number = await storage.add(self.make_job(storage), replace=False)
        await storage.remove(number)
        await storage.remove(number)
        await storage.start(number, attempt=1, started_at=NOON, scheduled_for=NOON)
        await storage.finish(number, self.make_job(storage, number=number))
        await storage.amend(self.make_job(storage, number=number))
        await storage.release([self.make_job(storage, number=number)])
        assert await self.reopened(storage) == []
        await storage.close()

    async def test_a_removal_says_whether_there_was_anything(self) -> None:
        """Of a job that is gone there is nothing to remove; one that runs can be left alone."""
        storage = await self.opened()
        number = await storage.add(self.make_job(storage), replace=False)
        await storage.start(number, attempt=1, started_at=NOON, scheduled_for=NOON)
        assert not await storage.remove(number, idle_only=True, runs=[self.make_run(storage)])
        assert list(await storage.runs(RunQuery())) == []
        assert len(await storage.find()) == 1
        assert await storage.remove(number)
        assert not await storage.remove(number)
        assert not await storage.remove(number, idle_only=True)
        idle = await storage.add(self.make_job(storage), replace=False)
        assert await storage.remove(idle, idle_only=True)
        await storage.close()

    async def test_jobs_are_found_without_a_claim(self) -> None:
        """`find` shows a job by its id, or all, whoever has claimed them."""
        storage = await self.opened()
        numbers = [await storage.add(self.make_job(storage, job_id), replace=False) for job_id in ("a", "b")]
        assert [job.number for job in await storage.find()] == numbers
        assert [job.number for job in await storage.find("b")] == numbers[1:]
        assert list(await storage.find("c")) == []
        assert all(storage.is_mine(number) for number in numbers)
        await storage.close()
        await storage.open(self.make_host())
        assert [job.id for job in await storage.find()] == ["a", "b"]
        assert len(await storage.claim(FOREVER)) == 2
        await storage.close()

    async def test_what_is_released_is_as_it_was_put_back(self) -> None:
        """`release` writes the rows as they are given."""
        storage = await self.opened()
        number = await storage.add(self.make_job(storage), replace=False)
        await storage.start(number, attempt=1, started_at=NOON, scheduled_for=NOON)
        await storage.release([self.make_job(storage, number=number)])
        (row,) = await self.reopened(storage)
        assert (row.running, row.attempt, row.started_at) == (False, 0, None)
        await storage.close()

    async def test_a_cancelled_verb_is_done_whole_or_not_at_all(self) -> None:
        """Who is cancelled in the middle of an add leaves a whole job or none, and a storage that works."""
        storage = await self.opened()
        for steps in range(12):
            add = asyncio.ensure_future(storage.add(self.make_job(storage, f"job {steps}"), replace=False))
            for _ in range(steps):
                await asyncio.sleep(0)
            add.cancel()
            await asyncio.wait([add])
        await storage.add(self.make_job(storage, "last"), replace=False)
        rows = await self.reopened(storage)
        assert "last" in [row.id for row in rows]
        assert all(row == self.make_job(storage, row.id, number=row.number) for row in rows)
        await storage.close()

    async def test_hostile_ids_are_ids(self) -> None:
        """Whatever stands in an id or a name is kept as it is."""
        storage = await self.opened()
        for job_id in HOSTILE_IDS:
            await storage.add(self.make_job(storage, job_id, task=job_id), replace=False)
        rows = await self.reopened(storage)
        assert [(row.id, row.task) for row in rows] == [(job_id, job_id) for job_id in HOSTILE_IDS]
        await storage.close()

    async def test_instants_far_away_are_exact(self) -> None:
        """Instants keep their microsecond from the year 1 to the year 9999."""
        storage = await self.opened()
        moments = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999998, tzinfo=UTC)]
        for n, moment in enumerate(moments):
            await storage.add(self.make_job(storage, str(n), exec_at=moment, scheduled_for=moment), replace=False)
        assert [row.exec_at for row in await self.reopened(storage)] == moments
        await storage.close()

    async def test_thousands_of_concurrent_adds_keep_their_order(self) -> None:
        """Concurrent adds are numbered in the order of their calls."""
        storage = await self.opened()
        adds = (storage.add(self.make_job(storage, str(n)), replace=False) for n in range(2000))
        numbers = await asyncio.gather(*adds)
        assert numbers == sorted(numbers)
        assert [row.id for row in await self.reopened(storage)] == [str(n) for n in range(2000)]
        await storage.close()

    async def test_is_used_while_it_is_open(self) -> None:
        """Before `open` and after `close` every verb raises `StorageError`; a close too many is harmless."""
        storage = self.make_storage()
        await storage.close()
        for _ in range(2):
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "add": lambda: storage.add(self.make_job(storage), replace=False),
                "claim": lambda: storage.claim(FOREVER),
                "start": lambda: storage.start(1, attempt=1, started_at=NOON, scheduled_for=NOON),
                "finish": lambda: storage.finish(1, None),
                "amend": lambda: storage.amend(self.make_job(storage, number=1)),
                "remove": lambda: storage.remove(1),
                "release": lambda: storage.release([]),
                "runs": lambda: storage.runs(RunQuery()),
                "find": storage.find,
                "prune": lambda: storage.prune(NOON, most=1),
            }
            for name, verb in verbs.items():
                try:
                    await verb()
                except StorageError:
                    continue
                msg = f"{name} was accepted by a storage that is not open"
                raise AssertionError(msg)
            await storage.open(self.make_host())
            await storage.close()
            await storage.close()

    async def test_has_one_owner(self) -> None:
        """A storage that is open cannot be opened again, and goes on working."""
        storage = await self.opened()
        try:
            await storage.open(self.make_host())
        except StorageError:
            await storage.add(self.make_job(storage), replace=False)
        else:
            msg = "a storage that is open was opened again"
            raise AssertionError(msg)
        await storage.close()

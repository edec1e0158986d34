"""Ids of jobs: given or made, taken once, and replaced on purpose only."""

import asyncio
import contextlib
import sys
from collections.abc import Generator

import pytest

from jobify import DuplicateJobError, InvalidScheduleError, Jobify, JobStatus, Retry
from jobify.storage import MemoryStorage, SQLiteStorage
from jobify_testing import TransitionLog, VirtualClock


async def test_a_taken_id_is_refused(app: Jobify) -> None:
    """A second job under one id is refused, and the first is not touched."""

    @app.task
    async def answer(n: int) -> int:
        return n

    async with app:
        job = await answer.schedule(1).delay(10, job_id="it")
        with pytest.raises(DuplicateJobError, match="replace=True") as caught:
            await answer.schedule(2).delay(5, job_id="it")
        assert caught.value.job_id == "it"
        assert await app.jobs() == [job]
        assert await job == 1


async def test_an_id_is_free_again_when_its_job_has_finished(app: Jobify) -> None:
    """The id of a finished or cancelled job can be used again."""

    @app.task
    async def answer(n: int) -> int:
        return n

    async with app:
        assert await (await answer.schedule(1).delay(1, job_id="it")) == 1
        cancelled = await answer.schedule(2).delay(1, job_id="it")
        await cancelled.cancel()
        assert await (await answer.schedule(3).delay(1, job_id="it")) == 3


async def test_of_two_concurrent_calls_exactly_one_wins(app: Jobify) -> None:
    """Two concurrent calls with one id: one job, and one `DuplicateJobError`."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        results = await asyncio.gather(
            *(nothing.schedule().delay(10, job_id="it") for _ in range(10)), return_exceptions=True
        )
        assert [type(result) for result in results[1:]] == [DuplicateJobError] * 9
        assert await app.jobs() == [results[0]]


@pytest.mark.parametrize("job_id", ["", 5, b"x", 1.5])
async def test_refuses_what_is_no_id(app: Jobify, job_id: str) -> None:
    """An id is a non-empty str."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        with pytest.raises(InvalidScheduleError, match="non-empty str"):
            await nothing.schedule().delay(1, job_id=job_id)


async def test_strange_ids_are_ids(app: Jobify) -> None:
    """Any non-empty str is an id, and survives a restart."""
    ids = ["'; DROP TABLE jobify_jobs; --", "ключ 🗝", "a\nb", "x" * 1000, " "]

    @app.task
    async def nothing() -> None: ...

    async with app:
        for job_id in ids:
            await nothing.schedule().delay(10, job_id=job_id)
    async with app:
        assert [job.id for job in await app.jobs()] == ids


async def test_replace_cancels_the_job_that_waits(app: Jobify, job_transitions: TransitionLog) -> None:
    """`replace=True` takes the place of a waiting job, in memory and in storage."""

    @app.task
    async def answer(n: int) -> int:
        return n

    async with app:
        old = await answer.schedule(1).delay(10, job_id="it")
        waiter = asyncio.ensure_future(old.wait())
        await asyncio.sleep(1)
        new = await answer.schedule(2).delay(20, job_id="it", replace=True)
        assert await waiter is None
        assert old.status is JobStatus.CANCELLED
        assert await app.jobs() == [new]
    assert job_transitions.of("it")[1].reason == "replaced"
    async with app:
        (found,) = await app.jobs()
        assert await found == 2


async def test_replace_of_nothing_just_schedules(app: Jobify) -> None:
    """`replace=True` does not need anything to replace."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(10, job_id="it", replace=True)
        assert await app.jobs() == [job]


async def test_a_replaced_job_that_runs_ends_on_its_own_handle(app: Jobify) -> None:
    """The run of a replaced job ends with its own result, and writes nothing under the id."""

    @app.task
    async def nap(name: str) -> str:
        await asyncio.sleep(10)
        return name

    async with app:
        old = await nap.schedule("old").delay(1, job_id="it")
        await asyncio.sleep(5)
        new = await nap.schedule("new").delay(60, job_id="it", replace=True)
        assert await old == "old"
        assert old.status is JobStatus.SUCCESS
        assert await app.jobs() == [new]
        assert new.status is JobStatus.SCHEDULED
    async with app:
        found = await app.get_job("it")
        assert found is not None
        assert await found == "new"


async def test_a_replaced_job_that_runs_is_not_tried_again(app: Jobify) -> None:
    """A failed attempt of a replaced job is its last."""

    @app.task(retry=Retry(3, delay=1, jitter=False))
    async def fail() -> None:
        await asyncio.sleep(10)
        raise ValueError

    async with app:
        old = await fail.schedule().delay(0, job_id="it")
        await asyncio.sleep(5)
        new = await fail.schedule().delay(60, job_id="it", replace=True)
        run = await old.wait()
        assert run is not None
        assert (old.status, run.attempts) == (JobStatus.FAILED, 1)
        assert await app.jobs() == [new]


async def test_a_replaced_recurrence_that_runs_does_not_recur(app: Jobify, job_transitions: TransitionLog) -> None:
    """The run in progress of a replaced recurrence ends, and then the old job is CANCELLED."""

    @app.task
    async def nap() -> None:
        await asyncio.sleep(4)

    async with app:
        old = await nap.schedule().every(10, job_id="it")
        await asyncio.sleep(11)
        new = await nap.schedule().every(100, job_id="it", replace=True)
        await old.wait()
        assert (old.status, old.is_done()) == (JobStatus.CANCELLED, True)
        assert await app.jobs() == [new]


async def test_many_concurrent_replacements_leave_one_job(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Of concurrent replacements one job is left, in memory and in storage, and it is the last."""
    calls: list[int] = []

    @app.task
    async def note(n: int) -> None:
        calls.append(n)

    async with app:
        jobs = await asyncio.gather(*(note.schedule(n).delay(10, job_id="it", replace=True) for n in range(10)))
        assert [job.status for job in jobs[:-1]] == [JobStatus.CANCELLED] * 9
        assert await app.jobs() == [jobs[-1]]
    async with app:
        await virtual_clock.advance(10)
    assert calls == [9]


@contextlib.contextmanager
def counted_calls() -> Generator[list[int]]:
    """Count the calls of functions in this thread."""
    count = [0]

    def note(frame: object, event: str, argument: object) -> None:
        count[0] += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(before)


async def test_concurrent_replacements_cost_no_more_the_more_they_are(virtual_clock: VirtualClock) -> None:
    """Those that wait for an id go on one after the other: ten times as many take ten times the work."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task
    async def nothing(n: int) -> None: ...

    async def replace_each_other(number: int) -> int:
        with counted_calls() as count:
            jobs = await asyncio.gather(
                *(nothing.schedule(n).delay(60, job_id="it", replace=True) for n in range(number))
            )
        assert [job.status for job in jobs] == [JobStatus.CANCELLED] * (number - 1) + [JobStatus.SCHEDULED]
        assert [job.arguments["n"] for job in await app.jobs()] == [number - 1]
        return count[0]

    async with app:
        await replace_each_other(10)
        assert await replace_each_other(300) < 12 * await replace_each_other(30)


@pytest.mark.parametrize("cancelled", [0, 1, 3])
async def test_who_gives_up_its_place_in_the_line_lets_others_go_on(
    virtual_clock: VirtualClock, cancelled: int
) -> None:
    """Whoever is cancelled while it waits for an id, at whatever moment: those behind it get their turn, in order."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task
    async def nothing(n: int) -> None: ...

    for turns in range(12):
        async with app:
            calls = [asyncio.ensure_future(nothing.schedule(n).delay(60, job_id="it", replace=True)) for n in range(6)]
            for _ in range(turns):
                await asyncio.sleep(0)
            calls[cancelled].cancel()
            looking = asyncio.ensure_future(app.get_job("it"))
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result).__name__ for n, result in enumerate(results) if n != cancelled] == ["Job"] * 5
            found = await looking
            assert found is not None
            assert found.arguments["n"] == 5
            (job,) = await app.jobs()
            assert job.arguments["n"] == 5
            assert await job.cancel()
            assert await app.get_job("it") is None


async def test_a_job_that_is_not_durable_replaces_one_that_is(app: Jobify) -> None:
    """A replacement without a row takes the row of the old one away."""

    @app.task
    async def durable() -> None: ...

    @app.task(durable=False)
    async def fleeting() -> None: ...

    async with app:
        await durable.schedule().delay(10, job_id="it")
        await fleeting.schedule().delay(10, job_id="it", replace=True)
    async with app:
        assert await app.jobs() == []


MADE_IDS = ["10d7be1b082fed8f53701dec84e7bd34", "882ea94889c0fc92474bfbcf31e1d0a3", "0d346ec40f0ed0c76f060dd6d642e369"]
"""The first ids that are made under virtual time, in each test and on every machine."""


@pytest.mark.parametrize("_time", [1, 2])
async def test_made_ids_are_the_same_in_every_test(virtual_clock: VirtualClock, _time: int) -> None:
    """Under virtual time ids are a sequence that each test starts anew."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def nothing() -> None: ...

    async with app:
        assert [(await nothing.push()).id for _ in range(3)] == MADE_IDS


async def test_a_made_id_that_is_taken_is_drawn_again(virtual_clock: VirtualClock) -> None:
    """A made id that another job has is drawn again, and nobody notices."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def nothing() -> None: ...

    async with app:
        await nothing.schedule().delay(10, job_id=MADE_IDS[0])
        assert (await nothing.schedule().delay(10)).id == MADE_IDS[1]

"""The log of transitions: exact, complete, and readable afterwards."""

import asyncio

import pytest
import pytest_asyncio

from jobify import Jobify, JobStatus, Transition
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog


async def test_knows_jobs_by_handle_and_id_and_task(app: Jobify, job_transitions: TransitionLog) -> None:
    """`of` and `timeline` take a job, its id, or a task; iteration gives all events in order."""

    @app.task(name="one")
    async def one() -> None: ...

    @app.task(name="two")
    async def two() -> None: ...

    async with app:
        first = await one.schedule().delay(1)
        second = await two.schedule().delay(2)
        third = await one.schedule().delay(3)
        await app.wait_all()

    assert job_transitions.of(first) == job_transitions.of(first.id)
    assert job_transitions.timeline(first.id) == [(0, "scheduled"), (1, "running"), (1, "success")]
    assert [transition.job_id for transition in job_transitions.of(one)] == [
        first.id, third.id, first.id, first.id, third.id, third.id,
    ]  # fmt: skip
    assert len(job_transitions) == 9
    assert [event.job_id for event in job_transitions][3:5] == [first.id, first.id]
    assert second.id in [event.job_id for event in job_transitions]
    assert repr(job_transitions) == "<TransitionLog: 9 events>"


async def test_goes_on_over_restarts_and_tells_nothing_twice(app: Jobify, job_transitions: TransitionLog) -> None:
    """The log of an app is one, however often it starts."""

    @app.task
    async def nothing() -> None: ...

    for _ in range(3):
        async with app:
            await (await nothing.push())
    assert [event.status for event in job_transitions if isinstance(event, Transition)] == [
        JobStatus.SCHEDULED, JobStatus.RUNNING, JobStatus.SUCCESS,
    ] * 3  # fmt: skip


async def test_hears_all_apps_of_the_test_only(job_transitions: TransitionLog) -> None:
    """Several apps are told in one order; what other tests did is not there."""
    assert len(job_transitions) == 0
    apps = [Jobify(storage=MemoryStorage()) for _ in range(2)]
    tasks = [app.task(_nothing, name=f"task {n}") for n, app in enumerate(apps)]
    async with apps[0], apps[1]:
        await tasks[1].schedule().delay(1)
        await tasks[0].schedule().delay(2)
        await asyncio.gather(*(app.wait_all() for app in apps))
    assert [(event.task, event.status) for event in job_transitions if isinstance(event, Transition)] == [
        ("task 1", "scheduled"), ("task 0", "scheduled"),
        ("task 1", "running"), ("task 1", "success"),
        ("task 0", "running"), ("task 0", "success"),
    ]  # fmt: skip


async def _nothing() -> None: ...


@pytest_asyncio.fixture(loop_scope="class", scope="class")
async def late() -> None:
    """Time that passes on a shared loop before the first of its tests begins."""
    await asyncio.sleep(5.3)


@pytest.mark.asyncio(loop_scope="class")
@pytest.mark.usefixtures("late")
class TestWiderLoop:
    """Tests that share one loop."""

    async def test_first(self, job_transitions: TransitionLog) -> None:
        """What has passed on a shared loop before a test is not in its log."""
        assert asyncio.get_running_loop().time() == 5.3
        assert len(job_transitions) == 0

    async def test_second(self, job_transitions: TransitionLog) -> None:
        """A timeline counts from the start of its test, exactly, also where the loop did not start at 0."""
        app = Jobify(storage=MemoryStorage())
        task = app.task(_nothing)
        async with app:
            job = await task.schedule().delay(0.1)
            await job
        assert asyncio.get_running_loop().time() == 5.4
        assert job_transitions.timeline(job) == [(0, "scheduled"), (0.1, "running"), (0.1, "success")]

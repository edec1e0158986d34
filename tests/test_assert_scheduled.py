"""`assert_scheduled`: what a test says of jobs that are yet to come."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobify import Jobify
from jobify.storage import MemoryStorage
from jobify_testing import VirtualClock, assert_scheduled


async def test_finds_a_job_by_what_is_said(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job is found by its task and by each thing that is said of it, and is returned."""

    @app.task
    async def remind(user: str, *, urgent: bool = False) -> None: ...

    @app.task
    async def other() -> None: ...

    async with app:
        await other.schedule().delay(60)
        ada = await remind.schedule("Ada").delay(60)
        bob = await remind.schedule("Bob", urgent=True).delay(120, job_id="bob")
        assert assert_scheduled(app, remind) == ada
        assert assert_scheduled(app, remind, delay=120) == bob
        assert assert_scheduled(app, remind, delay=timedelta(minutes=1)) == ada
        assert assert_scheduled(app, remind, at=datetime(2026, 1, 1, 0, 2, tzinfo=UTC)) == bob
        assert assert_scheduled(app, remind, arguments=["Ada"]) == ada
        assert assert_scheduled(app, remind, arguments={"user": "Ada", "urgent": False}) == ada
        assert assert_scheduled(app, remind, arguments={"user": "Bob", "urgent": True}, job_id="bob") == bob
        await virtual_clock.advance(30)
        assert assert_scheduled(app, remind, delay=30) == ada


async def test_lists_what_is_scheduled_when_it_fails(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Its failure says what was looked for, and what there is instead."""

    @app.task(name="remind")
    async def remind(user: str) -> None: ...

    with pytest.raises(
        AssertionError, match="scheduled with any terms; scheduled are:\n  nothing: the app is not running"
    ):
        assert_scheduled(app, remind)
    async with app:
        await remind.schedule("Ada").delay(3600, job_id="it")
        with pytest.raises(AssertionError) as caught:
            assert_scheduled(app, remind, delay=60, arguments=["Bob"])
        assert "no job of 'remind' is scheduled with delay=60, arguments=['Bob']" in str(caught.value)
        assert "2026-01-01T01:00:00+00:00 (in 1h)  remind(user='Ada')  id 'it'" in str(caught.value)
        with pytest.raises(TypeError, match="either at= or delay="):
            assert_scheduled(app, remind, delay=1, at=virtual_clock.now())


async def test_knows_restored_jobs(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Jobs of an earlier start are found by their arguments, too."""

    @app.task
    async def remind(user: str) -> None: ...

    async with app:
        await remind.schedule("Ada").delay(3600)
    async with app:
        job = assert_scheduled(app, remind, delay=3600, arguments=["Ada"])
        assert job.arguments == {"user": "Ada"}
        assert not job.recurring


async def test_refuses_what_no_job_can_be(app: Jobify) -> None:
    """What cannot be true of any job is an error of the test, with the reason, and not a job that is missing."""

    @app.task(name="remind")
    async def remind(user: str) -> None: ...

    async with app:
        await remind.schedule("Ada").delay(60)
        with pytest.raises(TypeError, match=r"'remind' to be called with \[\]: missing a required argument: 'user'"):
            assert_scheduled(app, remind, arguments=[])
        with pytest.raises(TypeError, match=r"called with \{'name': 'Ada'\}: "):
            assert_scheduled(app, remind, arguments={"name": "Ada"})
        with pytest.raises(TypeError, match="called with 'Ada': give a sequence, or a mapping by name"):
            assert_scheduled(app, remind, arguments="Ada")
        with pytest.raises(ValueError, match=r"at datetime\.datetime\(2026, 1, 1, 0, 1\): give an aware datetime"):
            assert_scheduled(app, remind, at=datetime(2026, 1, 1, 0, 1))  # noqa: DTZ001  # wrong on purpose
        with pytest.raises(ValueError, match="a delay of nan s"):
            assert_scheduled(app, remind, delay=float("nan"))


async def test_instants_are_equal_in_every_zone(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A time may be given in any zone, also one of an hour that comes twice; it is exact to the microsecond."""

    @app.task
    async def remind() -> None: ...

    berlin = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=berlin) for fold in (0, 1))
    async with app:
        jobs = [await remind.schedule().at(moment) for moment in (first, second)]
        assert [assert_scheduled(app, remind, at=moment) for moment in (first, second)] == jobs
        assert assert_scheduled(app, remind, at=datetime(2026, 10, 25, 1, 30, tzinfo=UTC)) == jobs[1]
        odd = await remind.schedule().delay(3909.101012705)
        assert assert_scheduled(app, remind, delay=3909.101012705) == odd
        with pytest.raises(AssertionError, match=r"\(in 1h 5m 9\.101012s\)"):
            assert_scheduled(app, remind, delay=3909.101013)


async def test_looks_at_the_app_that_it_is_given(virtual_clock: VirtualClock) -> None:
    """Jobs of another app, and those of a time when the app ran, are not scheduled in it."""
    one, other = Jobify(storage=MemoryStorage()), Jobify(storage=MemoryStorage())
    remind = one.task(_remind, name="remind")
    with pytest.raises(AssertionError, match=r"scheduled are:\n  nothing: the app is not running$"):
        assert_scheduled(one, remind)
    async with one, other:
        job = await remind.schedule().delay(60)
        assert assert_scheduled(one, remind) == job
        with pytest.raises(AssertionError, match=r"scheduled are:\n  nothing$"):
            assert_scheduled(other, remind)
        await job.cancel()
        with pytest.raises(AssertionError, match=r"scheduled are:\n  nothing$"):
            assert_scheduled(one, remind)


async def _remind() -> None: ...


async def test_what_is_no_task_is_refused(app: Jobify, virtual_clock: VirtualClock) -> None:
    """The name of a task, or its function, is none: the error says what to give."""

    async def remind() -> None: ...

    app.task(name="remind")(remind)
    wrong: Any
    async with app:
        for wrong in ("remind", remind, None):
            with pytest.raises(
                TypeError, match=r"cannot look for jobs of .*: give the task itself, which is what @app\.task"
            ):
                assert_scheduled(app, wrong)

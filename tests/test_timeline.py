"""The timeline text: one notation for what is expected and for what has happened."""

import asyncio
from typing import Any

import pytest

from jobify import Jobify, JobStatus, Retry
from jobify_testing import Timeline, TransitionLog, VirtualClock


async def test_tells_the_life_of_a_job(app: Jobify, job_transitions: TransitionLog) -> None:
    """Each event is a line: its exact instant, and what happened."""

    @app.task(retry=Retry(1, delay=0.5, jitter=False))
    async def fetch() -> None:
        await asyncio.sleep(5400)
        if (await app.get_job("it") or job).attempt == 1:
            raise ConnectionError

    async with app:
        job = await fetch.schedule().delay(90_061, job_id="it")
        await job.wait()
    assert (
        job_transitions.text(job)
        == """
        0s               scheduled for 1d 1h 1m 1s
        1d 1h 1m 1s      running
        1d 2h 31m 1s     scheduled for 1d 2h 31m 1.5s (retry after ConnectionError)
        1d 2h 31m 1.5s   running, attempt 2
        1d 4h 1m 1.5s    success
        """
    )


async def test_tells_a_whole_app(app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """Without a subject all jobs are told, each by its task and its number among the jobs of that."""

    @app.task(timeout=10)
    async def work(seconds: float) -> None:
        await asyncio.sleep(seconds)
        raise ValueError

    async with app:
        await work.schedule(5).delay(60)
        await work.schedule(15).delay(60)
        third = await work.schedule(1).delay(90)
        await virtual_clock.advance(80)
        await third.cancel()
        assert (
            job_transitions.text()
            == """
            0s      work#1  scheduled for 1m
            0s      work#2  scheduled for 1m
            0s      work#3  scheduled for 1m 30s
            1m      work#1  running
            1m      work#2  running
            1m 5s   work#1  failed with ValueError
            1m 10s  work#2  timeout
            1m 20s  work#3  cancelled
            """
        )
        assert job_transitions.text(work) == job_transitions.text()


async def test_tells_what_was_late_and_what_did_not_happen(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A start that is late says by how much; times without a run are told, too."""

    @app.task
    async def work() -> None:
        await asyncio.sleep(130)

    async with app:
        job = await work.schedule().every(60, job_id="beat")
        virtual_clock.block(70)
        await job.wait()
        assert (
            job_transitions.text(job)
            == """
            0s       scheduled for 1m
            1m 10s   running, 10s late
            3m 20s   success
            3m 20s   skipped 2 from 2m to 3m (overlap)
            3m 20s   scheduled for 4m
            """
        )
    (running, *_) = job_transitions.filter(job, status="running")
    assert getattr(running, "lateness").total_seconds() == 10  # noqa: B009  # of either kind of event


def test_texts_are_equal_if_their_lines_are() -> None:
    """Indentation, spacing and empty lines do not count; words and their order do."""
    text = Timeline("0s  scheduled for 1h\n1h  running")
    assert text == "\n   0s scheduled   for 1h\n\n   1h running\n"
    assert text == "0s scheduled for 1h\n1h running"
    assert text != "0s scheduled for 1h"
    assert text != "1h running\n0s scheduled for 1h"
    assert hash(text) == hash(Timeline("  0s scheduled for 1h\n1h running"))
    assert text != 5


async def test_filters(app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """Events are found by job, task, status, reason and time."""

    @app.task
    async def work() -> None: ...

    async with app:
        first = await work.schedule().delay(10)
        second = await work.schedule().delay(20)
        await second.cancel()
        await virtual_clock.advance(30)
    everything = list(job_transitions)
    assert job_transitions.filter() == job_transitions.filter(work) == everything
    assert [event.job_id for event in job_transitions.filter(reason="cancelled")] == [second.id]
    assert job_transitions.filter(first, status="running") == [everything[3]]
    assert job_transitions.filter(since=10) == everything[3:]
    assert job_transitions.filter(until=9) == everything[:3]


async def test_an_unknown_id_is_an_error(app: Jobify, virtual_clock: VirtualClock) -> None:
    """An id that no job has had is a typing error, and not an empty timeline; the error names those there are."""

    @app.task(name="greet")
    async def greet() -> None: ...

    log = TransitionLog()
    with pytest.raises(
        LookupError, match=r"'invoice' is known: give the id of a job, .*\nknown ids: none\nof the tasks: none"
    ):
        log.of("invoice")
    async with app:
        await greet.schedule().delay(60, job_id="invoice")
        for number in range(9):
            await greet.schedule().delay(60, job_id=f"n{number}")
        log.listen(app)
        assert log.of("invoice") == log.filter("invoice") == []  # it is known, and nothing has happened to it
        assert log.text("invoice") == ""
        await virtual_clock.advance(60)
        for look in (log.of, log.filter, log.timeline, log.text):
            with pytest.raises(LookupError) as caught:
                look("invoce")
            assert str(caught.value).splitlines() == [
                "no job of the id 'invoce' is known: did you mean 'invoice'?",
                "known ids: 'invoice', 'n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6', and 2 more",
                "of the tasks: 'greet'",
            ]
        with pytest.raises(LookupError, match="'greet' is known: that is the name of a task: give the task itself"):
            log.of("greet")
    log.close()


async def test_unknown_subjects(app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """Of a task that has no jobs nothing is told; an id that no job has, and what cannot be, are refused."""

    @app.task
    async def work() -> None: ...

    @app.task
    async def other() -> None: ...

    async with app:
        job = await work.push()
        seen = [event.job_id for event in job_transitions]
        for event in job_transitions:  # what happens meanwhile is not gone through
            seen.append(event.job_id)
            await virtual_clock.settle()
    assert seen == [job.id] * 2
    assert job_transitions.filter(other) == job_transitions.of(other) == []
    assert job_transitions.timeline(other) == []
    assert job_transitions.text(other) == ""
    assert len(job_transitions.filter(work, status=JobStatus.SUCCESS)) == 1
    with pytest.raises(ValueError, match="'succes' is not a valid JobStatus"):
        job_transitions.filter(status="succes")
    wrong: Any = 5
    for look in (job_transitions.filter, job_transitions.of, job_transitions.timeline, job_transitions.text):
        with pytest.raises(TypeError, match="transitions of 5: give a job, a task, or the id"):
            look(wrong)

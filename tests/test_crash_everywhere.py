"""A crash at every step of a program: what was accepted runs, and nothing runs twice that the history cannot explain.

The programs are small, and each is run again for each of its steps.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from functools import partial

import pytest

from jobify import Cron, Every, Overlap
from jobify.storage import MemoryStorage, SQLiteStorage
from jobify_testing import run
from tests.crashes import MortalStorage, Program, Script, at


async def one_time(program: Program) -> None:
    """Jobs that run once: at once, with a retry, in a thread, at the same instant."""
    work = program.work.schedule
    await program.accept("pushed", work("pushed").delay(0))
    await program.accept("fails", work("fails", fails=True).delay(1))
    await program.accept("in a thread", program.in_a_thread.schedule("in a thread").at(at(2)))

    async def order(name: str) -> None:
        await program.accept(name, work(name).delay(2))

    await asyncio.gather(order("first"), order("second"))


async def recurring(program: Program) -> None:
    """Jobs that recur, one of which makes up for what a crash has cut short."""
    cron = Cron("*/2 * * * * *", end_date=at(4))
    await program.accept("cron", program.work.schedule("cron").cron(cron, job_id="cron"), 2, 4)
    await program.accept("again", program.again.schedule("again").cron(cron, job_id="again"), 2, 4)
    await program.accept("every", program.work.schedule("every").every(Every(1.5, max_runs=2), job_id="every"), 1.5, 3)


async def overlapping(program: Program) -> None:
    """Jobs whose runs are longer than the time to the next."""
    for name, overlap in (
        ("beside", Overlap.ALLOW),
        ("other", Overlap.CANCEL_OTHER),
        ("later", Overlap.BUFFER_ALL),
    ):
        cron = Cron("*/2 * * * * *", end_date=at(4), overlap=overlap)
        await program.accept(name, program.work.schedule(name, 3).cron(cron, job_id=name), 2, 4)


async def by_hand(program: Program) -> None:
    """Jobs that people replace, cancel, pause, reschedule and trigger."""
    work = program.work.schedule
    await program.accept("old", work("old").delay(3, job_id="id"))
    cancelled = await program.accept("cancelled", work("cancelled").delay(3))
    paused = await program.accept("paused", work("paused").delay(1, job_id="paused"))
    moved = await program.accept("moved", work("moved").delay(100))
    cron = await work("cron").cron(Cron("*/4 * * * * *", end_date=at(8)), job_id="cron")
    await program.pause(paused)
    await program.call_off("old", program.accept("new", work("new").delay(2, job_id="id", replace=True)))
    await program.call_off("cancelled", cancelled.cancel())
    await moved.reschedule(delay=1)
    await program.accept("cron", cron.trigger())
    await asyncio.sleep(2)
    await program.resume(paused)
    await cron.reschedule(Cron("*/3 * * * * *", end_date=at(9)))


async def a_little_of_all(program: Program) -> None:
    """A job with a retry, one that is replaced, and one that recurs."""
    work = program.work.schedule
    await program.accept("fails", work("fails", fails=True).delay(1))
    await program.accept("old", work("old").delay(3, job_id="id"))
    cron = Cron("*/2 * * * * *", end_date=at(2))
    await program.accept("cron", work("cron").cron(cron, job_id="cron"), 2)
    await program.call_off("old", program.accept("new", work("new").delay(2, job_id="id", replace=True)))


SCRIPTS = [one_time, recurring, overlapping, by_hand]


def problems_of(make: Callable[[], object], script: Script, *strikes: int) -> list[str] | None:
    """Return which promises a program breaks that dies at these steps of its lives; None if it ended before the last.

    One life more follows, in which nothing happens to it.
    """

    async def main() -> list[str] | None:
        program = Program(make())
        for life, strike in enumerate(strikes):
            if not await program.live(script if not life else None, strike):
                return program.problems or None
        await program.live(None, 0)
        return program.problems

    return run(main())


@pytest.mark.parametrize(
    ("make", "script"),
    [
        *((make, script) for make in (MemoryStorage, MortalStorage) for script in SCRIPTS),
        (partial(SQLiteStorage, "jobs.db"), a_little_of_all),  # a start with a file takes its time
    ],
    ids=lambda part: getattr(part, "__name__", "SQLiteStorage"),
)
def test_a_crash_at_any_step_breaks_no_promise(
    make: Callable[[], object], script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind each step of the loop, before and behind each verb: no job is lost, called back, or run unexplained."""
    broken, step = dict[int, list[str]](), 0
    for step in itertools.count(1):
        problems = problems_of(make, script, step)
        if problems is None:
            break
        if problems:
            broken[step] = problems
    assert broken == {}
    assert step > 25  # a script that ends at once has nothing to crash
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_a_second_crash_breaks_no_promise_either(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """Also if the next life dies, at its start or later: at each step another one."""
    broken = dict[tuple[int, int], list[str]]()
    for step in itertools.count(1):
        second = 1 + 5 * step % 23
        problems = problems_of(MortalStorage, script, step, second)
        if problems is None and problems_of(MortalStorage, script, step) is None:
            break
        if problems:
            broken[step, second] = problems
    assert broken == {}
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []

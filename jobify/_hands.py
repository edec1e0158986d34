"""What all that a person does to a job has in common: it waits, it writes, and only then the job changes."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from jobify._clock import to_nanoseconds
from jobify._entry import Due, Entry, Order
from jobify._job import state_of
from jobify._life import refuse_the_dead
from jobify._nominal import Nominal
from jobify._run import JobStatus
from jobify._scheduler import Scheduler
from jobify._spec import TaskSpec
from jobify._state import JobState
from jobify.exceptions import ApplicationStateError
from jobify.storage import StoredJob, StoredRun


class Hands:
    """What all that can be done to a job has in common."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.tz = scheduler.settings.tz

    def check_loop(self, what: str) -> None:
        """See to it that the running event loop is that of the app.

        Raises:
            ApplicationStateError: it is not, or who asks belongs to a start of an app that was abandoned.
        """
        refuse_the_dead(what)
        if asyncio.get_running_loop() is not self.scheduler.loop:
            msg = (
                f"cannot {what}: its app runs on another event loop; do it there, "
                "from a thread by asyncio.run_coroutine_threadsafe"
            )
            raise ApplicationStateError(msg)

    def due_in(self, state: JobState) -> timedelta:
        """See `Job.due_in`."""
        entry, clock = entry_of(state), self.scheduler.clock
        if entry.wall:
            return entry.exec_at - clock.now()
        return timedelta(microseconds=(entry.due - to_nanoseconds(clock.monotonic())) // 1000)

    async def still(self, state: JobState) -> Entry | None:
        """Return a job when nothing is being written of it; None if it has no future.

        Raises:
            ApplicationStateError: it is not of this start of the app any more.
        """
        entry = entry_of(state)
        await self.reach(entry)
        await self.scheduler.keeper.others(entry.id, entry)
        await self.scheduler.transactions.reach(entry)
        if entry.left is not None:
            raise ApplicationStateError(entry.left)
        if entry.elsewhere and not entry.done:
            msg = f"cannot change job {entry.id!r} here: another process holds it, and only cancel() reaches that"
            raise ApplicationStateError(msg)
        return None if entry.done or entry.given_up else entry

    async def reach(self, entry: Entry) -> None:
        """Claim a job that is followed, if no other process holds it: it waits in the storage."""
        if entry.elsewhere and not entry.done:
            await self.scheduler.window.fetch(entry.id)

    async def change(self, entry: Entry, step: Coroutine[Any, Any, bool]) -> bool:
        return await self.scheduler.keeper.whole(self._changed(entry, step), stored=bool(entry.row), about=entry.id)

    async def _changed(self, entry: Entry, step: Coroutine[Any, Any, bool]) -> bool:
        """Carry out a change, and let the job wait again, whatever became of it."""
        try:
            return await step
        finally:
            if entry.run_task is None and entry.status is JobStatus.SCHEDULED and not entry.done and entry.left is None:
                self.scheduler.runner.wait(entry)

    async def amend(self, entry: Entry, row: StoredJob, runs: Sequence[StoredRun] = ()) -> None:
        if entry.row:
            await self.scheduler.keeper.ask(self.scheduler.storage.amend, row, runs=runs)

    def spec_of(self, entry: Entry) -> TaskSpec:
        if entry.spec is None:
            msg = f"cannot call the task of job {entry.id!r}: {entry.task!r} is not registered"
            raise ApplicationStateError(msg)
        return entry.spec

    async def add(self, entry: Entry, order: Order) -> JobState:
        entry.unpack()
        return state_of(await self.scheduler.add(order._replace(args=entry.args, kwargs=entry.kwargs)))


def entry_of(state: JobState) -> Entry:
    """Return what the scheduler knows of a job."""
    assert isinstance(state, Entry)  # noqa: S101  # the scheduler makes no other
    return state


def row_at(row: StoredJob, due: Due, time: Nominal) -> StoredJob:
    """Return the row of a job that is due then, for that time."""
    return replace(row, exec_at=due.exec_at, scheduled_for=time.moment, delay=due.delay, covered=None, until=None)

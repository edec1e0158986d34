"""What a person does to a job: cancel, pause, resume, trigger, reschedule, backfill.

Off the path of an ordinary job. Each of these waits for what is being written of the job, then does its own write,
and only then lets the job change.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from jobify._aftermath import coming
from jobify._clock import to_nanoseconds
from jobify._entry import Due, Entry, Next, Order, due_at, due_in
from jobify._job import state_of
from jobify._life import refuse_the_dead
from jobify._nominal import Nominal, Passed
from jobify._policies import MisfirePolicy, Overlap
from jobify._records import first_of, times_now, to_row
from jobify._recurrence import Every, Recurrence
from jobify._run import JobStatus
from jobify._scheduler import Scheduler
from jobify._spec import TaskSpec
from jobify._state import JobState
from jobify._triggers import Trigger, storable, trigger_to_text
from jobify._zones import check_calendar
from jobify.exceptions import ApplicationStateError, InvalidScheduleError
from jobify.storage import StoredJob, StoredRun

_TICK = timedelta(microseconds=1)


class Control:
    """What a job can ask of its scheduler: the `Owner` of all its jobs."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._tz = scheduler.settings.tz

    def check_loop(self, what: str) -> None:
        """See to it that the running event loop is that of the app.

        Raises:
            ApplicationStateError: it is not, or who asks belongs to a start of an app that was abandoned.
        """
        refuse_the_dead(what)
        if asyncio.get_running_loop() is not self._scheduler.loop:
            msg = (
                f"cannot {what}: its app runs on another event loop; do it there, "
                "from a thread by asyncio.run_coroutine_threadsafe"
            )
            raise ApplicationStateError(msg)

    def due_in(self, state: JobState) -> timedelta:
        """See `Job.due_in`."""
        entry, clock = _entry(state), self._scheduler.clock
        if entry.wall:
            return entry.exec_at - clock.now()
        return timedelta(microseconds=(entry.due - to_nanoseconds(clock.monotonic())) // 1000)

    async def cancel(self, state: JobState) -> bool:
        """See `Job.cancel`."""
        entry = _entry(state)
        keeper = self._scheduler.keeper
        await keeper.others(entry.id)
        if entry.left is not None:
            raise ApplicationStateError(entry.left)
        if entry.done or entry.given_up or (entry.status is JobStatus.RUNNING and not entry.recurring):
            return False
        self._scheduler.runner.stand_down(entry, "cancelled")
        return await keeper.whole(self._call_off(entry), stored=bool(entry.row), about=entry.id)

    async def _call_off(self, entry: Entry) -> bool:
        scheduler = self._scheduler
        try:
            if entry.row:
                runs = scheduler.chronicle.called_off(entry, "cancelled")
                await scheduler.keeper.ask(scheduler.storage.remove, entry.row, runs=runs)
        except BaseException:
            scheduler.runner.stand_up(entry)
            raise
        if entry.status is JobStatus.SCHEDULED:
            scheduler.ledger.end(entry, JobStatus.CANCELLED, reason="cancelled")
        else:
            scheduler.ledger.forget(entry)
        return True

    # Pause and resume

    async def pause(self, state: JobState) -> bool:
        """See `Job.pause`."""
        entry = await self._still(state)
        if entry is None or entry.paused:
            return False
        return await self._change(entry, self._pause(entry))

    async def _pause(self, entry: Entry) -> bool:
        self._scheduler.runner.step_aside(entry)
        await self._amend(entry, replace(to_row(entry), paused=True))
        entry.paused = True
        entry.release_impatient()
        self._scheduler.ledger.moved(entry, reason="paused")
        return True

    async def resume(self, state: JobState) -> bool:
        """See `Job.resume`."""
        entry = await self._still(state)
        if entry is None or entry.kept_back is None:
            return False
        if entry.held is not None and not entry.interruptions:
            msg = f"cannot resume job {entry.id!r}: {entry.held}"
            raise ApplicationStateError(msg)
        return await self._change(entry, self._resume(entry))

    async def _resume(self, entry: Entry) -> bool:
        scheduler = self._scheduler
        step, passed = self._next_after_pause(entry)
        row = replace(to_row(entry), paused=False, interruptions=0)
        if step is not None:
            row = _row_at(row, step.due, step.time)
        await self._amend(entry, row, scheduler.chronicle.skipped(entry, passed, "paused"))
        entry.paused = False
        entry.held = None
        entry.interruptions = 0
        scheduler.ledger.skip(entry, passed, reason="paused")
        if passed is not None and step is None:
            scheduler.ledger.end(entry, JobStatus.CANCELLED, reason="paused")
            return True
        if step is not None:
            entry.go_to(step)
        scheduler.ledger.moved(entry, reason="resumed")
        return True

    def _next_after_pause(self, entry: Entry) -> tuple[Next | None, Passed | None]:
        """Return where a job goes on whose times have passed; None and None if it goes on where it stands."""
        scheduler = self._scheduler
        times = times_now(entry, scheduler.clock, self._tz)
        is_idle = entry.status is JobStatus.SCHEDULED and not entry.attempt and entry.run_task is None
        if entry.trigger is None or times is None or not is_idle or times.age(entry.here) < 0:
            return None, None
        if entry.until is not None:  # each time up to that has a run, however late
            entry.judged = True
            return None, None
        later = times.passed(entry.reached)
        passed = Passed(entry.here, later.last if later else entry.here, later.count + 1 if later else 1)
        return coming(entry, entry.trigger, entry.reached, times, scheduler.random, self._tz), passed

    # Trigger, reschedule, backfill

    async def trigger(self, state: JobState, job_id: str | None) -> JobState:
        """See `Job.trigger`."""
        entry = await self._still(state)
        if entry is None:
            msg = f"cannot trigger job {state.id!r}: it has finished; schedule another"
            raise InvalidScheduleError(msg)
        if entry.trigger is not None:
            return await self._add(entry, Order(spec=self._spec(entry), job_id=job_id, parent=entry.id))
        reason = entry.kept_back or ("it runs already" if entry.run_task is not None else None)
        if job_id is not None:
            reason = "a one-time job starts itself, and no other with a job_id"
        now = due_in(0.0, self._scheduler.clock)
        if reason is None and not await self._change(entry, self._move(entry, now, "triggered")):
            reason = "it runs already"
        if reason is not None:
            msg = f"cannot trigger job {entry.id!r}: {reason}"
            raise InvalidScheduleError(msg)
        return entry

    async def reschedule(self, state: JobState, when: float | datetime | Recurrence) -> bool:
        """See `Job.reschedule`."""
        entry = await self._still(state)
        if entry is None:
            return False
        clock = self._scheduler.clock
        is_recurrence = isinstance(when, Recurrence)
        if entry.recurring is not is_recurrence:
            kind, remedy = ("recurring", "a recurrence") if entry.recurring else ("one-time", "delay= or at=")
            msg = f"cannot reschedule job {entry.id!r} so: it is a {kind} job; give {remedy}"
            raise InvalidScheduleError(msg)
        try:
            if isinstance(when, Recurrence):
                self._spec(entry).check_overlap(when)
                return await self._change(entry, self._recur(entry, storable(when)))
            due = due_at(when) if isinstance(when, datetime) else due_in(when, clock)
            check_calendar(due.exec_at, self._tz)
        except OverflowError:
            msg = f"cannot reschedule job {entry.id!r}: that is not within the years 1 to 9999 of its zone"
            raise InvalidScheduleError(msg) from None
        return await self._change(entry, self._move(entry, due, "rescheduled"))

    async def _move(self, entry: Entry, due: Due, reason: str) -> bool:
        """Let a one-time job be due at another time; return whether it still waits for one."""
        scheduler = self._scheduler
        if not scheduler.runner.step_aside(entry):
            return False
        time = Nominal(due.exec_at, due.nanoseconds) if not entry.attempt else entry.here
        await self._amend(entry, _row_at(to_row(entry), due, time))
        entry.wait_until(due)
        entry.here = time
        entry.judged = False
        scheduler.ledger.moved(entry, reason=reason)
        return True

    async def _recur(self, entry: Entry, trigger: Trigger) -> bool:
        """Let a job follow another recurrence; a run in progress, and its backoff, go on."""
        scheduler = self._scheduler
        trigger = trigger.in_zone(self._tz).bound_to(entry.id)
        step = first_of(trigger, scheduler.clock, scheduler.random, self._tz)
        check_calendar(step.due.exec_at, self._tz)
        row = replace(to_row(entry), trigger=trigger_to_text(trigger), covered=None, until=None)
        if scheduler.runner.step_aside(entry) and not entry.attempt:
            await self._amend(entry, _row_at(row, step.due, step.time))
            entry.follow(trigger)
            entry.go_to(step)
        else:  # the times that pass until the end of the run are those of the new recurrence
            now = due_in(0.0, scheduler.clock) if isinstance(trigger, Every) else due_at(scheduler.clock.now())
            await self._amend(entry, replace(row, covered=now.exec_at))
            entry.follow(trigger)
            scheduler.runner.forget_watch(entry)
            entry.here = Nominal(entry.scheduled_for, now.nanoseconds - 1)
            entry.covered = Nominal(now.exec_at, now.nanoseconds)
            entry.until = None
        scheduler.ledger.moved(entry, reason="rescheduled")
        return True

    async def backfill(
        self, state: JobState, start: datetime, end: datetime, job_id: str | None, most: int
    ) -> JobState:
        """See `Job.backfill`."""
        entry = await self._still(state)
        if entry is None or entry.trigger is None:
            msg = f"cannot backfill job {state.id!r}: it has finished, or is a one-time job"
            raise InvalidScheduleError(msg)
        trigger = self._period(entry, entry.trigger, start, end, most)
        if job_id is None:
            job_id = f"{entry.id}@{start:%Y-%m-%dT%H:%M:%SZ}..{end:%Y-%m-%dT%H:%M:%SZ}"
        return await self._add(
            entry,
            Order(spec=self._spec(entry), job_id=job_id, parent=_root(entry), trigger=trigger, since=start - _TICK),
        )

    def _period(self, entry: Entry, trigger: Trigger, start: datetime, end: datetime, most: int) -> Trigger:
        """Return the recurrence that has the times of a period, and no others."""
        if end < start or end > self._scheduler.clock.now():
            msg = f"cannot backfill job {entry.id!r} from {start} to {end}: give a period that has passed"
            raise InvalidScheduleError(msg)
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot backfill {most!r} times: the limit is a whole number from 1"
            raise InvalidScheduleError(msg)
        changes: dict[str, Any] = {"start_date": start, "end_date": end}
        if isinstance(trigger, Every):  # its phase is that of the job
            behind = (entry.scheduled_for - start) // trigger.interval
            changes["start_date"] = entry.scheduled_for - behind * trigger.interval
        elif trigger.start_date is not None:
            changes["start_date"] = max(start, trigger.start_date)
        if trigger.end_date is not None:
            changes["end_date"] = min(end, trigger.end_date)
        period = trigger._but(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # checked already
            **changes, max_runs=None, misfire_policy=MisfirePolicy.ALL.up_to(most), overlap=Overlap.SKIP, jitter=0.0
        )
        count = period.count(after=start - _TICK, until=end, tz=self._tz)
        if not 0 < count <= most:
            problem = f"has {count} times, and the limit is {most}" if count else "has no time"
            msg = f"cannot backfill job {entry.id!r}: the period from {start} to {end} {problem}"
            raise InvalidScheduleError(msg)
        return period

    # What all of them share

    async def _still(self, state: JobState) -> Entry | None:
        """Return a job when nothing is being written of it; None if it has no future.

        Raises:
            ApplicationStateError: it is not of this start of the app any more.
        """
        entry = _entry(state)
        await self._scheduler.keeper.others(entry.id, entry)
        if entry.left is not None:
            raise ApplicationStateError(entry.left)
        return None if entry.done or entry.given_up else entry

    async def _change(self, entry: Entry, step: Coroutine[Any, Any, bool]) -> bool:
        return await self._scheduler.keeper.whole(self._changed(entry, step), stored=bool(entry.row), about=entry.id)

    async def _changed(self, entry: Entry, step: Coroutine[Any, Any, bool]) -> bool:
        """Carry out a change, and let the job wait again, whatever became of it."""
        try:
            return await step
        finally:
            if entry.run_task is None and entry.status is JobStatus.SCHEDULED and not entry.done and entry.left is None:
                self._scheduler.runner.wait(entry)

    async def _amend(self, entry: Entry, row: StoredJob, runs: Sequence[StoredRun] = ()) -> None:
        if entry.row:
            await self._scheduler.keeper.ask(self._scheduler.storage.amend, row, runs=runs)

    def _spec(self, entry: Entry) -> TaskSpec:
        if entry.spec is None:
            msg = f"cannot call the task of job {entry.id!r}: {entry.task!r} is not registered"
            raise ApplicationStateError(msg)
        return entry.spec

    async def _add(self, entry: Entry, order: Order) -> JobState:
        entry.unpack()
        return state_of(await self._scheduler.add(replace(order, args=entry.args, kwargs=entry.kwargs)))


def _entry(state: JobState) -> Entry:
    assert isinstance(state, Entry)  # noqa: S101  # the scheduler makes no other
    return state


def _root(entry: Entry) -> str:
    """Return the id by which the `H` of its recurrence is drawn."""
    return entry.parent if entry.parent is not None else entry.id


def _row_at(row: StoredJob, due: Due, time: Nominal) -> StoredJob:
    return replace(row, exec_at=due.exec_at, scheduled_for=time.moment, delay=due.delay, covered=None, until=None)

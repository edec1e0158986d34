"""What moves a job in time by hand: trigger, reschedule, backfill."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from jobify._aftermath import passed_until_now
from jobify._entry import Due, Entry, Order, due_at, due_in
from jobify._hands import Hands, row_at
from jobify._misfire import waiting
from jobify._nominal import Nominal, Passed
from jobify._policies import MisfirePolicy, Overlap
from jobify._records import first_of, times_now, to_row
from jobify._recurrence import Every, Recurrence
from jobify._state import JobState
from jobify._triggers import Trigger, storable, trigger_to_text
from jobify._zones import check_calendar
from jobify.exceptions import InvalidScheduleError

_TICK = timedelta(microseconds=1)


class Rescheduling(Hands):
    """Starts a job now, lets it be due at another time, or lets it make up for a period."""

    async def trigger(self, state: JobState, job_id: str | None) -> JobState:
        """See `Job.trigger`."""
        entry = await self.still(state)
        if entry is None:
            msg = f"cannot trigger job {state.id!r}: it has finished; schedule another"
            raise InvalidScheduleError(msg)
        if entry.trigger is not None:
            return await self.add(entry, Order(spec=self.spec_of(entry), job_id=job_id, parent=entry.id))
        reason = entry.kept_back or ("it runs already" if entry.run_task is not None else None)
        if job_id is not None:
            reason = "a one-time job starts itself, and no other with a job_id"
        now = due_in(0.0, self.scheduler.clock)
        if reason is None and not await self.change(entry, self._move(entry, now, "triggered")):
            reason = "it runs already"
        if reason is not None:
            msg = f"cannot trigger job {entry.id!r}: {reason}"
            raise InvalidScheduleError(msg)
        return entry

    async def reschedule(self, state: JobState, when: float | datetime | Recurrence) -> bool:
        """See `Job.reschedule`."""
        entry = await self.still(state)
        if entry is None:
            return False
        clock = self.scheduler.clock
        is_recurrence = isinstance(when, Recurrence)
        if entry.recurring is not is_recurrence:
            kind, remedy = ("recurring", "a recurrence") if entry.recurring else ("one-time", "delay= or at=")
            msg = f"cannot reschedule job {entry.id!r} so: it is a {kind} job; give {remedy}"
            raise InvalidScheduleError(msg)
        try:
            if isinstance(when, Recurrence):
                self.spec_of(entry).check_overlap(when)
                return await self.change(entry, self._recur(entry, storable(when)))
            due = due_at(when) if isinstance(when, datetime) else due_in(when, clock)
            check_calendar(due.exec_at, self.tz)
        except OverflowError:
            msg = f"cannot reschedule job {entry.id!r}: that is not within the years 1 to 9999 of its zone"
            raise InvalidScheduleError(msg) from None
        return await self.change(entry, self._move(entry, due, "rescheduled"))

    async def _move(self, entry: Entry, due: Due, reason: str) -> bool:
        """Let a one-time job be due at another time; return whether it still waits for one."""
        scheduler = self.scheduler
        if not scheduler.runner.step_aside(entry):
            return False
        time = Nominal(due.exec_at, due.nanoseconds) if not entry.attempt else entry.here
        await self.amend(entry, row_at(to_row(entry), due, time))
        entry.wait_until(due)
        entry.here = time
        entry.judged = False
        scheduler.ledger.moved(entry, reason=reason)
        return True

    async def _recur(self, entry: Entry, trigger: Trigger) -> bool:
        """Let a job follow another recurrence; a run in progress, and its backoff, go on."""
        scheduler = self.scheduler
        trigger = trigger.in_zone(self.tz).bound_to(entry.id)
        # A wall clock that was set back makes no time due again that has had its run.
        behind = entry.last_run.scheduled_for if entry.follows_wall_clock and entry.last_run is not None else None
        step = first_of(trigger, scheduler.clock, scheduler.random, self.tz, behind=behind)
        check_calendar(step.due.exec_at, self.tz)
        row = replace(to_row(entry), trigger=trigger_to_text(trigger), covered=None, until=None)
        is_idle = scheduler.runner.step_aside(entry) and not entry.attempt
        passed, reason = self._left_behind(entry, is_idle=is_idle)
        runs = scheduler.chronicle.skipped(entry, passed, reason)
        if is_idle:
            await self.amend(entry, row_at(row, step.due, step.time), runs)
            entry.follow(trigger)
            entry.go_to(step)
        else:  # the times that pass until the end of the run are those of the new recurrence
            now = due_in(0.0, scheduler.clock) if isinstance(trigger, Every) else due_at(scheduler.clock.now())
            scheduler.runner.watches.end(entry)
            try:
                await self.amend(entry, replace(row, covered=now.exec_at), runs)
                entry.follow(trigger)
                entry.here = Nominal(entry.scheduled_for, now.nanoseconds - 1)
                entry.covered = Nominal(now.exec_at, now.nanoseconds)
                entry.until = None
            finally:
                scheduler.runner.watches.begin(entry)
        scheduler.ledger.skip(entry, passed, reason=reason)
        scheduler.ledger.moved(entry, reason="rescheduled")
        return True

    def _left_behind(self, entry: Entry, *, is_idle: bool) -> tuple[tuple[Passed, ...], str]:
        """Return the times of the recurrence until now that have passed and will have no run, and why."""
        clock = self.scheduler.clock
        if is_idle and entry.until is None:
            return passed_until_now(entry, clock, self.tz), "paused" if entry.paused else "missed"
        times = times_now(entry, clock, self.tz)
        if times is None:
            return (), "overlap"
        if is_idle:
            return waiting(entry.here, entry.reached, times), "dropped"
        later = times.passed(entry.reached)
        return (later,) if later is not None else (), "overlap" if entry.until is None else "dropped"

    async def backfill(
        self, state: JobState, start: datetime, end: datetime, job_id: str | None, most: int
    ) -> JobState:
        """See `Job.backfill`."""
        entry = await self.still(state)
        if entry is None or entry.trigger is None:
            msg = f"cannot backfill job {state.id!r}: it has finished, or is a one-time job"
            raise InvalidScheduleError(msg)
        trigger = self._period(entry, entry.trigger, start, end, most)
        if job_id is None:
            job_id = f"{entry.id}@{start:%Y-%m-%dT%H:%M:%SZ}..{end:%Y-%m-%dT%H:%M:%SZ}"
        return await self.add(
            entry,
            Order(spec=self.spec_of(entry), job_id=job_id, parent=_root(entry), trigger=trigger, since=start - _TICK),
        )

    def _period(self, entry: Entry, trigger: Trigger, start: datetime, end: datetime, most: int) -> Trigger:
        """Return the recurrence that has the times of a period, and no others."""
        if end < start or end > self.scheduler.clock.now():
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
        period = trigger._but(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            **changes,
            max_runs=None,
            max_failures=None,
            misfire_policy=MisfirePolicy.ALL.up_to(most),
            overlap=Overlap.SKIP,
            jitter=0.0,
        )
        count = period.count(after=start - _TICK, until=end, tz=self.tz)
        if not 0 < count <= most:
            problem = f"has {count} times, and the limit is {most}" if count else "has no time"
            msg = f"cannot backfill job {entry.id!r}: the period from {start} to {end} {problem}"
            raise InvalidScheduleError(msg)
        return period


def _root(entry: Entry) -> str:
    """Return the id by which the `H` of its recurrence is drawn."""
    return entry.parent if entry.parent is not None else entry.id

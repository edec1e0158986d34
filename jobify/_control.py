"""What a person does to a job: cancel, pause, resume, trigger, reschedule, backfill.

Off the path of an ordinary job. Each of these waits for what is being written of the job, then does its own write,
and only then lets the job change.
"""

from dataclasses import replace

from jobify._aftermath import coming, passed_until_now
from jobify._entry import Entry, Next
from jobify._hands import entry_of, row_at
from jobify._nominal import Passed
from jobify._records import times_now, to_row
from jobify._rescheduling import Rescheduling
from jobify._run import JobStatus
from jobify._state import JobState
from jobify.exceptions import ApplicationStateError


class Control(Rescheduling):
    """What a job can ask of its scheduler: the `Owner` of all its jobs."""

    async def cancel(self, state: JobState) -> bool:
        """See `Job.cancel`."""
        entry = entry_of(state)
        keeper = self.scheduler.keeper
        await self.reach(entry)
        await keeper.others(entry.id)
        await self.scheduler.transactions.reach(entry)
        if entry.left is not None:
            raise ApplicationStateError(entry.left)
        if entry.elsewhere and not entry.done:
            return await keeper.whole(self._call_off_elsewhere(entry), stored=True, about=entry.id)
        if entry.done or entry.given_up or (entry.status is JobStatus.RUNNING and not entry.recurring):
            return False
        self.scheduler.runner.stand_down(entry, "cancelled")
        return await keeper.whole(self._call_off(entry), stored=bool(entry.row), about=entry.id)

    async def _call_off(self, entry: Entry) -> bool:
        scheduler = self.scheduler
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

    async def _call_off_elsewhere(self, entry: Entry) -> bool:
        """Cancel a job that another process holds: if it has started there, it is gone on its own or left alone."""
        scheduler = self.scheduler
        runs = scheduler.chronicle.called_off(entry, "cancelled")
        remove = scheduler.storage.remove
        removed = await scheduler.keeper.ask(remove, entry.row, runs=runs, idle_only=not entry.recurring)
        if removed and not entry.elsewhere:  # it was claimed here meanwhile
            scheduler.shared.give_up(entry)
        elif removed and not entry.done:
            entry.settle(JobStatus.CANCELLED)
            entry.finish()
        return removed

    # Pause and resume

    async def pause(self, state: JobState) -> bool:
        """See `Job.pause`."""
        entry = await self.still(state)
        if entry is None or entry.paused:
            return False
        return await self.change(entry, self._pause(entry))

    async def _pause(self, entry: Entry) -> bool:
        self.scheduler.runner.step_aside(entry)
        await self.amend(entry, replace(to_row(entry), paused=True))
        entry.paused = True
        entry.release_impatient()
        self.scheduler.ledger.moved(entry, reason="paused")
        return True

    async def resume(self, state: JobState) -> bool:
        """See `Job.resume`."""
        entry = await self.still(state)
        if entry is None or entry.kept_back is None:
            return False
        is_readable = entry.spec is not None and (entry.trigger is None) is (entry.trigger_text is None)
        if entry.held is not None and not (entry.interruptions and is_readable):
            msg = f"cannot resume job {entry.id!r}: {entry.held}"
            raise ApplicationStateError(msg)
        return await self.change(entry, self._resume(entry))

    async def _resume(self, entry: Entry) -> bool:
        scheduler = self.scheduler
        step, passed = self._next_after_pause(entry)
        runs = scheduler.chronicle.skipped(entry, passed, "paused")
        is_idle = entry.status is JobStatus.SCHEDULED and not entry.attempt and entry.run_task is None
        if passed and step is None and is_idle:
            if entry.row:
                await scheduler.keeper.ask(scheduler.storage.remove, entry.row, runs=runs)
            scheduler.ledger.skip(entry, passed, reason="paused")
            scheduler.ledger.end(entry, JobStatus.CANCELLED, reason="paused")
            return True
        row = replace(to_row(entry), paused=False, interruptions=0)
        if step is not None:
            row = row_at(row, step.due, step.time)
        elif passed:
            row = replace(row, covered=passed[-1].last.moment)
        await self.amend(entry, row, runs)
        entry.paused = False
        entry.held = None
        entry.interruptions = 0
        scheduler.ledger.skip(entry, passed, reason="paused")
        if step is not None:
            entry.go_to(step)
        elif passed:
            entry.covered = passed[-1].last
            scheduler.runner.watches.end(entry)
            scheduler.runner.watches.begin(entry)
        scheduler.ledger.moved(entry, reason="resumed")
        return True

    def _next_after_pause(self, entry: Entry) -> tuple[Next | None, tuple[Passed, ...]]:
        """Return where a job goes on, and its times that have passed; None if it goes on where it stands."""
        scheduler = self.scheduler
        times = times_now(entry, scheduler.clock, self.tz)
        if entry.trigger is None or times is None:
            entry.judged = entry.until is not None  # a run that was cut short is no miss
            return None, ()
        if entry.status is not JobStatus.SCHEDULED or entry.attempt or entry.run_task is not None:
            later = times.passed(entry.reached) if entry.paused and entry.watch is not None else None
            return None, (later,) if later is not None else ()
        if entry.until is not None:  # each time up to that has a run, however late
            entry.judged = True
            return None, ()
        passed = passed_until_now(entry, scheduler.clock, self.tz)
        if not passed:
            return None, ()
        return coming(entry, entry.trigger, entry.reached, times, scheduler.random, self.tz), passed

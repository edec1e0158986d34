"""From the time of a job to its outcome, and to its next time.

The storage commits, then the job moves, then the transition is told: in this order at every step.
How an attempt is made is left to the executor, what follows from its end to `_aftermath`, and how
often a write is repeated to the keeper.
"""

import asyncio
import contextvars
import logging
from collections.abc import Mapping

from jobify._aftermath import Aftermath, aftermath, due_of_retry, ended_run, skipped_by_run
from jobify._agenda import Agenda, Line
from jobify._clock import Clock, Timeout
from jobify._executor import Executor, Outcome, RunTask
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._records import Due, Entry, row_after_run, row_in_backoff
from jobify._run import JobStatus
from jobify._runtime import Runtime
from jobify._settings import Settings
from jobify._spec import TaskSpec
from jobify.exceptions import JobifyError
from jobify.storage import StoredJob

logger = logging.getLogger("jobify")


class Runner:
    """Starts what is due, sees it through, and lets it wait again."""

    def __init__(self, settings: Settings, runtime: Runtime, clock: Clock, keeper: Keeper, ledger: Ledger) -> None:
        self._settings = settings
        self._runtime = runtime
        self._clock = clock
        self._keeper = keeper
        self._ledger = ledger
        self._executor = Executor(clock, runtime.workers)
        self._agenda = Agenda(clock, self._wake)
        self._lines = {mode: Line(slots) for mode, slots in settings.slots.items()}
        self._runs: dict[asyncio.Task[None], Entry] = {}
        # What the program set before the start is seen by every run; what a run sets, by no other.
        self._context = contextvars.copy_context()
        self._closed = False
        self._over = False

    @property
    def runs(self) -> Mapping[asyncio.Task[None], Entry]:
        """The attempts that have a slot."""
        return self._runs

    def wait(self, *entries: Entry) -> None:
        """Let jobs wait for their time, which may be now."""
        self._agenda.add(*(entry for entry in entries if entry.held is None and entry.given_up is None))

    def stand_down(self, entry: Entry, reason: str) -> None:
        """Keep a job from starting, and from any future beyond the run in progress."""
        entry.given_up = reason
        self._agenda.discard(entry)
        for line in self._lines.values():
            line.discard(entry)

    def stand_up(self, entry: Entry) -> None:
        """Take back what `stand_down` did."""
        entry.given_up = None
        if entry.run_task is None and entry.status is JobStatus.SCHEDULED:
            self.wait(entry)

    # From its time to the end of an attempt

    def _wake(self) -> None:
        for due, entry in self._agenda.take_due():
            if entry.spec is not None:
                self._lines[entry.spec.run_mode].join(due, entry)
        for line in self._lines.values():
            self._start(line)

    def _start(self, line: Line) -> None:
        while (entry := line.admit()) is not None:
            run = self._run(entry, line)
            task = RunTask(run, loop=asyncio.get_running_loop(), context=self._context.copy(), name=entry.id)
            entry.run_task = task
            self._runs[task] = entry

    async def _run(self, entry: Entry, line: Line) -> None:
        task, spec = entry.run_task, entry.spec
        assert isinstance(task, RunTask)  # noqa: S101  # made by `_start` alone
        assert spec is not None  # noqa: S101  # a job of an unknown task is held, and never starts
        try:
            if self._can_unpack(entry, spec) and await self._begin(entry):
                outcome = await self._executor.attempt(spec, entry.id, entry.args, entry.kwargs)
                if self._over:
                    return  # too late: the job was put back, and belongs to the next start
                if outcome.error is not None and (entry.cut or task.was_interrupted()):
                    self._interrupt(entry)
                else:
                    await self._keeper.whole(self._conclude(entry, outcome), stored=bool(entry.row))
        except Exception:
            logger.exception("job %r is left as it is: jobify itself failed", entry.id)
        finally:
            del self._runs[task]
            line.leave()
            self._start(line)

    def _can_unpack(self, entry: Entry, spec: TaskSpec) -> bool:
        """Read the arguments of a restored job; hold it, and keep its row, if they do not fit its task."""
        if entry.packed:
            try:
                entry.args, entry.kwargs = spec.codec.unpack(entry.arguments)
            except JobifyError as error:
                entry.run_task = None
                entry.held = str(error)
                logger.error("job %r is held: %s", entry.id, error)  # noqa: TRY400  # the user's data, not our trace
                return False
            entry.packed = False
        return True

    async def _begin(self, entry: Entry) -> bool:
        """Write that an attempt starts; return whether it still may."""
        if (pause := self._runtime.before_start(entry.handle())) is not None:
            await pause
        started_at = entry.started_at or self._clock.now()
        if (number := entry.row) and not entry.given_up:
            self._ledger.unfinished[number] = entry
            attempt = entry.attempt + 1
            await self._keeper.insist(
                lambda: self._keeper.storage.start(number, attempt=attempt, started_at=started_at)
            )
        if entry.given_up or self._closed:
            entry.run_task = None
            return False
        entry.attempt += 1
        entry.started_at = started_at
        self._ledger.move(entry, JobStatus.RUNNING)
        return True

    def _interrupt(self, entry: Entry) -> None:
        """Take note that a cancellation from outside the job has cut its attempt short."""
        reason = "stopped" if entry.cut else "interrupted"
        if not entry.row:
            self._ledger.end(entry, JobStatus.CANCELLED, reason=reason)
            return
        self._ledger.move(entry, JobStatus.SCHEDULED, reason=reason)
        entry.attempt -= 1
        if not entry.attempt:
            entry.started_at = None
        entry.leave(f"job {entry.id!r} was {reason} during a run; it stays stored for the next start of the app")

    # From the end of an attempt to what comes next

    async def _conclude(self, entry: Entry, outcome: Outcome) -> None:
        await self._keeper.others(entry.id)  # a cancellation or a replacement in progress decides first
        if (backoff := due_of_retry(entry, outcome, self._clock, self._runtime.random)) is not None:
            await self._write(entry, row_in_backoff(entry, backoff) if entry.row else None)
            if not entry.given_up:
                self._back_off(entry, backoff, outcome)
                return
        after = aftermath(entry, outcome, self._clock, self._settings.tz)
        row = None
        if entry.row and after.following is not None:
            row = row_after_run(entry, after.following, failures=after.failures)
        await self._write(entry, row)
        if entry.given_up:  # while that was written
            after = aftermath(entry, outcome, self._clock, self._settings.tz)
        self._end_run(entry, outcome, after)

    async def _write(self, entry: Entry, row: StoredJob | None) -> None:
        number = entry.row
        if number and await self._keeper.insist(lambda: self._keeper.storage.finish(number, row)):
            self._ledger.unfinished.pop(number, None)

    def _back_off(self, entry: Entry, due: Due, outcome: Outcome) -> None:
        entry.run_task = None
        entry.wait_until(due)
        self._ledger.move(entry, JobStatus.SCHEDULED, error=outcome.error, reason="retry")
        self.wait(entry)

    def _end_run(self, entry: Entry, outcome: Outcome, after: Aftermath) -> None:
        if outcome.error is not None:
            logger.warning("job %r of task %r: %s", entry.id, entry.task, outcome.status, exc_info=outcome.error)
        entry.run_task = None
        entry.last_run = ended_run(entry, outcome, self._clock, self._settings.tz)
        self._ledger.move(entry, outcome.status, error=outcome.error)
        if after.following is None:
            self._ledger.end(entry, after.last_status, error=outcome.error, reason=entry.given_up)
        else:
            self._recur(entry, after.following, failures=after.failures)

    def _recur(self, entry: Entry, following: Due, *, failures: int) -> None:
        if self._ledger.stream.heard and (skipped := skipped_by_run(entry, following, self._settings.tz)) is not None:
            self._ledger.stream.emit(skipped)
        entry.runs += 1
        entry.failures = failures
        entry.interruptions = entry.attempt = 0
        entry.started_at = None
        entry.wait_until(following)
        entry.nominal = entry.due
        entry.scheduled_for = entry.exec_at
        self._ledger.move(entry, JobStatus.SCHEDULED)
        entry.release()
        self.wait(entry)

    # The stop of the app

    def close(self) -> None:
        """Start nothing any more."""
        self._closed = True
        self._agenda.close()
        for line in self._lines.values():
            line.close()

    async def drain(self, seconds: float) -> None:
        """Return when all attempts have ended, or the time is over."""
        async with Timeout(self._clock, seconds):
            while self._runs:
                await asyncio.wait(self._runs)

    def cut(self) -> None:
        """Cancel all attempts in progress."""
        for task, entry in self._runs.items():
            entry.cut = True
            task.cancel()

    def abandon(self) -> None:
        """Have nothing more to do with attempts that do not end."""
        self._over = True
        for entry in self._runs.values():
            if entry.status is JobStatus.RUNNING:
                logger.error("job %r of task %r does not end, and is abandoned", entry.id, entry.task)
                self._interrupt(entry)

"""From the time of a job to its outcome, and to its next time.

The storage commits, then the job moves, then the transition is told: in this order at every step.
How an attempt is made is left to the executor, what follows from its end to `_aftermath`, and how
often a write is repeated to the keeper.
"""

import asyncio
from datetime import datetime

from jobify._aftermath import aftermath, due_of_retry, ended_run, skipped_by_run
from jobify._agenda import Agenda, Lines
from jobify._clock import Clock
from jobify._executor import Executor, Outcome, RunTask
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._log import logger
from jobify._records import Due, Entry, row_after_run, row_in_backoff
from jobify._run import JobStatus
from jobify._runtime import Runtime
from jobify._settings import Settings
from jobify._steps import pause
from jobify._words import is_a
from jobify.exceptions import JobifyError
from jobify.storage import StoredJob


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
        self._lines = Lines(settings.slots)
        self._runs: dict[RunTask, Entry] = {}
        self._last: RunTask | None = None
        self._drained: asyncio.Future[None] | None = None
        self._context = runtime.run_context()
        self._closed = False
        self._over = False

    def wait(self, *entries: Entry) -> None:
        """Let jobs wait for their time, which may be now."""
        self._agenda.add(*(entry for entry in entries if entry.held is None and entry.given_up is None))

    def stand_down(self, entry: Entry, reason: str) -> None:
        """Keep a job from starting, and from any future beyond the run in progress."""
        entry.given_up = reason
        self._agenda.discard(entry)
        self._lines.discard(entry)

    def stand_up(self, entry: Entry) -> None:
        """Take back what `stand_down` did."""
        entry.given_up = None
        if entry.run_task is None and entry.status is JobStatus.SCHEDULED and entry.left is None:
            self.wait(entry)

    # From its time to the end of an attempt

    def _wake(self) -> None:
        for due, entry in self._agenda.take_due():
            self._lines.join(due, entry)
        self._start()

    def _start(self) -> None:
        """Start, in order, all that are due and find a slot."""
        loop = asyncio.get_running_loop()
        while (admitted := self._lines.admit()) is not None:
            due, entry = admitted
            task = RunTask(self._run(entry), loop=loop, context=self._context.copy(), name=entry.id)
            task.line_up(due, self._last)
            self._last = entry.run_task = task
            self._runs[task] = entry
            task.add_done_callback(self._leave, context=self._context)

    async def _run(self, entry: Entry) -> None:
        task, spec = entry.run_task, entry.spec
        assert isinstance(task, RunTask)  # noqa: S101  # made by `_start` alone
        assert spec is not None  # noqa: S101  # a job of an unknown task is held, and never starts
        try:
            if not self._can_unpack(entry) or not await self._begin(entry, task):
                return
            outcome = await self._executor.attempt(spec, entry.id, entry.args, entry.kwargs)
            if self._over:
                return  # too late: the job was put back, and belongs to the next start
            if not self._was_cut_short(entry, task, outcome):
                entry.run_task = None
                await self._keeper.whole(self._conclude(entry, outcome), stored=bool(entry.row))
        except Exception:  # noqa: BLE001  # the log has it, and `_leave` puts the job back
            logger.exception("job %r is put back: jobify itself failed", entry.id)

    def _was_cut_short(self, entry: Entry, task: RunTask, outcome: Outcome) -> bool:
        """Whether an attempt ended because somebody outside wanted that.

        A body that raises an error of its own has failed, also if a cancellation led to it: libraries make their
        timeouts so, and not all of them take their request back.
        """
        if outcome.error is None:
            return False
        return entry.cut or (is_a(outcome.error, asyncio.CancelledError) and task.was_interrupted())

    def _can_unpack(self, entry: Entry) -> bool:
        """Read the arguments of a restored job; hold it, and keep its row, if they do not fit its task."""
        try:
            entry.unpack()
        except JobifyError as error:
            entry.run_task = None
            entry.hold(str(error))
            logger.error("job %r is held: %s", entry.id, error)  # the user's data, not our trace
            return False
        return True

    async def _begin(self, entry: Entry, task: RunTask) -> bool:
        """Write that an attempt starts; return whether it still may."""
        if (wait := self._runtime.before_start(entry.handle())) is not None:
            await wait
        started_at = entry.started_at or self._clock.now()
        if entry.row and not entry.given_up:
            self._ledger.unfinished[entry.row] = entry
            await self._keeper.insist(self._write_start, entry, task, started_at)
        if task.behind is not None and self._keeper.error is None:
            await task.wait_for_turn()
        if entry.given_up or self._closed:
            entry.run_task = None
            return False
        entry.attempt += 1
        entry.started_at = started_at
        self._ledger.move(entry, JobStatus.RUNNING)
        task.let_pass()
        return True

    async def _write_start(self, entry: Entry, task: RunTask, started_at: datetime) -> None:
        try:
            await self._keeper.storage.start(entry.row, attempt=entry.attempt + 1, started_at=started_at)
        except BaseException:
            task.let_pass()  # while the storage is down, who does not need it does not wait
            raise

    def _leave(self, task: RunTask) -> None:
        """Give back the slot of an attempt, and the job too if its attempt was cut short."""
        entry = self._runs.pop(task)
        task.let_pass()
        self._lines.leave(entry)
        self._start()
        if entry.run_task is task and not self._over:
            self._interrupt(entry)
        if not self._runs:
            self._end_drain()

    def _interrupt(self, entry: Entry) -> None:
        """Put back a job whose attempt was cut short from outside, or did not come to begin: the next start runs it."""
        entry.run_task = None
        reason = "stopped" if entry.cut else "interrupted"
        if entry.done:
            return
        if not entry.row:
            self._ledger.end(entry, JobStatus.CANCELLED, reason=reason)
            return
        why = f"job {entry.id!r} was {reason} during a run; it stays stored for the next start of the app"
        entry.leave(why)
        if entry.status is JobStatus.RUNNING:
            self._ledger.move(entry, JobStatus.SCHEDULED, reason=reason)
            entry.attempt -= 1
        if not entry.attempt:
            entry.started_at = None
        if not entry.cut:
            logger.warning(why)

    # From the end of an attempt to what comes next

    async def _conclude(self, entry: Entry, outcome: Outcome) -> None:
        """Write what follows from the end of an attempt, and let the job go there."""
        try:
            await self._keeper.others(entry.id)  # a cancellation or a replacement in progress decides first
            backoff = due_of_retry(entry, outcome, self._clock, self._runtime.random, self._settings.tz)
            if backoff is None or not await self._back_off(entry, backoff, outcome):
                await self._end_run(entry, outcome)
        except BaseException:
            if not entry.done and not self._over:  # whatever it was, nobody is to wait for ever
                self._interrupt(entry)
            raise

    async def _write(self, entry: Entry, row: StoredJob | None) -> None:
        number = entry.row
        if number and await self._keeper.insist(self._keeper.storage.finish, number, row):
            self._ledger.unfinished.pop(number, None)
        if self._over:  # the app has let go of the job meanwhile
            raise asyncio.CancelledError

    async def _is_given_up(self, entry: Entry) -> bool:
        """Whether a job has no future, when who cancels or replaces it has had its way with the storage.

        That may have begun while the end of its run was written: the row is theirs until then.
        """
        if entry.given_up:
            await self._keeper.others(entry.id)
            if self._over:
                raise asyncio.CancelledError
        return entry.given_up is not None

    async def _back_off(self, entry: Entry, due: Due, outcome: Outcome) -> bool:
        """Let a job wait for its next attempt; return whether it may still have one."""
        await self._write(entry, row_in_backoff(entry, due) if entry.row else None)
        if await self._is_given_up(entry):
            return False
        entry.wait_until(due)
        self._ledger.move(entry, JobStatus.SCHEDULED, error=outcome.error, reason="retry")
        self.wait(entry)
        logger.info("attempt %d of job %r failed; next in %g s", entry.attempt, entry.id, due.delay)
        return True

    async def _end_run(self, entry: Entry, outcome: Outcome) -> None:
        tz = self._settings.tz
        after = aftermath(entry, outcome, self._clock, tz)
        row = None
        if entry.row and after.following is not None:
            row = row_after_run(entry, after.following, failures=after.failures)
        await self._write(entry, row)
        if await self._is_given_up(entry):
            after = aftermath(entry, outcome, self._clock, tz)
        entry.last_run = ended_run(entry, outcome, self._clock, tz)
        self._ledger.move(entry, outcome.status, error=outcome.error)
        if after.following is None:
            self._ledger.end(entry, after.last_status, error=outcome.error, reason=entry.given_up)
        else:
            self._recur(entry, after.following, failures=after.failures)
        if outcome.error is not None:
            logger.warning("job %r of task %r: %s", entry.id, entry.task, outcome.status, exc_info=outcome.error)

    def _recur(self, entry: Entry, following: Due, *, failures: int) -> None:
        if self._ledger.stream.heard:
            self._ledger.skip(entry, skipped_by_run(entry, following, self._settings.tz), reason="overlap")
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
        self._lines.close()

    async def drain(self, seconds: float) -> None:
        """Return when all attempts have ended, or the time is over."""
        if not self._runs:
            return
        self._drained = asyncio.get_running_loop().create_future()
        alarm = self._clock.call_at(self._clock.monotonic() + seconds, self._end_drain)
        try:
            await pause(self._drained)
        finally:
            alarm.cancel()

    def _end_drain(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def cut(self) -> None:
        """Cancel all attempts in progress."""
        for task, entry in self._runs.items():
            entry.cut = True
            task.cancel()

    def let_go(self) -> list[asyncio.Task[None]]:
        """Have nothing more to do with anything, at once; return the attempts in progress."""
        self.close()
        self._over = True
        return list(self._runs)

    def abandon(self) -> None:
        """Have nothing more to do with attempts that do not end."""
        self._over = True
        for entry in self._runs.values():
            if entry.status is JobStatus.RUNNING:
                logger.error("job %r of task %r does not end, and is abandoned", entry.id, entry.task)
                self._interrupt(entry)

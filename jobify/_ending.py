"""From the end of an attempt to what comes next, and past a time at which a job could not start.

The storage commits, then the job moves, then it is told: in this order at every step.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from jobify._aftermath import End, after_run, aftermath, coming, due_of_retry, ended_run
from jobify._chronicle import Chronicle
from jobify._clock import Clock
from jobify._entry import Due, Entry, Next
from jobify._executor import Outcome, RunTask
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._log import logger
from jobify._misfire import Decision
from jobify._records import row_after_run, row_in_backoff, times_now
from jobify._run import JobStatus
from jobify._runtime import Runtime
from jobify._settings import Settings
from jobify.exceptions import StorageError
from jobify.storage import StoredJob, StoredRun
from jobify.storage._answer import Answer, is_prompt


class Ending:
    """Writes what becomes of jobs whose attempt has ended, and lets them go there.

    Args:
        settings: of the app.
        runtime: of the app.
        clock: of the scheduler.
        keeper: its way to the storage.
        ledger: its jobs.
        chronicle: its history.
        wait: lets a job wait for its time.
        put_back: leaves a job, of which nothing more can be said, to the next start.
        ended: is told when the end of a run is written that has no task any more.

    Attributes:
        over: whether the app has let go of all jobs.
    """

    def __init__(  # noqa: PLR0913  # the parts that it joins
        self,
        settings: Settings,
        runtime: Runtime,
        clock: Clock,
        keeper: Keeper,
        ledger: Ledger,
        chronicle: Chronicle,
        *,
        wait: Callable[[Entry], None],
        put_back: Callable[[Entry], None],
        ended: Callable[[Entry], None],
    ) -> None:
        self.over = False
        self._tz = settings.tz
        self._random = runtime.random
        self._clock = clock
        self._keeper = keeper
        self._ledger = ledger
        self._chronicle = chronicle
        self._wait = wait
        self._put_back = put_back
        self._ended = ended
        self._tell = self._go_on_at_once  # made once
        self._is_pruning = False

    def conclude(self, entry: Entry, task: RunTask, outcome: Outcome) -> Awaitable[None]:
        """Let a job go on behind an attempt that has ended by itself."""
        step = self._end_run(entry, outcome) if outcome.error is None else self._conclude(entry, outcome, outcome.error)
        return self._carry(entry, task, step)

    def end_at_once(self, entry: Entry, task: RunTask, outcome: Outcome) -> bool:
        """Have the end of a run written, and let nobody wait for that; return whether it is.

        Nearly all runs come along here. A task that waits for the write would cost a turn of the loop, and while many
        are written, most of the memory that they take.
        """
        keeper, spec = self._keeper, entry.spec
        may_go_on = outcome.error is not None and spec is not None and spec.retry is not None
        if may_go_on or not entry.row or not is_prompt(keeper.storage.finish):
            return False
        if keeper.is_busy(entry) or keeper.has_others(entry.id):
            return False
        try:
            end = self._end_of(entry, outcome)
            end.runs, end.context = entry.unwritten + end.runs, task.context
            answer = keeper.storage.finish(end.number, end.row, runs=end.runs)
        except StorageError:
            return False  # who insists sees to it
        except BaseException:
            self._put_back(entry)
            raise
        assert isinstance(answer, Answer)  # noqa: S101  # the verb is prompt
        entry.unwritten = ()
        answer.about, answer.told = end, self._tell
        keeper.enter(None, entry)
        return True

    def overtake(self, entry: Entry, task: RunTask) -> Awaitable[None]:
        """Let a job go on behind a run that was cancelled for the sake of a later time."""
        return self._carry(entry, task, self._overtake(entry))

    def pass_over(self, entry: Entry, task: RunTask, decision: Decision) -> Awaitable[None]:
        """Let a job go on behind times that were missed, and are not made up for."""
        return self._carry(entry, task, self._pass_over(entry, decision))

    def _carry(self, entry: Entry, task: RunTask, step: Coroutine[None, None, None]) -> Awaitable[None]:
        by = None if task.was_cancelled else task  # a cancellation under way would strike in the step
        return self._keeper.whole(self._guarded(entry, step), stored=bool(entry.kept), about=entry, by=by)

    async def _guarded(self, entry: Entry, step: Coroutine[None, None, None]) -> None:
        try:
            if self._keeper.has_others(entry.id):  # a cancellation or a replacement in progress decides first
                await self._keeper.others(entry.id)
            await step
        except BaseException:
            step.close()
            if not entry.done and not self.over:  # whatever it was, nobody is to wait for ever
                self._put_back(entry)
            raise

    async def _conclude(self, entry: Entry, outcome: Outcome, error: BaseException) -> None:
        backoff = due_of_retry(entry, error, self._clock, self._random, self._tz)
        if backoff is not None and await self._back_off(entry, backoff, outcome):
            return
        await self._end_run(entry, outcome)

    async def _write(self, entry: Entry, row: StoredJob | None, runs: tuple[StoredRun, ...]) -> None:
        number, storage = entry.row, self._keeper.storage
        runs, entry.unwritten = entry.unwritten + runs, ()
        if (number or runs) and await self._keeper.insist(storage.finish, number, row, runs=runs):
            self._note(number, runs)
        if self.over:  # the app has let go of the job meanwhile
            raise asyncio.CancelledError

    def _note(self, number: int, runs: tuple[StoredRun, ...]) -> None:
        """Take note that the end of an attempt is written."""
        self._ledger.unfinished.pop(number, None)
        if self._chronicle.is_due(runs) and not self._is_pruning:
            self._is_pruning = True
            self._keeper.in_background(self._prune())

    async def _prune(self) -> None:
        try:
            await self._keeper.insist(self._keeper.storage.prune, self._clock.now(), most=self._chronicle.most)
        finally:
            self._is_pruning = False

    async def _is_given_up(self, entry: Entry) -> bool:
        """Whether a job has no future, when who cancels or replaces it has had its way with the storage.

        That may have begun while the end of its run was written: the row is theirs until then.
        """
        if entry.given_up:
            await self._keeper.others(entry.id)
            if self.over:
                raise asyncio.CancelledError
        return entry.given_up is not None

    async def _back_off(self, entry: Entry, due: Due, outcome: Outcome) -> bool:
        """Let a job wait for its next attempt; return whether it may still have one."""
        await self._write(entry, row_in_backoff(entry, due) if entry.row else None, ())
        if await self._is_given_up(entry):
            return False
        entry.wait_until(due)
        self._ledger.move(entry, JobStatus.SCHEDULED, error=outcome.error, reason="retry")
        self._wait(entry)
        logger.info("attempt %d of job %r failed; next in %g s", entry.attempt, entry.id, due.delay)
        return True

    def _go_on_at_once(self, answer: Answer[None], _: object, error: BaseException | None) -> None:
        """Let a job go on in the moment in which the end of its run is written, if nothing stands against that."""
        end: End = answer.about
        entry, keeper = end.entry, self._keeper
        keeper.leave(None, entry)
        if self.over:  # the app has let go of the job meanwhile
            return
        if error is not None or entry.given_up:
            keeper.in_background(self._go_on_late(end, error), about=entry)
            return
        keeper.error = None
        assert end.context is not None  # noqa: S101  # the attempt is over
        try:
            end.context.run(self._close, end)
        except Exception:  # noqa: BLE001  # the log has it; others are told behind this
            logger.exception("job %r is put back: jobify itself failed", entry.id)
        finally:
            self._ended(entry)

    def _close(self, end: End) -> None:
        try:
            self._note(end.number, end.runs)
            self._end(end)
        except BaseException:
            if not end.entry.done:  # nobody is to wait for ever
                self._put_back(end.entry)
            raise

    async def _go_on_late(self, end: End, error: BaseException | None) -> None:
        try:
            await self._guarded(end.entry, self._end_late(end, error))
        finally:
            if not self.over:
                self._ended(end.entry)

    async def _end_late(self, end: End, error: BaseException | None) -> None:
        finish = self._keeper.storage.finish
        if error is None or await self._keeper.insist_behind(error, finish, end.number, end.row, runs=end.runs):
            self._note(end.number, end.runs)
        await self._end_if_given_up(end)

    async def _end_run(self, entry: Entry, outcome: Outcome) -> None:
        end = self._end_of(entry, outcome)
        await self._write(entry, end.row, end.runs)
        await self._end_if_given_up(end)

    async def _end_if_given_up(self, end: End) -> None:
        if self.over:
            raise asyncio.CancelledError
        if end.entry.given_up and await self._is_given_up(end.entry):
            end.after = aftermath(end.entry, end.outcome, self._clock, self._random, self._tz)
        self._end(end)

    def _end_of(self, entry: Entry, outcome: Outcome) -> End:
        now = self._clock.now()
        after = aftermath(entry, outcome, self._clock, self._random, self._tz)
        row = None
        if entry.row and after.following is not None:
            row = row_after_run(entry, after.following, runs=entry.runs + 1, failures=after.failures)
        runs = self._chronicle.ended(entry, outcome, now)
        if after.overlap is not None:
            runs += self._chronicle.skipped(entry, after.overlap.skipped, after.overlap.reason)
        return End(entry, entry.row, outcome, now, after, row, runs)

    def _end(self, end: End) -> None:
        """Let a job go on, now that the end of its run is written."""
        entry, outcome, after = end.entry, end.outcome, end.after
        entry.last_run = ended_run(entry, outcome, end.now, self._tz)
        self._ledger.move(entry, outcome.status, error=outcome.error)
        if after.overlap is not None:
            self._ledger.skip(entry, after.overlap.skipped, reason=after.overlap.reason)
        if entry.recurring:
            entry.runs += 1
            entry.failures = after.failures
        if after.following is None:
            self._ledger.end(entry, after.last_status, error=outcome.error, reason=entry.given_up)
        else:
            self._go_on(entry, after.following)
            entry.release()
            self._wait(entry)
        if outcome.error is not None:
            logger.warning("job %r of task %r: %s", entry.id, entry.task, outcome.status, exc_info=outcome.error)
        if after.last_status is JobStatus.PERMANENTLY_FAILED:
            logger.error("job %r recurs no more: %d runs in a row have failed", entry.id, after.failures)

    def _go_on(self, entry: Entry, step: Next, *, reason: str | None = None) -> None:
        entry.interruptions = entry.attempt = 0
        entry.started_at = None
        entry.go_to(step)
        self._ledger.move(entry, JobStatus.SCHEDULED, reason=reason)

    async def _overtake(self, entry: Entry) -> None:
        trigger = entry.trigger
        assert trigger is not None  # noqa: S101  # only a time of its own overtakes a run
        step, overlap = after_run(entry, trigger, self._clock, self._random, self._tz)
        row = None
        if entry.row and step is not None:
            row = row_after_run(entry, step, runs=entry.runs, failures=entry.failures)
        runs = self._chronicle.called_off(entry, "overtaken")
        if overlap is not None:
            runs += self._chronicle.skipped(entry, overlap.skipped, overlap.reason)
        await self._write(entry, row, runs)
        if await self._is_given_up(entry) or step is None:
            self._ledger.end(entry, JobStatus.CANCELLED, reason=entry.given_up or "overtaken")
            return
        if overlap is not None:
            self._ledger.skip(entry, overlap.skipped, reason=overlap.reason)
        self._go_on(entry, step, reason="overtaken")
        self._wait(entry)

    async def _pass_over(self, entry: Entry, decision: Decision) -> None:
        step = None
        times = times_now(entry, self._clock, self._tz)
        if entry.trigger is not None and times is not None:
            step = coming(entry, entry.trigger, entry.reached, times, self._random, self._tz)
        row = None
        if entry.row and step is not None:
            row = row_after_run(entry, step, runs=entry.runs, failures=entry.failures)
        await self._write(entry, row, self._chronicle.skipped(entry, decision.skipped, decision.reason))
        if await self._is_given_up(entry):
            return  # whoever cancels or replaces it ends it too
        self._ledger.skip(entry, decision.skipped, reason=decision.reason)
        if step is None:
            self._ledger.end(entry, JobStatus.CANCELLED, reason=decision.reason)
        else:
            entry.go_to(step)
            self._wait(entry)

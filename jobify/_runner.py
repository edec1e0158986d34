"""From the time of a job to the end of an attempt.

The storage commits, then the job moves, then the transition is told: in this order at every step.
How an attempt is made is left to the executor, what follows from its end to `_ending`, and how
often a write is repeated to the keeper.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from jobify._agenda import Agenda, Lines
from jobify._attempts import Attempts
from jobify._chronicle import Chronicle
from jobify._clock import Clock, to_nanoseconds
from jobify._ending import Ending
from jobify._entry import LOST, Entry, Watch
from jobify._executor import Executor, RunTask
from jobify._job import job_of
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._life import begin_life
from jobify._log import logger
from jobify._policies import OnCrash, Overlap
from jobify._punctuality import Punctuality
from jobify._run import JobStatus
from jobify._runtime import Runtime
from jobify._settings import Settings
from jobify._steps import turn
from jobify._watches import Watches
from jobify._words import is_a
from jobify.exceptions import JobifyError


class Runner:
    """Starts what is due, sees it through, and lets it wait again.

    Attributes:
        watches: tells of the times that come meanwhile.
        attempts: those in progress.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        clock: Clock,
        keeper: Keeper,
        ledger: Ledger,
        chronicle: Chronicle,
        spawn: Callable[[Entry], None],
    ) -> None:
        self.part_with: Callable[[Entry], None] | None = None  # for a job that was lost while its start was written
        self._spawn = spawn
        self._settings = settings
        self._runtime = runtime
        self._clock = clock
        self._keeper = keeper
        self._ledger = ledger
        self._executor = Executor(clock, runtime.workers)
        self._agenda = Agenda(clock, self._wake)
        self._lines = Lines(settings.slots)
        self.watches = Watches(settings, clock, self._agenda)
        self.attempts = Attempts(clock)
        self._context = runtime.run_context().copy()
        self._life = begin_life(self._context)
        self._closed = False
        self._ending = Ending(
            settings,
            runtime,
            clock,
            keeper,
            ledger,
            chronicle,
            wait=self.wait,
            put_back=self._interrupt,
            ended=self._end,
        )
        self._punctuality = Punctuality(settings, clock, ledger, chronicle)

    def wait(self, *entries: Entry) -> None:
        """Let jobs wait for their time, which may be now."""
        for entry in entries:
            if entry.watch is not None and not entry.attempt:
                self.watches.end(entry)
        self._agenda.add(*[entry for entry in entries if entry.kept_back is None and entry.given_up is None])

    def promise_slot(self, entry: Entry) -> bool:
        """Keep a slot for a job that is being accepted, if it starts when it is; return whether it does."""
        spec = entry.spec
        starts_now = entry.trigger is None and entry.delay == 0 and not self._closed
        if spec is None or not starts_now or spec.on_crash is OnCrash.SKIP:
            return False  # of what a crash must not start again it has to be known whether it had started
        if self._lines.is_limited(spec.run_mode) and not self._agenda.is_quiet(self._clock.monotonic()):
            return False  # who is due now was scheduled before
        return self._lines.promise(spec.run_mode)

    def break_promise(self, entry: Entry) -> None:
        """Let others have the slot of a job that was not accepted."""
        if self._lines.leave(entry):
            self._start()

    def stand_down(self, entry: Entry, reason: str) -> None:
        """Keep a job from starting, and from any future beyond the run in progress."""
        entry.given_up = reason
        self.step_aside(entry)
        self.watches.end(entry)

    def step_aside(self, entry: Entry) -> bool:
        """Keep a job from starting until it is let wait again; return whether it still could be kept."""
        self._agenda.discard(entry)
        self._lines.discard(entry)
        return entry.run_task is None and entry.status is JobStatus.SCHEDULED

    def stand_up(self, entry: Entry) -> None:
        """Take back what `stand_down` did."""
        entry.given_up = None
        waits = entry.run_task is None and entry.status is JobStatus.SCHEDULED and entry.left is None
        if waits and not self._keeper.is_busy(entry):  # else it waits again when that is done
            self.wait(entry)
        if entry.attempt:
            self.watches.begin(entry)

    # From its time to the end of an attempt

    def _wake(self, those_due: list[tuple[int, Entry | Watch]]) -> None:
        for due, waiting in those_due:
            if isinstance(waiting, Watch):
                self._overlap(waiting.entry)
            else:
                self._lines.join(due, waiting)
        self._start()

    def _start(self) -> None:
        """Start, in order, all that are due and find a slot."""
        loop = asyncio.get_running_loop()
        while (admitted := self._lines.admit()) is not None:
            due, entry = admitted
            context = self._context.copy()
            task = RunTask(self._run(entry), loop=loop, context=context, name=entry.id)
            task.context = context
            self.attempts.add(task, entry, due)
            task.add_done_callback(self._leave, context=self._context)

    async def _run(self, entry: Entry) -> None:
        task, spec = entry.run_task, entry.spec
        assert isinstance(task, RunTask)  # noqa: S101  # made by `_start` alone
        assert spec is not None  # noqa: S101  # a job of an unknown task is held, and never starts
        try:
            if entry.packed and not self._can_unpack(entry):
                return
            if (too_late := self._punctuality.judge(entry)) is not None:
                entry.run_task = None
                await self._ending.pass_over(entry, task, too_late)
                return
            if not await self._begin(entry, task):
                return
            outcome = await self._executor.attempt(spec, entry.id, entry.args, entry.kwargs)
            if self._ending.over:
                return  # too late: the job was put back, and belongs to the next start
            cut_short = outcome.error is not None and self._was_cut_short(entry, task, outcome.error)
            if cut_short and not (entry.overtaken and not entry.cut):
                return  # `_leave` puts the job back
            entry.run_task = None
            if not cut_short and self._ending.end_at_once(entry, task, outcome):
                self.attempts.ending.add(entry)
                return
            await (self._ending.overtake(entry, task) if cut_short else self._ending.conclude(entry, task, outcome))
            self._unwatch(entry)
        except Exception:  # noqa: BLE001  # the log has it, and `_leave` puts the job back
            logger.exception("job %r is put back: jobify itself failed", entry.id)

    def _end(self, entry: Entry) -> None:
        """Give back the slot of a job whose end was written without a task."""
        self._unwatch(entry)
        self.attempts.ending.discard(entry)
        if self._lines.leave(entry):
            self._start()
        self.attempts.tell_end()

    def _unwatch(self, entry: Entry) -> None:
        if entry.done and entry.watch is not None:
            self.watches.end(entry)

    def _was_cut_short(self, entry: Entry, task: RunTask, error: BaseException) -> bool:
        """Whether an attempt ended in an error because somebody outside wanted that.

        An error of its own is a failure, also behind a cancellation: libraries make timeouts so, and not all undo it.
        """
        return entry.cut or (is_a(error, asyncio.CancelledError) and task.was_interrupted())

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
        if (wait := self._runtime.before_start(job_of(entry))) is not None:
            await wait
        started_at = entry.started_at or self._clock.now()
        if entry.begun:
            entry.begun = False
            if not entry.handed:
                await turn()  # who has pushed it gets its handle first
        elif entry.row and not entry.given_up:
            self._ledger.unfinished[entry.row] = entry
            await self._keeper.insist(self._write_start, entry, task, started_at)
        if task.behind is not None and self._keeper.error is None:
            await task.wait_for_turn()
        if task.gone or entry.given_up or self._closed:
            entry.run_task = None
            if task.gone and entry.given_up != LOST and not entry.done:  # another process has cancelled it
                self._ledger.end(entry, JobStatus.CANCELLED, reason=entry.given_up or "cancelled")
            return False
        entry.attempt += 1
        entry.started_at = started_at
        self._ledger.move(entry, JobStatus.RUNNING)
        task.let_pass()
        self.watches.begin(entry)
        return True

    async def _write_start(self, entry: Entry, task: RunTask, started_at: datetime) -> None:
        try:
            task.gone = not await self._keeper.storage.start(
                entry.row,
                attempt=entry.attempt + 1,
                started_at=started_at,
                scheduled_for=entry.scheduled_for,
                runs=entry.unwritten,
            )
            entry.unwritten = ()
        except BaseException:
            task.let_pass()  # while the storage is down, who does not need it does not wait
            raise

    # Times that come while a run is in progress, or in its backoff

    def _overlap(self, entry: Entry) -> None:
        """A time has come, and the run of an earlier one is not over."""
        entry.watch = None
        if entry.trigger is None or entry.given_up or entry.left or not entry.attempt or self._closed:
            return
        if entry.kept_back:
            self.watches.begin(entry)
            return
        if entry.run_task is None and entry.status is JobStatus.RUNNING:
            return  # its end is being written: what has passed is seen there
        if entry.trigger.overlap is Overlap.ALLOW:
            self._spawn(entry)
            self.watches.begin(entry)
        elif isinstance(entry.run_task, RunTask) and entry.status is JobStatus.RUNNING:
            entry.overtaken = True
            entry.run_task.cancel()
        elif entry.run_task is None and self.step_aside(entry):
            entry.overtaken = True
            self._lines.join(to_nanoseconds(self._clock.monotonic()), entry)

    def _leave(self, task: RunTask) -> None:
        """Give back the slot of an attempt, and the job too if its attempt was cut short."""
        entry = self.attempts.remove(task)
        if entry in self.attempts.ending:
            return
        if self._lines.leave(entry):
            self._start()
        if entry.run_task is task and not self._ending.over:
            self._interrupt(entry)
        elif entry.given_up == LOST and entry.status is JobStatus.SCHEDULED and self.part_with is not None:
            self.part_with(entry)
        self.attempts.tell_end()

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
            entry.run_again()
        if not entry.cut:
            logger.warning(why)

    # The stop of the app

    def close(self) -> None:
        """Start nothing any more."""
        self._closed = True
        self._agenda.close()
        self._lines.close()

    def let_go(self) -> list[asyncio.Task[None]]:
        """Have nothing more to do with anything, at once; return the attempts in progress."""
        self.close()
        self._ending.over = self._life.is_over = True
        return list(self.attempts.of)

    def abandon(self) -> None:
        """Have nothing more to do with attempts that do not end."""
        self._ending.over = True
        for entry in self.attempts.of.values():
            if entry.status is JobStatus.RUNNING:
                logger.error("job %r of task %r does not end, and is abandoned", entry.id, entry.task)
                self._interrupt(entry)

"""What several processes have to do with each other that share one storage.

Jobs that another process holds are followed: their handles learn from the history what became of them. What the
storage tells of others is a hint; what is true is looked up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from jobify._chronicle import record_of
from jobify._clock import Alarm, Clock
from jobify._entry import LOST, Entry
from jobify._history import RunStatus
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._log import logger
from jobify._run import JobStatus, Run
from jobify._runner import Runner
from jobify.exceptions import ElsewhereError, JobifyError
from jobify.storage import Notice, RunQuery, Storage, StoredJob, StoredRun

_FOREVER = datetime.max.replace(tzinfo=UTC)
_RUNS = (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.TIMEOUT)
_ENDS = [str(status) for status in RunStatus if status is not RunStatus.SKIPPED]


class Shared:
    """Claims what this process is to run, and follows what others do.

    Args:
        storage: the storage.
        clock: of the scheduler.
        keeper: its way to the storage.
        ledger: its jobs.
        runner: what starts them.

    Attributes:
        bring_back: claims jobs, and makes them those of this process; set when the app has started.
    """

    def __init__(self, storage: Storage, clock: Clock, keeper: Keeper, ledger: Ledger, runner: Runner) -> None:
        self.bring_back: Callable[[datetime], Awaitable[None]] | None = None
        self._storage = storage
        self._clock = clock
        self._keeper = keeper
        self._ledger = ledger
        self._runner = runner
        self._followed: WeakValueDictionary[int, Entry] = WeakValueDictionary()
        self._looking = self._look_again = False
        self._alarm: Alarm | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        runner.part_with = self._part_with
        if storage.shared:
            storage.watch(self._notice)

    def until(self) -> datetime:
        """Return up to when jobs are to be claimed now."""
        horizon = self._storage.horizon
        try:
            return _FOREVER if horizon is None else self._clock.now() + horizon
        except OverflowError:
            return _FOREVER

    def open(self, bring_back: Callable[[datetime], Awaitable[None]]) -> None:
        """Claim from now on what comes near, or what others leave."""
        self.bring_back = bring_back
        self._set_alarm()
        if self._look_again:
            self._look()

    def close(self) -> None:
        """Claim nothing any more, and follow nobody."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for entry in list(self._followed.values()):
            entry.leave(_elsewhere(entry))

    def _set_alarm(self) -> None:
        horizon = self._storage.horizon
        if self._storage.shared and horizon is not None:
            self._alarm = self._clock.call_at(self._clock.monotonic() + horizon.total_seconds() / 2, self._ring)

    def _ring(self) -> None:
        self._set_alarm()
        self._look()

    # What this process takes over

    def taken(self, number: int) -> Entry | None:
        """Return the job of a row that was just claimed, if it was followed until now; it is followed no more."""
        return self._followed.pop(number, None)

    def _look(self) -> None:
        if self._looking or self.bring_back is None:
            self._look_again = True
            return
        self._looking = True
        self._keeper.in_background(self._claim())

    async def _claim(self) -> None:
        try:
            while True:
                self._look_again = False
                if self._closed or self.bring_back is None:
                    return
                await self.bring_back(self.until())
                for entry in list(self._followed.values()):
                    await self._see(entry)
                if not self._look_again:
                    return
        except JobifyError:
            if not self._closed:
                logger.exception("jobs could not be claimed; the next notice or horizon tries again")
        finally:
            self._looking = False

    def makes_room(self, row: StoredJob) -> bool:
        """Whether a row that was just claimed is to be brought back: not if its job is being accepted right now.

        A job of its id that was replaced by it, which nobody has told yet, is lost.
        """
        entry = self._ledger.entries.get(row.id)
        if entry is None:
            return True
        if entry.status is None:
            return False
        if not entry.row:
            logger.error("job %r waits for the next start: one that is not durable has its id", row.id)
            return False
        if entry.row == row.number:
            return entry.given_up == LOST  # it is claimed anew
        self.give_up(entry)
        return True

    # What others do

    def _notice(self, notice: Notice) -> None:
        if self._closed:
            return
        if notice.kind == "look":
            self._look()
        elif (entry := self._followed.get(notice.number)) is not None:
            self._keeper.in_background(self._see_quietly(entry))
        elif notice.kind == "gone":
            self._lose(notice.number)
        elif notice.kind == "lost":
            self._hand_over(notice.number)

    def _hand_over(self, number: int) -> None:
        """Another process may have taken over a job that this one held: it did not answer for too long."""
        entry = self._held(number)
        if entry is None or entry.given_up:
            return
        self._ledger.unfinished.pop(number, None)  # or a stop would put it back, as it was before others had it
        if self._runner.step_aside(entry):
            self._part_with(entry)
        else:  # its run goes on, and is noted in the history; what follows is no matter of this process
            self._runner.stand_down(entry, LOST)

    def _part_with(self, entry: Entry) -> None:
        """Let another process have a job that waits."""
        entry.given_up, entry.begun = None, False
        self._runner.watches.end(entry)
        self._ledger.unfinished.pop(entry.row, None)
        if self._ledger.entries.get(entry.id) is entry:
            del self._ledger.entries[entry.id]
        if not self._closed:
            self._keeper.in_background(self.follow(entry))
        elif entry.left is None:
            entry.leave(_elsewhere(entry))

    def _held(self, number: int) -> Entry | None:
        return next((entry for entry in self._ledger.entries.values() if entry.row == number), None)

    def _lose(self, number: int) -> None:
        """Another process has cancelled or replaced a job that this one holds."""
        entry = self._held(number)
        if entry is not None:
            self.give_up(entry)

    def give_up(self, entry: Entry) -> None:
        """Let a job have no future that was cancelled or replaced in the storage, and is held here."""
        if entry.given_up:
            return
        self._runner.stand_down(entry, "cancelled")
        if entry.status is JobStatus.SCHEDULED and entry.run_task is None:
            self._ledger.end(entry, JobStatus.CANCELLED, reason="cancelled")
        elif entry.status is JobStatus.RUNNING:
            self._ledger.forget(entry)
        # Else its start finds out that it is gone.

    def followed(self, row: StoredJob) -> Entry | None:
        """Return the job of a row as it is there, if it is followed; None if it is not."""
        entry = self._followed.get(row.number)
        if entry is not None:
            _renew(entry, row)
        return entry

    async def follow(self, entry: Entry) -> None:
        """Learn from now on what becomes of a job that another process holds; also what has become of it already."""
        entry.elsewhere = True
        if entry.status is None:
            entry.move(JobStatus.SCHEDULED)
        self._followed[entry.row] = entry
        await self._see_quietly(entry)

    async def _see_quietly(self, entry: Entry) -> None:
        try:
            await self._see(entry)
        except JobifyError:
            if not self._closed:
                logger.exception("it could not be seen what became of job %r; the next notice tries again", entry.id)

    async def _see(self, entry: Entry) -> None:
        """Look up what has become of a job that another process holds."""
        query = RunQuery(job=entry.row, statuses=_ENDS, limit=1)
        # In this order: what ends in between is seen by its next notice.
        rows = [row for row in await self._keeper.read(self._storage.find, entry.id) if row.number == entry.row]
        ended = await self._keeper.read(self._storage.runs, query)
        if not entry.elsewhere or entry.done:
            return
        news = bool(ended) and ended[0].number != entry.seen and ended[0].status in _RUNS
        if ended:
            entry.seen = ended[0].number
        if news:
            entry.last_run = _run_of(entry, ended[0], serialized=self._storage.serialized)
        if not rows:
            self._end(entry, ended[0] if ended else None)
            return
        _renew(entry, rows[0])
        if news:
            entry.release()
        elif entry.kept_back:
            entry.release_impatient()

    def _end(self, entry: Entry, run: StoredRun | None) -> None:
        self._followed.pop(entry.row, None)
        if run is None:
            entry.leave(f"job {entry.id!r} is over in another process, and there is no history of how")
            return
        cancelled = run.status in (RunStatus.CANCELLED, RunStatus.INTERRUPTED)
        entry.settle(JobStatus.CANCELLED if cancelled else JobStatus(run.status))
        entry.finish()


def _elsewhere(entry: Entry) -> str:
    return f"the app was stopped; job {entry.id!r} is with another process: await app.get_job(id)"


def _renew(entry: Entry, row: StoredJob) -> None:
    """Let a job that is followed be as its row says."""
    entry.exec_at, entry.paused = row.exec_at, row.paused
    entry.runs, entry.failures, entry.attempt = row.runs, row.failures, row.attempt
    entry.settle(JobStatus.RUNNING if row.running else JobStatus.SCHEDULED)


def _run_of(entry: Entry, row: StoredRun, *, serialized: bool) -> "Run[object]":
    """Return a run that has ended in another process."""
    record = record_of(row, {entry.task: entry.spec} if entry.spec is not None else {}, entry.tz, serialized=serialized)
    problem = record.unread if record.status is RunStatus.SUCCESS else record.error or str(record.status)
    return Run(
        job_id=entry.id,
        status=JobStatus(record.status),
        scheduled_for=record.scheduled_for,
        started_at=record.started_at or record.finished_at,
        finished_at=record.finished_at,
        attempts=record.attempts,
        error=ElsewhereError(problem) if problem is not None else None,
        value=record.value,
    )

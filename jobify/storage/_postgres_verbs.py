"""What each verb of the PostgreSQL storage asks of the database, and what is made of the answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace as but
from datetime import datetime, timedelta

import jobify.storage._postgres_history as history
import jobify.storage._postgres_rows as rows
from jobify._log import logger
from jobify.storage._postgres_batch import Answer, Write
from jobify.storage._postgres_driver import Row
from jobify.storage._postgres_lease import Lease
from jobify.storage._stored import Notice, RunQuery, StoredJob, StoredRun

_LOST = "lease lost"
_KEPT = timedelta(days=1)
"""How long it is remembered, at least, for which times runs were started."""


class Verbs:
    """The verbs of one process.

    Args:
        lease: by which it holds its jobs.
        give_back: gives up claims of jobs that nobody has heard of here: who asked for them was cancelled.
        note_loss: is told when the database does not know the lease any more.
    """

    def __init__(
        self, lease: Lease, *, give_back: Callable[[Sequence[int]], None], note_loss: Callable[[], None]
    ) -> None:
        self._lease = lease
        self._give_back = give_back
        self._note_loss = note_loss

    def add(self, job: StoredJob, runs: Sequence[StoredRun], *, replace: bool, is_near: bool) -> Write:
        """Keep a new job, and claim it if it is near; the answer is its number, None if its id is taken."""

        def conclude(found: Sequence[Row]) -> Answer:
            if not found:
                return Answer()
            row = found[0]
            return Answer(row["number"], runs, [] if row["old"] is None else [Notice("gone", row["old"])], row)

        def settle(answer: Answer) -> None:
            if answer.value is None:
                return
            if answer.row["old"] is not None:
                self._lease.forget(answer.row["old"])
            self._hold([answer.value], answer.row["owner"])

        columns = rows.all_of(job)
        return Write(
            sql=rows.REPLACE if replace else rows.INSERT,
            values=lambda: (self._lease.owner if is_near else None, *columns),
            conclude=conclude,
            settle=settle,
            disown=lambda number: self._disown(() if number is None else (number,)),
            is_futile=(lambda found: not found) if replace else None,
        )

    def _hold(self, numbers: Sequence[int], owner: str | None) -> None:
        """Take note of what was claimed by an owner; if that was lost meanwhile, it is others' already."""
        if owner == self._lease.owner:
            self._lease.mine.update(numbers)

    def _disown(self, numbers: Sequence[int]) -> None:
        """Give up what was claimed, unless the claim was lost meanwhile."""
        if held := [number for number in numbers if number in self._lease.mine]:
            self._give_back(held)

    def claim(self, before: datetime, limit: int | None, job_id: str | None) -> Write:
        """Claim what is due before a time; the answer is the jobs."""
        only = () if job_id is None else (job_id,)

        def conclude(found: Sequence[Row]) -> Answer:
            jobs = sorted((rows.job_of(row) for row in found), key=lambda job: job.number)
            return Answer(jobs, row=found[0] if found else {"owner": None})

        def settle(answer: Answer) -> None:
            self._hold([job.number for job in answer.value], answer.row["owner"])

        return Write(
            sql=rows.CLAIM if job_id is None else rows.CLAIM_ONE,
            values=lambda: (self._lease.owner, before, sorted(self._lease.lost), limit, *only),
            conclude=conclude,
            settle=settle,
            disown=lambda jobs: self._disown([job.number for job in jobs]),
        )

    def start(
        self, number: int, attempt: int, started_at: datetime, scheduled_for: datetime, runs: Sequence[StoredRun]
    ) -> Write:
        """Note that an attempt is in progress; the answer is whether it may be."""

        def settle(answer: Answer) -> None:
            if answer.value:
                self._lease.running.add(number)
            else:
                self._lease.lost.discard(number)
                self._see_to(answer.row)

        return Write(
            sql=rows.START,
            values=lambda: (self._lease.owner, number, attempt, started_at, scheduled_for),
            conclude=lambda found: Answer(found[0]["done"], runs if found[0]["done"] else (), row=found[0]),
            settle=settle,
        )

    def _see_to(self, row: Row) -> None:
        """Take note of a loss of the lease that has shown itself."""
        if not row["is_alive"]:
            self._note_loss()

    def finish(self, number: int, following: StoredJob | None, runs: Sequence[StoredRun]) -> Write:
        """Note that an attempt has ended, and what follows."""
        is_over = following is None or not following.attempt

        def conclude(found: Sequence[Row]) -> Answer:
            (row,) = found
            told = [Notice("ended", number)] if is_over else []
            if row["done"] or not self._is_lost(number, row):
                return Answer(None, runs, told, row)
            logger.warning("the end of a run of job %d comes too late: its lease was lost, others may run it", number)
            return Answer(None, [but(run, reason=_lost(run.reason)) for run in runs], told, row)

        def settle(answer: Answer) -> None:
            self._see_to(answer.row)
            if is_over or number not in self._lease.lost:  # else its run is not over, and is to end here
                self._lease.end_run(number, is_mine=following is not None and answer.row["done"])

        moving = () if following is None else rows.moving(following)
        return Write(
            sql=rows.END if following is None else rows.FINISH,
            values=lambda: (self._lease.owner, number, *moving),
            conclude=conclude,
            settle=settle,
        )

    def _is_lost(self, number: int, row: Row) -> bool:
        """Whether the job of an attempt is not this process's any more, and was not cancelled or replaced."""
        return row["is_there"] or not row["is_alive"] or number in self._lease.lost

    def amend(self, job: StoredJob, runs: Sequence[StoredRun]) -> Write:
        """Note what was changed of a job beside its runs, if it is held here or by nobody."""

        def conclude(found: Sequence[Row]) -> Answer:
            is_free = found[0]["done"] and job.number not in self._lease.mine
            return Answer(None, runs, [Notice("look") if is_free else Notice("ended", job.number)])

        number, columns = job.number, rows.amended(job)
        return Write(
            sql=rows.AMEND,
            values=lambda: (self._lease.owner, 0 if number in self._lease.lost else number, *columns),
            conclude=conclude,
        )

    def release(self, jobs: Sequence[StoredJob], runs: Sequence[StoredRun]) -> Write:
        """Put jobs back; they stay claimed until the end of the lease."""

        def settle(answer: Answer) -> None:
            for job in jobs:
                self._lease.end_run(job.number, is_mine=job.number in answer.value)

        put = rows.as_json(jobs)
        return Write(
            sql=rows.RELEASE,
            values=lambda: (self._lease.owner, put),
            conclude=lambda found: Answer({row["number"] for row in found}, runs),
            settle=settle,
        )

    def remove(self, number: int, runs: Sequence[StoredRun], *, idle_only: bool) -> Write:
        """Forget a job; the answer is whether it was there, and is not any more."""

        def conclude(found: Sequence[Row]) -> Answer:
            if found[0]["done"]:
                return Answer(True, runs, [Notice("gone", number)])
            return Answer(False, () if idle_only else runs)

        def settle(answer: Answer) -> None:
            if answer.value or not idle_only:
                self._lease.forget(number)

        return Write(sql=rows.REMOVE, values=lambda: (number, idle_only), conclude=conclude, settle=settle)

    # Questions

    def find(self, job_id: str | None) -> Write:
        """Return the job of an id, or all."""
        return Write(
            sql=rows.FIND_ALL if job_id is None else rows.FIND,
            values=lambda: () if job_id is None else (job_id,),
            conclude=lambda found: Answer([rows.job_of(row) for row in found]),
            reads=True,
        )

    def runs(self, query: RunQuery) -> Write:
        """Return rows of the history."""
        sql, values = history.question(query)
        return Write(
            sql=sql,
            values=lambda: values,
            conclude=lambda found: Answer([history.run_of(row) for row in found]),
            reads=True,
        )

    def prune(self, now: datetime, most: int) -> Write:
        """Forget rows of the history, and times for which runs were started long ago."""
        return Write(sql=history.PRUNE, values=lambda: (now, most, now - _KEPT), conclude=lambda _: Answer())

    def give_back(self, numbers: Sequence[int]) -> Write:
        """Give up claims."""

        def settle(answer: Answer) -> None:
            del answer  # it is as it is
            for number in numbers:
                self._lease.forget(number)

        return Write(
            sql=rows.GIVE_BACK,
            values=lambda: (self._lease.owner, list(numbers)),
            conclude=lambda _: Answer(None, (), [Notice("look")]),
            settle=settle,
        )


def _lost(reason: str | None) -> str:
    return _LOST if reason is None else f"{reason}; {_LOST}"

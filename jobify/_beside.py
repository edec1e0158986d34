"""Jobs that run beside the one whose times they are meant for: what `Overlap.ALLOW` allows."""

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from jobify._aftermath import missed
from jobify._chronicle import Chronicle
from jobify._clock import Clock
from jobify._entry import Entry, Order, id_beside
from jobify._job import Job
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._log import logger
from jobify._misfire import Decision
from jobify._nominal import Nominal, Passed, Times
from jobify._records import times_now, to_row
from jobify._settings import Settings
from jobify.exceptions import DuplicateJobError, JobifyError, StorageError
from jobify.storage import Storage, StoredRun


class Adder(Protocol):
    """What is needed of the scheduler."""

    settings: Settings
    clock: Clock
    storage: Storage
    keeper: Keeper
    ledger: Ledger
    chronicle: Chronicle

    def add(self, order: Order) -> Awaitable[Job[Any]]:
        """Accept an order."""
        ...


class Beside:
    """Starts jobs beside others."""

    def __init__(self, scheduler: Adder) -> None:
        self._scheduler = scheduler

    def spawn(self, entry: Entry) -> None:
        """Have a job of its own run for each time that has come while the run of an earlier one is in progress."""
        times = times_now(entry, self._scheduler.clock, self._scheduler.settings.tz)
        passed = times.passed(entry.reached) if times is not None else None
        if times is None or passed is None:
            return
        first, tz = passed.first, self._scheduler.settings.tz
        decision = missed(entry, times.age(first), self._scheduler.clock, tz, here=first)
        noted, entry.covered = entry.covered, passed.last
        self._scheduler.keeper.in_background(
            self._begin_beside(entry, decision, _times_to_run(first, decision, times), noted), about=entry.id
        )

    async def _begin_beside(
        self, entry: Entry, decision: Decision | None, to_run: list[Nominal], noted: Nominal | None
    ) -> None:
        """Note which times are skipped, and start a job for each of the others.

        Args:
            entry: the job whose times these are.
            decision: what was decided about them; None if there is one, which is to run.
            to_run: those that are to run.
            noted: up to which time it was written already that they are covered.
        """
        scheduler = self._scheduler
        if decision is not None and decision.skipped:
            skipped, reason = decision.skipped, decision.reason
            runs = scheduler.chronicle.skipped(entry, skipped, reason)
            if not await self._note(entry, skipped[-1].last, runs):
                _take_back(entry, noted)
                return
            scheduler.ledger.skip(entry, skipped, reason=reason)
            noted = skipped[-1].last
        for time in to_run:
            # A time is noted as covered behind its job: should the process die in between, a start finds the job, and
            # the time covered by that. The other way round it would find neither.
            if not await scheduler.keeper.insist(self._add_beside, entry, time.moment):
                _take_back(entry, noted)
                return
            await self._note(entry, time)
            noted = time

    async def _note(self, entry: Entry, covered: Nominal, runs: Sequence[StoredRun] = ()) -> bool:
        """Write that a job is covered up to a time, if it is stored; return whether that was not given up.

        All else of the job is written as it is by now, not as it was when the time came.
        """
        if not entry.row:
            return True
        row = replace(to_row(entry), covered=covered.moment)
        return await self._scheduler.keeper.insist(self._scheduler.storage.amend, row, runs=runs)

    async def _add_beside(self, entry: Entry, moment: datetime) -> None:
        job_id = id_beside(entry.id, moment)
        try:
            await self._scheduler.add(_order_beside(entry, moment, job_id))
        except StorageError:
            raise  # whoever insists tries again
        except DuplicateJobError:
            # An interval after a step back of the wall clock: two of its times look the same.
            logger.warning("job %r is there already, and is not started again", job_id)
            time = Nominal(moment, 0)
            self._scheduler.ledger.skip(entry, (Passed(time, time, 1),), reason="dropped")
        except JobifyError:
            logger.exception("job %r could not be started beside job %r", job_id, entry.id)


def _times_to_run(first: Nominal, decision: Decision | None, times: Times) -> list[Nominal]:
    to_run: list[Nominal] = []
    time = first if decision is None else decision.run
    until = decision.until if decision is not None else None
    while time is not None:
        to_run.append(time)
        time = times.after(time, within=until) if until is not None else None
    return to_run


def _order_beside(entry: Entry, moment: datetime, job_id: str) -> Order:
    assert entry.spec is not None  # noqa: S101  # its run is in progress
    entry.unpack()  # a job in its backoff may have been restored
    return Order(spec=entry.spec, args=entry.args, kwargs=entry.kwargs, job_id=job_id, at=moment, parent=entry.id)


def _take_back(entry: Entry, noted: Nominal | None) -> None:
    """Leave the times behind one to the next start: the app stops, and could not store their jobs."""
    if noted is None or (entry.covered is not None and noted.nanoseconds < entry.covered.nanoseconds):
        entry.covered = noted

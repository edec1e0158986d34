"""Jobs that run beside the one whose times they are meant for: what `Overlap.ALLOW` allows."""

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
from jobify._nominal import Nominal, Passed
from jobify._records import times_now, to_row
from jobify._settings import Settings
from jobify.exceptions import DuplicateJobError, JobifyError, StorageError
from jobify.storage import Storage, StoredJob, StoredRun


class Adder(Protocol):
    """What is needed of the scheduler."""

    settings: Settings
    clock: Clock
    storage: Storage
    keeper: Keeper
    ledger: Ledger
    chronicle: Chronicle

    async def add(self, order: Order) -> Job[Any]:
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
        decision = missed(
            entry, times.age(passed.first), self._scheduler.clock, self._scheduler.settings.tz, here=passed.first
        )
        entry.covered = passed.last
        moments: list[Nominal] = []
        time = passed.first if decision is None else decision.run
        while time is not None:
            moments.append(time)
            until = decision.until if decision is not None else None
            time = times.after(time, within=until) if until is not None else None
        orders = [self._order_beside(entry, moment.moment) for moment in moments]
        skipped: tuple[Passed, ...] = ()
        runs: list[StoredRun] = []
        if decision is not None and decision.skipped:
            skipped, runs = (
                decision.skipped,
                self._scheduler.chronicle.skipped(entry, decision.skipped, decision.reason),
            )
            self._scheduler.ledger.skip(entry, skipped, reason=decision.reason)
        row = to_row(entry) if entry.row else None
        up_to_skipped = replace(row, covered=skipped[-1].last.moment) if row is not None and skipped else None
        self._scheduler.keeper.in_background(
            self._begin_beside(entry, up_to_skipped, runs, orders, row), about=entry.id
        )

    def _order_beside(self, entry: Entry, moment: datetime) -> Order:
        assert entry.spec is not None  # noqa: S101  # its run is in progress
        return Order(
            spec=entry.spec,
            args=entry.args,
            kwargs=entry.kwargs,
            job_id=id_beside(entry.id, moment),
            at=moment,
            parent=entry.id,
        )

    async def _begin_beside(
        self,
        entry: Entry,
        up_to_skipped: StoredJob | None,
        runs: list[StoredRun],
        orders: list[Order],
        row: StoredJob | None,
    ) -> None:
        insist, amend = self._scheduler.keeper.insist, self._scheduler.storage.amend
        if up_to_skipped is not None:
            await insist(amend, up_to_skipped, runs=runs)
        # A time is noted as covered behind its job: should the process die in between, a start finds the job, and the
        # time covered by that. The other way round it would find neither.
        for order in orders:
            await insist(self._add_beside, entry, order)
        if row is not None:
            await insist(amend, row)

    async def _add_beside(self, entry: Entry, order: Order) -> None:
        try:
            await self._scheduler.add(order)
        except StorageError:
            raise  # whoever insists tries again
        except DuplicateJobError:
            # An interval after a step back of the wall clock: two of its times look the same.
            logger.warning("job %r is there already, and is not started again", order.job_id)
            time = Nominal(order.at or entry.scheduled_for, 0)
            self._scheduler.ledger.skip(entry, (Passed(time, time, 1),), reason="dropped")
        except JobifyError:
            logger.exception("job %r could not be started beside job %r", order.job_id, order.parent)

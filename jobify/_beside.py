"""Jobs that run beside the one whose times they are meant for: what `Overlap.ALLOW` allows."""

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
        runs: list[StoredRun] = []
        if decision is not None:
            runs = self._scheduler.chronicle.skipped(entry, decision.skipped, decision.reason)
            self._scheduler.ledger.skip(entry, decision.skipped, reason=decision.reason)
        self._scheduler.keeper.in_background(
            self._begin_beside(entry, to_row(entry) if entry.row else None, runs, orders), about=entry.id
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
        self, entry: Entry, row: StoredJob | None, runs: list[StoredRun], orders: list[Order]
    ) -> None:
        # First the times are noted as covered: should the process die now, none of them is started twice.
        if row is not None:
            await self._scheduler.keeper.insist(self._scheduler.storage.amend, row, runs=runs)
        for order in orders:
            await self._scheduler.keeper.insist(self._add_beside, entry, order)

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

"""When: from an order to a job that waits for its time, and from there to its cancellation or stop.

What happens when the time has come is in `_runner`; what is due when, in `_agenda`.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from jobify._beside import Beside
from jobify._chronicle import Chronicle
from jobify._clock import Clock
from jobify._entry import Entry, Order
from jobify._job import Job, job_of
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._records import from_any_row, new_entry, row_that_begins, to_row, when_of
from jobify._run import JobStatus
from jobify._runner import Runner
from jobify._runtime import Runtime
from jobify._settings import Settings
from jobify._shared import Shared
from jobify._spec import TaskSpec
from jobify._state import Owner
from jobify._stream import Stream
from jobify._transactions import Transactions
from jobify._window import Window
from jobify._zones import zone_name
from jobify.exceptions import ApplicationStateError, DuplicateJobError, InvalidScheduleError
from jobify.storage import Storage, StoredJob

HARD_LIMIT = 5.0
"""Seconds that a job which was cancelled by a stop may take to end."""


class Scheduler:
    """Schedules jobs for one start of an app."""

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        clock: Clock,
        storage: Storage,
        stream: Stream,
        specs: Mapping[str, TaskSpec],
        control: Callable[["Scheduler"], Owner],
    ) -> None:
        self.settings = settings
        self.specs = specs
        self.clock = clock
        self.storage = storage
        self.keeper = Keeper(storage, clock)
        self.ledger = Ledger(clock, stream, runtime.place)
        self.chronicle = Chronicle(settings, clock, runtime.process, serialized=storage.serialized)
        self.runner = Runner(settings, runtime, clock, self.keeper, self.ledger, self.chronicle, Beside(self).spawn)
        self.shared = Shared(storage, clock, self.keeper, self.ledger, self.runner)
        self.window = Window(storage, clock, self.keeper, self.ledger)
        self.transactions = Transactions(self)
        self.owner = control(self)
        self.random = runtime.random
        self._runtime = runtime
        self.loop = asyncio.get_running_loop()
        self._stopping = False
        self._stopped = False
        self._stores_later = not storage.immediate and not storage.shared

    async def add(self, order: Order) -> Job[Any]:
        """Accept an order. When this returns, a durable job is in its storage.

        Raises:
            ApplicationStateError: the app is stopping.
            DuplicateJobError: the id is taken.
            InvalidArgumentsError: the storage cannot keep the arguments.
            InvalidScheduleError: no such time can be computed.
            StorageError: the storage did not take the job: there is none.
        """
        if order.job_id is not None and (order.replace or not order.spec.durable):
            await self.window.fetch(order.job_id)  # else its storage knows whether the id is taken
            self.transactions.see_to_id(order)
        if order.replace and order.job_id is not None:
            await self.keeper.others(order.job_id)
        while True:
            if self._stopping:
                self.admit(order)
            entry = self.make_entry(order)
            old = self._reserve(entry, replace=order.replace)
            stored = order.spec.durable or (old is not None and bool(old.row))
            step = self._accept(entry, old, replace=order.replace)
            try:
                return job_of(await self.keeper.whole(step, stored=stored, about=entry.id))
            except DuplicateJobError:
                if order.job_id is not None:
                    raise
                # A made id is that of a row which this process has not claimed: draw again.

    def admit(self, order: Order) -> None:
        """See to it that the app may still accept an order."""
        # While running jobs have their grace they may still order what the next start will run.
        if self._stopped or (self._stopping and not order.spec.durable):
            msg = f"cannot schedule {order.spec.name!r}: the app is stopping; schedule while it runs"
            raise ApplicationStateError(msg)

    def make_entry(self, order: Order) -> Entry:
        """Make what an order asks for; it is not entered yet.

        Raises:
            InvalidArgumentsError: the storage cannot keep the arguments.
            InvalidScheduleError: no such time can be computed.
        """
        job_id = order.job_id or self._made_id()
        try:
            entry = new_entry(
                order, job_id, owner=self.owner, clock=self.clock, random=self.random, tz=self.settings.tz
            )
        except OverflowError:
            when = when_of(order)
            zone = zone_name(self.settings.tz)
            msg = (
                f"cannot schedule {order.spec.name!r} {when}: that is not within the years 1 to 9999 of the zone {zone}"
            )
            raise InvalidScheduleError(msg) from None
        if order.spec.durable:
            entry.arguments = self.packed(order)
        return entry

    def packed(self, order: Order) -> Any:
        """Return the arguments of an order as they are stored.

        Raises:
            InvalidArgumentsError: the storage cannot keep them.
        """
        if not self.storage.serialized:
            return order.args, order.kwargs
        return order.spec.codec.pack(order.args, order.kwargs)

    def _made_id(self) -> str:
        while (job_id := self._runtime.new_id()) in self.ledger.entries:
            pass
        return job_id

    def _reserve(self, entry: Entry, *, replace: bool) -> Entry | None:
        """Take the id, so that of two concurrent calls one wins; return who had it, stood down."""
        old = self.ledger.entries.get(entry.id)
        if old is not None:
            if not replace:
                raise DuplicateJobError(entry.id)
            self.runner.stand_down(old, "replaced")
        self.ledger.enter(entry)
        return old

    async def _accept(self, entry: Entry, old: Entry | None, *, replace: bool) -> Entry:
        # What starts when it is accepted is stored as what has: one write instead of two.
        begins = False
        try:
            if entry.arguments is not None:
                begins = self._stores_later and self.runner.promise_slot(entry)
                row = to_row(entry) if not begins else row_that_begins(entry, self.clock.now())
                runs = self.chronicle.called_off(old, "replaced") if old is not None else []
                entry.row = entry.kept = await self.keeper.ask(self.storage.add, row, replace=replace, runs=runs)
                if begins:
                    entry.begun = True
                    self.ledger.unfinished[entry.row] = entry
            elif old is not None and old.row:
                await self.keeper.ask(self.storage.remove, old.row, runs=self.chronicle.called_off(old, "replaced"))
        except BaseException:
            self._restore(entry, old)
            if begins:
                self.runner.break_promise(entry)
            raise
        if old is not None:
            self._supersede(old)
        if entry.row and self.storage.shared and not self.storage.is_mine(entry.row):
            del self.ledger.entries[entry.id]
            await self.shared.follow(entry)
        else:
            self.adopt(entry)
        return entry

    def _restore(self, entry: Entry, old: Entry | None) -> None:
        del self.ledger.entries[entry.id]
        entry.finish()
        if old is not None and not old.done:
            self.ledger.entries[old.id] = old
            self.runner.stand_up(old)

    def _supersede(self, old: Entry) -> None:
        if old.status is JobStatus.SCHEDULED:
            self.ledger.end(old, JobStatus.CANCELLED, reason="replaced")
        else:
            self.ledger.forget(old)

    def adopt(self, *entries: Entry, reason: str | None = None) -> None:
        """Begin the life of jobs that are entered, and stored if they are to be."""
        for entry in entries:
            self.ledger.move(entry, JobStatus.SCHEDULED, reason=reason)
        self.runner.wait(*entries)

    async def find(self, job_id: str) -> Job[Any] | None:
        """Return the job of an id; None if there is none, or if it has finished."""
        await self.window.fetch(job_id)
        await self.keeper.others(job_id)
        entry = self.ledger.entries.get(job_id)
        if entry is not None:
            return job_of(entry)
        found = await self.elsewhere(job_id)
        return job_of(found[0]) if found else None

    async def elsewhere(self, job_id: str | None = None, *, task: str | None = None) -> list[Entry]:
        """Return the job of an id, or all, or all of a task, that other processes hold."""
        if not self.storage.shared:
            return []
        rows = await self.keeper.read(self.storage.find, job_id)
        others = [row for row in rows if task in (None, row.task) and not self.storage.is_mine(row.number)]
        return await asyncio.gather(*map(self.follow, others))

    async def follow(self, row: StoredJob) -> Entry:
        """Return the job of a row that another process holds, or nobody."""
        known = self.shared.followed(row)
        if known is not None:
            return known
        spec = self.specs.get(row.task)
        entry = from_any_row(row, spec, owner=self.owner, clock=self.clock, tz=self.settings.tz)
        await self.shared.follow(entry)
        return entry

    @property
    def is_stopping(self) -> bool:
        """Whether the app stops, or was stopped."""
        return self._stopping

    async def stop(self) -> None:
        """Start nothing more, give running jobs their grace, and leave a true storage behind."""
        self._stopping = True
        self.shared.close()
        self.transactions.close()
        self.window.close()
        self.runner.close()
        try:
            await self.runner.drain(self.settings.shutdown_grace)
            self.runner.cut()
            await self.runner.drain(HARD_LIMIT)
        finally:
            if not self._stopped:  # else it was abandoned meanwhile
                await self._leave_behind()

    async def _leave_behind(self) -> None:
        await self.keeper.settle()
        self._stopped = self.window.is_over = True
        self.runner.abandon()
        try:
            if unfinished := [to_row(entry) for entry in self.ledger.unfinished.values()]:
                await self.keeper.insist(self.storage.release, unfinished)
        finally:
            for entry in list(self.ledger.entries.values()):
                self._dismiss(entry)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Let go of everything at once: nothing is told or started any more. Return the attempts in progress."""
        self._stopping = self._stopped = self.window.is_over = True
        self.shared.close()
        self.transactions.close()
        self.window.close()
        self.ledger.stream = Stream()
        self.keeper.abandon()
        attempts = self.runner.let_go()
        for entry in self.ledger.entries.values():
            entry.leave(f"the app was abandoned; job {entry.id!r} is what its storage says: await app.get_job(id)")
        return attempts

    def _dismiss(self, entry: Entry) -> None:
        if not entry.row:
            self.ledger.end(entry, JobStatus.CANCELLED, reason="stopped")
        elif entry.left is None:
            entry.leave(
                f"the app was stopped; job {entry.id!r} stays stored: await app.get_job(id) after its next start"
            )

"""When: from an order to a job that waits for its time, and from there to its cancellation or stop.

What happens when the time has come is in `_runner`; what is due when, in `_agenda`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from jobify._acceptance import Acceptance
from jobify._beside import Beside
from jobify._chronicle import Chronicle
from jobify._clock import Clock
from jobify._entry import Entry, Order
from jobify._job import Job, job_of
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._records import from_any_row, to_row
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
from jobify.exceptions import ApplicationStateError
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
        self.acceptance = Acceptance(self, runtime)
        self.loop = asyncio.get_running_loop()
        self._stopping = False
        self._stopped = False

    def add(self, order: Order) -> Awaitable[Job[Any]]:
        """Accept an order; see `Acceptance.add`."""
        return self.acceptance.add(order)

    def make_entry(self, order: Order) -> Entry:
        """Make what an order asks for; see `Acceptance.make_entry`."""
        return self.acceptance.make_entry(order)

    def admit(self, order: Order) -> None:
        """See to it that the app may still accept an order."""
        # While running jobs have their grace they may still order what the next start will run.
        if self._stopped or (self._stopping and not order.spec.durable):
            msg = f"cannot schedule {order.spec.name!r}: the app is stopping; schedule while it runs"
            raise ApplicationStateError(msg)

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
            await self.runner.attempts.drain(self.settings.shutdown_grace)
            self.runner.attempts.cut()
            await self.runner.attempts.drain(HARD_LIMIT)
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

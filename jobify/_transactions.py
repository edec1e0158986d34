"""Jobs that are ordered within transactions of the user's: they are not there before the commit, and may never be.

A commit in the database is no event of this process, and nobody tells of a rollback. So while the end of a transaction
has not been seen it is looked for: as soon as the user's task waits for anything, and then in intervals that double. It
is seen at the latest when it is twice as old, or after `LONGEST` seconds.
"""

from typing import Any, NamedTuple, Protocol

from jobify._clock import Alarm, Clock
from jobify._entry import Entry, Order
from jobify._job import Job, job_of
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._log import logger
from jobify._records import to_row
from jobify._run import JobStatus
from jobify._shared import Shared
from jobify._window import Window
from jobify._words import in_words
from jobify.exceptions import ApplicationStateError, DuplicateJobError, JobifyError, StorageError
from jobify.storage import Added, Storage, StoredJob, TransactionalStorage

SHORTEST, LONGEST = 0.01, 0.5
"""Seconds from one look to the next."""

_OPEN = "its transaction is not committed yet"


class Maker(Protocol):
    """What is needed of the scheduler."""

    clock: Clock
    storage: Storage
    keeper: Keeper
    ledger: Ledger
    shared: Shared
    window: Window

    def admit(self, order: Order) -> None:
        """See to it that the app may still accept an order."""
        ...

    def make_entry(self, order: Order) -> Entry:
        """Make what an order asks for."""
        ...


class _Pending(NamedTuple):
    entry: Entry
    added: Added


class Transactions:
    """Adds jobs in transactions of the user's, and sees what becomes of them."""

    def __init__(self, scheduler: Maker) -> None:
        self._scheduler = scheduler
        self._pending: dict[int, _Pending] = {}
        self._new = set[Entry]()
        self._alarm: Alarm | None = None
        self._pause = SHORTEST
        self._watching = self._again = False
        self._owed = self._failed = self._closed = False

    # An order

    async def add(self, order: Order, connection: object) -> Job[Any]:
        """Add a job in the transaction that is in progress on a connection; it is there if that is committed.

        Raises:
            ApplicationStateError: the app is stopping.
            TypeError: the storage cannot use such a connection.
            DuplicateJobError: the id is taken.
            InvalidArgumentsError: the storage cannot keep the arguments.
            InvalidScheduleError: no such time can be computed.
            StorageError: the storage has no transactions of others, or did not take the job.
        """
        self._scheduler.admit(order)
        storage = self._scheduler.storage
        if not isinstance(storage, TransactionalStorage):
            msg = (
                f"cannot schedule {order.spec.name!r} in a transaction of yours: {type(storage).__name__} has no "
                "add_using(connection, job); SQLiteStorage and PostgresStorage do"
            )
            raise StorageError(msg)
        while True:
            entry = self._scheduler.make_entry(order)
            here = self._scheduler.ledger.entries.get(entry.id)
            if here is not None and not here.row:  # of that the storage knows nothing
                raise DuplicateJobError(entry.id)
            try:
                added = await _ask(storage, connection, to_row(entry))
            except DuplicateJobError:
                if order.job_id is not None:
                    raise
                # A made id is that of a row which this process has not claimed: draw again.
            else:
                return self._expect(entry, added)

    def _expect(self, entry: Entry, added: Added) -> Job[Any]:
        entry.row = entry.kept = added.number
        entry.elsewhere, entry.held = True, _OPEN
        entry.settle(JobStatus.SCHEDULED)
        if self._closed:
            self._part_from(entry)
            return job_of(entry)
        if (earlier := self._pending.pop(added.number, None)) is not None:  # its number would else not be free
            _roll_back(earlier.entry)
        self._pending[added.number] = _Pending(entry, added)
        self._pause = SHORTEST
        self._begin()
        return job_of(entry)

    # What becomes of it

    def _begin(self) -> None:
        self._stop_waiting()
        if self._watching:
            self._again = True
        else:
            self._watching = True
            self._scheduler.keeper.in_background(self._watch())

    async def _watch(self) -> None:
        """Look now, and again later while there is anything to look for."""
        try:
            self._again = True
            while self._again:
                self._again = False
                await self._look_quietly()
        finally:
            self._watching = False
        if (self._pending or self._owed) and not self._closed:
            clock = self._scheduler.clock
            self._alarm = clock.call_at(clock.monotonic() + self._pause, self._begin)
            self._pause = min(2 * self._pause, LONGEST)

    async def _look_quietly(self) -> None:
        try:
            await self.look()
        except JobifyError:
            if not self._failed and not self._closed:
                logger.exception("it could not be seen what became of a transaction; the look is repeated")
            self._failed = True
        else:
            self._failed = False

    async def look(self) -> None:
        """See which transactions have ended, and claim what was committed.

        Raises:
            StorageError: the storage does not work at present.
        """
        if not self._pending and not self._owed:
            return
        storage, keeper = self._scheduler.storage, self._scheduler.keeper
        assert isinstance(storage, TransactionalStorage)  # noqa: S101  # else there would be none
        asked, committed = list(self._pending.values()), list[_Pending]()
        are_there = await keeper.read(storage.were_committed, [pending.added for pending in asked])
        for pending, is_there in zip(asked, are_there, strict=True):
            if is_there:
                committed.append(pending)
            elif is_there is False and self._forget(pending):
                _roll_back(pending.entry)
        if (committed or self._owed) and not self._closed:
            await self._bring_in(committed)

    async def _bring_in(self, committed: list[_Pending]) -> None:
        shared = self._scheduler.shared
        if shared.bring_back is not None:
            self._owed = True  # until that has succeeded
            await shared.bring_back(shared.until())
            self._owed = False
        for pending in committed:
            await self._scheduler.window.fetch(pending.added.job_id)
            if self._forget(pending):  # another process has it, or it is too far ahead to be claimed
                pending.entry.held = None
                await shared.follow(pending.entry)

    def _forget(self, pending: _Pending) -> bool:
        """Look for the end of a transaction no more; return whether that was looked for until now."""
        if self._pending.get(pending.added.number) is not pending:
            return False
        del self._pending[pending.added.number]
        return True

    # What others ask

    def taken(self, row: StoredJob) -> Entry | None:
        """Return the job of a row that was just claimed, if it was ordered here in a transaction that has ended now."""
        pending = self._pending.get(row.number)
        if pending is None or pending.entry.id != row.id:
            return None
        self._forget(pending)
        self._new.add(pending.entry)
        return pending.entry

    def is_new(self, entry: Entry) -> bool:
        """Whether a job that was claimed is one that was `taken`, and not one that was left behind; asked once."""
        if entry in self._new:
            self._new.discard(entry)
            return True
        return False

    def see_to_id(self, order: Order) -> None:
        """See to it that the id of a job that is in memory only is not that of one which may soon be stored.

        Raises:
            DuplicateJobError: it is.
        """
        if not order.spec.durable and any(order.job_id == one.added.job_id for one in self._pending.values()):
            raise DuplicateJobError(order.job_id or "")

    async def reach(self, entry: Entry) -> None:
        """See to it that a job is there, as far as this process can know.

        Raises:
            ApplicationStateError: its transaction is still in progress.
            StorageError: the storage does not work at present.
        """
        pending = self._pending.get(entry.row)
        if pending is None or pending.entry is not entry:
            return
        await self.look()
        if self._pending.get(entry.row) is pending:
            msg = f"cannot change job {entry.id!r}: {_OPEN}; commit it, or roll it back and there is no such job"
            raise ApplicationStateError(msg)

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        self._stop_waiting()
        for pending in self._pending.values():
            self._part_from(pending.entry)
        self._pending.clear()

    def _stop_waiting(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _part_from(self, entry: Entry) -> None:
        entry.leave(
            f"the app was stopped; job {entry.id!r} is stored if its transaction is committed: "
            "await app.get_job(id) after its next start"
        )


async def _ask(storage: TransactionalStorage, connection: object, row: StoredJob) -> Added:
    # Not by the keeper: a connection of the user's that does not work says nothing about the storage.
    try:
        return await storage.add_using(connection, row)
    except (JobifyError, TypeError):
        raise
    except Exception as error:
        msg = f"the storage has failed: {in_words(error)}"
        raise StorageError(msg) from error


def _roll_back(entry: Entry) -> None:
    """Let a job be over that never was."""
    entry.held = None
    entry.settle(JobStatus.CANCELLED)
    entry.done = True
    entry.leave(f"job {entry.id!r} is not there: its transaction was rolled back")

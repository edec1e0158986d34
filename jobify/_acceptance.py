"""From an order to a job that is entered and stored.

Most orders are accepted by callbacks: the storage tells when the row is written, and the job goes on in that very
call. A task for each would cost two turns of the loop, and most of what a push takes. An order takes a step of its own
where there is more to do about it than one write.
"""

import contextvars
from collections.abc import Awaitable
from random import Random
from typing import Any, Protocol

from jobify._chronicle import Chronicle
from jobify._clock import Clock
from jobify._entry import Entry, Order
from jobify._job import Job, job_of
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify._log import logger
from jobify._records import new_entry, row_that_begins, to_row, when_of
from jobify._run import JobStatus
from jobify._runner import Runner
from jobify._runtime import Runtime
from jobify._settings import Settings
from jobify._shared import Shared
from jobify._state import Owner
from jobify._transactions import Transactions
from jobify._window import Window
from jobify._zones import zone_name
from jobify.exceptions import DuplicateJobError, InvalidScheduleError
from jobify.storage import Storage, StoredJob
from jobify.storage._answer import Answer, is_prompt


class Receiver(Protocol):
    """What is needed of the scheduler."""

    settings: Settings
    clock: Clock
    storage: Storage
    keeper: Keeper
    ledger: Ledger
    chronicle: Chronicle
    runner: Runner
    shared: Shared
    window: Window
    transactions: Transactions
    owner: Owner
    random: Random

    @property
    def is_stopping(self) -> bool:
        """Whether the app stops, or was stopped."""
        ...

    def admit(self, order: Order) -> None:
        """See to it that the app may still accept an order."""
        ...

    def adopt(self, *entries: Entry) -> None:
        """Begin the life of jobs that are entered, and stored if they are to be."""
        ...


class Acceptance:
    """Accepts orders, each of them whole or not at all."""

    def __init__(self, scheduler: Receiver, runtime: Runtime) -> None:
        self._scheduler = scheduler
        self._new_id = runtime.new_id
        self._stores_later = not scheduler.storage.immediate and not scheduler.storage.shared
        self._context = contextvars.copy_context()
        self._by_steps = 0  # who comes meanwhile goes behind them, or would be before: a step begins a turn later
        self._tell_of_named, self._tell = self._named_written, self._written  # made once

    def add(self, order: Order) -> Awaitable[Job[Any]]:
        """Accept an order. When what is returned is there, a durable job is in its storage.

        Raises:
            ApplicationStateError: the app is stopping.
            DuplicateJobError: the id is taken.
            InvalidArgumentsError: the storage cannot keep the arguments.
            InvalidScheduleError: no such time can be computed.
            StorageError: the storage did not take the job: there is none.
        """
        is_plain = order.spec.durable and not order.replace and self._stores_later and not self._by_steps
        keeper = self._scheduler.keeper
        if is_plain and is_prompt(self._scheduler.storage.add) and not keeper.is_busy(order.job_id):
            return self._add_at_once(order)
        return self._add(order)

    # By callbacks

    def _add_at_once(self, order: Order) -> Awaitable[Job[Any]]:
        if self._scheduler.is_stopping:
            self._scheduler.admit(order)
        self._scheduler.keeper.check()
        entry = self.make_entry(order)
        self._reserve(entry, replace=False)
        try:
            entry.begun = self._scheduler.runner.promise_slot(entry)
            answer = self._write(entry)
        except BaseException:
            self._restore(entry, None)
            raise
        answer.told = self._tell if order.job_id is None else self._tell_of_named
        return answer

    def _write(self, entry: Entry) -> Answer[Any]:
        adding: Awaitable[Any] = self._scheduler.storage.add(self._row_of(entry), replace=False)
        assert isinstance(adding, Answer)  # noqa: S101  # the verb is prompt
        answer: Answer[Any] = adding
        answer.about = entry
        self._scheduler.keeper.enter(None, entry.id)
        return answer

    def _written(self, answer: Answer[Any], number: int | None, error: BaseException | None) -> None:
        """Go on with a job whose row is written, or was not."""
        entry, scheduler = answer.about, self._scheduler
        scheduler.keeper.leave(None, entry.id)
        if number is None:
            self._refuse(entry, answer, error or RuntimeError("the storage has no answer"))
            return
        scheduler.keeper.error = None
        self._note(entry, number)
        entry.handed = True
        if not answer.done():
            answer.set_result(job_of(entry))  # before its first attempt is made: who has pushed it goes first
        try:
            # Not in the context of the caller: the job belongs to the app, whoever asked for it.
            self._context.copy().run(scheduler.adopt, entry)
        except Exception:  # noqa: BLE001  # a clock may be anybody's; the job is stored, and the next start has it
            logger.exception("job %r is stored, and does not start: jobify itself failed", entry.id)

    def _named_written(self, answer: Answer[Any], number: int | None, error: BaseException | None) -> None:
        if isinstance(error, DuplicateJobError):
            self._scheduler.keeper.leave(None, answer.about.id)
            self._scheduler.keeper.error = None
            self._fail(answer.about, answer, error)
        else:
            self._written(answer, number, error)

    def _refuse(self, entry: Entry, answer: Answer[Any], error: BaseException) -> None:
        if isinstance(error, DuplicateJobError):
            self._draw_again(entry, answer)
        else:
            self._fail(entry, answer, self._scheduler.keeper.understood(error))

    def _fail(self, entry: Entry, answer: Answer[Any], error: BaseException) -> None:
        self._restore(entry, None)
        if not answer.done():
            answer.set_exception(error)
            answer.exception()  # its caller may be gone

    def _draw_again(self, entry: Entry, answer: Answer[Any]) -> None:
        """Give a job another id: the one that was made is that of a row which this process has not claimed."""
        ledger = self._scheduler.ledger
        del ledger.entries[entry.id]
        entry.id = self._made_id()
        ledger.enter(entry)
        try:
            again = self._write(entry)
        except Exception as error:  # noqa: BLE001  # who awaits it gets it
            self._refuse(entry, answer, error)
        else:
            again.told = lambda _, number, error: self._written(answer, number, error)

    # By steps

    async def _add(self, order: Order) -> Job[Any]:
        self._by_steps += 1
        try:
            return await self._add_by_step(order)
        finally:
            self._by_steps -= 1

    async def _add_by_step(self, order: Order) -> Job[Any]:
        scheduler = self._scheduler
        if order.job_id is not None and (order.replace or not order.spec.durable):
            await scheduler.window.fetch(order.job_id)  # else its storage knows whether the id is taken
            scheduler.transactions.see_to_id(order)
        if order.replace and order.job_id is not None:
            await scheduler.keeper.others(order.job_id)
        while True:
            if scheduler.is_stopping:
                scheduler.admit(order)
            entry = self.make_entry(order)
            old = self._reserve(entry, replace=order.replace)
            stored = order.spec.durable or (old is not None and bool(old.row))
            step = self._accept(entry, old, replace=order.replace)
            try:
                return job_of(await scheduler.keeper.whole(step, stored=stored, about=entry.id))
            except DuplicateJobError:
                if order.job_id is not None:
                    raise
                # A made id is that of a row which this process has not claimed: draw again.

    def _reserve(self, entry: Entry, *, replace: bool) -> Entry | None:
        """Take the id, so that of two concurrent calls one wins; return who had it, stood down."""
        scheduler = self._scheduler
        old = scheduler.ledger.entries.get(entry.id)
        if old is not None:
            if not replace:
                raise DuplicateJobError(entry.id)
            scheduler.runner.stand_down(old, "replaced")
        scheduler.ledger.enter(entry)
        return old

    async def _accept(self, entry: Entry, old: Entry | None, *, replace: bool) -> Entry:
        scheduler = self._scheduler
        storage, ask = scheduler.storage, scheduler.keeper.ask
        try:
            if entry.arguments is not None:
                entry.begun = self._stores_later and scheduler.runner.promise_slot(entry)
                runs = scheduler.chronicle.called_off(old, "replaced") if old is not None else ()
                self._note(entry, await ask(storage.add, self._row_of(entry), replace=replace, runs=runs))
            elif old is not None and old.row:
                await ask(storage.remove, old.row, runs=scheduler.chronicle.called_off(old, "replaced"))
        except BaseException:
            self._restore(entry, old)
            raise
        if old is not None:
            self._supersede(old)
        if entry.row and storage.shared and not storage.is_mine(entry.row):
            del scheduler.ledger.entries[entry.id]
            await scheduler.shared.follow(entry)
        else:
            scheduler.adopt(entry)
        return entry

    # What both have in common

    def _row_of(self, entry: Entry) -> StoredJob:
        """Return the row of a job. What starts when it is accepted is stored as what has: one write instead of two."""
        return row_that_begins(entry) if entry.begun else to_row(entry)

    def _note(self, entry: Entry, number: int) -> None:
        """Take note of the row of a job."""
        entry.row = entry.kept = number
        if entry.begun:
            self._scheduler.ledger.unfinished[number] = entry

    def _restore(self, entry: Entry, old: Entry | None) -> None:
        scheduler = self._scheduler
        del scheduler.ledger.entries[entry.id]
        entry.finish()
        if old is not None and not old.done:
            scheduler.ledger.entries[old.id] = old
            scheduler.runner.stand_up(old)
        if entry.begun:
            scheduler.runner.break_promise(entry)

    def _supersede(self, old: Entry) -> None:
        ledger = self._scheduler.ledger
        if old.status is JobStatus.SCHEDULED:
            ledger.end(old, JobStatus.CANCELLED, reason="replaced")
        else:
            ledger.forget(old)

    def make_entry(self, order: Order) -> Entry:
        """Make what an order asks for; it is not entered yet.

        Raises:
            InvalidArgumentsError: the storage cannot keep the arguments.
            InvalidScheduleError: no such time can be computed.
        """
        scheduler, tz = self._scheduler, self._scheduler.settings.tz
        job_id = order.job_id or self._made_id()
        try:
            entry = new_entry(
                order, job_id, owner=scheduler.owner, clock=scheduler.clock, random=scheduler.random, tz=tz
            )
        except OverflowError:
            msg = (
                f"cannot schedule {order.spec.name!r} {when_of(order)}: that is not within the years 1 to 9999 of the "
                f"zone {zone_name(tz)}"
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
        if not self._scheduler.storage.serialized:
            return order.args, order.kwargs
        return order.spec.codec.pack(order.args, order.kwargs)

    def _made_id(self) -> str:
        entries = self._scheduler.ledger.entries
        while (job_id := self._new_id()) in entries:
            pass
        return job_id

"""Declared recurrences at a start: each begins, goes on as it is stored, or takes the place of what it was before."""

from dataclasses import replace
from datetime import tzinfo

from jobify._aftermath import passed_until_now
from jobify._entry import Entry, Order
from jobify._log import logger
from jobify._records import from_row, to_row
from jobify._scheduler import Scheduler
from jobify._spec import TaskSpec
from jobify._triggers import Trigger, trigger_from_text, trigger_to_text
from jobify.exceptions import DuplicateJobError, InvalidScheduleError
from jobify.storage import StoredJob, StoredRun


async def declare(scheduler: Scheduler, spec: TaskSpec, rows: dict[str, StoredJob]) -> Entry | None:
    """Return the job of a recurrence that begins now; None if there is none, or it is among the `rows` already."""
    trigger = spec.trigger
    assert trigger is not None  # noqa: S101  # the caller asks for such specs only
    order = Order(spec=spec, args=trigger.args, kwargs=trigger.kwargs, job_id=spec.name, trigger=trigger, declared=True)
    stored = await _find(scheduler, spec, rows)
    if stored is not None and stored.task != spec.name:
        logger.error(
            "the declared recurrence of %r does not begin: a job of task %r has its id; it begins at the next start at "
            "which that job is over",
            spec.name,
            stored.task,
        )
        return None
    if stored is not None and await _is_kept(scheduler, order, trigger, stored, rows):
        return None
    rows.pop(spec.name, None)
    try:
        entry = scheduler.acceptance.make_entry(order)
    except InvalidScheduleError as error:
        logger.info("the declared recurrence of %r is over: %s", spec.name, error)
        entry = None
    return await _begin(scheduler, spec, entry, stored)


async def _find(scheduler: Scheduler, spec: TaskSpec, rows: dict[str, StoredJob]) -> StoredJob | None:
    stored = rows.get(spec.name) or await scheduler.keeper.ask(scheduler.window.claim_one, spec.name)
    if stored is not None:
        rows[spec.name] = stored
    elif scheduler.storage.shared:  # another process may have it
        stored = next(iter(await scheduler.keeper.ask(scheduler.storage.find, spec.name)), None)
    return stored


async def _is_kept(
    scheduler: Scheduler, order: Order, trigger: Trigger, stored: StoredJob, rows: dict[str, StoredJob]
) -> bool:
    """Whether a stored job goes on: it is what is declared, or differs from that in limits and policies only."""
    if not order.spec.durable:
        return False
    tz, arguments = scheduler.settings.tz, scheduler.acceptance.packed(order)
    declaration = trigger_to_text(trigger.in_zone(tz))
    if (stored.declaration, stored.arguments) == (declaration, arguments):
        return True
    if not _has_same_times(stored, trigger, tz):
        return False
    logger.info("the declared recurrence of %r has changed: its next time stays %s", stored.id, stored.exec_at)
    kept = replace(stored, trigger=declaration, declaration=declaration, arguments=arguments)
    kept.number = await scheduler.keeper.ask(scheduler.storage.add, kept, replace=True)
    if stored.id in rows or scheduler.storage.is_mine(kept.number):
        rows[stored.id] = kept
    return True


def _has_same_times(stored: StoredJob, trigger: Trigger, tz: tzinfo) -> bool:
    """Whether a stored job follows its declaration, and another has the same times."""
    if stored.declaration is None or stored.declaration != stored.trigger:
        return False
    try:
        declared = trigger_from_text(stored.declaration)
    except InvalidScheduleError:  # it was written by a newer version
        return False
    return declared.has_same_times(trigger.in_zone(tz))


async def _begin(scheduler: Scheduler, spec: TaskSpec, entry: Entry | None, stored: StoredJob | None) -> Entry | None:
    """Write a recurrence that begins now, in the place of a stored job if there is one; None if it is not ours."""
    ask, storage = scheduler.keeper.ask, scheduler.storage
    runs = _tell_missed(scheduler, spec, stored) if stored is not None else ()
    if entry is None or not spec.durable:
        if stored is not None:
            await ask(storage.remove, stored.number, runs=runs)
        return entry
    if stored is not None:
        entry.paused = stored.paused
        logger.info("the declared recurrence of %r has changed: its next time is %s", spec.name, entry.exec_at)
    try:
        entry.row = entry.kept = await ask(storage.add, to_row(entry), replace=stored is not None, runs=runs)
    except DuplicateJobError:  # another process has been faster with the same
        return None
    return entry if not storage.shared or storage.is_mine(entry.row) else None


def _tell_missed(scheduler: Scheduler, spec: TaskSpec, stored: StoredJob) -> tuple[StoredRun, ...]:
    """Tell which times of a job that is replaced have passed; return that for the history."""
    try:
        old = from_row(stored, spec, owner=scheduler.owner, clock=scheduler.clock, tz=scheduler.settings.tz)
    except InvalidScheduleError:  # it was written by a newer version
        return ()
    reason = "paused" if old.paused else "missed"
    passed = passed_until_now(old, scheduler.clock, scheduler.settings.tz)
    scheduler.ledger.skip(old, passed, reason=reason)
    return scheduler.chronicle.skipped(old, passed, reason)

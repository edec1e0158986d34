"""What only happens at a start: stored jobs come back, and declared recurrences begin."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from jobify._log import logger
from jobify._misfire import catch_up
from jobify._records import Entry, Order, from_row, to_row
from jobify._scheduler import Scheduler
from jobify._spec import TaskSpec
from jobify.exceptions import ApplicationStateError, InvalidScheduleError
from jobify.storage import StoredJob

_FOREVER = datetime.max.replace(tzinfo=UTC)
_MOST_INTERRUPTIONS = 3


async def recover(scheduler: Scheduler, specs: Mapping[str, TaskSpec], *, is_wanted: Callable[[], bool]) -> None:
    """Bring back what is stored, and begin what is declared.

    Nothing starts before all of it is there: the jobs are adopted in one go at the end, if they `is_wanted` still.

    Raises:
        ApplicationStateError: the start is not wanted any more.
        StorageError: the storage cannot be read or written.
        InvalidArgumentsError: the storage cannot keep the arguments of a declared recurrence.
    """
    rows = {row.id: row for row in await scheduler.keeper.ask(scheduler.storage.claim, _FOREVER)}
    declared = [await _declare(scheduler, spec, rows) for spec in tuple(specs.values()) if spec.trigger is not None]
    entries = [await _revive(scheduler, row, specs.get(row.task)) for row in rows.values()]
    interrupted = [to_row(entry) for entry in entries if entry is not None and rows[entry.id].running]
    if interrupted:
        await scheduler.keeper.ask(scheduler.storage.release, interrupted)
    if not is_wanted():
        msg = "cannot start the app: it was abandoned meanwhile"
        raise ApplicationStateError(msg)
    restored = [entry for entry in entries if entry is not None]
    for entry in restored:
        _catch_up(scheduler, entry)
        scheduler.ledger.enter(entry)
    scheduler.adopt(*restored, reason="restored")
    for begun in declared:
        if begun is not None:
            scheduler.ledger.enter(begun)
            scheduler.adopt(begun)


async def _declare(scheduler: Scheduler, spec: TaskSpec, rows: dict[str, StoredJob]) -> Entry | None:
    """Return the job of a declared recurrence; None if it is stored as it is declared."""
    trigger = spec.trigger
    assert trigger is not None  # noqa: S101  # the caller asks for such specs only
    order = Order(spec=spec, args=trigger.args, kwargs=trigger.kwargs, job_id=spec.name, trigger=trigger, declared=True)
    entry = scheduler.make_entry(order)
    stored = rows.get(spec.name)
    if stored is None and not spec.durable:
        return entry
    wanted = to_row(entry)
    if stored is not None:
        if (
            spec.durable
            and (stored.trigger, stored.arguments) == (wanted.trigger, wanted.arguments)
            and stored.declared
        ):
            return None
        if stored.task != spec.name:
            logger.error(
                "the declared recurrence of %r does not begin: a job of task %r has its id; it begins at the next "
                "start at which that job is over",
                spec.name,
                stored.task,
            )
            return None
        del rows[spec.name]
        logger.info("the declared recurrence of %r has changed: its next time is %s", spec.name, entry.exec_at)
    if spec.durable:
        entry.row = await scheduler.keeper.ask(scheduler.storage.add, wanted, replace=True)
    elif stored is not None:
        await scheduler.keeper.ask(scheduler.storage.remove, stored.number)
    return entry


async def _revive(scheduler: Scheduler, row: StoredJob, spec: TaskSpec | None) -> Entry | None:
    """Return a stored job; None if the declaration that it stems from is gone."""
    if row.declared and spec is not None and spec.trigger is None:
        logger.info("job %r is dropped: task %r declares no recurrence any more", row.id, row.task)
        await scheduler.keeper.ask(scheduler.storage.remove, row.number)
        return None
    try:
        entry = _entry(scheduler, row, spec)
    except InvalidScheduleError as error:
        entry = _entry(scheduler, replace(row, trigger=None), spec)
        entry.held = f"its recurrence cannot be read: {error}"
    if spec is None:
        entry.held = f"task {row.task!r} is not registered"
    if row.running:
        _count_interruption(entry)
    if entry.interruptions >= _MOST_INTERRUPTIONS:
        entry.held = f"a crash has cut its run short {entry.interruptions} times"
    if entry.held is not None:
        logger.warning("job %r is held: %s", row.id, entry.held)
    return entry


def _entry(scheduler: Scheduler, row: StoredJob, spec: TaskSpec | None) -> Entry:
    return from_row(row, spec, owner=scheduler, clock=scheduler.clock, tz=scheduler.settings.tz)


def _count_interruption(entry: Entry) -> None:
    """Take note that a crash has cut the run short: the attempt does not count, the crash does."""
    entry.interruptions += 1
    entry.attempt = max(entry.attempt - 1, 0)
    if not entry.attempt:
        entry.started_at = None


def _catch_up(scheduler: Scheduler, entry: Entry) -> None:
    """Let one run stand for all times of a recurrence that passed while the app was down."""
    now = scheduler.clock.now()
    if entry.trigger is not None and entry.held is None and not entry.attempt and entry.exec_at <= now:
        latest, skipped = catch_up(entry.trigger, entry.exec_at, now, scheduler.settings.tz)
        entry.exec_at = entry.scheduled_for = latest
        scheduler.ledger.skip(entry, skipped, reason="missed")

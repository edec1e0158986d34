"""What only happens at a start: stored jobs come back, and declared recurrences begin."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, tzinfo

from jobify._aftermath import coming, missed
from jobify._clock import to_nanoseconds
from jobify._entry import Entry, Order
from jobify._interrupted import after_crash
from jobify._log import logger
from jobify._records import from_row, make_up, times_now, to_row
from jobify._run import JobStatus
from jobify._scheduler import Scheduler
from jobify._spec import TaskSpec
from jobify._triggers import Trigger, trigger_from_text
from jobify.exceptions import ApplicationStateError, InvalidScheduleError
from jobify.storage import StoredJob

_FOREVER = datetime.max.replace(tzinfo=UTC)
_SECOND = 1_000_000_000
"""Nanoseconds."""


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
    await _put_back(scheduler, [entry for entry in entries if entry is not None and rows[entry.id].running])
    if not is_wanted():
        msg = "cannot start the app: it was abandoned meanwhile"
        raise ApplicationStateError(msg)
    restored = [entry for entry in entries if entry is not None]
    for entry in restored:
        _catch_up(scheduler, entry)
        scheduler.ledger.enter(entry)
    _stagger(scheduler, restored)
    scheduler.adopt(*restored, reason="restored")
    for entry in restored:
        if entry.given_up is not None:
            scheduler.ledger.end(entry, JobStatus.CANCELLED, reason=entry.given_up)
    for begun in declared:
        if begun is not None:
            scheduler.ledger.enter(begun)
            scheduler.adopt(begun)


async def _put_back(scheduler: Scheduler, interrupted: list[Entry]) -> None:
    """Write what becomes of jobs whose run a crash has cut short."""
    ask, storage = scheduler.keeper.ask, scheduler.storage
    rows = [to_row(entry) for entry in interrupted if entry.given_up is None]
    if interrupted:
        await ask(storage.release, rows, runs=[run for entry in interrupted for run in entry.unwritten])
    for entry in interrupted:
        entry.unwritten = []
        if entry.given_up is not None:
            await ask(storage.remove, entry.row)


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
            and stored.task == spec.name
            and (stored.declaration, stored.arguments) == (wanted.declaration, wanted.arguments)
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
        if spec.durable and _has_same_times(stored, trigger, scheduler.settings.tz):
            logger.info("the declared recurrence of %r has changed: its next time stays %s", spec.name, stored.exec_at)
            kept = replace(stored, trigger=wanted.trigger, declaration=wanted.declaration, arguments=wanted.arguments)
            kept.number = await scheduler.keeper.ask(scheduler.storage.add, kept, replace=True)
            rows[spec.name] = kept
            return None
        del rows[spec.name]
        entry.paused = stored.paused
        logger.info("the declared recurrence of %r has changed: its next time is %s", spec.name, entry.exec_at)
    if spec.durable:
        entry.row = await scheduler.keeper.ask(scheduler.storage.add, to_row(entry), replace=True)
    elif stored is not None:
        await scheduler.keeper.ask(scheduler.storage.remove, stored.number)
    return entry


def _has_same_times(stored: StoredJob, trigger: Trigger, tz: tzinfo) -> bool:
    """Whether a stored job follows its declaration, and a new one differs from it in limits and policies only."""
    if stored.declaration is None or stored.declaration != stored.trigger:
        return False
    try:
        declared = trigger_from_text(stored.declaration)
    except InvalidScheduleError:  # it was written by a newer version
        return False
    return declared.has_same_times(trigger.in_zone(tz))


async def _revive(scheduler: Scheduler, row: StoredJob, spec: TaskSpec | None) -> Entry | None:
    """Return a stored job; None if the declaration that it stems from is gone."""
    if row.declaration is not None and spec is not None and spec.trigger is None:
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
    most = scheduler.settings.max_interruptions
    if row.running:
        entry.unwritten = after_crash(scheduler, entry)
    elif most is not None and entry.interruptions >= most:
        entry.held = f"a crash has cut its run short {entry.interruptions} times"
    if entry.held is not None:
        logger.warning("job %r is held: %s", row.id, entry.held)
    return entry


def _entry(scheduler: Scheduler, row: StoredJob, spec: TaskSpec | None) -> Entry:
    return from_row(row, spec, owner=scheduler.owner, clock=scheduler.clock, tz=scheduler.settings.tz)


def _catch_up(scheduler: Scheduler, entry: Entry) -> None:
    """Decide about all times of a recurrence that passed while the app was down.

    Of a one-time job it is decided when it is to start, as in a start that is late for another reason.
    """
    clock, tz = scheduler.clock, scheduler.settings.tz
    late = (clock.now() - entry.exec_at).total_seconds()
    if entry.trigger is None or entry.kept_back or entry.attempt or entry.judged or late < 0:
        return
    if entry.until is not None:  # there is a run for each time up to that already
        entry.judged = True
        return
    decision = missed(entry, late, clock, tz)
    if decision is None:
        return
    if decision.run is not None:
        entry.unwritten += scheduler.chronicle.skipped(entry, decision.skipped, decision.reason)
        entry.go_to(make_up(decision.run, entry.trigger, decision.until))
        scheduler.ledger.skip(entry, decision.skipped, reason=decision.reason)
    elif (times := times_now(entry, clock, tz)) is not None:
        following = coming(entry, entry.trigger, entry.reached, times, scheduler.random, tz)
        if following is not None:  # else it is over, which is written when it is to start
            entry.unwritten += scheduler.chronicle.skipped(entry, decision.skipped, decision.reason)
            entry.go_to(following)
            scheduler.ledger.skip(entry, decision.skipped, reason=decision.reason)


def _stagger(scheduler: Scheduler, entries: list[Entry]) -> None:
    """Let overdue jobs begin so many in each second, the earliest first, as the settings have it."""
    rate, clock = scheduler.settings.catch_up_rate, scheduler.clock
    if rate is None:
        return
    now, monotonic = clock.now(), to_nanoseconds(clock.monotonic())
    overdue = [entry for entry in entries if entry.exec_at <= now and _can_wait(entry)]
    overdue.sort(key=lambda entry: entry.exec_at)
    later = overdue[rate:]
    places = sorted(entry.place for entry in later)  # who was due earlier goes first within a second too
    for index, (entry, place) in enumerate(zip(later, places, strict=True)):
        # `exec_at` stays as it is: the start of a job is late, and shows that.
        entry.due, entry.wall, entry.place = monotonic + (index // rate + 1) * _SECOND, False, place


def _can_wait(entry: Entry) -> bool:
    """Whether an overdue job can start some seconds later: not if it has still to be seen how late it is."""
    return not entry.kept_back and (entry.trigger is not None or entry.misfire_policy.seconds is None)

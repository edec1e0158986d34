"""What only happens at a start: stored jobs come back, and declared recurrences begin."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

from jobify._catching_up import catch_up, stagger
from jobify._declared import declare
from jobify._entry import Entry
from jobify._interrupted import after_crash, hold_if_cut_too_often, note_begun_beside
from jobify._log import logger
from jobify._misfire import Decision
from jobify._records import from_any_row, to_row
from jobify._run import JobStatus
from jobify._scheduler import Scheduler
from jobify._spec import TaskSpec
from jobify.exceptions import ApplicationStateError
from jobify.storage import StoredJob


async def recover(scheduler: Scheduler, *, is_wanted: Callable[[], bool]) -> None:
    """Bring back what is stored, and begin what is declared.

    Nothing starts before all of it is there: the jobs are adopted in one go at the end, if they `is_wanted` still.

    Raises:
        ApplicationStateError: the start is not wanted any more.
        StorageError: the storage cannot be read or written.
        InvalidArgumentsError: the storage cannot keep the arguments of a declared recurrence.
    """
    rows = await _claim(scheduler, scheduler.shared.until())
    if (retention := scheduler.chronicle.retention) is not None:
        await scheduler.keeper.ask(scheduler.storage.prune, scheduler.clock.now(), most=retention.most)
    declared = [
        await declare(scheduler, spec, rows) for spec in tuple(scheduler.specs.values()) if spec.trigger is not None
    ]
    restored = await _restore(scheduler, rows)
    if not is_wanted():
        msg = "cannot start the app: it was abandoned meanwhile"
        raise ApplicationStateError(msg)
    _begin(scheduler, restored)
    for begun in declared:
        if begun is not None:
            scheduler.ledger.enter(begun)
            scheduler.adopt(begun)

    async def bring_back(before: datetime) -> None:
        _begin(scheduler, await _restore(scheduler, await _claim(scheduler, before)))

    scheduler.shared.open(bring_back)


async def _claim(scheduler: Scheduler, before: datetime) -> dict[str, StoredJob]:
    rows = await scheduler.keeper.ask(scheduler.storage.claim, before)
    return {row.id: row for row in rows if scheduler.shared.makes_room(row)}


async def _restore(scheduler: Scheduler, rows: Mapping[str, StoredJob]) -> list[Entry]:
    """Return the jobs of rows that were just claimed, when what was decided about them is written, and told."""
    await _see_begun_beside(scheduler, rows)
    revived = [await _revive(scheduler, row, scheduler.specs.get(row.task)) for row in rows.values()]
    restored = [entry for entry in revived if entry is not None]
    changed: list[Entry] = []
    decisions: list[tuple[Entry, Decision]] = []
    for entry in restored:
        decision = after_crash(scheduler, entry) if rows[entry.id].running else catch_up(scheduler, entry)
        if decision is not None:
            entry.unwritten += scheduler.chronicle.skipped(entry, decision.skipped, decision.reason)
            decisions.append((entry, decision))
        if entry.held is not None:
            logger.warning("job %r is held: %s", entry.id, entry.held)
        if decision is not None or rows[entry.id].running:
            changed.append(entry)
    await _write(scheduler, changed)
    for entry, decision in decisions:
        scheduler.ledger.skip(entry, decision.skipped, reason=decision.reason)
    return restored


async def _see_begun_beside(scheduler: Scheduler, rows: Mapping[str, StoredJob]) -> None:
    known = list(rows.values())
    if scheduler.storage.shared and any(row.running and row.trigger is not None for row in known):
        # Of the jobs that run beside these, others may hold some.
        known += [row for row in await scheduler.keeper.ask(scheduler.storage.find) if row.id not in rows]
    note_begun_beside(known)


async def _write(scheduler: Scheduler, changed: list[Entry]) -> None:
    """Write what became of jobs while the app was down, each whole: no later start decides, or tells, anew."""
    ask, storage = scheduler.keeper.ask, scheduler.storage
    kept = [entry for entry in changed if entry.given_up is None]
    over = [entry for entry in changed if entry.given_up is not None]
    await asyncio.gather(*(ask(storage.remove, entry.row, runs=entry.unwritten) for entry in over))
    if kept:
        rows = [to_row(entry) for entry in kept]
        await ask(storage.release, rows, runs=[run for entry in kept for run in entry.unwritten])
    for entry in changed:
        entry.unwritten = []


def _begin(scheduler: Scheduler, restored: list[Entry]) -> None:
    """Let restored jobs wait for their time, all of them at once."""
    for entry in restored:
        scheduler.ledger.enter(entry)
    stagger(scheduler, restored)
    scheduler.adopt(*restored, reason="restored")
    for entry in restored:
        if entry.given_up is not None:
            scheduler.ledger.end(entry, JobStatus.CANCELLED, reason=entry.given_up)


async def _revive(scheduler: Scheduler, row: StoredJob, spec: TaskSpec | None) -> Entry | None:
    """Return a stored job; None if the declaration that it stems from is gone."""
    if row.declaration is not None and spec is not None and spec.trigger is None:
        logger.info("job %r is dropped: task %r declares no recurrence any more", row.id, row.task)
        await scheduler.keeper.ask(scheduler.storage.remove, row.number)
        return None
    known = scheduler.shared.taken(row.number)
    clock, tz = scheduler.clock, scheduler.settings.tz
    entry = from_any_row(row, spec, owner=scheduler.owner, clock=clock, tz=tz, known=known)
    if spec is None:
        entry.held = f"task {row.task!r} is not registered"
    if not row.running:
        hold_if_cut_too_often(entry, scheduler.settings.max_interruptions)
    return entry

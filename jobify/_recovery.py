"""What only happens at a start: stored jobs come back, and declared recurrences begin."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from jobify._catching_up import catch_up, stagger
from jobify._declared import declare
from jobify._entry import Entry
from jobify._interrupted import after_crash, hold_if_cut_too_often, note_begun_beside
from jobify._log import logger
from jobify._misfire import Decision
from jobify._records import from_any_row, to_row
from jobify._run import JobStatus
from jobify._scheduler import Scheduler
from jobify.exceptions import ApplicationStateError
from jobify.storage import StoredJob

Write = Callable[..., Awaitable[Any]]
"""How a verb of the storage is carried out: `Keeper.ask`, or `Keeper.insist`."""


async def recover(scheduler: Scheduler, *, is_wanted: Callable[[], bool]) -> None:
    """Bring back what is stored, and begin what is declared.

    Nothing starts before all of it is there: the jobs are adopted in one go at the end, if they `is_wanted` still.

    Raises:
        ApplicationStateError: the start is not wanted any more.
        StorageError: the storage cannot be read or written.
        InvalidArgumentsError: the storage cannot keep the arguments of a declared recurrence.
    """
    claimed = await scheduler.keeper.ask(scheduler.window.claim, scheduler.shared.until())
    rows = _wanted(scheduler, claimed)
    if (retention := scheduler.chronicle.retention) is not None:
        await scheduler.keeper.ask(scheduler.storage.prune, scheduler.clock.now(), most=retention.most)
    declared = [
        await declare(scheduler, spec, rows) for spec in tuple(scheduler.specs.values()) if spec.trigger is not None
    ]
    restored = await _restore(scheduler, rows, scheduler.keeper.ask)
    if not is_wanted():
        msg = "cannot start the app: it was abandoned meanwhile"
        raise ApplicationStateError(msg)
    _begin(scheduler, restored, staggered=True)
    for begun in declared:
        if begun is not None:
            scheduler.ledger.enter(begun)
            scheduler.adopt(begun)

    scheduler.window.open(partial(_bring_in, scheduler))
    scheduler.shared.open(scheduler.window.look)


def _wanted(scheduler: Scheduler, rows: Mapping[int, StoredJob]) -> dict[str, StoredJob]:
    storage = scheduler.storage
    mine = [row for row in rows.values() if not storage.shared or storage.is_mine(row.number)]  # it may be lost by now
    in_order = sorted(mine, key=lambda row: row.number)
    return {row.id: row for row in in_order if scheduler.shared.makes_room(row)}


async def _bring_in(scheduler: Scheduler, rows: Mapping[int, StoredJob], *, staggered: bool) -> None:
    """Let jobs that were just claimed wait for their time."""
    ids = {row.id for row in rows.values()}
    await _let_pass(scheduler, ids)
    restored = await _restore(scheduler, _wanted(scheduler, rows), scheduler.keeper.insist)
    await _let_pass(scheduler, ids)
    _begin(scheduler, [entry for entry in restored if not entry.done], staggered=staggered)


async def _let_pass(scheduler: Scheduler, ids: Iterable[str]) -> None:
    """Return when no job is being accepted under one of these ids: in vain, for they are taken."""
    entries = scheduler.ledger.entries
    while not scheduler.window.is_over and (busy := [i for i in ids if i in entries and entries[i].status is None]):
        await scheduler.keeper.others(*busy)


async def _restore(scheduler: Scheduler, rows: Mapping[str, StoredJob], write: Write) -> list[Entry]:
    """Return the jobs of rows that were just claimed, when what was decided about them is written, and told."""
    await _see_begun_beside(scheduler, rows)
    revived = [await _revive(scheduler, row, write) for row in rows.values()]
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
    await _write_down(scheduler, changed, write)
    for entry, decision in decisions:
        scheduler.ledger.skip(entry, decision.skipped, reason=decision.reason)
    return restored


async def _see_begun_beside(scheduler: Scheduler, rows: Mapping[str, StoredJob]) -> None:
    known = list(rows.values())
    if scheduler.storage.shared and any(row.running and row.trigger is not None for row in known):
        # Of the jobs that run beside these, others may hold some.
        known += [row for row in await scheduler.keeper.ask(scheduler.storage.find) if row.id not in rows]
    note_begun_beside(known)


async def _write_down(scheduler: Scheduler, changed: list[Entry], write: Write) -> None:
    """Write what became of jobs while the app was down, each whole: no later start decides, or tells, anew."""
    storage = scheduler.storage
    kept = [entry for entry in changed if entry.given_up is None]
    over = [entry for entry in changed if entry.given_up is not None]
    removals = [write(storage.remove, entry.row, runs=entry.unwritten) for entry in over]
    answers = await asyncio.gather(*removals, return_exceptions=True)
    for error in answers:  # behind a failed start none is left in progress: it would come to the next one
        if isinstance(error, BaseException):
            raise error
    if kept:
        rows = [to_row(entry) for entry in kept]
        await write(storage.release, rows, runs=[run for entry in kept for run in entry.unwritten])
    for entry in changed:
        entry.unwritten = ()


def _begin(scheduler: Scheduler, restored: list[Entry], *, staggered: bool) -> None:
    """Let restored jobs wait for their time, all of them at once."""
    for entry in restored:
        scheduler.ledger.enter(entry, restored=True)
    new = [entry for entry in restored if scheduler.transactions.is_new(entry)]
    known = set(new)
    left_behind = [entry for entry in restored if entry not in known]
    if staggered:
        stagger(scheduler, left_behind)
    scheduler.adopt(*left_behind, reason="restored")
    scheduler.adopt(*new)
    for entry in restored:
        if entry.given_up is not None:
            scheduler.ledger.end(entry, JobStatus.CANCELLED, reason=entry.given_up)


async def _revive(scheduler: Scheduler, row: StoredJob, write: Write) -> Entry | None:
    """Return a stored job; None if the declaration that it stems from is gone."""
    spec = scheduler.specs.get(row.task)
    if row.declaration is not None and spec is not None and spec.trigger is None:
        logger.info("job %r is dropped: task %r declares no recurrence any more", row.id, row.task)
        await write(scheduler.storage.remove, row.number)
        return None
    known = scheduler.shared.taken(row.number) or scheduler.transactions.taken(row)
    if known is not None and known.done:  # it was cancelled here while it was claimed
        return None
    clock, tz = scheduler.window.clock, scheduler.settings.tz
    entry = from_any_row(row, spec, owner=scheduler.owner, clock=clock, tz=tz, known=known)
    if spec is None:
        entry.held = f"task {row.task!r} is not registered"
    if not row.running:
        hold_if_cut_too_often(entry, scheduler.settings.max_interruptions)
    return entry

"""Waiting until no one-time job is left, wherever it is: in memory, in the storage, or with another process."""

from jobify._entry import Entry
from jobify._scheduler import Scheduler
from jobify.exceptions import ApplicationStateError, StorageError
from jobify.storage import StoredJob


async def wait_all(scheduler: Scheduler) -> None:
    """Return when no one-time job is left that will start by itself.

    Raises:
        ApplicationStateError: the app stops, and leaves such jobs behind.
        StorageError: it cannot be seen what other processes have.
    """
    while True:
        while waiting := [entry for entry in scheduler.ledger.entries.values() if _is_expected(scheduler, entry)]:
            for entry in waiting:
                await _outlast(scheduler, entry)
        if await _has_more(scheduler):
            continue
        other = await _last_of_others(scheduler)
        if other is None:
            return
        await _outlast(scheduler, other)


async def _has_more(scheduler: Scheduler) -> bool:
    """Have a look at what waits in the storage; return whether there may be anything."""
    try:
        has_more = await scheduler.window.fetch_more()
    except StorageError:
        if not scheduler.is_stopping:
            raise
    else:
        if not (scheduler.is_stopping and scheduler.window.has_rest):
            return has_more
    msg = "the app was stopped, and has not seen all jobs that stay stored"
    raise ApplicationStateError(msg)


async def _last_of_others(scheduler: Scheduler) -> Entry | None:
    """Return the job, of those that another process holds or nobody, that is due last: the others are over by then."""
    storage = scheduler.storage
    if not storage.shared:
        return None
    rows = [row for row in await scheduler.keeper.read(storage.find) if not storage.is_mine(row.number)]
    expected = [row for row in rows if _starts_by_itself(scheduler, row)]
    if not expected:
        return None
    return await scheduler.follow(max(expected, key=lambda row: (row.exec_at, row.number)))


def _starts_by_itself(scheduler: Scheduler, row: StoredJob) -> bool:
    most = scheduler.settings.max_interruptions
    is_held = row.paused or (most is not None and row.interruptions >= most) or row.task not in scheduler.specs
    return row.trigger is None and not is_held


def _is_expected(scheduler: Scheduler, entry: Entry) -> bool:
    # Who was interrupted has left, and is not expected before the next start.
    return not entry.recurring and not entry.kept_back and (not entry.left or scheduler.is_stopping)


async def _outlast(scheduler: Scheduler, entry: Entry) -> None:
    if entry.done or not _is_expected(scheduler, entry):
        return
    if entry.left:
        raise ApplicationStateError(entry.left)
    waiter = entry.wait(patient=False)
    try:
        await waiter
    except ApplicationStateError:
        if scheduler.is_stopping:
            raise
    finally:
        entry.forget(waiter)

"""How much of what is stored is in memory: the jobs that are due next, and those that somebody has asked for.

The rest waits in its storage, and comes when its time comes near. Nothing wakes up for it before, and nothing at all if
there is no rest.
"""

from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from jobify._clock import EPOCH, Alarm, Clock, to_nanoseconds
from jobify._keeper import Keeper
from jobify._ledger import Ledger
from jobify.storage import Storage, StoredJob

LEAD = timedelta(minutes=1)
"""How far ahead all jobs are in memory, however many; claimed is anew when half of that is left."""

FOREVER = datetime.max.replace(tzinfo=UTC)
_NEVER = datetime.min.replace(tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class BringIn(Protocol):
    """Makes jobs of rows that were just claimed."""

    def __call__(self, rows: Mapping[int, StoredJob], /, *, staggered: bool) -> Awaitable[None]:
        """Make them; `staggered` if those that are overdue are to begin one after the other."""
        ...


class Unstepped:
    """A clock whose wall clock goes on from an instant as if nobody stepped it.

    A duration that waits in the storage lasts by it as long as one that waits in memory.

    Args:
        clock: of the scheduler.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.monotonic = clock.monotonic
        self.call_at = clock.call_at
        self.call_at_wall = clock.call_at_wall
        self._then, self._began = EPOCH, 0

    def begin(self) -> None:
        """Show what the wall clock shows now."""
        self._then, self._began = self._clock.now(), to_nanoseconds(self._clock.monotonic())

    def now(self) -> datetime:
        """Return the wall clock as it would be."""
        return self._then + (to_nanoseconds(self._clock.monotonic()) - self._began) // 1000 * _TICK


class Window:
    """Claims the jobs of a storage with a `window` as they come near.

    Args:
        storage: the storage.
        clock: of the scheduler.
        keeper: its way to the storage.
        ledger: its jobs.

    Attributes:
        has_rest: whether jobs may be in the storage that are not in memory.
        is_over: whether the app has let go of all jobs.
    """

    def __init__(self, storage: Storage, clock: Clock, keeper: Keeper, ledger: Ledger) -> None:
        self.has_rest = False
        self.is_over = False
        self._storage = storage
        self._size = storage.window
        self._clock = clock
        self._unstepped = Unstepped(clock) if self._size is not None else None
        self._keeper = keeper
        self._ledger = ledger
        self._edge = _NEVER  # all that is due before is claimed, but for what others have added
        self._arrived: dict[int, StoredJob] = {}  # they are claimed, and not yet brought in
        self._bring_in: BringIn | None = None
        self._alarms: list[Alarm] = []
        self._claiming = False
        self._closed = False

    @property
    def clock(self) -> Clock:
        """By which what is left of stored durations is counted."""
        return self._unstepped if self._unstepped is not None else self._clock

    # What is claimed

    async def claim(self, until: datetime) -> dict[int, StoredJob]:
        """Claim what is to be in memory now; without a window, what is due until then. Return it, by number.

        Of that what has passed comes whole: its misfires are decided at one instant.
        """
        if self._size is None:
            return self._take(await self._storage.claim(until))
        assert self._unstepped is not None  # noqa: S101  # there is a window
        if not self.has_rest:
            self._unstepped.begin()
        now = max(self._clock.now(), self._unstepped.now())
        self._take(await self._storage.claim(max(self._edge, _later(now, _TICK))))
        if self._edge <= _later(now, LEAD / 2):
            await self._claim_nearest(self._size)
        if self.has_rest and self._edge < (soon := _later(now, LEAD)):
            self._take(await self._storage.claim(soon))
            self._edge = soon
        return self._arrived

    async def _claim_nearest(self, size: int) -> None:
        nearest = await self._storage.claim(FOREVER, limit=size)
        self._take(nearest)
        self.has_rest = len(nearest) >= size
        if self.has_rest:
            self._ledger.leave_room()
            self._edge = max(self._edge, *(row.exec_at for row in nearest))
        else:
            self._edge = _NEVER

    def _take(self, rows: Iterable[StoredJob]) -> dict[int, StoredJob]:
        self._arrived |= {row.number: row for row in rows}
        return self._arrived

    async def claim_one(self, job_id: str) -> StoredJob | None:
        """Claim the job of an id, if it waits in the storage."""
        if not self.has_rest:
            return None
        found = await self._storage.claim(FOREVER, job_id=job_id)
        self._take(found)
        return found[0] if found else None

    # From the start on

    def open(self, bring_in: BringIn) -> None:
        """Claim from now on what comes near. What was claimed until now is in memory.

        Args:
            bring_in: makes jobs of rows that were just claimed.
        """
        self._bring_in = bring_in
        self._arrived.clear()
        self._set_alarms()

    def close(self) -> None:
        """Claim nothing any more that nobody asks for."""
        self._closed = True
        self._disarm()

    def _set_alarms(self) -> None:
        """Have the next jobs claimed in time, on both axes: those that follow the wall clock, and durations."""
        self._disarm()
        if not self.has_rest or self._closed or self._unstepped is None:
            return
        when = self._edge - LEAD / 2
        seconds = max((when - self._unstepped.now()).total_seconds(), 0.0)
        self._alarms.append(self._clock.call_at_wall(when, self._ring))
        self._alarms.append(self._clock.call_at(self._clock.monotonic() + seconds, self._ring))

    def _disarm(self) -> None:
        for alarm in self._alarms:
            alarm.cancel()
        self._alarms.clear()

    def _ring(self) -> None:
        self._disarm()
        if not self._claiming and not self._closed:
            self._claiming = True
            self._keeper.in_background(self._claim_next())

    async def _claim_next(self) -> None:
        try:
            await self._keeper.insist(lambda: self._in_turn(self._look(FOREVER, staggered=False)))
        finally:
            self._claiming = False

    async def look(self, until: datetime) -> None:
        """Claim what others have added or left.

        Raises:
            StorageError: the storage does not work.
        """
        await self._in_turn(self._look(until, staggered=True))

    def _in_turn(self, step: Coroutine[Any, Any, None]) -> Awaitable[None]:
        """Have one step after the other carried out: what one has claimed, the next finds in memory."""
        return step if self._size is None else self._keeper.begin(step, about=self)

    async def _look(self, until: datetime, *, staggered: bool) -> None:
        if not self._closed:
            await self._keeper.ask(self.claim, until)
            await self._arrive(staggered=staggered)

    async def _arrive(self, *, staggered: bool = False) -> None:
        assert self._bring_in is not None  # noqa: S101  # the app has started
        if not self.is_over:
            await self._bring_in(self._arrived, staggered=staggered)
        self._arrived.clear()
        self._set_alarms()

    # What somebody asks for

    async def fetch(self, job_id: str) -> None:
        """Bring in the job of an id, if it waits in the storage.

        Raises:
            StorageError: the storage does not work.
        """
        if job_id not in self._ledger.entries and self._may_have_more():
            await self._in_turn(self._fetch(job_id))

    def _may_have_more(self) -> bool:
        return self.has_rest or self._keeper.is_busy(self)

    async def _fetch(self, job_id: str) -> None:
        if job_id not in self._ledger.entries:
            await self._keeper.ask(self.claim_one, job_id)
            await self._arrive()

    async def fetch_all(self) -> None:
        """Bring in all that waits in the storage.

        Raises:
            StorageError: the storage does not work.
        """
        if self._may_have_more():
            await self._in_turn(self._fetch_all())

    async def _fetch_all(self) -> None:
        if self.has_rest:
            self._take(await self._keeper.ask(self._storage.claim, FOREVER))
            self.has_rest, self._edge = False, _NEVER
            await self._arrive()

    async def fetch_more(self) -> bool:
        """Bring in the next jobs, although they are not yet near; return whether there may have been any.

        While the storage does not work that is tried again, until the app stops.
        """
        if not self._may_have_more():
            return False
        return await self._keeper.begin(self._keeper.insist(lambda: self._in_turn(self._fetch_more())))

    async def _fetch_more(self) -> None:
        if self.has_rest and self._size is not None:
            await self._claim_nearest(self._size)
            await self._arrive()


def _later(moment: datetime, span: timedelta) -> datetime:
    try:
        return moment + span
    except OverflowError:
        return FOREVER

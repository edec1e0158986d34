"""Storages in memory that several apps share: as one database that all of them claim from, or with one active owner."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from jobify.storage import Host, MemoryStorage, Notice, RunQuery, StoredJob, StoredRun


class Hub:
    """One database.

    Args:
        active_only: whether one of its storages has all jobs, and the others stand by.
        horizon: how far ahead jobs are claimed.
    """

    def __init__(self, *, active_only: bool = False, horizon: timedelta | None = None) -> None:
        self.active_only = active_only
        self.horizon = horizon
        self.rows = MemoryStorage()
        self.is_open = False
        self.members: list[SharedStorage] = []
        self.owner_of: dict[int, SharedStorage] = {}

    @property
    def active(self) -> "SharedStorage | None":
        """Who is active, where only one is."""
        return self.members[0] if self.members else None

    def tell(self, notice: Notice, *, besides: "SharedStorage | None" = None) -> None:
        """Tell all members of something, a little later."""
        for member in self.members:
            if member is not besides and member.listener is not None:
                asyncio.get_running_loop().call_soon(member.listener, notice)

    def leave(self, member: "SharedStorage") -> None:
        """Let the others take over what a member held."""
        if member in self.members:
            self.members.remove(member)
            self.owner_of = {number: owner for number, owner in self.owner_of.items() if owner is not member}
            self.tell(Notice("look"))


class SharedStorage:
    """One process's way to a database."""

    serialized = False
    immediate = False
    shared = True
    window = None

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.listener: Callable[[Notice], None] | None = None

    @property
    def horizon(self) -> timedelta | None:
        """How far ahead jobs are claimed."""
        return self.hub.horizon

    def watch(self, listener: Callable[[Notice], None], /) -> None:
        """Be told of what others do."""
        self.listener = listener

    def is_mine(self, number: int, /) -> bool:
        """Whether this process holds a job."""
        return self.hub.owner_of.get(number) is self

    def _may_claim(self) -> bool:
        return not self.hub.active_only or self.hub.active is self

    async def open(self, host: Host, /) -> None:
        """Join."""
        if not self.hub.is_open:
            await self.hub.rows.open(host)
            self.hub.is_open = True
        self._clock = host.clock
        self.hub.members.append(self)

    async def add(self, job: StoredJob, /, *, replace: bool, runs: Sequence[StoredRun] = ()) -> int:
        """Keep a job; claim it if it is near, and claims are this process's business."""
        await asyncio.sleep(0)
        old = [row.number for row in await self.hub.rows.find(job.id)]
        number = await self.hub.rows.add(job, replace=replace, runs=runs)
        for gone in old:
            self.hub.owner_of.pop(gone, None)
            self.hub.tell(Notice("gone", gone), besides=self)
        near = self.horizon is None or job.exec_at < self._clock.now() + self.horizon
        if near and self._may_claim():
            self.hub.owner_of[number] = self
        else:
            self.hub.tell(Notice("look"), besides=self)
        return number

    async def claim(
        self, before: datetime, /, *, limit: int | None = None, job_id: str | None = None
    ) -> Sequence[StoredJob]:
        """Claim what nobody holds."""
        await asyncio.sleep(0)
        if not self._may_claim():
            return []
        found = [
            row
            for row in await self.hub.rows.find(job_id)
            if row.exec_at < before and row.number not in self.hub.owner_of
        ]
        if limit is not None:
            found = sorted(found, key=lambda row: (row.exec_at, row.number))[:limit]
        self.hub.owner_of |= {row.number: self for row in found}
        return found

    async def start(self, number: int, /, **what: Any) -> bool:
        """Note a start, of what is held."""
        await asyncio.sleep(0)
        return self.is_mine(number) and await self.hub.rows.start(number, **what)

    async def finish(self, number: int, /, following: StoredJob | None, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note an end."""
        await asyncio.sleep(0)
        if self.is_mine(number):
            await self.hub.rows.finish(number, following, runs=runs)
        else:  # it was taken over: the history alone is written
            await self.hub.rows.finish(0, None, runs=runs)
        self.hub.tell(Notice("ended", number))

    async def amend(self, job: StoredJob, /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note a change."""
        await asyncio.sleep(0)
        await self.hub.rows.amend(job, runs=runs)

    async def release(self, jobs: Sequence[StoredJob], /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Put jobs back."""
        await asyncio.sleep(0)
        await self.hub.rows.release(jobs, runs=runs)

    async def remove(self, number: int, /, *, runs: Sequence[StoredRun] = (), idle_only: bool = False) -> bool:
        """Forget a job."""
        await asyncio.sleep(0)
        removed = await self.hub.rows.remove(number, runs=runs, idle_only=idle_only)
        if removed:
            self.hub.owner_of.pop(number, None)
            self.hub.tell(Notice("gone", number), besides=self)
        return removed

    async def find(self, job_id: str | None = None, /) -> Sequence[StoredJob]:
        """Return jobs."""
        await asyncio.sleep(0)
        return await self.hub.rows.find(job_id)

    async def runs(self, query: RunQuery, /) -> Sequence[StoredRun]:
        """Return rows of the history."""
        await asyncio.sleep(0)
        return await self.hub.rows.runs(query)

    async def prune(self, now: datetime, /, *, most: int) -> None:
        """Forget rows of the history."""
        await self.hub.rows.prune(now, most=most)

    async def close(self) -> None:
        """Leave."""
        self.hub.leave(self)

    def abandon(self) -> None:
        """Leave at once."""
        self.hub.leave(self)

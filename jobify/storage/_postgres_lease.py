"""Which jobs this process holds, and for how long: its lease in the database, in the time of the server."""

import os
from datetime import datetime, timedelta

from jobify._clock import Clock, SystemClock
from jobify.storage._postgres_driver import Connection

_RENEW = "UPDATE jobify_owners SET lease_until = $2 WHERE id = $1 RETURNING id"
_REGISTER = """
INSERT INTO jobify_owners (id, lease_until) VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
"""
_SWEEP = """
DELETE FROM jobify_owners WHERE id IN (
    SELECT id FROM jobify_owners WHERE lease_until < $2 AND id <> $1 FOR UPDATE SKIP LOCKED
) RETURNING id
"""
_LEAVE = "DELETE FROM jobify_owners WHERE id = $1"
_SLOW = 1.0
"""Seconds: a reading of the server's clock that took longer is of no use."""

_MOST_READINGS = 5


class ServerTime:
    """What time it is for the server, so that processes whose clocks differ agree about leases.

    The server is asked now and then; in between the time goes on by the monotonic clock, so that a step of the wall
    clock of this machine moves no lease. A clock that is not the system's is the same for all.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_real = isinstance(clock, SystemClock)
        self._reading: tuple[datetime, float] | None = None

    async def read(self, connection: Connection) -> None:
        """Ask the server; its answer is taken to be half a round trip old."""
        for _ in range(_MOST_READINGS if self._is_real else 0):
            before = self._clock.monotonic()
            moment: datetime = await connection.fetchval("SELECT clock_timestamp()")
            after = self._clock.monotonic()
            if after - before <= _SLOW or self._reading is None:
                self._reading = moment + timedelta(seconds=(after - before) / 2), after
            if after - before <= _SLOW:
                return

    def now(self) -> datetime:
        """Return the time of the server."""
        if self._reading is None:
            return self._clock.now()
        moment, then = self._reading
        return moment + timedelta(seconds=self._clock.monotonic() - then)


class Lease:
    """The claims of a process, all of which end when it does not renew its lease in time.

    Args:
        clock: of the app.
        length: how long a lease is valid if it is not renewed.

    Attributes:
        owner: by which name this process holds its claims: another one behind each loss.
        mine: the numbers of the jobs that it holds.
        running: those of which it has started an attempt that has not ended.
        is_registered: whether the database knows the owner, as far as is known here.
        lost: those of the attempts in progress whose claim was lost. They are not claimed again before they end.
    """

    def __init__(self, clock: Clock, length: timedelta) -> None:
        self.owner = os.urandom(16).hex()
        self.mine: set[int] = set()
        self.running: set[int] = set()
        self.lost: set[int] = set()
        self._time = ServerTime(clock)
        self._length = length
        self.is_registered = False

    async def renew(self, connection: Connection) -> list[int]:
        """Renew the lease, or begin one; return the jobs whose claim was lost."""
        await self._time.read(connection)
        until = self._time.now() + self._length
        if self.is_registered and await connection.fetchval(_RENEW, self.owner, until) is not None:
            return []
        lost = self.lose() if self.is_registered else []
        await connection.execute(_REGISTER, self.owner, until)
        self.is_registered = True
        return lost

    def lose(self) -> list[int]:
        """Take note that others may have all that was claimed; return what that is."""
        lost = sorted(self.mine)
        self.lost |= self.running
        self.mine.clear()
        self.running.clear()
        self.owner = os.urandom(16).hex()
        self.is_registered = False
        return lost

    async def sweep(self, connection: Connection) -> bool:
        """End the leases of others that were not renewed; return whether there were any."""
        return bool(await connection.fetch(_SWEEP, self.owner, self._time.now()))

    async def leave(self, connection: Connection) -> None:
        """Give up all claims."""
        await connection.execute(_LEAVE, self.owner)

    def end_run(self, number: int, *, is_mine: bool) -> None:
        """Take note of the end of an attempt, and of whether the job is still this process's."""
        self.running.discard(number)
        self.lost.discard(number)
        if not is_mine:
            self.mine.discard(number)

    def forget(self, number: int) -> None:
        """Take note that there is nothing more to do with a job."""
        self.mine.discard(number)
        self.running.discard(number)
        self.lost.discard(number)

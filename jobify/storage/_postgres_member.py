"""This process, as one of those that use a PostgreSQL database, from `open` to `close`."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from jobify._clock import Alarm
from jobify._log import logger
from jobify._steps import Step, hush
from jobify.storage._postgres_driver import Connection
from jobify.storage._postgres_lease import Lease
from jobify.storage._postgres_notices import Board
from jobify.storage._postgres_schema import migrate
from jobify.storage._postgres_session import Session
from jobify.storage._postgres_verbs import Verbs
from jobify.storage._protocol import Host
from jobify.storage._stored import Notice

_LOOK = [Notice("look")]


class Place(NamedTuple):
    """Where the tables are.

    Attributes:
        storage: the storage that uses them, for errors.
        dsn: the address of the database.
        schema: where they are in it.
        channel: where notices about them are told.
        connect: makes a connection.
        timeout: the seconds to wait for one.
    """

    storage: object
    dsn: str
    schema: str
    channel: str
    connect: Callable[[], Awaitable[Connection]]
    timeout: float


class Member:
    """Two connections, a lease that is renewed, and the notices that come and go.

    What people order and ask goes over one connection, which may have to wait for transactions of others; what runs
    need goes over the other, and is told of notices.

    Args:
        place: where the tables are.
        host: the world.
        lease: the seconds for which claims are valid if they are not renewed.
        listeners: who is told of notices.
    """

    def __init__(
        self,
        place: Place,
        host: Host,
        lease: float,
        listeners: Sequence[tuple[Callable[[Notice], None], contextvars.Context]],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = host.clock
        self.lease = Lease(host.clock, timedelta(seconds=lease))
        self.verbs = Verbs(self.lease, give_back=self._give_back, note_loss=self._note_loss)
        self.is_ready = False
        self._seconds = lease
        self._place = place
        self._board = Board((place.dsn, place.schema), listeners)
        make = partial(
            Session,
            place.storage,
            host=host,
            channel=place.channel,
            tell=self._board.tell,
            patience=lease,
            doubt=place.timeout,
        )
        self.life = make(self._connect_life)
        self.orders = make(self._connect_orders)
        self._alarm: Alarm | None = None
        self._is_new = True
        self._over = False

    # From open to close

    async def begin(self) -> None:
        """Connect, and begin the lease."""
        await self.life.call(_nothing)
        await self.orders.call(_nothing)
        self.is_ready = True
        self._set_alarm()

    async def end(self) -> None:
        """Write what was submitted, give up all claims, and disconnect."""
        self._stop()
        try:
            if not self._is_new:
                await self.life.call(self._leave)
        except Exception:  # noqa: BLE001  # the lease will run out by itself
            logger.warning("%r could not give up its claims; they end with the lease", self._place.storage)
        finally:
            self._board.close()
            await self.orders.close()
            await self.life.close()

    def abandon(self) -> None:
        """Disconnect at once."""
        self._stop()
        self._board.close()
        self.orders.abandon()
        self.life.abandon()

    def _stop(self) -> None:
        self._over = True
        if self._alarm is not None:
            self._alarm.cancel()

    # Connections

    async def _connect_orders(self) -> Connection:
        connection = await self._place.connect()
        self._board.take_note(connection)
        return connection

    async def _connect_life(self) -> Connection:
        connection = await self._place.connect()
        alarm = self.clock.call_at(self.clock.monotonic() + self._seconds, connection.terminate)
        try:
            if self._is_new:
                await migrate(connection, self._place.schema)
            self._board.take_note(connection)
            await connection.add_listener(self._place.channel, self._board.heard)
            await self._renew(connection)
        except BaseException:
            connection.terminate()
            raise
        finally:
            alarm.cancel()
        if not self._is_new:  # what was told meanwhile was not heard
            self._board.hear(_LOOK)
        self._is_new = False
        return connection

    # The lease

    def _set_alarm(self) -> None:
        if not self._over:
            self._alarm = self.clock.call_at(self.clock.monotonic() + self._seconds / 3, self._look_after_lease)

    def _look_after_lease(self) -> None:
        self._do(self._keep())

    async def _keep(self) -> None:
        try:
            await self.life.call(self._renew)
        finally:
            self._set_alarm()

    async def _renew(self, connection: Connection) -> None:
        self._tell_lost(await self.lease.renew(connection))
        if await self.lease.sweep(connection):
            logger.warning("the jobs of a process that has not renewed its lease are taken over")
            await self._tell_all(connection)

    async def _tell_all(self, connection: Connection) -> None:
        await connection.execute("SELECT pg_notify($1, 'look:0')", self._place.channel)
        self._board.tell(_LOOK)
        if not self._over:
            self._board.hear(_LOOK)

    async def _leave(self, connection: Connection) -> None:
        await self.lease.leave(connection)
        if self.lease.mine:
            await self._tell_all(connection)

    def _note_loss(self) -> None:
        """Take note that the database does not know the lease any more."""
        if self.lease.is_registered:
            self._tell_lost(self.lease.lose())
            self._do(self.life.call(self._renew))

    def _give_back(self, numbers: Sequence[int]) -> None:
        if not self._over:  # else all are given up
            self._do(self.life.submit(self.verbs.give_back(numbers)))

    def _do(self, step: Coroutine[Any, Any, Any]) -> None:
        Step(step, loop=self.loop, context=contextvars.Context()).add_done_callback(hush)

    def _tell_lost(self, numbers: Sequence[int]) -> None:
        """Tell which claims were lost."""
        if numbers:
            logger.warning("%r was not heard of for too long, and has lost its claims", self._place.storage)
            self._board.hear([Notice("lost", number) for number in numbers])


async def _nothing(_: Connection) -> None:
    pass

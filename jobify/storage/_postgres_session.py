"""A connection that is made again when it is lost, and the verbs that wait for it.

Verbs that arrive while a transaction is being written share the next one. What was to be written when the connection
was lost is written over the next; where that came in the middle of a commit, the server is asked first whether it took
place.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from jobify._clock import Alarm, sleep
from jobify._log import logger
from jobify._steps import Step, hush
from jobify.exceptions import StorageError
from jobify.storage._postgres_batch import Batch, Call, Write
from jobify.storage._postgres_driver import Connection, failure, is_lost, was_in_the_way
from jobify.storage._protocol import Host
from jobify.storage._stored import Notice

T = TypeVar("T")

_MOST_TRIES = 5
_MOST_AT_ONCE = 2000
"""Verbs in one transaction."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two tries to connect."""


class Session:
    """One connection, and its verbs, one batch after the other.

    Args:
        storage: whose it is, for errors.
        connect: makes the connection, and whatever is to be done first over it.
        host: the world; it keeps time where it is while the server works, which may answer in parts.
        channel: where others are told.
        tell: is given what others of this process are told.
        patience: the seconds that a batch may take, until the connection counts as lost.
        doubt: the seconds for which a lost server is waited for, to ask it what it has committed.
    """

    def __init__(
        self,
        storage: object,
        connect: Callable[[], Awaitable[Connection]],
        host: Host,
        *,
        channel: str,
        tell: Callable[[Sequence[Notice]], None],
        patience: float,
        doubt: float,
    ) -> None:
        self.connection: Connection | None = None
        self._storage = storage
        self._connect = connect
        self._clock = host.clock
        self._work = partial(host.real_work, f"the server of {storage!r}")
        self._channel = channel
        self._tell = tell
        self._patience = patience
        self._doubt = doubt
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Write | Call] = deque()
        self._writing: Sequence[Write | Call] = ()
        self._pump: Step[None] | None = None
        self._return: Alarm | None = None
        self._pause = _FIRST_PAUSE
        self._over = False

    # Who asks

    async def submit(self, verb: Write | Call) -> Any:
        """Have a verb carried out, and return its answer; a cancelled caller gives up the answer only."""
        self._waiting.append(verb)
        if self._pump is None:
            # Not in the context of the caller: it serves all.
            self._pump = Step(self._serve(), loop=self._loop, context=contextvars.Context())
            self._pump.add_done_callback(hush)
        try:
            return await verb.answer
        except asyncio.CancelledError:
            if isinstance(verb, Write) and _has_value(verb.answer):  # it came in the same moment
                verb.disown_value(verb.answer.result())
            raise

    async def call(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        """Return what a call returns that has the connection for itself."""
        return cast("T", await self.submit(Call(call=call)))

    async def close(self) -> None:
        """Carry out what waits, and close the connection."""
        if self._pump is not None:
            await asyncio.wait([self._pump])
        self._over = True
        self._stay()
        connection, self.connection = self.connection, None
        if connection is not None:
            try:
                await connection.close(timeout=self._doubt)
            except Exception:  # noqa: BLE001  # the server may be gone
                connection.terminate()

    def abandon(self) -> None:
        """Close the connection at once; verbs in progress fail."""
        self._over = True
        self._stay()
        for verb in (*self._writing, *self._waiting):
            self._fail(verb, RuntimeError("the app was abandoned"))
        self._waiting.clear()
        connection, self.connection = self.connection, None
        if not self._loop.is_closed():
            if connection is not None:
                connection.terminate()
            if self._pump is not None:
                self._pump.abandon()

    # The verbs

    async def _serve(self) -> None:
        try:
            while self._waiting and not self._over:
                first = self._waiting[0]
                if isinstance(first, Call):
                    self._writing = [self._waiting.popleft()]
                    await self._make_call(first)
                else:
                    self._writing = writes = list(self._take_writes())
                    await self._carry_out(Batch(writes))
        finally:
            self._writing = ()
            self._pump = None

    def _take_writes(self) -> Iterator[Write]:
        for _ in range(_MOST_AT_ONCE):
            if not self._waiting or isinstance(self._waiting[0], Call):
                return
            yield cast("Write", self._waiting.popleft())

    async def _make_call(self, call: Call) -> None:
        try:
            connection = await self._connected()
            answer = await self._watched(call.call, connection)
        except Exception as error:  # noqa: BLE001  # who asked for it gets it
            self._fail(call, error)
            if self.connection is not None and is_lost(self.connection, error):
                self._lose(self.connection)
        else:
            if not call.answer.done():
                call.answer.set_result(answer)

    async def _carry_out(self, batch: Batch) -> None:
        for tries_left in reversed(range(_MOST_TRIES)):
            try:
                await self._try(batch)
            except Exception as error:  # noqa: BLE001  # who asked for it gets it
                if tries_left and not self._over and _is_worth_another_try(error):
                    continue
                await self._give_up(batch, error)
            else:
                self._deliver(batch)
            return

    async def _give_up(self, batch: Batch, error: Exception) -> None:
        if len(batch.writes) > 1 and self.connection is not None and not self._over:
            for write in batch.writes:  # one of them cannot be written, which is not the fault of the others
                await self._carry_out(Batch([write]))
            return
        for write in batch.writes:
            self._fail(write, error)

    async def _try(self, batch: Batch) -> None:
        connection = await self._connected()
        try:
            await self._watched(lambda connection: batch.carry_out(connection, self._channel), connection)
        except Exception as error:
            if not is_lost(connection, error):
                raise
            self._lose(connection)
            if batch.commits and batch.xid is not None:
                if await self._was_committed(batch.xid):
                    return
            elif isinstance(error, _TooLateError):
                raise
            raise _NotWrittenError from error

    async def _was_committed(self, xid: str) -> bool:
        """Ask the server what became of a commit that it has not answered."""
        deadline, pause = self._clock.monotonic() + self._doubt, _FIRST_PAUSE
        while not self._over:
            try:
                connection = await self._connected()
                status: str = await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", xid)
            except Exception as error:  # it may come back
                if self._over or self._clock.monotonic() + pause > deadline:
                    msg = f"cannot use {self._storage!r}: the connection was lost in a commit, which may have been made"
                    raise StorageError(msg) from error
            else:
                if status != "in progress":
                    return status == "committed"
            await sleep(self._clock, pause)
            pause *= 2
        return False

    async def _watched(self, call: Callable[[Connection], Awaitable[T]], connection: Connection) -> T:
        """Return what a call returns; if that takes too long the connection is closed, and the call fails."""
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            connection.terminate()

        alarm = self._clock.call_at(self._clock.monotonic() + self._patience, give_up)
        try:
            with self._work():
                return await call(connection)
        except Exception as error:
            if late:
                msg = f"the server has not answered for {self._patience:g} s"
                raise _TooLateError(msg) from error
            raise
        finally:
            alarm.cancel()

    def _deliver(self, batch: Batch) -> None:
        for write, answer in zip(batch.writes, batch.answers, strict=True):
            if write.settle is not None:
                write.settle(answer)
            if not write.answer.done():
                write.answer.set_result(answer.value)
            else:
                write.disown_value(answer.value)
        if notices := batch.notices():
            self._tell(notices)

    def _fail(self, verb: Write | Call, error: BaseException) -> None:
        if not verb.answer.done() and not verb.answer.get_loop().is_closed():
            cause = error.__cause__ if isinstance(error, _NotWrittenError) and error.__cause__ is not None else error
            verb.answer.set_exception(failure(self._storage, cause))
            verb.answer.exception()  # its caller may be gone

    # The connection

    async def _connected(self) -> Connection:
        """Return the connection; it is made if there is none."""
        if self.connection is not None and not self.connection.is_closed():
            return self.connection
        self._stay()
        try:
            with self._work():
                connection = await self._connect()
        except Exception:
            self._come_back()
            raise
        if self._over:
            connection.terminate()
            msg = "the storage was closed meanwhile"
            raise RuntimeError(msg)
        self._pause = _FIRST_PAUSE
        self.connection = connection
        connection.add_termination_listener(self._lose)
        return connection

    def _lose(self, connection: Connection) -> None:
        """Take note of the end of a connection, and make another soon, if nobody needs it before."""
        if self._over or connection is not self.connection:
            return
        self.connection = None
        connection.terminate()
        logger.warning("the connection of %r is lost; it is made again", self._storage)
        self._come_back()

    def _come_back(self) -> None:
        """Try to connect again in a while, as long as that fails."""
        if self._over or self._return is not None:
            return
        self._return = self._clock.call_at(self._clock.monotonic() + self._pause, self._look)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _look(self) -> None:
        self._return = None
        Step(self.call(_nothing), loop=self._loop, context=contextvars.Context()).add_done_callback(hush)

    def _stay(self) -> None:
        if self._return is not None:
            self._return.cancel()
            self._return = None


class _TooLateError(Exception):
    """The server does not answer."""


class _NotWrittenError(Exception):
    """The connection was lost, and nothing was written: another try will do."""


def _is_worth_another_try(error: Exception) -> bool:
    return isinstance(error, _NotWrittenError) or was_in_the_way(error)


def _has_value(answer: asyncio.Future[Any]) -> bool:
    return answer.done() and not answer.cancelled() and answer.exception() is None


async def _nothing(_: Connection) -> None:
    pass

"""The workers of the virtual world: threads that take their turn, or real ones that hold time."""

import asyncio
import contextvars
import pickle
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from jobify import Lane, WorkerError
from jobify_testing._engine import Engine

T = TypeVar("T")


class _Lane:
    """Makes its calls on the loop itself, one after the other, each after a turn of the loop or more.

    So they come always in the same order.
    """

    def __init__(self, turns: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._turns = turns
        self._calls: deque[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = deque()
        self._answers: set[asyncio.Future[Any]] = set()
        self._closed = False

    async def run(self, call: Callable[[], T], /) -> T:
        """Return what `call` returns."""
        answer: asyncio.Future[tuple[T | None, BaseException | None]] = self._loop.create_future()
        self.begin(call, partial(_give, answer))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        value, error = await answer  # an error too is a value here: a future refuses some, like StopIteration
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # None only where the call returned it

    def begin(self, call: Callable[[], T], done: Callable[[T | None, BaseException | None], None], /) -> None:
        """Make a call, and tell `done` of it."""
        if self._closed:
            msg = "cannot use a lane after it was closed"
            raise RuntimeError(msg)
        self._calls.append((partial(contextvars.copy_context().run, call), done))
        if len(self._calls) == 1:
            self._call_soon()

    def _call_soon(self, turns: int | None = None) -> None:
        # Not in the context of a caller: the lane serves all.
        turns = self._turns() if turns is None else turns
        self._loop.call_soon(self._make_call, turns, context=contextvars.Context())

    def _make_call(self, turns: int) -> None:
        if turns:
            self._call_soon(turns - 1)
            return
        if not self._calls:  # the lane was abandoned
            return
        call, done = self._calls[0]
        value, error = None, None
        try:
            value = call()
        except BaseException as caught:  # noqa: BLE001  # it is raised where the call was asked for
            error = caught
        if self._calls:
            self._calls.popleft()
            if self._calls:
                self._call_soon()
            done(value, error)

    async def close(self) -> None:
        """Take no more calls, and return when all have ended."""
        self._closed = True
        await asyncio.sleep(0)
        if self._calls:
            ended = self._loop.create_future()
            self._calls.append((_nothing, partial(_give, ended)))
            self._answers.add(ended)
            await ended

    def abandon(self, last: Callable[[], object], /) -> None:
        """Make no more calls but `last`, now, and let nobody wait for the others."""
        self._closed = True
        self._calls.clear()
        for answer in tuple(self._answers):
            if not answer.done() and not self._loop.is_closed():
                answer.set_result((None, RuntimeError("the lane was abandoned")))
        last()


def _give(future: asyncio.Future[tuple[Any, BaseException | None]], value: Any, error: BaseException | None) -> None:
    if not future.done():
        future.set_result((value, error))


def _nothing() -> None:
    pass


class VirtualWorkers:
    """Threads that take their turn with the loop; nothing here runs beside it.

    Args:
        loop: the virtual loop.
        turns: by how many turns of the loop a storage call is late.
    """

    def __init__(self, loop: Engine, turns: Callable[[], int]) -> None:
        self._loop = loop
        self._turns = turns

    async def run_in_thread(self, call: Callable[[], T], /) -> T:
        """Call in a thread, while the loop waits."""
        return await self._loop.pool.submit(call)

    async def run_in_process(self, call: Callable[[], T], /) -> T:
        """Call in a thread too, for a process would be outside of virtual time; but what is sent there is a copy.

        Raises:
            WorkerError: the call cannot be sent.
        """
        try:
            sent: Callable[[], T] = pickle.loads(pickle.dumps(call))  # noqa: S301  # our own bytes
        except Exception as error:
            msg = f"cannot send a call to another process: {type(error).__name__}: {error}"
            raise WorkerError(msg) from error
        return await self.run_in_thread(sent)

    def open_lane(self, name: str, /) -> Lane:  # noqa: ARG002  # a name for debuggers of real threads
        """Return a new lane."""
        return _Lane(self._turns)

    async def close(self) -> None:
        """Do nothing: the threads are those of the loop."""


class RealWorkers(VirtualWorkers):
    """Threads that run beside the loop, and hold time until they end."""

    async def run_in_thread(self, call: Callable[[], T], /) -> T:
        """Call in a thread of the default executor."""
        return await self._loop.run_in_executor(None, partial(contextvars.copy_context().run, call))

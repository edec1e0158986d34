"""Workers that take their turn: a thread and the loop never run at once."""

import asyncio
import contextlib
import contextvars
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

from jobify import WorkerError
from jobify_testing._engine import Engine
from jobify_testing._errors import VirtualTimeWarning
from jobify_testing._report import where

T = TypeVar("T")

TURN = 1.0
"""Real seconds that a thread may keep its turn."""


class _Call(Generic[T]):
    """One call in a thread of its own."""

    def __init__(self, loop: Engine, call: Callable[[], T]) -> None:
        self._loop = loop
        self._call = call
        self._context = contextvars.copy_context()
        self._ended = threading.Event()
        self._late: asyncio.Future[None] | None = None
        self._lock = threading.Lock()
        self._value: T | None = None
        self._error: BaseException | None = None

    async def run(self) -> T:
        # The others that are due at this instant start first, as they would beside a real thread.
        await asyncio.sleep(0)
        thread = threading.Thread(target=self._work, name="jobify worker", daemon=True)
        thread.start()
        if not self._ended.wait(TURN):
            await self._outlast(thread)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # None only where the call returned it

    def _work(self) -> None:
        try:
            self._value = self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001  # it is raised where the call was asked for
            self._error = error
        with self._lock:
            self._ended.set()
            late = self._late
        if late is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(late.set_result, None)

    async def _outlast(self, thread: threading.Thread) -> None:
        """Let the loop run beside a thread that keeps its turn too long; time stands still meanwhile."""
        with self._lock:
            if self._ended.is_set():
                return
            self._late = self._loop.create_future()
        frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, in spite of its name
        name = f"the thread {thread.name!r}, at {where(frame)}"
        token = self._loop.take_hold(name)
        self._late.add_done_callback(lambda _: self._loop.let_go(token))
        warnings.warn(
            f"{name}, has kept its turn for {TURN:g} real seconds: this test is not reproducible",
            VirtualTimeWarning,
            stacklevel=2,
        )
        # A caller that is cancelled abandons the thread; it holds time until it ends.
        await asyncio.shield(self._late)


class _VirtualLane:
    """Makes its calls on the loop itself, after one turn of the loop: always in the same order."""

    def __init__(self) -> None:
        self._closed = False

    async def run(self, call: Callable[[], T], /) -> T:
        """Return what `call` returns."""
        if self._closed:
            msg = "cannot use a lane after it was closed"
            raise RuntimeError(msg)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        values: list[T] = []
        errors: list[BaseException] = []  # raised below: a future refuses some, like StopIteration

        def work() -> None:
            try:
                values.append(call())
            except BaseException as error:  # noqa: BLE001  # it is raised where the call was asked for
                errors.append(error)
            if not done.done():
                done.set_result(None)

        loop.call_soon(work)
        await done
        if errors:
            raise errors.pop()
        return values.pop()

    async def close(self) -> None:
        """Take no more calls, and return when all have ended."""
        self._closed = True
        await asyncio.sleep(0)


class VirtualWorkers:
    """The workers of a virtual runtime."""

    def __init__(self, loop: Engine) -> None:
        self._loop = loop

    async def run_in_thread(self, call: Callable[[], T], /) -> T:
        """Call in a thread, while the loop waits."""
        return await _Call(self._loop, call).run()

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
        return await _Call(self._loop, sent).run()

    def open_lane(self, name: str, /) -> _VirtualLane:  # noqa: ARG002  # a name for debuggers of real threads
        """Return a new lane."""
        return _VirtualLane()

    async def close(self) -> None:
        """Do nothing: no thread is kept."""

"""Workers that take their turn: a thread and the loop never run at once."""

import asyncio
import contextlib
import contextvars
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

from jobify_testing._engine import Engine
from jobify_testing._errors import VirtualTimeWarning

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
        thread = threading.Thread(target=self._work, name="jobify virtual worker", daemon=True)
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
        where = _where(thread)
        token = self._loop.take_hold(f"a thread at {where}")
        self._late.add_done_callback(lambda _: self._loop.let_go(token))
        warnings.warn(
            f"a thread has kept its turn for {TURN:g} real seconds, at {where}: this test is not reproducible",
            VirtualTimeWarning,
            stacklevel=2,
        )
        await asyncio.shield(self._late)


def _where(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, in spite of its name
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "its end"


class _VirtualLane:
    """Makes its calls on the loop itself, after one turn of the loop: always in the same order."""

    async def run(self, call: Callable[[], T], /) -> T:
        """Return what `call` returns."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                value = call()
            except BaseException as error:  # noqa: BLE001  # it is raised where the call was asked for
                if not done.cancelled():
                    done.set_exception(error)
            else:
                if not done.cancelled():
                    done.set_result(value)

        loop.call_soon(work)
        return await done

    async def close(self) -> None:
        """Take no more calls; all have ended."""
        await asyncio.sleep(0)


class VirtualWorkers:
    """The workers of a virtual runtime."""

    def __init__(self, loop: Engine) -> None:
        self._loop = loop

    async def run_in_thread(self, call: Callable[[], T], /) -> T:
        """Call in a thread, while the loop waits."""
        return await _Call(self._loop, call).run()

    async def run_in_process(self, call: Callable[[], T], /) -> T:
        """Call in a thread too: a process would be outside of virtual time."""
        return await _Call(self._loop, call).run()

    def open_lane(self, name: str, /) -> _VirtualLane:  # noqa: ARG002  # a name for debuggers of real threads
        """Return a new lane."""
        return _VirtualLane()

    async def close(self) -> None:
        """Do nothing: no thread is kept."""

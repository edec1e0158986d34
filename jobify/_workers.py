"""Threads: where functions run that must not run on the loop. Processes are in `_processes`."""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from jobify._processes import ProcessCall, Processes, importable

__all__ = ["Lane", "ProcessCall", "SystemWorkers", "Workers", "importable"]

T = TypeVar("T")


class Lane(Protocol):
    """Calls one function after the other, off the loop: for a storage."""

    async def run(self, call: Callable[[], T], /) -> T:
        """Return what `call` returns, or raise what it raises.

        A caller that is cancelled gives up the answer, not the call.
        """
        ...

    def begin(self, call: Callable[[], T], done: Callable[[T | None, BaseException | None], None], /) -> None:
        """Make a call, and have `done` called on the loop with what it has returned, and with what it has raised.

        If the lane is abandoned meanwhile, `done` need not be called.
        """
        ...

    async def close(self) -> None:
        """Return when all calls have ended, and take no more."""
        ...

    def abandon(self, last: Callable[[], object], /) -> None:
        """Take no more calls, and make none of those that have not begun, but `last` at the end."""
        ...


class Workers(Protocol):
    """Runs functions off the loop, and raises what they raise."""

    async def run_in_thread(self, call: Callable[[], T], /) -> T:
        """Call in a thread. A cancelled caller abandons the thread: it cannot be stopped."""
        ...

    async def run_in_process(self, call: Callable[[], T], /) -> T:
        """Call a picklable function in a process of its own. A cancelled caller has it killed."""
        ...

    def open_lane(self, name: str, /) -> Lane:
        """Return a new lane."""
        ...

    async def close(self) -> None:
        """End idle workers, abandon busy threads, kill busy processes. They can be used again."""
        ...


class _Answer(NamedTuple, Generic[T]):
    """What became of a call; some exceptions cannot be raised through a future."""

    value: T | None
    error: BaseException | None

    def get(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # None only where the call returned it


class _Thread:
    """A thread that makes one call after the other.

    It is a daemon: unlike those of `ThreadPoolExecutor`, it does not hold up the interpreter's exit.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._last: Callable[[], object] | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None and self._last is None:
            call()
            del call  # or its arguments would live until the next one
        if self._last is not None:
            self._last()

    def begin(self, call: Callable[[], T], told: Callable[["_Answer[T]"], None]) -> None:
        """Have a call made; `told` is called with what became of it: on the loop, or here if that is closed."""
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()

        def work() -> None:
            try:
                result = _Answer(context.run(call), None)
            except BaseException as error:  # noqa: BLE001  # it is raised where the call was asked for
                result = _Answer[T](None, error)
            try:
                loop.call_soon_threadsafe(told, result)
            except RuntimeError:
                told(result)  # the loop is closed, and nobody waits

        self._calls.put(work)

    def end(self, last: Callable[[], object] | None = None) -> None:
        """End after the calls that were submitted; with `last`, without those that have not begun, but with it."""
        self._last = last or self._last  # who closes what was abandoned takes nothing back
        self._calls.put(None)


class _ThreadLane:
    """One thread, as a lane."""

    def __init__(self, name: str) -> None:
        self._thread = _Thread(name)
        self._loop = asyncio.get_running_loop()
        self._pending = 0
        self._ended: asyncio.Future[None] | None = None  # resolved when no call is pending, if anybody waits for that
        self._answers: set[asyncio.Future[_Answer[Any]]] = set()
        self._closed = self._abandoned = False

    async def run(self, call: Callable[[], T], /) -> T:
        """Return what `call` returns."""
        answer: asyncio.Future[_Answer[T]] = asyncio.get_running_loop().create_future()
        self.begin(call, partial(_give, answer))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        return (await answer).get()

    def begin(self, call: Callable[[], T], done: Callable[[T | None, BaseException | None], None], /) -> None:
        """Make a call, and tell `done` of it."""
        if self._closed:
            msg = "cannot use a lane after it was closed"
            raise RuntimeError(msg)
        if self._loop.is_closed():  # a storage without an app may be used on one loop after the other
            self._loop, self._pending, self._ended = asyncio.get_running_loop(), 0, None
        self._pending += 1
        self._thread.begin(call, partial(self._end, done))

    def _end(self, done: Callable[[T | None, BaseException | None], None], answer: _Answer[T]) -> None:
        if self._abandoned or self._loop.is_closed():
            return
        self._pending -= 1
        if self._ended is not None:
            self._tell_end()
        done(answer.value, answer.error)

    def _tell_end(self) -> None:
        if self._ended is not None and not self._pending and not self._ended.done():
            self._ended.set_result(None)

    def abandon(self, last: Callable[[], object], /) -> None:
        """Make no more calls but `last`, and let nobody wait for the others."""
        self._closed = self._abandoned = True
        self._thread.end(last)
        if self._loop.is_closed():
            return
        for answer in tuple(self._answers):
            if not answer.done():
                answer.set_result(_Answer(None, RuntimeError("the lane was abandoned")))
        self._pending = 0
        self._tell_end()

    async def close(self) -> None:
        """Return when all calls have ended."""
        self._closed = True
        if self._pending and self._loop is asyncio.get_running_loop():
            self._ended = self._ended or self._loop.create_future()
            await asyncio.wait([self._ended])
        self._thread.end()


def _give(future: "asyncio.Future[_Answer[T]]", value: T | None, error: BaseException | None) -> None:
    if not future.done():
        future.set_result(_Answer(value, error))


class SystemWorkers:
    """Real threads and real processes."""

    def __init__(self) -> None:
        self._idle: list[_Thread] = []
        self._closed = False
        self._processes = Processes(self.run_in_thread)

    async def run_in_thread(self, call: Callable[[], T], /) -> T:
        """Call in a thread, in a copy of the context of the caller."""
        self._closed = False
        thread = self._idle.pop() if self._idle else _Thread("jobify worker")
        answer: asyncio.Future[_Answer[T]] = asyncio.get_running_loop().create_future()
        thread.begin(call, partial(self._rest, thread, answer))
        return (await answer).get()

    def _rest(self, thread: _Thread, future: asyncio.Future[_Answer[T]], answer: _Answer[T]) -> None:
        if self._closed:
            thread.end()
        else:
            self._idle.append(thread)
        if not future.get_loop().is_closed():
            _give(future, answer.value, answer.error)

    async def run_in_process(self, call: Callable[[], T], /) -> T:
        """Call in a process of its own."""
        return await self._processes.run(call)

    def open_lane(self, name: str, /) -> Lane:
        """Return a thread of its own."""
        return _ThreadLane(name)

    async def close(self) -> None:
        """End idle workers, abandon busy threads, kill busy processes."""
        await self._processes.close()
        self._closed = True
        while self._idle:
            self._idle.pop().end()

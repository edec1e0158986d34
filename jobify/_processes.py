"""Processes: where functions run that need a processor to themselves."""

import asyncio
import importlib
import pickle
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from jobify._words import in_words
from jobify.exceptions import WorkerError

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

T = TypeVar("T")


class _RunInThread(Protocol):
    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class ProcessCall:
    """A call of a function that another process imports by its name.

    Attributes:
        module: the module of the function.
        qualname: its name there; what stands there may be a task, which is then taken apart.
        args: positional arguments.
        kwargs: keyword arguments.
    """

    module: str
    qualname: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __call__(self) -> tuple[Any, BaseException | None]:
        """Return the value of the call, or its exception: in a form that reaches the other process."""
        try:
            value = self._function()(*self.args, **self.kwargs)
        except BaseException as error:  # noqa: BLE001  # a process that ends would take its pool with it
            error.add_note("".join(traceback.format_exception(error)).rstrip())
            return None, _portable_error(error)
        if (reason := _why_not_portable(value)) is not None:
            return None, WorkerError(f"cannot send back what {self.qualname!r} returned, {type(value)}: {reason}")
        return value, None

    def _function(self) -> Callable[..., Any]:
        found: Any = importlib.import_module(self.module)
        for name in self.qualname.split("."):
            found = getattr(found, name)
        function: Callable[..., Any] = getattr(found, "function", found)
        return function


def _why_not_portable(value: object) -> str | None:
    """Return why a value cannot cross to another process; None if it can."""
    try:
        back = pickle.loads(pickle.dumps(value))  # noqa: S301  # our own bytes
    except BaseException as error:  # noqa: BLE001  # user code, which may even want to end the program
        return in_words(error)
    if issubclass(type(value), BaseException) and not issubclass(type(back), BaseException):
        return f"it would come back as {type(back).__name__}, which is no exception"
    return None


def _portable_error(error: BaseException) -> BaseException:
    if _why_not_portable(error) is None:
        return error
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001  # the same
        text = in_words(error)
    return WorkerError(f"{type(error).__name__}, which cannot be sent between processes:\n{text}")


def importable(function: Callable[..., Any]) -> str | None:
    """Return why another process cannot import a function by its name; None if it can."""
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if module is None or qualname is None:
        return "it has no name of its own"
    if "<lambda>" in qualname:
        return "it is a lambda"
    if "<locals>" in qualname:
        return "it is defined inside a function"
    if module == "__main__" and getattr(sys.modules.get(module), "__file__", None) is None:
        return "it was typed at a prompt"
    return None


class Processes:
    """Gives each call a process to itself: one that dies, or is killed, harms no other call."""

    def __init__(self, run_in_thread: _RunInThread) -> None:
        self._run_in_thread = run_in_thread
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: set[ProcessPoolExecutor] = set()

    async def run(self, call: Callable[[], T]) -> T:
        """Make a picklable call.

        Raises:
            WorkerError: the call cannot be sent, or the process died.
        """
        if (reason := _why_not_portable(call)) is not None:
            msg = f"cannot send a call to another process: {reason}"
            raise WorkerError(msg)
        from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415  # slow to load, and rarely needed

        pool = self._take_pool()
        self._busy.add(pool)
        try:
            future: Future[T] = await self._run_in_thread(partial(pool.submit, call))
            value = await asyncio.wrap_future(future)
        except BrokenProcessPool as error:
            self._discard(pool)
            msg = (
                "the worker process died: it was killed (out of memory?), it ended itself, or it could not import "
                "the program (is the start of it behind `if __name__ == '__main__':`?)"
            )
            raise WorkerError(msg) from error
        except BaseException:
            self._discard(pool)
            raise
        self._busy.discard(pool)
        self._idle.append(pool)
        return value

    def _take_pool(self) -> "ProcessPoolExecutor":
        """Return an idle pool whose process lives, else a new one: who was killed meanwhile is to fail no call."""
        while self._idle:
            pool = self._idle.pop()
            if _lives(pool):
                return pool
            self._discard(pool)
        return self._new_pool()

    def _new_pool(self) -> "ProcessPoolExecutor":
        from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415  # slow to load, and rarely needed
        from multiprocessing import get_context  # noqa: PLC0415  # the same

        # Spawned, never forked: a fork copies locks that other threads hold.
        return ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))

    def _discard(self, pool: "ProcessPoolExecutor") -> None:
        """Kill the process of a pool, and forget the pool."""
        self._busy.discard(pool)
        for process in _processes_of(pool):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)

    async def close(self) -> None:
        """End idle processes, kill busy ones."""
        for pool in list(self._busy):
            self._discard(pool)
        while self._idle:
            # Its process sleeps: a wait for it is short, and leaves no zombie.
            await self._run_in_thread(partial(self._idle.pop().shutdown, wait=True))


def _lives(pool: "ProcessPoolExecutor") -> bool:
    """Whether the process of an idle pool is there.

    The kernel closes the sentinel of a process when it ends. `is_alive` would have to reap it, in a race with the
    thread of the pool that does so too.
    """
    from multiprocessing.connection import wait  # noqa: PLC0415  # rarely needed

    processes = _processes_of(pool)
    try:
        return bool(processes) and not wait([process.sentinel for process in processes], timeout=0)
    except (OSError, ValueError):  # it has been reaped already
        return False


def _processes_of(pool: "ProcessPoolExecutor") -> list[Any]:
    processes: Mapping[int, Any] = pool._processes or {}  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # public from 3.14 only: kill_workers
    return list(processes.values())

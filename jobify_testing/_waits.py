"""How `concurrent.futures` waits on virtual time: the conditions of its futures, and those who wait for several."""

import asyncio
import concurrent.futures
import concurrent.futures._base as futures
import contextvars
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

from jobify_testing._owner import context_of, owner_in
from jobify_testing._pool import TurnPool
from jobify_testing._threads import AbandonedError, current_turn
from jobify_testing._timekeeper import Timekeeper

T = TypeVar("T")

_LATE = 1e-3
"""Seconds by which it is too late behind a time-out."""


class Host(Timekeeper, Protocol):
    """A loop with threads that take turns."""

    @property
    def pool(self) -> TurnPool:
        """These threads."""
        ...


class _Waiter(Protocol):
    def resume_soon(self) -> object:
        """Go on."""
        ...


class _LoopWaits:
    """The loop itself, blocked until something is notified."""

    is_notified = False

    def resume_soon(self) -> None:
        self.is_notified = True


class TurnCondition(threading.Condition):
    """The condition of a `concurrent.futures.Future` for whose answer threads with turns, or their loop, may wait.

    Attributes:
        loop: the loop.
        tells_time: whether who waits looks at the time behind each wait, and goes on waiting at the very end of it.
    """

    tells_time = False

    def __init__(self, loop: Host) -> None:
        super().__init__()
        self.loop = loop
        self._standing: list[_Waiter] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified; in virtual time, if this thread takes turns, or gives them."""
        waiter = _LoopWaits() if self.loop.is_home() else current_turn()
        if waiter is None:
            return super().wait(timeout)
        nanoseconds = None if timeout is None else max(round(timeout * 1e9), 0)
        self._standing.append(waiter)
        self.release()
        try:
            if isinstance(waiter, _LoopWaits):
                self.loop.pool.see_through(lambda: waiter.is_notified, nanoseconds)
            else:
                waiter.stand_still(nanoseconds)
        finally:
            self.acquire()
            notified = waiter not in self._standing
            if not notified:
                self._standing.remove(waiter)
                _local.is_late = self.tells_time
        return notified

    def notify_all(self) -> None:
        """Wake all who wait."""
        standing, self._standing = self._standing, []
        for waiter in standing:
            waiter.resume_soon()
        super().notify_all()


def make_answer(loop: Host) -> "concurrent.futures.Future[Any]":
    """Make a future for which threads with turns, and their loop, can wait in virtual time."""
    answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
    answer._condition = TurnCondition(loop)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # nobody has seen this future yet
    return answer


def submit_turn(
    loop: Host, pool: concurrent.futures.ThreadPoolExecutor, call: Callable[[], T]
) -> "concurrent.futures.Future[T]":
    """Submit a call to a pool, as `pool.submit` does, so that it takes turns."""
    answer: concurrent.futures.Future[T] = make_answer(loop)

    # As in every pool, the call sees nothing of the context of who submits it.
    context = contextvars.Context().run(context_of, owner_in(None))
    turn = loop.pool.submit_to(pool, partial(_make_call, answer, call), context)
    turn.when_ended(answer.cancel)  # without effect, unless the call was called off
    return answer


def _make_call(answer: "concurrent.futures.Future[T]", call: Callable[[], T]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        value = call()
    except AbandonedError:
        raise  # nobody is left who waits
    except BaseException as error:  # noqa: BLE001  # it is raised where the answer is
        answer.set_exception(error)
    else:
        answer.set_result(value)


def answer_of_submission(callback: object) -> "concurrent.futures.Future[Any] | None":
    """Return the future that `asyncio.run_coroutine_threadsafe` gives out, if `callback` is its."""
    if getattr(callback, "__qualname__", "") != "run_coroutine_threadsafe.<locals>.callback":
        return None
    for cell in getattr(callback, "__closure__", None) or ():
        answer: concurrent.futures.Future[Any] | None = cell.cell_contents
        if isinstance(answer, concurrent.futures.Future):
            return answer
    return None


# `wait` and `as_completed` have an event of their own, and read the time


def waiting_for_turns(install: Callable[..., Any]) -> Callable[..., Any]:
    """Return what installs the waiter of `wait` and `as_completed`, so that it waits in virtual time if it can."""

    def install_virtual(fs: Iterable[Any], return_when: object) -> Any:
        waited = list(fs)
        waiter: Any = install(waited, return_when)
        conditions: list[Any] = [future._condition for future in waited]  # noqa: SLF001  # as `concurrent.futures` does
        if waited and all(isinstance(condition, TurnCondition) for condition in conditions):
            # The futures are locked: nothing is notified before this is there.
            waiter.event._cond = condition = TurnCondition(conditions[0].loop)  # noqa: SLF001  # private, and the same since Python 3.2
            condition.tells_time = type(waiter).__name__ == "_AsCompletedWaiter"
        return waiter

    return install_virtual


class _Local(threading.local):
    is_late = False


_local = _Local()


def _monotonic() -> float:
    loop: Any = asyncio._get_running_loop()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented for authors of loops
    turn = current_turn()
    if loop is None and turn is not None:
        loop = turn.loop
    nanoseconds: int | None = getattr(loop, "nanoseconds", None)
    if nanoseconds is None:
        return time.monotonic()
    # A wait that has ended by its time-out ends exactly then, and `as_completed` wants to see that it is later.
    late, _local.is_late = _local.is_late, False
    return nanoseconds / 1e9 + late * _LATE


VIRTUAL_TIME = SimpleNamespace(**vars(time) | {"monotonic": _monotonic})
"""Stands for the module `time` in `concurrent.futures`, whose time-outs are virtual where its waits are."""

FUTURES: Any = futures
"""Where both are looked up."""

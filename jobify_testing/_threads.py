"""Threads that take their turn: a thread and the loop never run at once, so their order is always the same.

The loop hands the turn over and stands still until the thread gives it back: at its end, in `time.sleep`,
which takes virtual time, or when it waits for a coroutine that it has submitted to the loop. A thread that
keeps its turn for too long does something real: it then only holds time.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from jobify_testing._errors import VirtualDeadlockError, VirtualTimeWarning
from jobify_testing._owner import owner_in
from jobify_testing._report import describe_call, where

T = TypeVar("T")

TURN = 1.0
"""Real seconds that a thread may keep its turn."""


class Timekeeper(Protocol):
    """What threads need of their loop."""

    @property
    def nanoseconds(self) -> int:
        """The virtual instant."""
        ...

    def create_future(self) -> "asyncio.Future[Any]":
        """Make a future."""
        ...

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> Any:
        """Call in the next turn of the loop."""
        ...

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: Any) -> Any:
        """The same, from another thread."""
        ...

    def call_at_nanoseconds(self, when: int, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        """Call at a virtual instant."""
        ...

    def block(self, nanoseconds: int, /) -> None:
        """Let time pass while the loop does not get to run."""
        ...

    def take_hold(self, what: str, /) -> object:
        """Keep time from moving."""
        ...

    def let_go(self, token: object, /) -> None:
        """End that."""
        ...


class AbandonedError(BaseException):
    """Ends a thread that nobody will give a turn any more."""


class _Local(threading.local):
    turn: "Turn[Any] | None" = None


_local = _Local()


def current_turn() -> "Turn[Any] | None":
    """Return the turn that this thread has; None if it takes none."""
    return _local.turn


class Turn(Generic[T]):
    """One call, made in a thread while the loop stands still.

    Attributes:
        answer: what becomes of it.
        owner: the start of an app that it belongs to, if there is one.
    """

    takes_turns = True
    """Tells a pool that nothing has to be noted for this call."""

    def __init__(self, loop: Timekeeper, call: Callable[[], T]) -> None:
        self.answer: asyncio.Future[T] = loop.create_future()
        self._loop = loop
        self._call = call
        self._context = contextvars.copy_context()
        self.owner = owner_in(self._context)
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._overstays = False
        self._started = self._ended = self._abandoned = False
        self._pause: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._value: T | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._on_end: list[Callable[[], object]] = []

    @property
    def ended(self) -> bool:
        """Whether the thread is through with the call."""
        return self._ended

    def when_ended(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the loop when the thread is through with the call."""
        if self._ended:
            callback()
        else:
            self._on_end.append(callback)

    # On the loop

    def resume(self) -> None:
        """Give the thread its turn, and stand still until it gives it back."""
        self._timer = None
        if self._ended or self._abandoned:
            return
        if not self._started and self.answer.cancelled():
            self.dismiss()
            self._ended = True
            self._deliver()
            return
        self._started = True
        self._go.release()
        if self._back.acquire(timeout=TURN):
            self._take_back()
        else:
            self._outlast()

    def _take_back(self) -> None:
        if self._ended:
            self._deliver()
        elif self._pause is not None:
            self._timer = self._loop.call_at_nanoseconds(self._loop.nanoseconds + self._pause, self.resume)

    def _deliver(self) -> None:
        if not self.answer.done():
            if self._error is None:
                self.answer.set_result(self._value)  # type: ignore[arg-type]  # None only where the call returned it
            else:
                self.answer.set_exception(_raisable(self._error))
        callbacks, self._on_end = self._on_end, []
        for callback in callbacks:
            callback()

    def _outlast(self) -> None:
        """Let the loop run beside a thread that keeps its turn too long; time stands still meanwhile."""
        with self._lock:
            self._overstays = not self._back.acquire(blocking=False)
        if not self._overstays:
            self._take_back()
            return
        ident = self._thread.ident if self._thread is not None else None
        frame = sys._current_frames().get(ident or 0)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, in spite of its name
        thread = self._thread.name if self._thread is not None else "of a pool"
        name = f"the thread {thread!r}, in {describe_call(self._call)}, at {where(frame)}"
        self._token = self._loop.take_hold(name)
        try:
            warnings.warn(
                f"{name}, has kept its turn for {TURN:g} real seconds: this test is not reproducible",
                VirtualTimeWarning,
                stacklevel=2,
            )
        except VirtualTimeWarning as warning:  # where warnings are errors, it is that of the call
            if not self.answer.done():
                self.answer.set_exception(warning)

    def _caught_up(self) -> None:
        self._loop.let_go(self._token)
        self._take_back()

    def see_through(self) -> None:
        """Give the thread its turns until it is through, with the loop blocked meanwhile.

        Raises:
            VirtualDeadlockError: it waits for the loop, which waits for it.
        """
        while not self._ended:
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
                self._loop.block(max(round(timer.when() * 1e9) - self._loop.nanoseconds, 0))
            elif self._started:
                msg = "a pool of threads is shut down while the loop waits for it, and one of its threads for the loop"
                raise VirtualDeadlockError(msg)
            self.resume()

    def abandon(self) -> None:
        """Give the thread no further turn: where it stands still, it ends."""
        self._abandoned = True
        if self._timer is not None:
            self._timer.cancel()

    def dismiss(self) -> None:
        """Have an abandoned thread end: its own clean-up runs, which nobody waits for."""
        self.abandon()
        self._go.release()

    # In the thread

    def __call__(self) -> None:
        """Wait for the first turn, and make the call."""
        self._thread = threading.current_thread()
        self._go.acquire()
        if self._abandoned:
            return
        _local.turn = self
        try:
            self._value = self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001  # it is raised where the call was asked for
            self._error = error
        finally:
            _local.turn = None
            self._ended = True
            self._give_back(None)

    def _give_back(self, pause: int | None) -> None:
        self._pause = pause
        with self._lock:
            overstays, self._overstays = self._overstays, False
            if not overstays:
                self._back.release()
                return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._caught_up)

    def stand_still(self, nanoseconds: int | None) -> None:
        """Give the turn back, and return when it comes again: after a virtual duration, or by `resume_soon`.

        Raises:
            AbandonedError: it never will.
        """
        self._give_back(nanoseconds)
        self._go.acquire()
        if self._abandoned:
            raise AbandonedError

    # From the loop, to a thread that stands still

    def resume_soon(self) -> None:
        """Give the thread a turn in the next turn of the loop, whatever it waits for."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop.call_soon(self.resume)


def _raisable(error: BaseException) -> BaseException:
    """Return what a future accepts and its waiter expects: a `StopIteration` would end the coroutine that awaits it."""
    if type(error) is concurrent.futures.CancelledError:
        return asyncio.CancelledError(*error.args)  # as asyncio does
    if isinstance(error, StopIteration):
        wrapped = RuntimeError("the call in a thread raised StopIteration")
        wrapped.__cause__ = error
        return wrapped
    return error


class TurnCondition(threading.Condition):
    """The condition of a `concurrent.futures.Future` for whose answer threads with turns may wait."""

    def __init__(self) -> None:
        super().__init__()
        self._standing: list[Turn[Any]] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified; in virtual time, if this thread takes turns."""
        turn = current_turn()
        if turn is None:
            return super().wait(timeout)
        self._standing.append(turn)
        self.release()
        try:
            turn.stand_still(None if timeout is None else max(round(timeout * 1e9), 0))
        finally:
            self.acquire()
        notified = turn not in self._standing
        if not notified:
            self._standing.remove(turn)
        return notified

    def notify_all(self) -> None:
        """Wake all who wait."""
        standing, self._standing = self._standing, []
        for turn in standing:
            turn.resume_soon()
        super().notify_all()


def answer_of_submission(callback: object) -> "concurrent.futures.Future[Any] | None":
    """Return the future that `asyncio.run_coroutine_threadsafe` gives out, if `callback` is its."""
    if getattr(callback, "__qualname__", "") != "run_coroutine_threadsafe.<locals>.callback":
        return None
    for cell in getattr(callback, "__closure__", None) or ():
        answer: concurrent.futures.Future[Any] | None = cell.cell_contents
        if isinstance(answer, concurrent.futures.Future):
            return answer
    return None

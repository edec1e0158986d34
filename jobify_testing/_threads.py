"""Threads that take their turn: a thread and the loop never run at once, so their order is always the same.

The loop hands the turn over and stands still until the thread gives it back: at its end, in `time.sleep`,
which takes virtual time, or when it waits for what another turn or the loop has to bring. A thread that
keeps its turn for too long does something real: it then only holds time.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import itertools
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from jobify_testing._errors import VirtualDeadlockError, VirtualTimeWarning
from jobify_testing._guard import guard
from jobify_testing._owner import owner_in
from jobify_testing._report import describe_call, where
from jobify_testing._sleep import sleeping_by
from jobify_testing._timekeeper import Timekeeper

T = TypeVar("T")

TURN = 1.0
"""Real seconds that a thread may keep its turn."""

_numbers = itertools.count()


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

    Args:
        loop: the loop that gives the turns.
        call: what is called.
        context: in which context; by default, in a copy of the current one.

    Attributes:
        loop: the loop that gives the turns.
        answer: what becomes of it.
        owner: the start of an app that it belongs to, if there is one.
        due: when it gets its next turn, in nanoseconds of the loop; None if nothing says so yet.
        number: which of the turns of one instant is first.
        thread: in which it is made, when it has begun.
    """

    takes_turns = True
    """Tells a pool that nothing has to be noted for this call."""

    def __init__(self, loop: Timekeeper, call: Callable[[], T], context: contextvars.Context | None = None) -> None:
        self.answer: asyncio.Future[T] = loop.create_future()
        self.loop = loop
        self._call = call
        self._context = contextvars.copy_context() if context is None else context
        self.owner = owner_in(self._context)
        self.due: int | None = None
        self.number = 0
        self.thread: threading.Thread | None = None
        self._alarm: asyncio.Handle | None = None
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._taken = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._stands = True
        self._overstays = self._has_news = False
        self._started = self._ended = self._abandoned = self._dismissed = False
        self._fault: VirtualDeadlockError | None = None
        self._pause: int | None = None
        self._token: object = None
        self._value: T | None = None
        self._error: BaseException | None = None
        self._on_end: list[Callable[[], object]] = []
        self._clean_up = contextlib.ExitStack()

    @property
    def has_begun(self) -> bool:
        """Whether the thread has had a turn."""
        return self._started

    @property
    def overstays(self) -> bool:
        """Whether the thread runs beside the loop, as it has kept its turn for too long."""
        return self._overstays or self._has_news

    @property
    def stands(self) -> bool:
        """Whether the thread stands still in the middle of the call."""
        return self._stands and self._started and not self._ended

    def __str__(self) -> str:
        ident = self.thread.ident if self.thread is not None else None
        frame = sys._current_frames().get(ident or 0)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, in spite of its name
        name = self.thread.name if self.thread is not None else "of a pool"
        return f"the thread {name!r}, in {describe_call(self._call)}, at {where(frame)}"

    def when_ended(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the loop when the thread is through with the call."""
        if self._ended:
            callback()
        else:
            self._on_end.append(callback)

    # On the loop

    def resume_at(self, when: int) -> None:
        """Give the thread its next turn at a virtual instant."""
        self._set_alarm(self.loop.call_at_nanoseconds(when, self.resume), when)

    def resume_soon(self) -> None:
        """Give the thread a turn in the next turn of the loop, whatever it waits for; from any thread."""
        call_soon = self.loop.call_soon if self.loop.is_home() else self.loop.call_soon_threadsafe
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._set_alarm(call_soon(self.resume), self.loop.nanoseconds)

    def _set_alarm(self, alarm: asyncio.Handle | None, due: int | None) -> None:
        before, self._alarm, self.due, self.number = self._alarm, alarm, due, next(_numbers)
        if before is not None:
            before.cancel()

    def resume(self) -> None:
        """Give the thread its turn, and stand still until it gives it back."""
        self._set_alarm(None, None)
        with self._lock:
            if not self._stands or self._ended or self._abandoned:
                return
            self._stands = False
        if not self._started and self.answer.cancelled():
            self.call_off()
            return
        self._started = True
        self._go.release()
        if self.loop.wait_for(self._back, TURN):
            self._take_back()
        else:
            self._outlast()

    def call_off(self) -> None:
        """Have a call that has not begun not be made."""
        self.dismiss()
        self._ended = True
        self.answer.cancel()
        self._deliver()

    def _take_back(self) -> None:
        if self._ended:
            self._deliver()
        elif self._pause is not None:
            self.resume_at(self.loop.nanoseconds + self._pause)

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
        name = str(self)
        self._token = self.loop.take_hold(name)
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
        if self._has_news:  # else the loop has not waited for this to be its turn
            self._has_news = False
            token, self._token = self._token, None
            self.loop.let_go(token)
            self._take_back()

    def catch_up(self, patience: float) -> None:
        """Wait for a thread that runs beside the loop, with the loop blocked meanwhile.

        Raises:
            VirtualDeadlockError: it has not given its turn back within so many real seconds.
        """
        with self._lock:
            is_away, self._overstays = self._overstays, False
        if is_away and not self.loop.wait_for(self._back, patience):
            with self._lock:
                self._overstays = not self._back.acquire(blocking=False)
            if self._overstays:
                msg = f"the loop has waited for {patience:g} real seconds for {self}"
                raise VirtualDeadlockError(msg)
        self._has_news |= is_away
        self._caught_up()

    def abandon(self) -> None:
        """Give the thread no further turn, and let it hold no time: where it stands still, it ends."""
        self._abandoned = True
        self._set_alarm(None, None)
        token, self._token = self._token, None
        self.loop.let_go(token)

    def dismiss(self) -> None:
        """Have an abandoned thread end: its own clean-up runs, which nobody waits for, and cannot sleep."""
        self.abandon()
        with self._lock:
            if self._started and not self._ended and not self._dismissed:
                self._clean_up.enter_context(sleeping_by(self._refuse_to_sleep))  # also when no loop runs any more
            self._dismissed = True
        self._go.release()

    def _refuse_to_sleep(self, _seconds: object) -> bool:
        if current_turn() is self:
            raise AbandonedError
        return False

    # In the thread

    def __call__(self) -> None:
        """Wait for the first turn, and make the call."""
        self.thread = threading.current_thread()
        self._taken.release()
        self._go.acquire()
        if self._abandoned:
            return
        _local.turn = self
        try:
            self._value = self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001  # it is raised where the call was asked for
            self._error = error
        finally:
            with self._lock:
                self._ended = True
                self._clean_up.close()
            _local.turn = None
            self._give_back(None)

    def _give_back(self, pause: int | None) -> None:
        self._pause = pause
        with self._lock:
            self._stands = True
            overstays, self._overstays = self._overstays, False
            if not overstays:
                self._back.release()
                return
            self._has_news = True
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._caught_up)

    def stand_still(self, nanoseconds: int | None) -> None:
        """Give the turn back, and return when it comes again: after a virtual duration, or by `resume_soon`.

        Raises:
            AbandonedError: it never will.
            VirtualDeadlockError: the loop was blocked for longer than its patience, perhaps by this thread.
        """
        if self._dismissed:
            raise AbandonedError
        with guard.watching(self):
            self._give_back(nanoseconds)
            self._go.acquire()
        if self._dismissed:
            raise AbandonedError
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    # From other threads

    def is_taken(self, patience: float) -> bool:
        """Wait, for so many real seconds at most, until a thread of its pool has come to it."""
        return self.thread is not None or self._taken.acquire(timeout=patience)

    def fail(self, error: VirtualDeadlockError) -> None:
        """Have the thread that stands still go on beside the loop, with an error: the loop may be waiting for it."""
        with self._lock:
            if not self._stands or self._ended or self._dismissed:
                return
            self._stands = False
            self._overstays = True
            self._fault = error
        self._go.release()


def _raisable(error: BaseException) -> BaseException:
    """Return what a future accepts and its waiter expects: a `StopIteration` would end the coroutine that awaits it."""
    if type(error) is concurrent.futures.CancelledError:
        return asyncio.CancelledError(*error.args)  # as asyncio does
    if isinstance(error, StopIteration):
        wrapped = RuntimeError("the call in a thread raised StopIteration")
        wrapped.__cause__ = error
        return wrapped
    return error

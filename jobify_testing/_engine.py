"""The event loop that knows when nothing is left to run, and only then moves time.

Time is whole nanoseconds from 0. It moves when no callback is ready, no work is in flight, and then
exactly to the next due instant: no idle cycles are counted, and no real time passes.

The seam to asyncio is `BaseEventLoop._run_once`, private and the same since Python 3.4.
"""

import asyncio
import contextlib
import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

from jobify import to_nanoseconds
from jobify_testing._errors import VirtualDeadlockError
from jobify_testing._report import describe_tasks

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATIENCE = 30.0
"""Real seconds that work in flight may hold time."""

_FEW_TIMERS = 100
_GIVE_UP = 10


class _Timer(asyncio.TimerHandle):
    """What asyncio knows as the handle of a timer."""

    __slots__ = ()
    _scheduled: bool


class Engine(asyncio.SelectorEventLoop):
    """A full asyncio event loop on virtual time."""

    _ready: deque[asyncio.Handle]
    _stopping: bool
    _signal_handlers: dict[int, Any]
    _timer_cancelled_count: int
    _executor_shutdown_called: bool
    _check_closed: Callable[[], None]
    _check_thread: Callable[[], None]
    _process_events: Callable[[Any], None]
    _selector: Any

    def __init__(self) -> None:
        super().__init__()
        if not hasattr(asyncio.BaseEventLoop, "_run_once"):
            msg = "cannot make a virtual loop: this Python's asyncio has no BaseEventLoop._run_once"
            raise RuntimeError(msg)
        self._now = 0
        self._sequence = itertools.count()
        self._timers: list[tuple[int, int, _Timer]] = []
        self._reached: list[tuple[int, int, asyncio.Future[None]]] = []
        self._holders: dict[object, str] = {}
        self._woken = False
        self._pool: Executor | None = None
        self._main: asyncio.Future[Any] | None = None
        self._failure: VirtualDeadlockError | None = None
        self._failures = 0
        self._fds = self._selector.get_map()

    # Time

    @property
    def nanoseconds(self) -> int:
        """The virtual instant, in whole nanoseconds since the loop was made."""
        return self._now

    def time(self) -> float:
        """Return the virtual instant in seconds since the loop was made."""
        return self._now / 1_000_000_000

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call `callback` after a duration, exactly."""
        _check_number(delay, "delay")
        return self.call_at_nanoseconds(self._now + max(round(delay * 1e9), 0), callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call `callback` at an instant of `time()`."""
        _check_number(when, "time")
        return self.call_at_nanoseconds(to_nanoseconds(when), callback, *args, context=context)

    def call_at_nanoseconds(
        self, when: int, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call `callback` at a virtual instant; those of one instant are called in the order of asking."""
        self._check_closed()
        if self.get_debug():
            self._check_thread()
        timer = _Timer(when / 1e9, callback, args, self, context)
        timer._scheduled = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the handle tells the loop of its cancellation only then
        if len(self._timers) > _FEW_TIMERS and self._timer_cancelled_count * 2 > len(self._timers):
            self._drop_cancelled()
        heapq.heappush(self._timers, (when, next(self._sequence), timer))
        return timer

    def _drop_cancelled(self) -> None:
        self._timers = [item for item in self._timers if not item[2].cancelled()]
        heapq.heapify(self._timers)
        self._timer_cancelled_count = 0

    def _next_due(self) -> int | None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
            self._timer_cancelled_count -= 1
        return timers[0][0] if timers else None

    def reach(self, when: int) -> asyncio.Future[None]:
        """Return a future that is resolved when all that is due until `when` has run.

        That is when nothing can run any more, no work is in flight, and time would pass that instant.
        """
        reached: asyncio.Future[None] = self.create_future()
        heapq.heappush(self._reached, (when, next(self._sequence), reached))
        return reached

    def _next_reached(self) -> int | None:
        waiting = self._reached
        while waiting and waiting[0][2].done():
            heapq.heappop(waiting)
        return waiting[0][0] if waiting else None

    # One iteration

    def _run_once(self) -> None:
        ready = self._ready
        due = self._next_due()
        if not ready and (due is None or due > self._now) and not self._stopping:
            self._become_ready(due)
        elif self._woken or len(self._fds) > 1 or self._signal_handlers:
            self._poll(0)
        self._collect_due()
        for _ in range(len(ready)):
            if not (handle := ready.popleft()).cancelled():
                handle._run()  # noqa: SLF001  # what a loop is for

    def _collect_due(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            timer._scheduled = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # it is in the heap no more
            if timer.cancelled():
                self._timer_cancelled_count -= 1
            else:
                self._ready.append(timer)

    def _become_ready(self, due: int | None) -> None:
        """Wait for real work, or move time: in this order."""
        if (self._woken or len(self._fds) > 1 or self._signal_handlers) and self._poll(0):
            return
        if self._holders:
            self._wait_for_holders()
            return
        reached = self._next_reached()
        if reached is not None and (due is None or reached < due):
            self._now = max(self._now, reached)
            heapq.heappop(self._reached)[2].set_result(None)
        elif due is not None:
            self._now = due
        elif not (self._has_foreign_work() and self._poll(PATIENCE)):
            self._fail("nothing is scheduled and nothing is running")

    def _poll(self, seconds: float) -> bool:
        """Look at real events, for so many real seconds; return whether something is ready."""
        self._woken = False
        self._process_events(self._selector.select(seconds))
        return bool(self._ready)

    # Work in flight

    @contextlib.contextmanager
    def hold(self, what: str) -> Generator[None, None, None]:
        """Keep time from moving while real work is in flight; `what` names it in errors."""
        token = self.take_hold(what)
        try:
            yield
        finally:
            self.let_go(token)

    def take_hold(self, what: str) -> object:
        """Begin what `let_go` ends."""
        token = object()
        self._holders[token] = what
        return token

    def let_go(self, token: object) -> None:
        """End what `take_hold` began; on the thread of the loop only."""
        self._holders.pop(token, None)

    def _wait_for_holders(self) -> None:
        if not self._poll(PATIENCE):
            names = ", ".join(sorted(set(self._holders.values())))
            self._fail(f"real work holds time for more than {PATIENCE:g} real seconds: {names}")

    def _has_foreign_work(self) -> bool:
        """Whether something outside of the loop may still wake it."""
        idle = getattr(self._pool, "_threads", ())
        threads = [thread for thread in threading.enumerate() if thread not in idle]
        return len(threads) > 1 or len(self._fds) > 1 or bool(self._signal_handlers)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call `callback` soon, asked for from another thread."""
        self._woken = True
        return super().call_soon_threadsafe(callback, *args, context=context)

    def set_default_executor(self, executor: Any) -> None:
        """Use another pool for `run_in_executor(None, ...)`."""
        super().set_default_executor(executor)
        self._pool = executor

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call in a pool; the call holds time until it ends, also if nobody waits for it any more."""
        self._check_closed()
        if executor is None:
            if self._executor_shutdown_called:
                msg = "cannot run in the default executor: it was shut down"
                raise RuntimeError(msg)
            if self._pool is None:
                self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
            executor = self._pool
        assert executor is not None  # noqa: S101  # just made
        token = self.take_hold(f"a call of {getattr(func, '__qualname__', repr(func))} in an executor")
        try:
            call = executor.submit(func, *args)
        except BaseException:
            self.let_go(token)
            raise
        answer = asyncio.wrap_future(call, loop=self)

        def let_go(_: object) -> None:
            # Behind the answer in the queue of the loop: else time could move between the two.
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.call_soon_threadsafe(self.let_go, token)

        call.add_done_callback(let_go)
        return answer

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109  # real time is meant, and PATIENCE bounds it
        """Wait for the threads of the default executor, in real time."""
        self._executor_shutdown_called = True
        pool, self._pool = self._pool, None
        if pool is None:
            return
        joined: asyncio.Future[None] = self.create_future()

        def join() -> None:
            pool.shutdown(wait=True)
            with contextlib.suppress(RuntimeError):
                self.call_soon_threadsafe(joined.set_result, None)

        with self.hold("the default executor, whose threads do not end"):
            threading.Thread(target=join, daemon=True).start()
            await joined

    # The end

    def run_until_complete(self, future: Any) -> Any:
        """Run until a future is done.

        Raises:
            VirtualDeadlockError: it never will be.
        """
        self._check_closed()
        main = asyncio.ensure_future(future, loop=self)
        previous, self._main = self._main, main
        try:
            result = super().run_until_complete(main)
        except asyncio.CancelledError:
            self._raise_failure()
            raise
        finally:
            self._main = previous
        self._raise_failure()  # also where the cancellation was swallowed
        return result

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _fail(self, reason: str) -> None:
        """End the waiting of the main task; its own clean-up runs, and finalizers behind it."""
        if self._failure is None:
            self._failure = VirtualDeadlockError(f"{reason}\n{describe_tasks(self)}")
            self._failures = 0
        self._failures += 1
        if self._main is None or self._failures > _GIVE_UP:
            self.stop()
        else:
            self._main.cancel()

    def close(self) -> None:
        """Close the loop; `time()` still tells when that was."""
        self._timers.clear()
        self._reached.clear()
        super().close()


def _check_number(seconds: float, what: str) -> None:
    if not math.isfinite(seconds):
        msg = f"cannot call at a {what} of {seconds!r}: it is never reached"
        raise ValueError(msg)

"""The event loop that knows when nothing is left to run, and only then moves time.

Time moves when no callback is ready and no work is in flight, and then exactly to the next due
instant: no idle cycles are counted, and no real time passes.

The seam to asyncio is `BaseEventLoop._run_once`, private and the same since Python 3.4.
"""

import asyncio
import contextlib
import heapq
import threading
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

from jobify_testing._errors import VirtualDeadlockError
from jobify_testing._report import describe_tasks
from jobify_testing._timers import TimedLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_GIVE_UP = 10
"""How often a stuck main task is cancelled before its loop is stopped."""


class Engine(TimedLoop):
    """A full asyncio event loop on virtual time.

    Attributes:
        patience: real seconds for which work in flight may hold time.
        grace: real seconds for which a loop that has nothing else to do waits for sockets, signals
            and threads that it knows nothing of, before it calls that a deadlock.
        after_jump: called each time that time has moved.
    """

    _stopping: bool
    _executor_shutdown_called: bool
    _process_events: Callable[[Any], None]
    _selector: Any

    def __init__(self) -> None:
        super().__init__()
        if not hasattr(asyncio.BaseEventLoop, "_run_once"):
            self.close()
            msg = "cannot make a virtual loop: this Python's asyncio has no BaseEventLoop._run_once to replace"
            raise RuntimeError(msg)
        self.patience = 30.0
        self.grace = 5.0
        self.after_jump: Callable[[], object] | None = None
        self._holders: dict[object, str] = {}
        self._woken = False
        self._pool: Executor | None = None
        self._main: asyncio.Future[Any] | None = None
        self._failure: VirtualDeadlockError | None = None
        self._failures = 0
        self._files = self._selector.get_map()
        self._signals: dict[int, Any] = getattr(self, "_signal_handlers", {})  # not on Windows
        self._old_threads = weakref.WeakSet(threading.enumerate())

    # One iteration

    def _run_once(self) -> None:
        ready = self._ready
        # Nothing else can make the selector report anything: the look, a system call, is spared.
        if self._woken or len(self._files) > 1 or self._signals:
            self._poll(0)
        if not ready and not self._stopping:
            self._become_ready()
        self._collect_due()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as asyncio does: a call costs more than the look
                handle._run()  # noqa: SLF001  # what a loop is for

    def _become_ready(self) -> None:
        """Wait for work in flight, or move time: in this order."""
        due = self._next_due()
        if due is not None and due <= self._now:
            return
        if self._holders:
            self._wait_for_holders()
            return
        reached = self._next_reached() if self._reached else None
        if reached is not None and (due is None or reached < due):
            self._move_to(reached)
            heapq.heappop(self._reached)[2].set_result(None)
        elif due is not None:
            self._move_to(due)
        elif not (self._has_foreign_work() and self._poll(self.grace)):
            self._fail("nothing is scheduled, and nothing is running")

    def _move_to(self, when: int) -> None:
        if when > self._now:
            self._now = when
            if self.after_jump is not None:
                self.after_jump()

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
        if self._poll(self.patience):
            return
        names = ", ".join(sorted(set(self._holders.values())))
        # They have had their time: the clean-up that follows is not to wait for them again.
        self._holders.clear()
        self._fail(f"real work held time for more than {self.patience:g} real seconds: {names}")

    def _has_foreign_work(self) -> bool:
        """Whether something outside of the loop may still wake it."""
        if len(self._files) > 1 or self._signals:
            return True
        idle = getattr(self._pool, "_threads", ())
        return any(thread not in self._old_threads and thread not in idle for thread in threading.enumerate())

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call `callback` soon, asked for from another thread."""
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        self._woken = True
        return handle

    def set_default_executor(self, executor: Any) -> None:
        """Use another pool for `run_in_executor(None, ...)`."""
        super().set_default_executor(executor)
        self._pool = executor

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call in a pool; the call holds time until it ends, also if nobody waits for it any more."""
        self._check_closed()
        pool = executor or self._default_pool()
        token = self.take_hold(f"a call of {getattr(func, '__qualname__', repr(func))} in an executor")
        try:
            call = pool.submit(func, *args)
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

    def _default_pool(self) -> Executor:
        if self._executor_shutdown_called:
            msg = "cannot run in the default executor: it was shut down"
            raise RuntimeError(msg)
        if self._pool is None:
            self.set_default_executor(pool := ThreadPoolExecutor(thread_name_prefix="asyncio"))
            return pool
        return self._pool

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109  # asyncio's own is of the loop's time, which would not wait; `patience` bounds it
        """Wait for the threads of the default executor, in real time."""
        self._executor_shutdown_called = True
        pool, self._pool = self._pool, None
        if pool is None:
            return
        with self.hold("the default executor, whose threads do not end"):
            joined: asyncio.Future[None] = self.create_future()

            def end() -> None:
                if not joined.done():
                    joined.set_result(None)

            def join() -> None:
                pool.shutdown(wait=True)
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self.call_soon_threadsafe(end)

            threading.Thread(target=join, name="joins the default executor", daemon=True).start()
            await joined

    # The end

    def run_until_complete(self, future: Any) -> Any:
        """Run until a future is done, and return its result.

        Raises:
            VirtualDeadlockError: it never will be.
        """
        self._check_closed()
        main = asyncio.ensure_future(future, loop=self)
        previous, self._main = self._main, main
        try:
            return super().run_until_complete(main)
        finally:
            self._main = previous
            # Whatever the cancelled task has made of it: swallowed it, or raised something else.
            self._raise_failure()

    def run_forever(self) -> None:
        """Run until `stop` is called.

        Raises:
            VirtualDeadlockError: it never will be.
        """
        super().run_forever()
        if self._main is None:
            self._raise_failure()

    def _raise_failure(self) -> None:
        failure, self._failure, self._failures = self._failure, None, 0
        if failure is not None:
            raise failure

    def _fail(self, reason: str) -> None:
        """End the waiting of the main task; its own clean-up runs, and finalizers behind it.

        Raised right here, an error would leave the loop in the middle of an iteration.
        """
        if self._failure is None:
            self._failure = VirtualDeadlockError(f"{reason}\n{describe_tasks(self)}")
        self._failures += 1
        if self._main is None or self._failures > _GIVE_UP:
            self.stop()
        else:
            self._main.cancel()

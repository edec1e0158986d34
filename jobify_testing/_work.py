"""The doors of the loop through which work leaves it: executors, and what other threads ask of it."""

import asyncio
import contextlib
import operator
import threading
from abc import abstractmethod
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import Context
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from jobify_testing._errors import VirtualTimeError
from jobify_testing._family import FamilyLoop
from jobify_testing._holds import Holds
from jobify_testing._hooks import hooked
from jobify_testing._options import VirtualOptions
from jobify_testing._pool import TurnPool
from jobify_testing._sleep import sleeping_by
from jobify_testing._threads import current_turn
from jobify_testing._waits import TurnCondition, answer_of_submission

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class WorkingLoop(FamilyLoop):
    """A loop that knows of the work that it has given away.

    Attributes:
        options: how virtual time behaves.
        holds: the real work in flight.
        pool: the threads that take turns with this loop.
        home: the thread that it runs in, or has run in last, by its identifier.
    """

    _executor_shutdown_called: bool

    def __init__(self) -> None:
        super().__init__()
        self.options = VirtualOptions()
        self.holds = Holds(self)
        self.pool = TurnPool(self)
        self._woken = False
        self._executor: Executor | None = None
        self.home = threading.get_ident()
        self._rounds = 0
        self._is_waiting = False

    # What its threads ask

    @property
    def has_turns(self) -> bool:
        """Whether threads take turns with this loop."""
        return self.options.threads == "turns" and self.options.mode != "real"

    @property
    def patience(self) -> float:
        """For how many real seconds work in flight may hold time."""
        return self.options.patience

    @property
    def progress(self) -> int | None:
        """A number that grows while the loop gets on; None while it waits for something and knows for how long."""
        return None if self._is_waiting else self._rounds

    def is_home(self) -> bool:
        """Whether this is the thread of the loop."""
        return threading.get_ident() == self.home

    def wait_for(self, semaphore: threading.Semaphore, seconds: float) -> bool:
        """Wait, for so many real seconds at most, for another thread."""
        self._is_waiting = True
        try:
            return semaphore.acquire(timeout=seconds)
        finally:
            self._is_waiting = False

    def fail_soon(self, error: VirtualTimeError) -> None:
        """End what runs on this loop with an error of virtual time; from any thread."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self.call_soon_threadsafe(self._fail, error)

    @abstractmethod
    def _fail(self, failure: VirtualTimeError, /) -> None:
        """End what runs on this loop with an error."""

    @contextlib.contextmanager
    def governing(self) -> Generator[None, None, None]:
        """Have `time.sleep` and calls in pools be those of this loop in a block."""
        with hooked(self), sleeping_by(self._sleep):
            yield

    def _sleep(self, seconds: object) -> bool:
        """Take over a `time.sleep`, if it is that of a thread with a turn of this loop, or blocks this loop."""
        running = asyncio._get_running_loop()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented for authors of loops
        turn = None if isinstance(running, WorkingLoop) else current_turn()
        if running is not self and (turn is None or turn.loop is not self):
            return False
        nanoseconds = _length_of(seconds)
        if self.options.mode == "real" or nanoseconds is None:
            return False  # the real one knows what to say
        if turn is not None:
            turn.stand_still(nanoseconds)
        else:
            self.block(nanoseconds)
        return True

    # Its own doors

    def take_hold(self, what: str) -> object:
        """Begin what `let_go` ends: time does not move meanwhile."""
        return self.holds.take("thread", what)

    def let_go(self, token: object) -> None:
        """End what `take_hold` began; on the thread of the loop only."""
        self.holds.release(token)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call `callback` soon, asked for from another thread."""
        answer = answer_of_submission(callback)
        if answer is not None:
            turn = current_turn()
            if turn is not None and turn.loop is self:
                answer._condition = TurnCondition(self)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # nobody has seen this future yet
            else:
                self.holds.thread_waits(answer)
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        self._woken = True
        return handle

    def set_default_executor(self, executor: Any) -> None:
        """Use another pool for `run_in_executor(None, ...)`."""
        super().set_default_executor(executor)
        self._executor = executor

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call in a thread that takes turns with the loop; in one of a pool, if there is one.

        The call goes on if nobody waits for it any more. What is not a pool of threads works beside the loop,
        and holds time until the call ends.
        """
        self._check_closed()
        if executor is None and self._executor_shutdown_called:
            msg = "cannot run in the default executor: it was shut down"
            raise RuntimeError(msg)
        executor = executor or self._executor
        what = f"a call of {getattr(func, '__qualname__', repr(func))} in an executor"
        self.holds.check("executor", what)
        if self.has_turns:
            call = partial(func, *args)
            if executor is None:
                return self.pool.submit(call)
            if isinstance(executor, ThreadPoolExecutor):
                return self.pool.submit_to(executor, call).answer
        if executor is None:
            self.set_default_executor(executor := ThreadPoolExecutor(thread_name_prefix="asyncio"))
        submitted = executor.submit(func, *args)
        if not isinstance(executor, ThreadPoolExecutor | ProcessPoolExecutor):  # in those stands a hook
            self.holds.call_submitted(submitted, what)
        return asyncio.wrap_future(submitted, loop=self)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109  # asyncio's own is of the loop's time, which would not wait; `patience` bounds it
        """Wait for the calls in threads, in the time that each of them takes."""
        self._executor_shutdown_called = True
        await self.pool.join()
        executor, self._executor = self._executor, None
        if executor is None:
            return
        token = self.holds.take("hold", "the default executor, whose threads do not end")
        joined: asyncio.Future[None] = self.create_future()

        def end() -> None:
            if not joined.done():
                joined.set_result(None)

        def join() -> None:
            executor.shutdown(wait=True)
            with contextlib.suppress(RuntimeError):  # the loop was closed without waiting
                self.call_soon_threadsafe(end)
            self.holds.release_soon(token)

        threading.Thread(target=join, name="joins the default executor", daemon=True).start()
        await joined

    def close(self) -> None:
        """Close the loop, and end the threads that take turns with it."""
        super().close()
        self.pool.close()


def _length_of(seconds: object) -> int | None:
    """Return what `time.sleep` accepts, in nanoseconds; None for what it refuses."""
    if not isinstance(seconds, int | float):
        try:
            seconds = operator.index(seconds)  # type: ignore[arg-type]  # as `time.sleep` does, to a whole number of numpy
        except TypeError:
            return None
    if not 0 <= seconds < float("inf"):
        return None
    nanoseconds = round(seconds * 1e9) if isinstance(seconds, float) else seconds * 1_000_000_000
    return nanoseconds if nanoseconds < 2**63 else None

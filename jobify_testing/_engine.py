"""The event loop that knows when nothing is left to run, and only then moves time.

Time moves when no callback is ready and no work is in flight, and then exactly to the next due
instant: no idle cycles are counted, and no real time passes.

The seam to asyncio is `BaseEventLoop._run_once`, private and the same since Python 3.4.
"""

import asyncio
import contextlib
import heapq
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from jobify_testing._anyio import runner_task_of
from jobify_testing._burial import BuryingLoop
from jobify_testing._errors import VirtualDeadlockError, VirtualRunawayError, VirtualTimeError
from jobify_testing._holds import has_strangers
from jobify_testing._options import Kind, VirtualOptions
from jobify_testing._report import Histogram, describe_tasks, describe_timer
from jobify_testing._ties import make_ties

T = TypeVar("T")

_GIVE_UP = 10
"""How often a stuck main task is cancelled before its loop is stopped."""

_TOLD_JUMPS = 1000
"""Of how many jumps a runaway tells who caused them."""


class Engine(BuryingLoop):
    """A full asyncio event loop on virtual time.

    Attributes:
        describe_jobs: says which jobs are due when, for errors.
        describe_alarm: says whose a timer is.
        jobify_runtime: what an app takes from this loop.
    """

    jobify_runtime: Any

    def __init__(self) -> None:
        super().__init__()
        if not hasattr(asyncio.BaseEventLoop, "_run_once"):
            self.close()
            msg = "cannot make a virtual loop: this Python's asyncio has no BaseEventLoop._run_once to replace"
            raise RuntimeError(msg)
        self.describe_jobs: Callable[[], str] = str
        self.describe_alarm: Callable[[asyncio.TimerHandle], str] = describe_timer
        self._main: asyncio.Future[Any] | None = None
        self._failure: VirtualTimeError | None = None
        self._failures = 0
        self._signals: dict[int, Any] = getattr(self, "_signal_handlers", {})  # not on Windows
        self._histogram = Histogram()
        self._real_start = 0
        self._jumps = 0

    def configure(self, options: VirtualOptions) -> None:
        """Behave so from now on."""
        self.options = options
        self.holds.policies = options.holds
        self.ties = make_ties(options.order, options.seed)
        self._jumps = self._spins = 0
        self._real_start = time.monotonic_ns() - self.nanoseconds

    # One iteration

    def _run_once(self) -> None:
        ready = self._ready
        if self.options.mode == "real":
            self.nanoseconds = max(self.nanoseconds, time.monotonic_ns() - self._real_start)
        # Nothing else can make the selector report anything: the look, a system call, is spared.
        if self._woken or len(self._files) > 1 or self._signals:
            self._poll(0)
        if not ready and not self._stopping:
            self._become_ready()
        self._spins += 1
        self._rounds += 1
        if self._spins > self.options.max_spins:
            self._fail_spinning()
        self._collect_due()
        if self._dead:
            self._withhold()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as asyncio does: a call costs more than the look
                handle._run()  # noqa: SLF001  # what a loop is for

    def _become_ready(self) -> None:
        """Wait for work in flight, or move time: in this order."""
        due = self.next_due()
        if due is not None and due <= self.nanoseconds:
            return
        reached = self._next_reached() if self._reached else None
        if self.options.mode == "real":
            self.connections.forget()
            self._wait_in_real_time(due, reached)
            return
        may_move = due is not None or reached is not None
        if self._processes:
            self._judge_processes(may_move=may_move)
        if self.connections.are_busy:
            self.connections.judge()
        if self.holds or (not may_move and self.holds.are_left()):
            self._wait_for_work()
        elif reached is not None and (due is None or reached < due):
            self._move_to(reached)
            heapq.heappop(self._reached)[2].set_result(None)
        elif due is not None:
            self._jump_to(due, driven=reached is not None)
        elif not (self._may_be_woken() and self._poll(self.options.grace)):
            self._fail(VirtualDeadlockError("nothing is scheduled, and nothing is running" + self._picture()))

    def _jump_to(self, due: int, *, driven: bool) -> None:
        if driven:
            self._move_to(due)
        elif self.options.mode == "manual":
            reason = "in manual mode only advance() and its like move time, and nobody advances"
            self._fail(VirtualDeadlockError(reason + self._picture()))
        else:
            self._jumps += 1
            if self._jumps > self.options.max_jumps - _TOLD_JUMPS:
                self._histogram.count(self.describe_alarm(self._timers[0][2]))
            if self._jumps > self.options.max_jumps:
                self._fail_running_away()
            self._move_to(due)

    def _poll(self, seconds: float) -> bool:
        """Look at real events, for so many real seconds; return whether something is ready."""
        self._woken = False
        self._is_waiting = bool(seconds)
        events = self._selector.select(seconds)
        self._is_waiting = False
        self._process_events(events)
        return bool(self._ready)

    def _wait_in_real_time(self, due: int | None, reached: int | None) -> None:
        instants = [instant for instant in (due, reached) if instant is not None]
        if instants:
            self._poll(max((min(instants) - self.nanoseconds) / 1e9, 0))
        elif not self._poll(self.options.patience):
            self._fail(VirtualDeadlockError("nothing is scheduled, and nothing is running" + self._picture()))
        self.nanoseconds = max(self.nanoseconds, time.monotonic_ns() - self._real_start)
        if reached is not None and reached <= self.nanoseconds and not self._ready and (due is None or reached < due):
            heapq.heappop(self._reached)[2].set_result(None)

    # Work in flight

    @contextlib.contextmanager
    def hold(self, what: str = "a hold of the test", kind: Kind = "hold") -> Generator[None, None, None]:
        """Keep time from moving while real work is in flight; `what` names it in errors."""
        with self.holds.during(kind, what):
            yield

    def _wait_for_work(self) -> None:
        self._spins = 0
        brief = self.connections.how_long(self.options.grace)
        # What is left when a test has failed already has had its time.
        patience = self.options.patience if self.holds or self._failure is None else self.options.grace
        with self.connections.all_watched():
            if self._poll(patience if brief is None else brief):
                return
        if brief is not None:
            self.connections.have_settled()
            return
        reason = f"real work held time for more than {patience:g} real seconds: {self.holds}"
        standing = self.pool.describe_standing()
        if standing:
            reason += f"\nin virtual time, and perhaps inside of a lock that this work wants, stand still:\n{standing}"
        self.holds.expire()
        self.connections.give_up()
        self._fail(VirtualDeadlockError(reason + self._picture()))

    def _may_be_woken(self) -> bool:
        """Whether something outside of the loop may still wake it."""
        return len(self._files) > 1 or bool(self._signals or self._processes) or has_strangers()

    # The end

    def run_until_complete(self, future: Any) -> Any:
        """Run until a future is done, and return its result.

        Raises:
            VirtualDeadlockError: it never will be.
            VirtualRunawayError: time, or the loop, went on and on without that.
        """
        self._check_closed()
        # A runner that is closed has cancelled all tasks, and waits for them: for those of the dead, too.
        if any(self.is_dead(task) for task in getattr(future, "_children", ())):
            self.clear_away()
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
            VirtualRunawayError: time, or the loop, went on and on without that.
        """
        self._jumps = self._spins = 0
        self.home = threading.get_ident()
        with self.governing():
            super().run_forever()
        if self._main is None:
            self._raise_failure()

    def _raise_failure(self) -> None:
        failure, self._failure, self._failures = self._failure, None, 0
        if failure is not None:
            raise failure

    def _fail(self, failure: VirtualTimeError) -> None:
        """End the waiting of the main task; its own clean-up runs, and finalizers behind it.

        Raised right here, an error would leave the loop in the middle of an iteration.
        """
        if self._failure is None:
            self._failure = failure
        self._failures += 1
        if self._main is None or self._failures > _GIVE_UP:
            self.stop()
        else:
            (runner_task_of(self._main) or self._main).cancel()

    def _fail_running_away(self) -> None:
        reason = (
            f"time has moved {self._jumps} times, to {self.time():g} s, while the test waits for something that "
            f"does not come; a wait that long is said by advance(), or allowed by max_jumps=. The last {_TOLD_JUMPS} "
            f"jumps were to the timers of:\n{self._histogram}\n"
        )
        self._jumps = 0
        self._fail(VirtualRunawayError(reason + self._picture()))

    def _fail_spinning(self) -> None:
        reason = f"the loop has taken {self._spins} turns at one instant, {self.time():g} s: something never sleeps"
        self._spins = 0
        self._fail(VirtualRunawayError(reason + self._picture()))

    def _picture(self) -> str:
        return f"\n{describe_tasks(self)}\n{self.describe_jobs()}".rstrip()

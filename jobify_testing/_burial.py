"""The dead of a loop: what a crash has killed gets no further step, and is cleared away behind the test.

Clearing away is done apart from everything else. The tasks of the dead are cancelled and run by themselves, in a time
of their own, which is taken back; their apps are closed to them; and nothing of it is told.
"""

import asyncio
import contextlib
import heapq
import logging
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any

from jobify_testing._family import owner_of_task
from jobify_testing._network import NetworkLoop
from jobify_testing._owner import owner_in

_ROUNDS = 3
"""How often the dead are cancelled before it is all over with them."""

_STEPS = 10_000
"""How many turns of the loop they have for their clean-up each time."""

_LOGGERS = ("jobify", "asyncio", "concurrent.futures")
"""Who would tell of their clean-up."""


class BuryingLoop(NetworkLoop):
    """A loop that can stop a part of what runs on it for good."""

    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._dead: set[object] = set()
        self._gone: set[object] = set()
        self._buried: set[asyncio.Task[Any]] = set()
        self._withheld: list[asyncio.Handle] = []
        self._spared: list[asyncio.Handle] = []
        self._steps_left = 0
        self._is_clearing = False

    def bury(self, owners: Iterable[object], attempts: Iterable[asyncio.Task[Any]]) -> None:
        """Give nothing that belongs to one of `owners` any further step, nor its calls in threads."""
        for owner in owners:
            self._dead.add(owner)
            self._gone.add(owner)
            self.pool.abandon(owner)
            self.cut_off(owner)
        # They are kept: a task that nobody refers to would end at any time, and its clean-up be seen.
        self._buried.update(attempts)
        self._buried.update(task for task in asyncio.all_tasks(self) if self.is_dead(task))
        self.holds.abandon(self._buried)
        self._reached = [entry for entry in self._reached if entry[3] not in self._dead]
        heapq.heapify(self._reached)
        self._withhold_in_place()

    def _withhold_in_place(self) -> None:
        """Take what belongs to the dead out of the turn that the loop is just making, whose length is settled."""
        for place, handle in enumerate(self._ready):
            if self.is_dead_handle(handle):
                self._withheld.append(handle)
                self._ready[place] = nothing = asyncio.Handle(_be_nothing, (), self)
                nothing.cancel()

    def is_dead(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task belongs to a program that was killed."""
        return task in self._buried or owner_of_task(task) in self._dead

    def is_dead_handle(self, handle: asyncio.Handle) -> bool:
        """Whether a callback or a timer belongs to a program that was killed."""
        return bool(self._dead) and owner_in(getattr(handle, "_context", None)) in self._dead

    def living_tasks(self) -> set[asyncio.Task[Any]]:
        """Return the tasks of this loop that may still go on."""
        return {task for task in asyncio.all_tasks(self) if not self.is_dead(task)}

    def _withhold(self) -> None:
        """Take what belongs to the dead out of what is ready."""
        ready = list(self._ready)
        self._ready.clear()
        for handle in ready:
            (self._withheld if self.is_dead_handle(handle) else self._ready).append(handle)

    # The end of the dead

    def clear_away(self) -> None:
        """Let what was killed clean up behind itself: now, and seen by nobody; for a loop that does not run."""
        if not (self._dead or self._buried) or self.is_closed() or self.is_running():
            return
        self._withhold()
        steps = [handle for handle in self._withheld if _is_step(handle)]
        self._withheld.clear()
        with self._apart(), _silence():
            self._ready.extend(steps)
            for _ in range(_ROUNDS):
                self._run_the_dead()
            for task in self._tasks_of_the_dead():
                if not task.done():
                    self._close(task)
            self._run_the_dead()
            self._forget_the_dead()

    @contextlib.contextmanager
    def _apart(self) -> Generator[None, None, None]:
        """Put the living aside in this block: what they would do next, and the time."""
        for _, timer in self.live_timers():
            if self.is_dead_handle(timer):
                timer.cancel()
        now, timers, reached = self.nanoseconds, self._timers, self._reached
        after_jump, self.after_jump = self.after_jump, None
        living = list(self._ready)
        self._ready.clear()
        self._timers, self._reached = [], []
        self._is_clearing = True
        vars(self)["_run_once"] = self._run_the_dead_once
        try:
            yield
        finally:
            del vars(self)["_run_once"]
            self._is_clearing = False
            self._ready.extendleft(reversed([*living, *self._spared]))
            self._spared.clear()
            self.nanoseconds, self._timers, self._reached = now, timers, reached
            self._timer_cancelled_count = sum(timer.cancelled() for _, _, timer in timers)
            self.after_jump = after_jump

    def _run_the_dead(self) -> None:
        """Have the tasks of the dead end, and give them their time for it."""
        tasks = [task for task in self._tasks_of_the_dead() if not task.done()]
        for task in tasks:
            end: Callable[[], object] = getattr(task, "abandon", task.cancel)  # some do not let themselves be cancelled
            end()
        if tasks:
            self._steps_left = _STEPS
            with contextlib.suppress(SystemExit):
                self.run_forever()

    def _tasks_of_the_dead(self) -> set[asyncio.Task[Any]]:
        return self._buried | {task for task in asyncio.all_tasks(self) if self.is_dead(task)}

    def _run_the_dead_once(self) -> None:
        self._steps_left -= 1
        due = self.next_due()
        if not self._steps_left or (not self._ready and due is None):
            self.stop()
            return
        if not self._ready and due is not None:
            self.nanoseconds = max(due, self.nanoseconds)
        self._collect_due()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not self.is_dead_handle(handle):
                self._spared.append(handle)  # whom the dead have woken goes on behind this
            elif not handle.cancelled():
                handle._run()  # noqa: SLF001  # what a loop is for

    def _forget_the_dead(self) -> None:
        tasks = self._tasks_of_the_dead()
        for owner in self._dead:
            self.pool.abandon(owner)
        self.holds.abandon(tasks)
        left = {task for task in tasks if not task.done()}
        for task in tasks - left:
            if not task.cancelled():
                task.exception()  # nobody else will look at it
        # Those that could not be ended must still not be woken; all others need no watch any more.
        self._buried = left
        if not left:
            self._dead.clear()

    def _close(self, task: asyncio.Task[Any]) -> None:
        """End the coroutine of a task that no cancellation has ended."""
        setattr(task, "_log_destroy_pending", False)  # noqa: B010  # private, and the same since Python 3.4
        coroutine: Any = task.get_coro()
        asyncio._set_running_loop(self)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented for authors of loops
        try:
            coroutine.close()
        except BaseException:  # noqa: BLE001, S110  # it does not let itself be ended so, either
            pass
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the same

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of an error that nobody else is told of; not of those of the dead."""
        if not self._is_clearing and not self._is_of_the_dead(context.get("task") or context.get("future")):
            super().call_exception_handler(context)

    def _is_of_the_dead(self, future: Any) -> bool:
        return isinstance(future, asyncio.Task) and owner_of_task(future) in self._gone  # pyright: ignore[reportUnknownArgumentType]  # of any type


def _be_nothing() -> None:
    """Stand in the place of a callback that is not to be called."""


def _is_step(handle: asyncio.Handle) -> bool:
    """Whether a callback is a step of a task: the task needs it to end."""
    return isinstance(getattr(getattr(handle, "_callback", None), "__self__", None), asyncio.Task)


@contextlib.contextmanager
def _silence() -> Generator[None, None, None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(_tell_nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(_tell_nothing)


def _tell_nothing(record: logging.LogRecord) -> bool:  # noqa: ARG001  # whatever it is
    return False

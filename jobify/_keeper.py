"""The way of the scheduler to its storage: nothing is cut in two, nothing is given up too early."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from jobify._clock import Alarm, Clock
from jobify.storage import Storage

T = TypeVar("T")
logger = logging.getLogger("jobify")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Keeper:
    """Carries out what must be done whole, and repeats what must be written.

    Attributes:
        storage: the storage.
        error: why the storage does not work at present; None if it does, as far as is known.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self.storage = storage
        self.error: Exception | None = None
        self._clock = clock
        self._busy: dict[str, asyncio.Task[Any]] = {}
        self._steps: set[asyncio.Task[Any]] = set()
        self._pauses: dict[asyncio.Future[None], Alarm] = {}
        self._closing = False

    async def whole(self, step: Coroutine[Any, Any, T], *, stored: bool, job_id: str | None = None) -> T:
        """Return what `step` returns; a caller that is cancelled does not stop it half-way.

        A step that is not `stored`, or whose storage is immediate, never suspends: no cancellation can
        strike in it. With `job_id`, `others` waits for the step.
        """
        if not stored or self.storage.immediate:
            return await step
        task = asyncio.get_running_loop().create_task(step)
        self._steps.add(task)
        if job_id is not None:
            self._busy[job_id] = task

        def let_go(task: asyncio.Task[T]) -> None:
            self._steps.discard(task)
            if job_id is not None and self._busy.get(job_id) is task:
                del self._busy[job_id]
            if not task.cancelled():
                task.exception()  # its caller may be gone

        task.add_done_callback(let_go)
        return await asyncio.shield(task)

    def is_busy(self, job_id: str) -> bool:
        """Whether a step is in progress that was begun for this id."""
        return job_id in self._busy

    async def others(self, job_id: str) -> None:
        """Return when no step is in progress that was begun for this id."""
        while (task := self._busy.get(job_id)) is not None:
            await asyncio.wait([task])

    async def insist(self, write: Callable[[], Awaitable[object]]) -> bool:
        """Write, again and again while the storage is down; return whether it was written.

        It is given up only when the app stops: the storage then knows of a run that started, and
        nothing of its end, as after a crash.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                await write()
            except Exception as error:
                self.error = error
                if self._closing:
                    logger.exception("the storage does not work, and the app stops: a write is given up")
                    return False
                logger.warning("the storage does not work; next try in %g s", pause, exc_info=True)
                await self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self.error = None
                return True

    async def _pause(self, seconds: float) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        self._pauses[over] = self._clock.call_at(self._clock.monotonic() + seconds, end)
        try:
            await over
        finally:
            self._pauses.pop(over).cancel()

    async def settle(self) -> None:
        """Return when no step is in progress; pauses end at once, and each write has one more try."""
        self._closing = True
        for over in self._pauses:
            if not over.done():
                over.set_result(None)
        while self._steps:
            await asyncio.wait(self._steps)

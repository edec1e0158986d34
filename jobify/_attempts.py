"""The attempts in progress, and how they end when the app stops."""

import asyncio

from jobify._clock import Clock
from jobify._entry import Entry
from jobify._executor import RunTask, run_around
from jobify._steps import pause


class Attempts:
    """Knows which job each attempt in progress is of.

    Attributes:
        of: their jobs.
        ending: jobs whose attempt is over, and whose end is being written without it: they have their slots still.
    """

    def __init__(self, clock: Clock) -> None:
        self.of: dict[RunTask, Entry] = {}
        self.ending: set[Entry] = set()
        self._clock = clock
        self._last: RunTask | None = None
        self._drained: asyncio.Future[None] | None = None

    def add(self, task: RunTask, entry: Entry, due: int) -> None:
        """Take note of an attempt of a job that was due then; it begins behind the one before, if that was due too."""
        task.line_up(due, self._last)
        self._last = entry.run_task = task
        self.of[task] = entry

    def remove(self, task: RunTask) -> Entry:
        """Take note of the end of an attempt, and return its job; call `tell_end` when that is seen to."""
        task.let_pass()
        return self.of.pop(task)

    def is_around(self) -> bool:
        """Whether this is called in the body of an attempt in progress, or by what it has begun."""
        return run_around() in self.of

    async def drain(self, seconds: float) -> None:
        """Return when all attempts have ended, and that is written, or the time is over."""
        if not self.of and not self.ending:
            return
        self._drained = asyncio.get_running_loop().create_future()
        alarm = self._clock.call_at(self._clock.monotonic() + seconds, self._end_drain)
        try:
            await pause(self._drained)
        finally:
            alarm.cancel()

    def tell_end(self) -> None:
        """Tell who drains if all have ended."""
        if self._drained is not None and not self.of and not self.ending:
            self._end_drain()

    def _end_drain(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def cut(self) -> None:
        """Cancel all attempts in progress."""
        for task, entry in self.of.items():
            entry.cut = True
            task.cancel()

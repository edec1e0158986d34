"""Who is here: the jobs of one start of an app by id, and the telling of their moves."""

import itertools
from collections.abc import Callable

from jobify._clock import Clock
from jobify._entry import Entry
from jobify._log import logger
from jobify._nominal import Passed
from jobify._run import JobStatus
from jobify._stream import Moved, Skipped, Stream, Transition

_RESTORED, _NEW = 1 << 32, 1 << 46
"""From where on restored jobs are numbered, and new ones, if not all are restored at once."""


class Ledger:
    """The jobs that are not finished.

    Args:
        clock: of the scheduler.
        stream: where the moves of jobs are told.
        place: orders the jobs that are due at one instant.

    Attributes:
        entries: by id.
        unfinished: those whose row says that an attempt is in progress, by row.
        stream: where their moves are told.
    """

    def __init__(self, clock: Clock, stream: Stream, place: Callable[[int], int]) -> None:
        self.entries: dict[str, Entry] = {}
        self.unfinished: dict[int, Entry] = {}
        self.stream = stream
        self._clock = clock
        self._place = place
        self._numbers = itertools.count(1)
        self._has_room = False

    def leave_room(self) -> None:
        """Number restored jobs from now on by their rows, before all that are new: more of them will come."""
        if not self._has_room:
            self._has_room = True
            self._numbers = itertools.count(_NEW)

    def enter(self, entry: Entry, *, restored: bool = False) -> None:
        """Give a job its number and its place under its id."""
        entry.number = _RESTORED + entry.row if restored and self._has_room else next(self._numbers)
        entry.place = self._place(entry.number)
        self.entries[entry.id] = entry

    def in_order(self) -> list[Entry]:
        """Return the jobs that are accepted, in the order in which they were scheduled."""
        accepted = [entry for entry in self.entries.values() if entry.status is not None]
        return sorted(accepted, key=lambda entry: entry.number)

    def move(
        self, entry: Entry, status: JobStatus, *, error: BaseException | None = None, reason: str | None = None
    ) -> None:
        """Change the status of a job, and tell it."""
        previous = entry.move(status)
        if not self.stream.listeners:
            return
        try:
            at, elapsed = self._clock.now(), self._clock.monotonic()
        except Exception:  # noqa: BLE001  # a clock may be anybody's; the job has moved, and goes on
            logger.exception("nobody is told that job %r is %s: the clock has failed", entry.id, status)
            return
        due, attempt = entry.here.moment, entry.attempt
        run = entry.runs + 1 if attempt else entry.runs
        # By position: this is on the way of every job, thrice.
        told = Transition(
            entry.id, entry.task, at, elapsed, previous, status, due, entry.exec_at, attempt, run, error, reason
        )
        self.stream.emit(told)

    def skip(self, entry: Entry, passed: tuple[Passed, ...], *, reason: str) -> None:
        """Tell that no run happens at some times; nothing if there are none."""
        if not passed or not self.stream.listeners:
            return
        now, elapsed = self._clock.now(), self._clock.monotonic()
        for stretch in passed:
            first, last = stretch.first.moment, stretch.last.moment
            self.stream.emit(Skipped(entry.id, entry.task, now, elapsed, first, last, stretch.count, reason))

    def moved(self, entry: Entry, *, reason: str) -> None:
        """Tell that a job is due at another time, or whether it is due at all, without a change of its status."""
        if self.stream.listeners:
            now, elapsed = self._clock.now(), self._clock.monotonic()
            self.stream.emit(Moved(entry.id, entry.task, now, elapsed, entry.exec_at, reason))

    def end(
        self, entry: Entry, status: JobStatus | None, *, error: BaseException | None = None, reason: str | None = None
    ) -> None:
        """Finish a job for good; None leaves it the status that it has."""
        if status is not None:
            self.move(entry, status, error=error, reason=reason)
        self.forget(entry)
        entry.finish()

    def forget(self, entry: Entry) -> None:
        """Let the id of a job be free; what it still does is written nowhere."""
        self.unfinished.pop(entry.row, None)
        entry.row = 0
        if self.entries.get(entry.id) is entry:
            del self.entries[entry.id]

"""Who is here: the jobs of one start of an app by id, and the telling of their moves."""

import itertools

from jobify._clock import Clock
from jobify._records import Entry
from jobify._run import JobStatus
from jobify._stream import Stream, Transition


class Ledger:
    """The jobs that are not finished.

    Attributes:
        entries: by id.
        unfinished: those whose row says that an attempt is in progress, by row.
        stream: where their moves are told.
    """

    def __init__(self, clock: Clock, stream: Stream) -> None:
        self.entries: dict[str, Entry] = {}
        self.unfinished: dict[int, Entry] = {}
        self.stream = stream
        self._clock = clock
        self._numbers = itertools.count(1)

    def enter(self, entry: Entry) -> None:
        """Give a job its number and its place under its id."""
        entry.number = next(self._numbers)
        self.entries[entry.id] = entry

    def move(
        self, entry: Entry, status: JobStatus, *, error: BaseException | None = None, reason: str | None = None
    ) -> None:
        """Change the status of a job, and tell it."""
        previous = entry.move(status)
        if self.stream.heard:
            self.stream.emit(
                Transition(
                    job_id=entry.id,
                    task=entry.task,
                    at=self._clock.now(),
                    elapsed=self._clock.monotonic(),
                    previous=previous,
                    status=status,
                    due=entry.scheduled_for,
                    exec_at=entry.exec_at,
                    attempt=entry.attempt,
                    run=entry.runs + (1 if entry.attempt else 0),
                    error=error,
                    reason=reason,
                )
            )

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

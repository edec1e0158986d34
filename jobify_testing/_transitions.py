"""The log of all that happened to the jobs of a test."""

from collections.abc import Callable, Iterator
from typing import Any

from jobify import Event, Job, JobStatus, StartedApp, Task, Transition, to_nanoseconds

Subject = Job[Any] | Task[..., Any, Any] | str
"""A job, a task, or the id of a job."""


class TransitionLog:
    """Every event of every app that started during a test, in order. It stays readable afterwards."""

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._events: list[Event] = []
        self._subscriptions: dict[StartedApp, Callable[[], None]] = {}

    @property
    def apps(self) -> list[StartedApp]:
        """The apps whose events are noted."""
        return list(self._subscriptions)

    def listen(self, app: StartedApp) -> None:
        """Take note of what happens in an app from now on, also over its further starts."""
        if app not in self._subscriptions:
            self._subscriptions[app] = app.subscribe(self._events.append)

    def close(self) -> None:
        """Take no further notes."""
        while self._subscriptions:
            self._subscriptions.popitem()[1]()

    def of(self, subject: Subject) -> list[Transition]:
        """Return the transitions of a job, given by itself or by its id, or of all jobs of a task.

        Raises:
            TypeError: the subject is none of these.
        """
        transitions = [event for event in self._events if isinstance(event, Transition)]
        if isinstance(subject, Task):
            return [transition for transition in transitions if transition.task == subject.name]
        job_id = subject.id if isinstance(subject, Job) else subject
        if not isinstance(job_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not be typed
            msg = f"cannot look for the transitions of {subject!r}: give a job, a task, or the id of a job"
            raise TypeError(msg)
        return [transition for transition in transitions if transition.job_id == job_id]

    def timeline(self, subject: Subject) -> list[tuple[float, JobStatus]]:
        """Return the same as pairs: seconds since the start of the test, and the status reached then."""
        return [(self._seconds(transition), transition.status) for transition in self.of(subject)]

    def _seconds(self, transition: Transition) -> float:
        # Counted in nanoseconds, for a difference of floats would not be exact.
        return (to_nanoseconds(transition.elapsed) - self._start) / 1_000_000_000

    def __iter__(self) -> Iterator[Event]:
        return iter(tuple(self._events))

    def __len__(self) -> int:
        return len(self._events)

    def __repr__(self) -> str:
        return f"<TransitionLog: {len(self)} events>"

"""The log of all that happened to the jobs of a test."""

from collections.abc import Callable, Iterator
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from jobify import Event, Job, JobStatus, StartedApp, Task, Transition, to_nanoseconds
from jobify_testing._options import EPOCH
from jobify_testing._timeline import Teller, Timeline

Subject = Job[Any] | Task[..., Any, Any] | str
"""A job, a task, or the id of a job."""

_TOLD = 8
"""How many ids and tasks an error names."""


class TransitionLog:
    """Every event of every app that started during a test, in order. It stays readable afterwards.

    Args:
        start: the monotonic instant, in nanoseconds, from which times are counted.
        wall: what the wall clock shows then.
    """

    def __init__(self, start: int = 0, wall: datetime = EPOCH) -> None:
        self._start = start
        self._events: list[Event] = []
        self._subscriptions: dict[StartedApp, Callable[[], None]] = {}
        self._teller = Teller(start, wall)

    @property
    def began(self) -> float:
        """The instant from which times are counted, in seconds of the loop."""
        return self._start / 1_000_000_000

    @property
    def apps(self) -> list[StartedApp]:
        """The apps whose events are noted."""
        return list(self._subscriptions)

    def listen(self, app: StartedApp) -> None:
        """Take note of what happens in an app from now on, also over its further starts."""
        if app not in self._subscriptions:
            self._subscriptions[app] = app.subscribe(self._note)

    def _note(self, event: Event) -> None:
        if event.job_id not in self._teller.labels:
            self._teller.learn(event)
        self._events.append(event)

    def close(self) -> None:
        """Take no further notes."""
        while self._subscriptions:
            self._subscriptions.popitem()[1]()

    def of(self, subject: Subject) -> list[Transition]:
        """Return the transitions of a job, given by itself or by its id, or of all jobs of a task.

        Raises:
            TypeError: the subject is none of these.
            LookupError: there is no job of this id, and never was in this test.
        """
        return [event for event in self.filter(subject) if isinstance(event, Transition)]

    def filter(
        self,
        subject: Subject | None = None,
        *,
        status: JobStatus | str | None = None,
        reason: str | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> list[Event]:
        """Return the events for which all that is given is true.

        Args:
            subject: a job, the id of one, or a task.
            status: the status reached; what was skipped has none.
            reason: the reason given.
            since: not before this second of the test.
            until: not after this second of the test.

        Raises:
            TypeError: the subject is none of these.
            LookupError: there is no job of this id, and never was in this test.
            ValueError: there is no such status.
        """
        reached = JobStatus(status) if status is not None else None
        return [
            event
            for event in self._about(subject)
            if reached in (None, getattr(event, "status", None))
            and reason in (None, event.reason)
            and (since is None or self._seconds(event) >= since)
            and (until is None or self._seconds(event) <= until)
        ]

    def _about(self, subject: Subject | None) -> list[Event]:
        if subject is None:
            return list(self._events)
        if isinstance(subject, Task):
            return [event for event in self._events if event.task == subject.name]
        job_id = subject.id if isinstance(subject, Job) else subject
        if not isinstance(job_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not be typed
            msg = f"cannot look for the transitions of {subject!r}: give a job, a task, or the id of a job"
            raise TypeError(msg)
        found = [event for event in self._events if event.job_id == job_id]
        if not found and isinstance(subject, str):
            self._refuse_unknown(subject)
        return found

    def _refuse_unknown(self, job_id: str) -> None:
        """Raise if there is no job of an id: an empty record would make a test pass that has a typing error in it."""
        jobs = [(event.job_id, event.task) for event in self._events]
        jobs += [(job.id, job.task) for app in self._subscriptions for job in app.local_jobs()]
        ids, tasks = list(dict.fromkeys(known for known, _ in jobs)), list(dict.fromkeys(task for _, task in jobs))
        if job_id in ids:
            return
        if job_id in tasks:
            hint = "that is the name of a task: give the task itself for all its jobs"
        elif close := get_close_matches(job_id, ids, _TOLD):
            hint = f"did you mean {' or '.join(map(repr, close))}?"
        else:
            hint = "give the id of a job, or the job itself, or a task"
        msg = f"no job of the id {job_id!r} is known: {hint}\nknown ids: {_listed(ids)}\nof the tasks: {_listed(tasks)}"
        raise LookupError(msg)

    def timeline(self, subject: Subject) -> list[tuple[float, JobStatus]]:
        """Return the transitions as pairs: seconds since the start of the test, and the status reached then."""
        return [(self._seconds(transition), transition.status) for transition in self.of(subject)]

    def text(self, subject: Subject | None = None) -> Timeline:
        """Return a timeline as text, a line for each event; of all jobs, each by its name, if no subject is given.

        It compares with `==` to any text of the same lines, however these are indented.
        """
        return self._teller.tell(self._about(subject), labels=not isinstance(subject, Job | str))

    def tail(self, count: int) -> Timeline:
        """Return the text of the last events."""
        return self._teller.tell(self._events[-count:], labels=True)

    def _seconds(self, event: Event) -> float:
        # Counted in nanoseconds, for a difference of floats would not be exact.
        return (to_nanoseconds(event.elapsed) - self._start) / 1_000_000_000

    def __iter__(self) -> Iterator[Event]:
        return iter(tuple(self._events))

    def __len__(self) -> int:
        return len(self._events)

    def __repr__(self) -> str:
        return f"<TransitionLog: {len(self)} events>"


def _listed(names: list[str]) -> str:
    more = f", and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(map(repr, names[:_TOLD])) + more if names else "none"

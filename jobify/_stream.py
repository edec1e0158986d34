"""What happens to jobs, told once and in one order.

Every change of a status is a `Transition`; what is worth telling and is no change of status is
`Skipped` or `Moved`. Logs, metrics, tests and user interfaces all live off this one stream.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from jobify._log import logger
from jobify._run import JobStatus


class Transition(NamedTuple):
    """One change of the status of one job.

    Attributes:
        job_id: the job.
        task: the name of its task.
        at: the wall clock at the change; aware, in UTC.
        elapsed: the monotonic clock at the change, in seconds.
        previous: the status before; None for a job that was just accepted or restored.
        status: the status after.
        due: the time for which the run was or is meant; aware, in UTC.
        exec_at: when the job is due next; aware, in UTC.
        attempt: the number of the attempt in its run, from 1; 0 before the first.
        run: the number of the run, from 1; 0 before the first.
        error: the exception of a failed attempt.
        reason: why, where the status alone does not say it: "retry", "replaced", "stopped", …
    """

    job_id: str
    task: str
    at: datetime
    elapsed: float
    previous: JobStatus | None
    status: JobStatus
    due: datetime
    exec_at: datetime
    attempt: int
    run: int
    error: BaseException | None
    reason: str | None

    @property
    def lateness(self) -> timedelta:
        """How long after its due time this happened; of a start, how late it was."""
        return self.at - self.due


@dataclass(frozen=True, slots=True)
class Skipped:
    """Times at which no run of a recurring job happened.

    Attributes:
        job_id: the job.
        task: the name of its task.
        at: the wall clock when this was decided; aware, in UTC.
        elapsed: the monotonic clock then, in seconds.
        first: the first of these times; aware, in UTC.
        last: the last of them.
        count: how many they are.
        reason: why no run happened: "missed", "overlap", "paused", or "dropped" because they were too many.
    """

    job_id: str
    task: str
    at: datetime
    elapsed: float
    first: datetime
    last: datetime
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """What a person has done to a job, where that is no change of its status.

    Attributes:
        job_id: the job.
        task: the name of its task.
        at: the wall clock when this was done; aware, in UTC.
        elapsed: the monotonic clock then, in seconds.
        exec_at: when the job is due next; aware, in UTC.
        reason: what was done: "paused", "resumed", "rescheduled" or "triggered".
    """

    job_id: str
    task: str
    at: datetime
    elapsed: float
    exec_at: datetime
    reason: str


Event = Transition | Skipped | Moved
Listener = Callable[[Event], object]


class Stream:
    """Calls the listeners of an app, one event after the other.

    What a listener causes is queued behind the event that it was called with, so that all listeners
    see one order. A listener that raises is logged, and harms nobody.

    Attributes:
        listeners: by subscription; while there are none, an event need not be made at all.
    """

    def __init__(self) -> None:
        self.listeners: dict[object, Listener] = {}
        self._queue: deque[Event] = deque()
        self._telling = False

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on; return what ends that."""
        # One listener may subscribe twice: each subscription is told, and ended, by itself.
        subscription = object()
        self.listeners[subscription] = listener

        def unsubscribe() -> None:
            self.listeners.pop(subscription, None)

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Tell all listeners, after what they are being told right now."""
        self._queue.append(event)
        if self._telling:
            return
        self._telling = True
        try:
            while self._queue:
                event = self._queue.popleft()
                for listener in tuple(self.listeners.values()):
                    try:
                        listener(event)
                    except (KeyboardInterrupt, SystemExit):
                        raise
                    except BaseException:  # noqa: BLE001  # the log has it
                        logger.exception("a listener raised on an event of job %r", event.job_id)
        finally:
            self._telling = False

"""A job as its scheduler keeps it, as its user asked for it, and as it is stored."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from jobify._clock import Clock, to_nanoseconds, wall_nanoseconds
from jobify._cron import Cron
from jobify._job import JobState, Owner
from jobify._recurrence import Every
from jobify._spec import TaskSpec
from jobify._triggers import Trigger, trigger_from_text, trigger_to_text
from jobify._zones import check_calendar
from jobify.exceptions import InvalidArgumentsError
from jobify.storage import StoredJob


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """What a user said: call this, with these arguments, then; exactly one of three says when.

    Attributes:
        spec: the task.
        args: positional arguments.
        kwargs: keyword arguments.
        job_id: the id; None to have one made.
        replace: whether to take the place of a job that has the id.
        delay: in so many seconds from now.
        at: at this instant; aware, in UTC.
        trigger: again and again.
        declared: whether the order is part of the declaration of the task.
    """

    spec: TaskSpec
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    job_id: str | None = None
    replace: bool = False
    delay: float | None = None
    at: datetime | None = None
    trigger: Trigger | None = None
    declared: bool = False


class Due(NamedTuple):
    """When a job is to start, on the axis of time that it follows.

    Attributes:
        exec_at: the instant, or its forecast; in UTC.
        nanoseconds: since 1970 if `wall`, else on the monotonic clock.
        wall: whether the job follows the wall clock.
        delay: the seconds that `exec_at` was forecast from; None if it was given as an instant.
    """

    exec_at: datetime
    nanoseconds: int
    wall: bool
    delay: float | None


class Entry(JobState):
    """All that its scheduler knows of a job.

    Attributes:
        spec: the task; None if it is not registered.
        args: positional arguments.
        kwargs: keyword arguments.
        arguments: both, as they are stored.
        trigger: the recurrence; None for a one-time job.
        declared: whether the recurrence is part of the declaration of the task.
        number: the order of scheduling in this start of the app.
        place: the order among the jobs that are due at the same instant.
        packed: whether `args` and `kwargs` have still to be taken from `arguments`.
        row: its number in the storage; 0 if it is not stored.
        due: when it is to start, in whole nanoseconds: since 1970 if `wall`, else monotonic.
        wall: whether it follows the wall clock.
        delay: the seconds that `exec_at` was forecast from; None if it was given as an instant.
        nominal: where an interval stands: the monotonic nanoseconds of its last due time.
        scheduled_for: the time for which the run is meant; in UTC.
        runs: how many runs have ended.
        failures: how many runs in a row have failed.
        interruptions: how often a crash cut a run short.
        started_at: when the first attempt of the run in progress started.
        run_task: what carries an attempt, from its slot to its end.
        given_up: why the job has no future beyond the run in progress: "cancelled", "replaced".
        cut: whether the attempt was cancelled by a stop of the app.
    """

    __slots__ = (
        "args",
        "arguments",
        "cut",
        "declared",
        "delay",
        "due",
        "failures",
        "given_up",
        "interruptions",
        "kwargs",
        "nominal",
        "number",
        "packed",
        "place",
        "row",
        "run_task",
        "runs",
        "scheduled_for",
        "spec",
        "started_at",
        "trigger",
        "wall",
    )

    def __init__(
        self, job_id: str, task: str, *, owner: Owner, tz: tzinfo, exec_at: datetime, trigger: Trigger | None
    ) -> None:
        super().__init__(job_id, task, owner=owner, tz=tz, exec_at=exec_at)
        self.recurring = trigger is not None
        self.cron_expression = trigger.expression if isinstance(trigger, Cron) else None
        self.trigger = trigger
        self.spec: TaskSpec | None = None
        self.args: tuple[Any, ...] = ()
        self.kwargs: Mapping[str, Any] = {}
        self.arguments: Any = None
        self.declared = False
        self.number = 0
        self.place = 0
        self.packed = False
        self.row = 0
        self.due = 0
        self.wall = False
        self.delay: float | None = None
        self.nominal = 0
        self.scheduled_for = exec_at
        self.runs = 0
        self.failures = 0
        self.interruptions = 0
        self.started_at: datetime | None = None
        self.run_task: asyncio.Task[None] | None = None
        self.given_up: str | None = None
        self.cut = False

    def unpack(self) -> None:
        """Read the arguments of a restored job.

        Raises:
            InvalidArgumentsError: the task is not registered, or they do not fit it any more.
        """
        if not self.packed:
            return
        if self.spec is None:
            msg = f"cannot read the arguments of job {self.id!r}: its task {self.task!r} is not registered"
            raise InvalidArgumentsError(msg)
        codec, stored = self.spec.codec, self.arguments
        self.args, self.kwargs = codec.unpack(stored) if isinstance(stored, bytes | str) else codec.check(*stored)
        self.packed = False

    def bound_arguments(self) -> Mapping[str, Any]:
        """Return the arguments by the names of the parameters."""
        self.unpack()
        if self.spec is None:
            msg = f"cannot name the arguments of job {self.id!r}: its task {self.task!r} is not registered"
            raise InvalidArgumentsError(msg)
        bound = self.spec.signature.bind(*self.args, **self.kwargs)
        bound.apply_defaults()
        return bound.arguments

    def wait_until(self, due: Due) -> None:
        """Be due then, and not before."""
        self.exec_at, self.due, self.wall, self.delay = due


def due_at(moment: datetime) -> Due:
    """Return the due time of what follows the wall clock."""
    return Due(moment, wall_nanoseconds(moment), wall=True, delay=None)


def due_in(seconds: float, clock: Clock) -> Due:
    """Return the due time of what follows the monotonic clock; `exec_at` is the forecast of now.

    Raises:
        OverflowError: no datetime is that far away.
    """
    nanoseconds = round(seconds * 1e9)
    # Cut, as a clock cuts what it shows: rounded up, the forecast would be later than what a job sees.
    exec_at = clock.now() + timedelta(microseconds=nanoseconds // 1000)
    return Due(exec_at, to_nanoseconds(clock.monotonic()) + nanoseconds, wall=False, delay=seconds)


def new_entry(order: Order, job_id: str, *, owner: Owner, clock: Clock, tz: tzinfo) -> Entry:
    """Make the entry of a job that was just ordered.

    Raises:
        OverflowError: no datetime is as far away as the order wants, or none that `tz` can show.
        InvalidScheduleError: the recurrence has no time that is still to come.
    """
    now = clock.now()
    trigger = order.trigger.in_zone(tz).bound_to(job_id) if order.trigger is not None else None
    entry = Entry(job_id, order.spec.name, owner=owner, tz=tz, exec_at=now, trigger=trigger)
    entry.spec = order.spec
    entry.args = order.args
    entry.kwargs = order.kwargs
    entry.declared = order.declared
    if isinstance(trigger, Every):
        first = trigger.next_after(now)
        due = due_in((first - now).total_seconds(), clock)._replace(exec_at=first)
    elif trigger is not None:
        due = due_at(trigger.next_after(now, tz))
    elif order.at is not None:
        due = due_at(order.at)
    else:
        due = due_in(order.delay or 0.0, clock)
    check_calendar(due.exec_at, tz)
    entry.wait_until(due)
    entry.nominal = entry.due
    entry.scheduled_for = entry.exec_at
    return entry


def to_row(entry: Entry) -> StoredJob:
    """Return the row of a job of which no attempt is in progress."""
    return StoredJob(
        number=entry.row,
        id=entry.id,
        task=entry.task,
        arguments=entry.arguments,
        trigger=trigger_to_text(entry.trigger) if entry.trigger is not None else None,
        declared=entry.declared,
        exec_at=entry.exec_at,
        scheduled_for=entry.scheduled_for,
        delay=entry.delay,
        attempt=entry.attempt,
        runs=entry.runs,
        failures=entry.failures,
        interruptions=entry.interruptions,
        started_at=entry.started_at,
    )


def row_in_backoff(entry: Entry, due: Due) -> StoredJob:
    """Return the row of a job whose attempt has failed, and whose next one is due then."""
    return replace(to_row(entry), exec_at=due.exec_at, delay=due.delay)


def row_after_run(entry: Entry, due: Due, *, failures: int) -> StoredJob:
    """Return the row of a recurring job whose run has ended, and whose next one is due then."""
    return replace(
        to_row(entry),
        exec_at=due.exec_at,
        scheduled_for=due.exec_at,
        delay=due.delay,
        attempt=0,
        runs=entry.runs + 1,
        failures=failures,
        interruptions=0,
        started_at=None,
    )


def from_row(row: StoredJob, spec: TaskSpec | None, *, owner: Owner, clock: Clock, tz: tzinfo) -> Entry:
    """Make the entry of a job that was stored by an earlier start of the app.

    The arguments stay as they are: whoever starts the job unpacks them.

    Raises:
        InvalidScheduleError: the recurrence cannot be read.
    """
    trigger = trigger_from_text(row.trigger).bound_to(row.id) if row.trigger is not None else None
    entry = Entry(row.id, row.task, owner=owner, tz=tz, exec_at=row.exec_at, trigger=trigger)
    entry.spec = spec
    entry.row = row.number
    entry.arguments = row.arguments
    entry.packed = True
    entry.declared = row.declared
    entry.attempt = row.attempt
    entry.runs = row.runs
    entry.failures = row.failures
    entry.interruptions = row.interruptions
    entry.started_at = row.started_at
    entry.scheduled_for = row.scheduled_for
    entry.wait_until(_resumed(row, clock))
    entry.nominal = entry.due
    return entry


def _resumed(row: StoredJob, clock: Clock) -> Due:
    """Return when a stored job is due; what was a duration goes on as one, and never gets longer."""
    if row.delay is None:
        return due_at(row.exec_at)
    remaining = (row.exec_at - clock.now()).total_seconds()
    due = due_in(min(remaining, row.delay), clock)  # what is overdue stays so: the earliest is to start first
    return due._replace(exec_at=row.exec_at if remaining <= row.delay else due.exec_at, delay=row.delay)

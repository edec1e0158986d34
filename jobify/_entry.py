"""A job as its user asked for it, and as its scheduler keeps it."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Any, NamedTuple

from jobify._clock import EPOCH, Clock, to_nanoseconds, wall_nanoseconds
from jobify._cron import Cron
from jobify._nominal import Nominal
from jobify._policies import MisfirePolicy
from jobify._recurrence import Every
from jobify._spec import TaskSpec
from jobify._state import JobState, Owner
from jobify._triggers import Trigger, trigger_to_text
from jobify.exceptions import InvalidArgumentsError
from jobify.storage import StoredRun

LOST = "lost"
"""Why a job is given up whose claim was lost."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SOMETIME = Nominal(EPOCH, 0)


class Order(NamedTuple):
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
        misfire_policy: whether a one-time job still starts when it is late.
        parent: the id of the job that orders this one; None if no job does.
        declared: whether the order is part of the declaration of the task.
        since: the recurrence begins behind this time, which has passed, and all its times get a run each.
    """

    spec: TaskSpec
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = _NOTHING
    job_id: str | None = None
    replace: bool = False
    delay: float | None = None
    at: datetime | None = None
    trigger: Trigger | None = None
    misfire_policy: MisfirePolicy = MisfirePolicy.ONCE
    parent: str | None = None
    declared: bool = False
    since: datetime | None = None


def id_beside(parent: str, moment: datetime) -> str:
    """Return the id of the job that runs beside another, for a time of that."""
    fraction = f".{moment:%f}" if moment.microsecond else ""
    return f"{parent}@{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


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


class Next(NamedTuple):
    """The time of another run.

    Attributes:
        time: what the run is meant for.
        due: when it is to start.
        until: see `Entry`.
        judged: see `Entry`.
    """

    time: Nominal
    due: Due
    until: Nominal | None = None
    judged: bool = False


class Watch:
    """Waits for the next time of a job while a run of it is in progress."""

    __slots__ = ("due", "entry", "place", "wall")

    def __init__(self, entry: "Entry", due: int) -> None:
        self.entry = entry
        self.due = due
        self.place = entry.place
        self.wall = entry.follows_wall_clock

    def __lt__(self, other: object) -> bool:
        return False  # due at one instant with its job, it is behind it

    def __gt__(self, other: object) -> bool:
        return True


class Entry(JobState):
    """All that its scheduler knows of a job.

    Attributes:
        spec: the task; None if it is not registered.
        args: positional arguments.
        kwargs: keyword arguments.
        arguments: both, as they are stored.
        trigger: the recurrence; None for a one-time job.
        trigger_text: it, as it is stored.
        follows_wall_clock: whether its times lie on the wall clock, and not on the monotonic one.
        declaration: the text of the recurrence that the task declares; None if the job stems from no declaration.
        misfire_policy: what becomes of it if it starts late.
        number: the order of scheduling in this start of the app.
        place: the order among the jobs that are due at the same instant.
        packed: whether `args` and `kwargs` have still to be taken from `arguments`.
        row: its number in the storage; 0 if it is not stored.
        kept: the number that it had there first; 0 if it was never stored.
        due: when it is to start, in whole nanoseconds: since 1970 if `wall`, else monotonic.
        wall: whether it follows the wall clock.
        delay: the seconds that `exec_at` was forecast from; None if it was given as an instant.
        here: the time for which the run in progress, or else the next one, is meant.
        covered: the last time for which a job of its own was started; None if there is none behind `here`.
        until: the last of the times behind `here` that get a run each although they have passed.
        judged: whether it is decided already that it starts, however late.
        unwritten: what the next write adds to the history.
        overtaken: whether a later time of the job wants the place of the run in progress.
        watch: what waits for the next time while a run is in progress.
        interruptions: how often a crash cut a run short.
        started_at: when the first attempt of the run in progress started.
        run_task: what carries an attempt, from its slot to its end.
        given_up: why the job has no future beyond the run in progress: "cancelled", "replaced", or `LOST`.
        begun: whether the row of a job that has not started says already that an attempt is in progress.
        handed: whether who has pushed the job has its handle before its first attempt is made.
        cut: whether the attempt was cancelled by a stop of the app.
        elsewhere: whether another process holds the job, and this one only follows what becomes of it.
        seen: the number of the last run of it that this process knows, if it is followed.
    """

    __slots__ = (
        "args",
        "arguments",
        "begun",
        "covered",
        "cut",
        "declaration",
        "delay",
        "due",
        "elsewhere",
        "follows_wall_clock",
        "given_up",
        "handed",
        "here",
        "interruptions",
        "judged",
        "kept",
        "kwargs",
        "misfire_policy",
        "number",
        "overtaken",
        "packed",
        "place",
        "row",
        "run_task",
        "seen",
        "spec",
        "started_at",
        "trigger",
        "trigger_text",
        "until",
        "unwritten",
        "wall",
        "watch",
    )

    def __init__(
        self, job_id: str, task: str, *, owner: Owner, tz: tzinfo, exec_at: datetime, trigger: Trigger | None
    ) -> None:
        super().__init__(job_id, task, owner=owner, tz=tz, exec_at=exec_at)
        self.misfire_policy = MisfirePolicy.ONCE
        self.follow(trigger)
        self.spec: TaskSpec | None = None
        self.args: tuple[Any, ...] = ()
        self.kwargs: Mapping[str, Any] = _NOTHING
        self.arguments: Any = None
        self.declaration: str | None = None
        self.number = 0
        self.place = 0
        self.packed = False
        self.row = 0
        self.kept = 0
        self.due = 0
        self.wall = False
        self.delay: float | None = None
        self.here = _SOMETIME
        self.covered: Nominal | None = None
        self.until: Nominal | None = None
        self.judged = False
        self.unwritten: tuple[StoredRun, ...] = ()
        self.overtaken = False
        self.watch: Watch | None = None
        self.interruptions = 0
        self.started_at: datetime | None = None
        self.run_task: asyncio.Task[None] | None = None
        self.given_up: str | None = None
        self.begun = False
        self.handed = False
        self.cut = False
        self.elsewhere = False
        self.seen = 0

    @property
    def scheduled_for(self) -> datetime:
        """The time for which the run is meant; in UTC."""
        return self.here.moment

    @property
    def reached(self) -> Nominal:
        """The last time that has its run, or is to have it next."""
        covered = self.covered
        return covered if covered is not None and covered.nanoseconds > self.here.nanoseconds else self.here

    @property
    def is_beside(self) -> bool:
        """Whether it runs beside another, for a time of that."""
        return self.parent is not None and self.id == id_beside(self.parent, self.scheduled_for)

    def follow(self, trigger: Trigger | None) -> None:
        """Recur so from now on; None for not at all."""
        self.trigger = trigger
        self.trigger_text = None
        self.recurring = trigger is not None
        self.follows_wall_clock = True
        self.cron_expression = None
        if trigger is not None:
            self.trigger_text = trigger_to_text(trigger)
            self.follows_wall_clock = not isinstance(trigger, Every)
            self.cron_expression = trigger.expression if isinstance(trigger, Cron) else None
            self.misfire_policy = trigger.misfire_policy

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

    def run_again(self) -> None:
        """Have a run, whose first attempt was cut short, begin anew however late that is."""
        if self.until is None:
            self.until = self.here

    def go_to(self, step: "Next") -> None:
        """Wait for the time of another run."""
        self.here = step.time
        self.until = step.until
        self.judged = step.judged
        if self.covered is not None and self.covered.nanoseconds <= step.time.nanoseconds:
            self.covered = None
        self.overtaken = False
        self.exec_at, self.due, self.wall, self.delay = step.due


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

"""A task, and the sentence in which its user says what to do when: `task.schedule(...).delay(5)`."""

import functools
import re
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, final

from jobify._cron import Cron
from jobify._entry import Order
from jobify._job import Job
from jobify._policies import MisfirePolicy, misfire_policy_of
from jobify._recurrence import Every, Recurrence
from jobify._spec import RunMode, TaskSpec
from jobify._triggers import Trigger, storable
from jobify._zones import aware_utc, seconds_of
from jobify.exceptions import InvalidArgumentsError, InvalidScheduleError

_SURROGATE = re.compile("[\ud800-\udfff]")
_ENDS = ".delay(seconds), .at(moment), .every(interval), .cron(expression) or .recur(recurrence)"
P = ParamSpec("P")
C_co = TypeVar("C_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)


class Orderer(Protocol):
    """Who takes the orders of a task: the app."""

    def order(self, order: Order, /, *, using: object = None) -> Awaitable[Job[Any]]:
        """Accept an order, in a transaction of the user's if a connection is given."""
        ...


@final
class Task(Generic[P, C_co, R_co]):
    """A function that jobs can call. It stays callable like the function itself.

    Attributes:
        name: the name under which its jobs are stored.
        function: what was decorated.
    """

    def __init__(self, spec: TaskSpec, orderer: Orderer) -> None:
        functools.update_wrapper(self, spec.function, updated=())
        self.name = spec.name
        self.function: Callable[P, C_co] = spec.function
        self._spec = spec
        self._orderer = orderer

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C_co:
        """Call the function here and now, without a job."""
        return self.function(*args, **kwargs)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was declared as `metadata`."""
        return self._spec.metadata

    @property
    def run_mode(self) -> RunMode:
        """Where its jobs run."""
        return self._spec.run_mode

    async def push(self, *args: P.args, **kwargs: P.kwargs) -> Job[R_co]:
        """Have the function called as soon as possible.

        Raises:
            ApplicationStateError: the app does not run.
            InvalidArgumentsError: the arguments do not fit, or cannot be stored.
            StorageError: the job could not be stored: there is none.
        """
        self._spec.check(args, kwargs)
        return await self._orderer.order(Order(self._spec, args, kwargs))

    def schedule(self, *args: P.args, **kwargs: P.kwargs) -> "Schedule[R_co]":
        """Begin the sentence that says when the function is to be called with these arguments.

        Raises:
            InvalidArgumentsError: the arguments do not fit.
        """
        self._spec.check(args, kwargs)
        return Schedule(self._spec, self._orderer, args, kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"


@final
class Schedule(Generic[R_co]):
    """The end of the sentence: each method, when awaited, schedules one job and returns it.

    A sentence without an end schedules nothing, and is warned of when it is thrown away.

    All of them take `job_id`, the id of the job (made if it is None, but required where the job
    recurs), and `replace`: whether to take the place of a job that has the id. All of them raise:

    - `ApplicationStateError`: the app does not run;
    - `DuplicateJobError`: the id is taken, and `replace` is False;
    - `InvalidScheduleError`: the time cannot be used;
    - `InvalidArgumentsError`: the task is durable and its storage cannot keep the arguments;
    - `StorageError`: the job could not be stored: there is none.
    """

    __slots__ = ("_args", "_connection", "_ended", "_kwargs", "_orderer", "_spec")

    def __init__(self, spec: TaskSpec, orderer: Orderer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._spec = spec
        self._orderer = orderer
        self._args = args
        self._kwargs = kwargs
        self._connection: object = None
        self._ended = False

    def using(self, connection: object) -> "Schedule[R_co]":
        """Have the job added in the transaction that is in progress on a connection of yours: it is there if that is.

        The sentence goes on: `.using(connection).delay(0)` is for as soon as it is committed. Until then the job that
        it returns is held, and `wait()` waits for the commit too; after a rollback that raises, and there is no job.

        Args:
            connection: to the same database, of asyncpg or an `AsyncConnection` of psycopg; with `SQLiteStorage`, to
                the same file, of sqlite3 or aiosqlite.

        Raises:
            TypeError: there is no connection.
            InvalidScheduleError: the task is not durable.
        """
        self._ended = True
        if connection is None:
            msg = f"cannot schedule {self._spec.name!r} using None: give the connection whose transaction it is"
            raise TypeError(msg)
        if not self._spec.durable:
            msg = f"cannot schedule {self._spec.name!r} in a transaction: it is not durable, and is kept in no database"
            raise InvalidScheduleError(msg)
        schedule: Schedule[R_co] = Schedule(self._spec, self._orderer, self._args, self._kwargs)
        schedule._connection = connection
        return schedule

    # These are no `async def`: that they were called is to be known, also if what they return is never awaited.

    def delay(
        self,
        seconds: float | timedelta,
        *,
        job_id: str | None = None,
        replace: bool = False,
        misfire_policy: MisfirePolicy | str = MisfirePolicy.ONCE,
    ) -> Coroutine[Any, Any, Job[R_co]]:
        """Call once, so many seconds from now, however the wall clock is stepped meanwhile.

        `misfire_policy` says whether the job still starts when it is late: it does, unless that is given.
        """
        self._ended = True
        delay, policy = seconds_of(seconds, "delay"), misfire_policy_of(misfire_policy)
        return self._order(delay=delay, job_id=job_id, replace=replace, misfire_policy=policy)

    def at(
        self,
        moment: datetime,
        *,
        job_id: str | None = None,
        replace: bool = False,
        misfire_policy: MisfirePolicy | str = MisfirePolicy.ONCE,
    ) -> Coroutine[Any, Any, Job[R_co]]:
        """Call once, when the wall clock reaches an aware datetime; at once if that has passed.

        `misfire_policy` says whether the job still starts when it is late: it does, unless that is given.
        """
        self._ended = True
        at, policy = aware_utc(moment, "at"), misfire_policy_of(misfire_policy)
        return self._order(at=at, job_id=job_id, replace=replace, misfire_policy=policy)

    def every(
        self, interval: float | timedelta | Every, *, job_id: str | None = None, replace: bool = False
    ) -> Coroutine[Any, Any, Job[R_co]]:
        """Call again and again, so many seconds apart, for the first time one interval from now."""
        self._ended = True
        trigger = interval if isinstance(interval, Every) else Every(interval)
        return self._recur(trigger, job_id=job_id, replace=replace)

    def cron(
        self, expression: str | Cron, *, job_id: str | None = None, replace: bool = False
    ) -> Coroutine[Any, Any, Job[R_co]]:
        """Call at all times that match a cron expression, the first of them strictly after now."""
        self._ended = True
        trigger = expression if isinstance(expression, Cron) else Cron(expression)
        return self._recur(trigger, job_id=job_id, replace=replace)

    def recur(
        self, recurrence: Recurrence, *, job_id: str | None = None, replace: bool = False
    ) -> Coroutine[Any, Any, Job[R_co]]:
        """Call at all times of a recurrence, the first of them strictly after now."""
        self._ended = True
        return self._recur(storable(recurrence), job_id=job_id, replace=replace)

    def _recur(self, trigger: Trigger, *, job_id: str | None, replace: bool) -> Coroutine[Any, Any, Job[R_co]]:
        if job_id is None:
            msg = (
                f"cannot schedule {self._spec.name!r} again and again without a job_id: "
                "a recurrence needs a name by which the next start of the program finds it"
            )
            raise InvalidScheduleError(msg)
        if trigger.args or trigger.kwargs:
            msg = (
                f"cannot schedule {self._spec.name!r} with the arguments of {trigger!r}: "
                "give them to schedule(...); those of a recurrence are for @app.task(cron=...), every= and recur="
            )
            raise InvalidArgumentsError(msg)
        self._spec.check_overlap(trigger)
        return self._order(trigger=trigger, job_id=job_id, replace=replace)

    async def _order(
        self,
        *,
        job_id: str | None,
        replace: bool,
        delay: float | None = None,
        at: datetime | None = None,
        trigger: Trigger | None = None,
        misfire_policy: MisfirePolicy = MisfirePolicy.ONCE,
    ) -> Job[R_co]:
        if job_id is not None and (not isinstance(job_id, str) or not job_id):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot schedule {self._spec.name!r}: a job_id is a non-empty str, not {job_id!r}"
            raise InvalidScheduleError(msg)
        if job_id is not None and not job_id.isascii() and _SURROGATE.search(job_id):
            msg = f"cannot schedule {self._spec.name!r}: the job_id {job_id!r} has half of a character, as no text has"
            raise InvalidScheduleError(msg)
        if self._connection is not None and replace:
            msg = (
                f"cannot schedule {self._spec.name!r} in a transaction with replace=True: whether a job is replaced is "
                "not known before the commit; cancel the old one when that is done, or give another job_id"
            )
            raise InvalidScheduleError(msg)
        return await self._orderer.order(
            Order(
                spec=self._spec,
                args=self._args,
                kwargs=self._kwargs,
                job_id=job_id,
                replace=replace,
                delay=delay,
                at=at,
                trigger=trigger,
                misfire_policy=misfire_policy,
            ),
            using=self._connection,
        )

    if not TYPE_CHECKING:  # who checks types is told so anyway

        def __await__(self) -> Any:
            self._ended = True
            msg = f"cannot await the schedule of {self._spec.name!r}: it has no time; add {_ENDS}, or use push(...)"
            raise InvalidScheduleError(msg)

    def __del__(self) -> None:
        if not self._ended:
            msg = f"a schedule of {self._spec.name!r} was never given a time, and nothing is scheduled: add {_ENDS}"
            warnings.warn(msg, RuntimeWarning, stacklevel=2, source=self)

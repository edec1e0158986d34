"""Tasks by name, and the decorator that makes them."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from jobify._cron import Cron
from jobify._entry import Order
from jobify._job import Job
from jobify._policies import OnCrash
from jobify._recurrence import Every, Recurrence
from jobify._retry import Retry
from jobify._spec import RunMode, TaskOptions, TaskSpec, make_spec
from jobify._task import Task
from jobify._triggers import Trigger, storable
from jobify.exceptions import DuplicateTaskError, TaskDefinitionError
from jobify.serializers import Serializer

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = frozenset(field.name for field in fields(TaskOptions)) - {"trigger"}
"""The options of a task beside its recurrence."""


class TaskDecorator(Protocol):
    """What `@app.task(...)` with options returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R, R]: ...


class TaskRegistry(ABC):
    """Makes tasks of functions, and keeps them by name.

    Args:
        serializer: turns the arguments of their jobs into bytes.
    """

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self._specs: dict[str, TaskSpec] = {}

    @overload
    def task(
        self,
        function: Callable[P, Coroutine[Any, Any, R]],
        /,
        *,
        name: str | None = None,
        cron: str | Cron | None = None,
        every: float | timedelta | Every | None = None,
        recur: Recurrence | None = None,
        retry: int | Retry | None = None,
        timeout: float | timedelta | None = None,
        durable: bool = True,
        on_crash: OnCrash | str | None = None,
        run_mode: RunMode | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Task[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def task(
        self,
        function: Callable[P, R],
        /,
        *,
        name: str | None = None,
        cron: str | Cron | None = None,
        every: float | timedelta | Every | None = None,
        recur: Recurrence | None = None,
        retry: int | Retry | None = None,
        timeout: float | timedelta | None = None,
        durable: bool = True,
        on_crash: OnCrash | str | None = None,
        run_mode: RunMode | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Task[P, R, R]: ...
    @overload
    def task(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        cron: str | Cron | None = None,
        every: float | timedelta | Every | None = None,
        recur: Recurrence | None = None,
        retry: int | Retry | None = None,
        timeout: float | timedelta | None = None,
        durable: bool = True,
        on_crash: OnCrash | str | None = None,
        run_mode: RunMode | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> TaskDecorator: ...
    def task(  # noqa: D417  # the overloads name the options, and so does the docstring
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        cron: str | Cron | None = None,
        every: float | timedelta | Every | None = None,
        recur: Recurrence | None = None,
        **options: Any,
    ) -> Any:
        """Make a task of a function: `@app.task`, or `@app.task(...)` with options.

        Args:
            function: `async def` or `def`.
            name: unique in the app, and stable across restarts; `module:qualname` by default.
            cron: a recurrence that starts with the app; the name of the task is the id of its job.
            every: the same, by an interval: seconds, a timedelta or an `Every`.
            recur: the same, by any recurrence, such as a `CalendarInterval`, or `AnyOf` some.
            retry: how many attempts may follow a failed one; a number, or a `Retry` with its backoff.
            timeout: the seconds that an attempt may take; no limit by default.
            durable: whether its jobs are kept in the storage.
            on_crash: whether a run that a crash of the process has cut short runs again: "rerun" or "skip"; by default
                that of a one-time job does, and that of a recurring job does not.
            run_mode: on the loop for `async def`, in a thread for `def`, unless given.
            metadata: of your own.

        Raises:
            DuplicateTaskError: the name is taken.
            TaskDefinitionError: the function cannot be a task as declared.
            InvalidScheduleError: a duration or a recurrence cannot be used.
            InvalidArgumentsError: the arguments of the recurrence do not fit the function.
            ApplicationStateError: a recurrence was declared while the app runs.
        """
        if unknown := options.keys() - _OPTIONS:
            known = ", ".join(sorted(_OPTIONS | {"cron", "every", "recur"}))
            msg = f"cannot make a task with {', '.join(sorted(unknown))}: the options are {known}"
            raise TaskDefinitionError(msg)
        trigger = _trigger(cron, every, recur)
        declared = TaskOptions(trigger=trigger, **options)

        def register(function: Callable[..., Any]) -> Task[..., Any, Any]:
            return self._register(make_spec(function, declared, self._serializer))

        return register if function is None else register(function)

    def _register(self, spec: TaskSpec) -> Task[..., Any, Any]:
        if spec.name in self._specs:
            msg = f"cannot register {spec.function!r}: there is a task {spec.name!r} already; choose another name="
            raise DuplicateTaskError(msg)
        if spec.trigger is not None:
            self._check_declaration(spec)
        self._specs[spec.name] = spec
        return Task(spec, self)

    @abstractmethod
    def _check_declaration(self, spec: TaskSpec, /) -> None:
        """See to it that a recurrence can be declared now."""

    @abstractmethod
    def order(self, order: Order, /, *, using: object = None) -> Awaitable[Job[Any]]:
        """Accept an order of a task, in the transaction of a connection if one is given: for `Task`, not for you."""


def _trigger(
    cron: str | Cron | None, every: float | timedelta | Every | None, recur: Recurrence | None
) -> Trigger | None:
    if sum(given is not None for given in (cron, every, recur)) > 1:
        msg = "cannot declare a task with more than one of cron=, every= and recur=: join them by AnyOf, as recur="
        raise TaskDefinitionError(msg)
    if cron is not None:
        return cron if isinstance(cron, Cron) else Cron(cron)
    if every is not None:
        return every if isinstance(every, Every) else Every(every)
    return storable(recur) if recur is not None else None

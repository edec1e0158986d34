"""A task as the core knows it: a function under a name, and how it is to be run."""

import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jobify._policies import OnCrash, Overlap
from jobify._recurrence import Recurrence
from jobify._retry import Retry
from jobify._triggers import Trigger
from jobify._workers import importable
from jobify._zones import seconds_of
from jobify.exceptions import InvalidArgumentsError, InvalidScheduleError, TaskDefinitionError
from jobify.serializers import ArgumentsCodec, ResultCodec, Serializer


class RunMode(StrEnum):
    """Where the function of a task runs."""

    MAIN = "main"
    """On the event loop: the only mode of `async def`."""
    THREAD = "thread"
    """In a thread: the default of `def`. A thread cannot be stopped, only its result abandoned."""
    PROCESS = "process"
    """In a process of its own: for functions that can be imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What can be declared of a task beside its function.

    Attributes:
        name: unique in the app, and stable across restarts; None for `module:qualname`.
        trigger: the recurrence that starts with the app.
        retry: how often, and when, a failed attempt is followed by another; None for never.
        timeout: the seconds that an attempt may take; None for no limit.
        durable: whether its jobs are kept in the storage.
        on_crash: what becomes of a run that a crash has cut short; None for RERUN, or SKIP if the job recurs.
        run_mode: where the function runs; None for MAIN if it is `async def`, else THREAD.
        metadata: of the user's own.
    """

    name: str | None = None
    trigger: Trigger | None = None
    retry: int | Retry | None = None
    timeout: float | None = None
    durable: bool = True
    on_crash: OnCrash | str | None = None
    run_mode: RunMode | str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskSpec:
    """A task that was declared.

    Attributes:
        name: unique in the app, and stable across restarts.
        function: what to call.
        signature: of `function`.
        codec: turns arguments into bytes and back, by the annotations of `function`.
        results: turns what `function` returns into bytes and back.
        run_mode: where to call it.
        retry: whether a failed attempt is followed by another; None if not.
        timeout: the seconds that an attempt may take; None for no limit.
        durable: whether its jobs are kept in the storage.
        on_crash: what becomes of a run that a crash has cut short; None for RERUN, or SKIP if the job recurs.
        trigger: the declared recurrence, if there is one.
        metadata: of the user's own.
        fewest: how many arguments a call by position alone needs.
        most: how many it may have; less than `fewest` if there is no such call.
    """

    name: str
    function: Callable[..., Any]
    signature: inspect.Signature
    codec: ArgumentsCodec
    results: ResultCodec
    run_mode: RunMode
    retry: Retry | None
    timeout: float | None
    durable: bool
    on_crash: OnCrash | None
    trigger: Trigger | None
    metadata: Mapping[str, Any]
    fewest: int
    most: float

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """See to it that the function can be called with these arguments.

        Raises:
            InvalidArgumentsError: it cannot.
        """
        if not kwargs and self.fewest <= len(args) <= self.most:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"cannot schedule {self.name!r} with these arguments: {error}; its signature is {self.signature}"
            raise InvalidArgumentsError(msg) from None

    def check_overlap(self, recurrence: Recurrence) -> None:
        """See to it that what a recurrence wants to become of overlapping runs can be had.

        Raises:
            InvalidScheduleError: it cannot.
        """
        mode = self.run_mode
        if recurrence.overlap is Overlap.CANCEL_OTHER and mode is not RunMode.MAIN:
            msg = (
                f"cannot cancel the run in progress of {self.name!r}: it is a {mode} task, and no {mode} can be "
                "stopped; use `async def`, or another overlap"
            )
            raise InvalidScheduleError(msg)


def make_spec(function: Callable[..., Any], options: TaskOptions, serializer: Serializer) -> TaskSpec:
    """Make a task of a function.

    Raises:
        TaskDefinitionError: the function cannot be a task as declared.
        InvalidScheduleError: an option that is a duration or a recurrence cannot be used.
        InvalidArgumentsError: the arguments of the declared recurrence do not fit the function.
    """
    signature = _signature(function)
    fewest, most = _positional(signature)
    spec = TaskSpec(
        name=_name(function, options.name),
        function=function,
        signature=signature,
        codec=ArgumentsCodec(function, signature, serializer),
        results=ResultCodec(function, signature, serializer),
        run_mode=_run_mode(function, options.run_mode),
        retry=_retry(options.retry),
        timeout=_timeout(options.timeout),
        durable=_durable(function, options.durable),
        on_crash=_on_crash(function, options.on_crash),
        trigger=options.trigger,
        metadata=_metadata(function, options.metadata),
        fewest=fewest,
        most=most,
    )
    if spec.trigger is not None:
        spec.check(spec.trigger.args, spec.trigger.kwargs)
        spec.check_overlap(spec.trigger)
    return spec


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    if not callable(function):
        msg = (
            f"cannot make a task of {function!r}: it is not a function, nor anything else that can be called; give one"
        )
        raise TaskDefinitionError(msg)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        msg = f"cannot make a task of {function!r}: it is a generator; a task returns, it does not yield"
        raise TaskDefinitionError(msg)
    try:
        signature = inspect.signature(function)
    except ValueError:
        msg = f"cannot make a task of {function!r}: it has no signature; wrap it in a function of your own"
        raise TaskDefinitionError(msg) from None
    if (owner := _class_of(function, signature)) is not None:
        name = getattr(function, "__name__", "the method")
        msg = (
            f"cannot make a task of {function!r}: it is a method of {owner!r}, and a task has no object to call it on; "
            f"take a function outside of the class, or the method of one object: app.task({owner.lower()}.{name})"
        )
        raise TaskDefinitionError(msg)
    return signature


def _class_of(function: Callable[..., Any], signature: inspect.Signature) -> str | None:
    """Return the name of the class whose unbound method a function is; None if it is none.

    What tells is the first parameter, for functions without it are called as they are wherever they stand, and the
    class: the name before the last, unless that says that a function is around it.
    """
    if next(iter(signature.parameters), None) not in ("self", "cls"):
        return None
    names = str(getattr(function, "__qualname__", "")).split(".")
    return names[-2] if len(names) > 1 and names[-2] != "<locals>" else None


def _positional(signature: inspect.Signature) -> tuple[int, float]:
    """Return how many arguments a call by position alone needs, and how many it may have."""
    fewest, most = 0, 0.0
    for parameter in signature.parameters.values():
        is_needed = parameter.default is parameter.empty
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = math.inf
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if is_needed:
                return 1, 0
        elif parameter.kind is not parameter.VAR_KEYWORD:
            fewest += is_needed
            most += 1
    return fewest, most


def _name(function: Callable[..., Any], name: str | None) -> str:
    if name is None:
        qualname = getattr(function, "__qualname__", None)
        if not isinstance(qualname, str):
            msg = f"cannot make a task of {function!r}: it has no name of its own; give it one with name="
            raise TaskDefinitionError(msg)
        return f"{_module_name(function.__module__)}:{qualname}"
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot make a task of {function!r}: its name must be a non-empty str, not {name!r}"
        raise TaskDefinitionError(msg)
    return name


def _module_name(module: str) -> str:
    """Return the name under which a module is imported, also where it is the program itself."""
    if module not in ("__main__", "__mp_main__"):
        return module
    main = sys.modules.get(module)
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # run with -m
        return str(spec.name)
    file = getattr(main, "__file__", None)
    if file is None:  # typed at a prompt
        return module
    path = Path(file).resolve()
    names = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        names.append(folder.name)
        folder = folder.parent
    return ".".join(reversed(names))


def _run_mode(function: Callable[..., Any], given: RunMode | str | None) -> RunMode:
    is_async = inspect.iscoroutinefunction(inspect.unwrap(function)) or inspect.iscoroutinefunction(function)
    if given is None:
        return RunMode.MAIN if is_async else RunMode.THREAD
    try:
        mode = RunMode(given)
    except ValueError:
        msg = f"cannot make a task of {function!r}: run_mode is {given!r}, and not one of {[*map(str, RunMode)]}"
        raise TaskDefinitionError(msg) from None
    if is_async and mode is not RunMode.MAIN:
        msg = f"cannot make a {mode} task of {function!r}: `async def` runs on the loop; use `def`, or leave run_mode"
        raise TaskDefinitionError(msg)
    if mode is RunMode.PROCESS and (reason := importable(function)) is not None:
        msg = f"cannot make a process task of {function!r}: {reason}; another process can only import it by its name"
        raise TaskDefinitionError(msg)
    return mode


def _retry(retry: int | Retry | None) -> Retry | None:
    if retry is None or isinstance(retry, Retry):
        return retry
    return Retry(retry)


def _timeout(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    seconds = seconds_of(timeout, "timeout")
    if seconds == 0:
        msg = "cannot use a timeout of 0 s: no attempt could end in time; leave it out for no limit"
        raise TaskDefinitionError(msg)
    return seconds


def _durable(function: Callable[..., Any], durable: bool) -> bool:  # noqa: FBT001  # the option itself
    if not isinstance(durable, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot make a task of {function!r}: durable is True or False, not {durable!r}"
        raise TaskDefinitionError(msg)
    return durable


def _on_crash(function: Callable[..., Any], given: OnCrash | str | None) -> OnCrash | None:
    try:
        return None if given is None else OnCrash(given)
    except ValueError:
        msg = f"cannot make a task of {function!r}: on_crash is {given!r}, and must be one of {[*map(str, OnCrash)]}"
        raise TaskDefinitionError(msg) from None


def _metadata(function: Callable[..., Any], metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if metadata is not None and not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot make a task of {function!r}: metadata is a mapping, such as a dict, not {metadata!r}"
        raise TaskDefinitionError(msg)
    return MappingProxyType(dict(metadata or {}))

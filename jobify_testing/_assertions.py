"""What a test can assert about the jobs of an app."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from inspect import signature
from typing import Any

from jobify import Job, Jobify, JobifyError, JobStatus, StartedApp, Task
from jobify_testing._options import nanoseconds_of
from jobify_testing._timeline import tell_duration

Arguments = Sequence[Any] | Mapping[str, Any]

_MICROSECOND = timedelta(microseconds=1)


def assert_scheduled(
    app: StartedApp,
    task: Task[..., Any, Any],
    *,
    at: datetime | None = None,
    delay: float | timedelta | None = None,
    arguments: Arguments | None = None,
    job_id: str | None = None,
) -> Job[Any]:
    """Assert that a job of a task is scheduled, as described; return the first such job.

    Args:
        app: the app.
        task: the task.
        at: when it is due; an aware datetime.
        delay: in how long from now it is due.
        arguments: what the task is called with: a sequence, as by position, or a mapping, as by name. Defaults
            count, too.
        job_id: the id of the job.

    Raises:
        AssertionError: none is; it lists what is scheduled.
        TypeError: `task` is no task, it cannot be called with such arguments, or both `at` and `delay` are given.
        ValueError: `at` is naive, or `delay` is not finite.
    """
    __tracebackhide__ = True
    if not isinstance(task, Task):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = (
            f"cannot look for jobs of {task!r}: give the task itself, which is what @app.task has made of its function"
        )
        raise TypeError(msg)
    moment, remaining = _when(at, delay)
    wanted = _by_name(task, arguments) if arguments is not None else None
    scheduled = [job for job in app.local_jobs() if job.status is JobStatus.SCHEDULED]
    for job in scheduled:
        if (
            job.task == task.name
            and job_id in (None, job.id)
            and moment in (None, job.exec_at.astimezone(UTC))
            and remaining in (None, job.due_in())
            and wanted in (None, _arguments_of(job))
        ):
            return job
    described = {"at": at, "delay": delay, "arguments": arguments, "job_id": job_id}
    terms = ", ".join(f"{name}={value!r}" for name, value in described.items() if value is not None)
    listing = "\n".join(f"  {_tell(job)}" for job in scheduled) or f"  nothing{_excuse(app)}"
    msg = f"no job of {task.name!r} is scheduled with {terms or 'any terms'}; scheduled are:\n{listing}"
    raise AssertionError(msg)


def _when(at: datetime | None, delay: float | timedelta | None) -> tuple[datetime | None, timedelta | None]:
    if delay is not None:
        if at is not None:
            msg = "give either at= or delay=, not both"
            raise TypeError(msg)
        return None, nanoseconds_of(delay, "expect a delay of") // 1000 * _MICROSECOND
    if at is None:
        return None, None
    if not isinstance(at, datetime) or at.utcoffset() is None:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot expect a job at {at!r}: give an aware datetime"
        raise ValueError(msg)
    return at.astimezone(UTC), None  # in its own zone, a time of the hour that comes twice equals no other


def _by_name(task: Task[..., Any, Any], arguments: Arguments) -> Mapping[str, Any]:
    if isinstance(arguments, str) or not isinstance(arguments, Sequence | Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot expect {task.name!r} to be called with {arguments!r}: give a sequence, or a mapping by name"
        raise TypeError(msg)
    form = signature(task.function)
    try:
        bound = form.bind(**arguments) if isinstance(arguments, Mapping) else form.bind(*arguments)
    except TypeError as error:
        msg = f"cannot expect {task.name!r} to be called with {arguments!r}: {error}"
        raise TypeError(msg) from None
    bound.apply_defaults()
    return bound.arguments


def _arguments_of(job: Job[Any]) -> Mapping[str, Any] | None:
    try:
        return job.arguments
    except JobifyError:  # of an unknown task, or of another version of it
        return None


def _tell(job: Job[Any]) -> str:
    arguments = _arguments_of(job)
    shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items()) if arguments is not None else "?"
    remaining = job.due_in() // _MICROSECOND * 1000
    return f"{job.exec_at.isoformat()} (in {tell_duration(remaining)})  {job.task}({shown})  id {job.id!r}"


def _excuse(app: StartedApp) -> str:
    stopped = isinstance(app, Jobify) and app.health().state == "stopped"
    return ": the app is not running" if stopped else ""

"""What is due when, and whose it is."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobify import Job, JobStatus
from jobify_testing._engine import Engine
from jobify_testing._report import describe_timer

_MOST_LINES = 12


@dataclass(frozen=True, slots=True, order=True)
class Pending:
    """Something that is due.

    Attributes:
        at: when, on the wall clock; aware, in UTC.
        what: whose it is: a job, or the task or the function that a timer belongs to.
        job: the job; None for a timer of something else.
    """

    at: datetime
    what: str
    job: Job[Any] | None = None

    def __str__(self) -> str:
        return f"{self.at.isoformat()}  {self.what}"


def list_pending(loop: Engine, jobs: Iterable[Job[Any]], now: datetime) -> list[Pending]:
    """Return what is due, in order; jobs by themselves, not by the one alarm that stands for all of them."""
    found = [
        Pending(now + job.due_in(), f"job {job.id!r} of {job.task!r}", job)
        for job in jobs
        if job.status is JobStatus.SCHEDULED and not job.held
    ]
    for when, timer in foreground_timers(loop):
        at = now + (when - loop.nanoseconds) // 1000 * timedelta(microseconds=1)
        found.append(Pending(at, describe_timer(timer)))
    return sorted(found, key=lambda pending: (pending.at, pending.what))


def describe_pending(pending: list[Pending]) -> str:
    """Return a list of what is due, as text."""
    lines = [f"  {one}" for one in pending[:_MOST_LINES]]
    if len(pending) > _MOST_LINES:
        lines.append(f"  … and {len(pending) - _MOST_LINES} more")
    return "\n".join(["due next:", *lines]) if lines else ""


def foreground_timers(loop: Engine) -> list[tuple[int, asyncio.TimerHandle]]:
    """Return the timers that are not jobify's own, which stand for jobs, with their instants."""
    timers = ((when, timer) for when, timer in loop.live_timers() if not is_of_jobify(timer))
    return [(when, timer) for when, timer in timers if not loop.is_dead_handle(timer)]


def is_of_jobify(timer: asyncio.TimerHandle) -> bool:
    """Whether a timer was set by jobify."""
    callback: Any = getattr(timer, "_callback", None)
    # An alarm for a wall-clock time is one of ours, around one of jobify's.
    inner = getattr(getattr(callback, "__self__", None), "inner", callback)
    return (getattr(inner, "__module__", None) or "").split(".")[0] == "jobify"

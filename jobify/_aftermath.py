"""What follows from the end of an attempt: another attempt, another run, or the end of the job.

These functions decide, and change nothing.
"""

import logging
from datetime import datetime, timedelta, tzinfo
from random import Random
from typing import Any, NamedTuple

from jobify._clock import Clock, to_nanoseconds
from jobify._executor import Outcome
from jobify._misfire import skipped_between
from jobify._records import Due, Entry, due_at, due_in
from jobify._run import JobStatus, Run
from jobify._stream import Skipped
from jobify._triggers import Every, Trigger
from jobify.exceptions import InvalidScheduleError

logger = logging.getLogger("jobify")


class Aftermath(NamedTuple):
    """What follows from the end of a run.

    Attributes:
        failures: how many runs in a row have failed now.
        following: when the next run is due; None if the job is over.
        last_status: what the status becomes behind that of the run, at the end of the job.
    """

    failures: int
    following: Due | None
    last_status: JobStatus | None


def due_of_retry(entry: Entry, outcome: Outcome, clock: Clock, random: Random) -> Due | None:
    """Return when the next attempt of the run is due; None if there is to be none."""
    retry = entry.spec.retry if entry.spec is not None else None
    if retry is None or outcome.error is None or entry.given_up or not retry.allows(outcome.error, entry.attempt):
        return None
    seconds = retry.backoff(entry.attempt, random)
    logger.info("attempt %d of job %r failed; next in %g s: %r", entry.attempt, entry.id, seconds, outcome.error)
    return due_in(seconds, clock)


def aftermath(entry: Entry, outcome: Outcome, clock: Clock, tz: tzinfo) -> Aftermath:
    """Return what follows when the run of a job has ended."""
    trigger = entry.trigger
    failures = entry.failures + 1 if outcome.error is not None else 0
    if trigger is None:
        return Aftermath(failures, None, None)
    if entry.given_up:
        return Aftermath(failures, None, JobStatus.CANCELLED)
    if trigger.max_failures is not None and failures >= trigger.max_failures:
        return Aftermath(failures, None, JobStatus.PERMANENTLY_FAILED)
    if trigger.max_runs is not None and entry.runs + 1 >= trigger.max_runs:
        return Aftermath(failures, None, None)
    return Aftermath(failures, _next_due(entry, trigger, clock, tz), None)


def _next_due(entry: Entry, trigger: Trigger, clock: Clock, tz: tzinfo) -> Due | None:
    """Return the next time that is still to come, never one at or before the last."""
    now = clock.now()
    if isinstance(trigger, Every):
        return _next_interval(trigger.seconds, entry.nominal, now, to_nanoseconds(clock.monotonic()))
    try:
        return due_at(trigger.next_after(max(now, entry.scheduled_for), tz))
    except InvalidScheduleError as error:
        logger.info("job %r is over: %s", entry.id, error)
        return None


def _next_interval(seconds: float, nominal: int, now: datetime, monotonic: int) -> Due:
    interval = round(seconds * 1e9)
    following = nominal + max((monotonic - nominal) // interval + 1, 1) * interval
    exec_at = now + timedelta(microseconds=(following - monotonic) // 1000)
    return Due(exec_at, following, wall=False, delay=seconds)


def ended_run(entry: Entry, outcome: Outcome, clock: Clock, tz: tzinfo) -> Run[Any]:
    """Return the run that has just ended."""
    now = clock.now()
    return Run(
        job_id=entry.id,
        status=outcome.status,
        scheduled_for=entry.scheduled_for.astimezone(tz),
        started_at=(entry.started_at or now).astimezone(tz),
        finished_at=now.astimezone(tz),
        attempts=entry.attempt,
        error=outcome.error,
        value=outcome.value,
    )


def skipped_by_run(entry: Entry, following: Due, tz: tzinfo) -> Skipped | None:
    """Return the due times that passed while the run that has ended was in progress."""
    if entry.trigger is None:
        return None
    stretch = skipped_between(entry.trigger, entry.scheduled_for, following.exec_at, tz)
    if stretch is None:
        return None
    return Skipped(entry.id, stretch.first, stretch.last, stretch.count, "overlap")

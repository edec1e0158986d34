"""What follows from the end of an attempt: another attempt, another run, or the end of the job.

These functions decide, and change nothing.
"""

from datetime import datetime, timedelta, tzinfo
from random import Random
from typing import Any, NamedTuple

from jobify._clock import Clock, to_nanoseconds
from jobify._executor import Outcome
from jobify._log import logger
from jobify._misfire import Stretch, skipped_between
from jobify._records import Due, Entry, due_at, due_in
from jobify._recurrence import Every
from jobify._run import JobStatus, Run
from jobify._triggers import Trigger
from jobify._zones import check_calendar, shown_in
from jobify.exceptions import InvalidScheduleError


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


def due_of_retry(entry: Entry, outcome: Outcome, clock: Clock, random: Random, tz: tzinfo) -> Due | None:
    """Return when the next attempt of the run is due; None if there is to be none."""
    retry = entry.spec.retry if entry.spec is not None else None
    if retry is None or outcome.error is None or entry.given_up:
        return None
    try:
        if not retry.allows(outcome.error, entry.attempt):
            return None
        due = due_in(retry.backoff(entry.attempt, random), clock)
        check_calendar(due.exec_at, tz)
    except OverflowError:
        logger.warning("job %r is not tried again: when its backoff ends, the calendar has ended too", entry.id)
        return None
    except Exception:  # noqa: BLE001  # a class may have its own idea of what its instances are; the log has it
        logger.exception("job %r is not tried again: its Retry has raised", entry.id)
        return None
    return due


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
    """Return the next time that is still to come, never one at or before the last; None if there is none."""
    now = clock.now()
    try:
        if isinstance(trigger, Every):
            due = _next_interval(trigger.seconds, entry.nominal, now, to_nanoseconds(clock.monotonic()))
            if trigger.end_date is not None and due.exec_at > trigger.end_date:
                return None
        else:
            due = due_at(trigger.next_after(max(now, entry.scheduled_for), tz))
        check_calendar(due.exec_at, tz)
    except (InvalidScheduleError, OverflowError) as error:
        logger.info("job %r is over, for it has no further time: %s", entry.id, error)
        return None
    return due


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
        scheduled_for=shown_in(entry.scheduled_for, tz),
        started_at=shown_in(entry.started_at or now, tz),
        finished_at=shown_in(now, tz),
        attempts=entry.attempt,
        error=outcome.error,
        value=outcome.value,
    )


def skipped_by_run(entry: Entry, following: Due, tz: tzinfo) -> Stretch | None:
    """Return the due times that passed while the run that has ended was in progress."""
    if entry.trigger is None:
        return None
    return skipped_between(entry.trigger, entry.scheduled_for, following.exec_at, tz)

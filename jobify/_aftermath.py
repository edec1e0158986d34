"""What follows from the end of an attempt: another attempt, another run, or the end of the job.

These functions decide, and change nothing.
"""

from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, tzinfo
from random import Random
from typing import Any, NamedTuple

from jobify._clock import Clock
from jobify._entry import Due, Entry, Next, due_in
from jobify._executor import Outcome
from jobify._log import logger
from jobify._misfire import Decision, judge_missed, judge_overlap, waiting
from jobify._nominal import Nominal, Passed, Times
from jobify._records import due_of, make_up, times_now
from jobify._run import JobStatus, Run
from jobify._triggers import Trigger
from jobify._zones import check_calendar, shown_in
from jobify.storage import StoredJob, StoredRun


class Aftermath(NamedTuple):
    """What follows from the end of a run.

    Attributes:
        failures: how many runs in a row have failed now.
        following: the next run; None if the job is over.
        overlap: what was decided about the times that passed during the run; None if none did.
        last_status: what the status becomes behind that of the run, at the end of the job.
    """

    failures: int
    following: Next | None = None
    overlap: Decision | None = None
    last_status: JobStatus | None = None


_OVER = Aftermath(0)


@dataclass(slots=True, eq=False)
class End:
    """The end of a run, while it is written.

    Attributes:
        entry: the job.
        number: its row.
        outcome: of the attempt.
        now: when that was.
        after: what follows from it.
        row: the row of the job then; None if it is over.
        runs: what the history gets.
        context: of the attempt, if that is over before the end is written.
    """

    entry: Entry
    number: int
    outcome: Outcome
    now: datetime
    after: Aftermath
    row: StoredJob | None
    runs: tuple[StoredRun, ...]
    context: Context | None = None


def due_of_retry(entry: Entry, error: BaseException, clock: Clock, random: Random, tz: tzinfo) -> Due | None:
    """Return when the next attempt of the run is due; None if there is to be none."""
    retry = entry.spec.retry if entry.spec is not None else None
    if retry is None or entry.given_up or entry.overtaken:
        return None
    try:
        if not retry.allows(error, entry.attempt):
            return None
        due = due_in(retry.backoff(entry.attempt, random), clock)
        check_calendar(due.exec_at, tz)
    except OverflowError:
        logger.warning("job %r is not tried again: when its backoff ends, the calendar has ended too", entry.id)
        return None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # a class may have its own idea of what its instances are; the log has it
        logger.exception("job %r is not tried again: its Retry has raised", entry.id)
        return None
    return due


def aftermath(entry: Entry, outcome: Outcome, clock: Clock, random: Random, tz: tzinfo) -> Aftermath:
    """Return what follows when the run of a job has ended."""
    trigger = entry.trigger
    failures = entry.failures + 1 if outcome.error is not None else 0
    if trigger is None:
        return Aftermath(failures) if failures else _OVER
    if entry.given_up:
        return Aftermath(failures, last_status=JobStatus.CANCELLED)
    if trigger.max_failures is not None and failures >= trigger.max_failures:
        return Aftermath(failures, last_status=JobStatus.PERMANENTLY_FAILED)
    if trigger.max_runs is not None and entry.runs + 1 >= trigger.max_runs:
        return Aftermath(failures)
    following, overlap = after_run(entry, trigger, clock, random, tz)
    return Aftermath(failures, following, overlap)


def after_run(
    entry: Entry, trigger: Trigger, clock: Clock, random: Random, tz: tzinfo
) -> tuple[Next | None, Decision | None]:
    """Return the next run of a job behind one that has ended, and what becomes of the times in between."""
    times = times_now(entry, clock, tz)
    assert times is not None  # noqa: S101  # the job recurs
    reached = entry.reached
    if entry.until is not None:
        time = times.after(reached, within=entry.until)
        if time is not None:
            return make_up(time, trigger, entry.until), None
    overlap = judge_overlap(trigger.overlap, reached, times)
    if overlap is not None and overlap.run is not None:
        return make_up(overlap.run, trigger, overlap.until), overlap
    return coming(entry, trigger, reached, times, random, tz), overlap


def coming(entry: Entry, trigger: Trigger, reached: Nominal, times: Times, random: Random, tz: tzinfo) -> Next | None:
    """Return the first run behind a time that is still to come; None if there is none."""
    time = times.coming(reached)
    if time is not None:
        try:
            due = due_of(time, trigger, random)
            check_calendar(due.exec_at, tz)
        except OverflowError:
            time = None
        else:
            return Next(time, due)
    logger.info("job %r is over, for it has no further time", entry.id)
    return None


def passed_until_now(entry: Entry, clock: Clock, tz: tzinfo) -> tuple[Passed, ...]:
    """Return the times of a recurring job that waits, that have passed and have no run; none if it is not yet due."""
    times = times_now(entry, clock, tz)
    if times is None or lateness(entry, clock) < 0:
        return ()
    return waiting(entry.here, entry.reached, times)


def lateness(entry: Entry, clock: Clock) -> float:
    """Return how many seconds ago a job was due; negative if it is still to be."""
    if entry.wall:
        return (clock.now() - entry.exec_at).total_seconds()
    return clock.monotonic() - entry.due / 1_000_000_000


def missed(entry: Entry, late: float, clock: Clock, tz: tzinfo, *, here: Nominal | None = None) -> Decision | None:
    """Return what becomes of a job that is to start so many seconds late, for `here`; None if it just starts."""
    times = times_now(entry, clock, tz)
    here, reached = (entry.here, entry.reached) if here is None else (here, here)
    return judge_missed(entry.misfire_policy, here, reached, late, times)


def ended_run(entry: Entry, outcome: Outcome, now: datetime, tz: tzinfo) -> Run[Any]:
    """Return the run that has ended now."""
    value, error = outcome.value, outcome.error
    due, started_at = shown_in(entry.scheduled_for, tz), shown_in(entry.started_at or now, tz)
    return Run(entry.id, outcome.status, due, started_at, shown_in(now, tz), entry.attempt, error, value)

"""A job as its user ordered it becomes an entry, an entry becomes a row, and a row an entry again."""

from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from random import Random

from jobify._clock import EPOCH, Clock, to_nanoseconds, wall_nanoseconds
from jobify._entry import Due, Entry, Next, Order, due_at, due_in
from jobify._nominal import Nominal, Times, times_of
from jobify._policies import misfire_policy_of
from jobify._recurrence import Every
from jobify._spec import TaskSpec
from jobify._state import Owner
from jobify._triggers import Trigger, trigger_from_text
from jobify._zones import check_calendar
from jobify.exceptions import InvalidScheduleError
from jobify.storage import StoredJob

_MICROSECOND = timedelta(microseconds=1)


def new_entry(order: Order, job_id: str, *, owner: Owner, clock: Clock, random: Random, tz: tzinfo) -> Entry:
    """Make the entry of a job that was just ordered.

    Raises:
        OverflowError: no datetime is as far away as the order wants, or none that `tz` can show.
        InvalidScheduleError: the recurrence has no time that is still to come.
    """
    trigger = order.trigger.in_zone(tz).bound_to(order.parent or job_id) if order.trigger is not None else None
    entry = Entry(job_id, order.spec.name, owner=owner, tz=tz, exec_at=EPOCH, trigger=trigger)
    entry.spec = order.spec
    entry.args = order.args
    entry.kwargs = order.kwargs
    entry.parent = order.parent
    if trigger is not None:
        if order.declared:
            entry.declaration = entry.trigger_text
        past = order.since
        entry.go_to(first_of(trigger, clock, random, tz) if past is None else _first_behind(past, trigger, clock, tz))
    else:
        entry.misfire_policy = order.misfire_policy
        entry.wait_until(due_at(order.at) if order.at is not None else due_in(order.delay or 0.0, clock))
        entry.here = Nominal(entry.exec_at, entry.due)
    check_calendar(entry.exec_at, tz)
    return entry


def when_of(order: Order) -> str:
    """Return in words when an order wants a job to be due."""
    if order.at is not None:
        return f"at {order.at.isoformat()}"
    if order.trigger is not None:
        return f"again and again: {order.trigger!r}"
    return f"in {order.delay or 0.0:g} s"


def first_of(trigger: Trigger, clock: Clock, random: Random, tz: tzinfo, *, behind: datetime | None = None) -> Next:
    """Return the first time of a recurrence that begins now; `behind` a time, if it follows the wall clock.

    Raises:
        OverflowError: it is not in the years that a calendar knows.
        InvalidScheduleError: there is none.
    """
    now = clock.now()
    moment = trigger.next_after(now if behind is None or isinstance(trigger, Every) else max(now, behind), tz)
    if isinstance(trigger, Every):
        due = due_in((moment - now).total_seconds(), clock)._replace(exec_at=moment)
    else:
        due = due_at(moment)
    return Next(Nominal(moment, due.nanoseconds), shaken(due, trigger, random))


def _first_behind(past: datetime, trigger: Trigger, clock: Clock, tz: tzinfo) -> Next:
    """Return the first time behind one that has passed; it has a run, and so has each behind it up to the end."""
    first, last = (
        _on_axis_now(moment, trigger, clock) for moment in (trigger.next_after(past, tz), trigger.end_date or past)
    )
    return make_up(first, trigger, last)


def _on_axis_now(moment: datetime, trigger: Trigger, clock: Clock) -> Nominal:
    if isinstance(trigger, Every):
        return Nominal(moment, due_in((moment - clock.now()).total_seconds(), clock).nanoseconds)
    return Nominal(moment, wall_nanoseconds(moment))


def due_of(time: Nominal, trigger: Trigger, random: Random) -> Due:
    """Return when the run of a coming time is due.

    Raises:
        OverflowError: it is not in the years that a calendar knows.
    """
    return shaken(_plain_due(time, trigger), trigger, random)


def make_up(time: Nominal, trigger: Trigger, until: Nominal | None) -> Next:
    """Return the run of a time that has passed, which starts at once, however late that is."""
    return Next(time, _plain_due(time, trigger), until, judged=True)


def _plain_due(time: Nominal, trigger: Trigger) -> Due:
    if isinstance(trigger, Every):
        return Due(time.moment, time.nanoseconds, wall=False, delay=trigger.seconds)
    return Due(time.moment, time.nanoseconds, wall=True, delay=None)


def shaken(due: Due, trigger: Trigger, random: Random) -> Due:
    """Return a due time, later by the jitter of the recurrence.

    Raises:
        OverflowError: that is not in the years that a calendar knows.
    """
    if not trigger.jitter:
        return due
    shift = round(random.random() * trigger.jitter * 1e6)
    return Due(
        due.exec_at + shift * _MICROSECOND,
        due.nanoseconds + shift * 1000,
        wall=due.wall,
        delay=None if due.delay is None else due.delay + shift / 1e6,
    )


def times_now(entry: Entry, clock: Clock, tz: tzinfo) -> Times | None:
    """Return the times of a job, seen from now; None if it is a one-time job."""
    if entry.trigger is None:
        return None
    monotonic = None if entry.follows_wall_clock else to_nanoseconds(clock.monotonic())
    return times_of(entry.trigger, tz, now=clock.now(), monotonic=monotonic)


def to_row(entry: Entry) -> StoredJob:
    """Return the row of a job of which no attempt is in progress."""
    covered, until = entry.covered, entry.until
    return StoredJob(
        number=entry.row,
        id=entry.id,
        task=entry.task,
        arguments=entry.arguments,
        trigger=entry.trigger_text,
        declaration=entry.declaration,
        misfire_policy=str(entry.misfire_policy) if entry.trigger is None else None,
        parent=entry.parent,
        exec_at=entry.exec_at,
        scheduled_for=entry.scheduled_for,
        delay=entry.delay,
        covered=covered.moment if covered is not None else None,
        until=until.moment if until is not None else None,
        paused=entry.paused,
        attempt=entry.attempt,
        runs=entry.runs,
        failures=entry.failures,
        interruptions=entry.interruptions,
        started_at=entry.started_at,
    )


def row_that_begins(entry: Entry) -> StoredJob:
    """Return the row of a job that is accepted, and whose first attempt starts, in one: now, as it was ordered."""
    row = to_row(entry)
    row.running, row.attempt, row.started_at = True, 1, entry.exec_at
    return row


def row_in_backoff(entry: Entry, due: Due) -> StoredJob:
    """Return the row of a job whose attempt has failed, and whose next one is due then."""
    row = to_row(entry)
    row.exec_at, row.delay = due.exec_at, due.delay
    return row


def row_after_run(entry: Entry, step: Next, *, runs: int, failures: int) -> StoredJob:
    """Return the row of a recurring job that goes on to another time, with these counters."""
    row = to_row(entry)
    row.exec_at, row.delay, row.scheduled_for = step.due.exec_at, step.due.delay, step.time.moment
    row.covered = row.started_at = None
    row.until = step.until.moment if step.until is not None else None
    row.attempt = row.interruptions = 0
    row.runs, row.failures = runs, failures
    return row


def from_row(  # what an entry is made of
    row: StoredJob, spec: TaskSpec | None, *, owner: Owner, clock: Clock, tz: tzinfo, known: Entry | None = None
) -> Entry:
    """Make the entry of a job that was stored by an earlier start of the app, or renew one that is `known`.

    The arguments stay as they are: whoever starts the job unpacks them.

    Raises:
        InvalidScheduleError: the recurrence cannot be read.
    """
    trigger = trigger_from_text(row.trigger).bound_to(row.parent or row.id) if row.trigger is not None else None
    entry = known or Entry(row.id, row.task, owner=owner, tz=tz, exec_at=row.exec_at, trigger=trigger)
    entry.follow(trigger)
    entry.elsewhere, entry.status = False, None
    entry.spec = spec
    entry.row = entry.kept = row.number
    entry.arguments = row.arguments
    entry.packed = True
    entry.declaration = row.declaration
    entry.parent = row.parent
    entry.paused = row.paused
    entry.attempt = row.attempt
    entry.runs = row.runs
    entry.failures = row.failures
    entry.interruptions = row.interruptions
    entry.started_at = row.started_at
    entry.held, entry.judged = None, False
    if row.misfire_policy is not None:
        entry.misfire_policy = misfire_policy_of(row.misfire_policy)
    entry.wait_until(_resumed(row, clock, wall=row.delay is None and not isinstance(trigger, Every)))
    entry.here = _on_axis(entry, row.scheduled_for, row)
    entry.covered = _on_axis(entry, row.covered, row) if row.covered is not None else None
    entry.until = _on_axis(entry, row.until, row) if row.until is not None else None
    return entry


def from_any_row(
    row: StoredJob, spec: TaskSpec | None, *, owner: Owner, clock: Clock, tz: tzinfo, known: Entry | None = None
) -> Entry:
    """Make or renew the entry of a stored job; one whose recurrence cannot be read is held, and keeps it."""
    try:
        return from_row(row, spec, owner=owner, clock=clock, tz=tz, known=known)
    except InvalidScheduleError as error:
        plain = replace(row, trigger=None)
        entry = from_row(plain, spec, owner=owner, clock=clock, tz=tz, known=known)
        entry.trigger_text = row.trigger
        entry.held = f"its recurrence cannot be read: {error}"
        return entry


def _on_axis(entry: Entry, moment: datetime, row: StoredJob) -> Nominal:
    """Return a stored time of a job; one of an interval is as far from when the job is due as it was."""
    if entry.follows_wall_clock:
        return Nominal(moment, wall_nanoseconds(moment))
    distance = (row.exec_at - moment) // _MICROSECOND
    return Nominal(entry.exec_at - distance * _MICROSECOND, entry.due - distance * 1000)


def _resumed(row: StoredJob, clock: Clock, *, wall: bool) -> Due:
    """Return when a stored job is due; what was a duration goes on as one, and never gets longer."""
    if wall:
        return due_at(row.exec_at)
    remaining = (row.exec_at - clock.now()).total_seconds()
    if row.delay is None:  # it was rescheduled from the wall clock to an interval, while a run was in progress
        return due_in(remaining, clock)
    due = due_in(min(remaining, row.delay), clock)  # what is overdue stays so: the earliest is to start first
    return due._replace(exec_at=row.exec_at if remaining <= row.delay else due.exec_at, delay=row.delay)

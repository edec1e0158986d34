"""What becomes of times that passed while the app was down, and of thousands of jobs that are overdue at once."""

from jobify._aftermath import coming, lateness, missed
from jobify._clock import to_nanoseconds
from jobify._entry import Entry, due_in
from jobify._misfire import Decision
from jobify._records import make_up, times_now
from jobify._scheduler import Scheduler

_SECOND = 1_000_000_000
"""Nanoseconds."""


def catch_up(scheduler: Scheduler, entry: Entry) -> Decision | None:
    """Let a restored job go on behind the times that have passed; return what was decided about them, if anything.

    A job that is over by that is given up.
    """
    if entry.kept_back or entry.attempt:
        return None
    clock, tz = scheduler.clock, scheduler.settings.tz
    if entry.until is not None:  # its run had begun, or each time up to that has a run already
        entry.judged = True
        if lateness(entry, clock) < 0:  # the wall clock was set back meanwhile
            entry.wait_until(due_in(0.0, clock))
        return None
    late = lateness(entry, clock)
    if late < 0:
        return None
    decision = missed(entry, late, clock, tz)
    if decision is not None:
        _go_on(scheduler, entry, decision)
    else:
        entry.judged = True
    return decision


def _go_on(scheduler: Scheduler, entry: Entry, decision: Decision) -> None:
    times = times_now(entry, scheduler.clock, scheduler.settings.tz)
    following = None
    if entry.trigger is not None and times is not None:
        if decision.run is not None:
            following = make_up(decision.run, entry.trigger, decision.until)
        else:
            tz = scheduler.settings.tz
            following = coming(entry, entry.trigger, entry.reached, times, scheduler.random, tz)
    if following is None:
        entry.given_up = decision.reason
    else:
        entry.go_to(following)


def stagger(scheduler: Scheduler, entries: list[Entry]) -> None:
    """Let overdue jobs begin so many in each second, the earliest first, as the settings have it."""
    rate, clock = scheduler.settings.catch_up_rate, scheduler.clock
    if rate is None:
        return
    now, monotonic = clock.now(), to_nanoseconds(clock.monotonic())
    overdue = [entry for entry in entries if entry.exec_at <= now and not entry.kept_back and entry.given_up is None]
    overdue.sort(key=lambda entry: entry.exec_at)
    later = overdue[rate:]
    places = sorted(entry.place for entry in later)  # who was due earlier goes first within a second too
    for index, (entry, place) in enumerate(zip(later, places, strict=True)):
        # `exec_at` stays as it is: the start of a job is late, and shows that.
        entry.due, entry.wall, entry.place = monotonic + (index // rate + 1) * _SECOND, False, place

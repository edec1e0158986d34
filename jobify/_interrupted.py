"""What becomes of a run that a crash of the process has cut short: it runs again, or it does not."""

from jobify._aftermath import coming, missed
from jobify._entry import Entry
from jobify._policies import OnCrash
from jobify._records import make_up, times_now
from jobify._scheduler import Scheduler
from jobify.storage import StoredRun


def after_crash(scheduler: Scheduler, entry: Entry) -> list[StoredRun]:
    """Let a restored job go on behind an attempt that was cut short; return what the history is to know of it.

    The attempt does not count, the crash does. A job that is over by that is given up.
    """
    runs = scheduler.chronicle.interrupted(entry)
    entry.interruptions += 1
    entry.attempt = max(entry.attempt - 1, 0)
    if not entry.attempt:
        entry.started_at = None
    most = scheduler.settings.max_interruptions
    if most is not None and entry.interruptions >= most:
        entry.held = f"a crash has cut its run short {entry.interruptions} times"
    elif _is_skipped(entry):
        runs += _skip(scheduler, entry)
    return runs


def _is_skipped(entry: Entry) -> bool:
    if entry.held is not None or entry.spec is None:  # it is seen later what becomes of it
        return False
    default = OnCrash.RERUN if entry.trigger is None else OnCrash.SKIP
    return (entry.spec.on_crash or default) is OnCrash.SKIP


def _skip(scheduler: Scheduler, entry: Entry) -> list[StoredRun]:
    """Let a job go to its next time, without another attempt for the one that was cut short."""
    clock, tz, trigger = scheduler.clock, scheduler.settings.tz, entry.trigger
    entry.attempt, entry.started_at = 0, None
    entry.runs += 1
    times = times_now(entry, clock, tz)
    if trigger is None or times is None or (trigger.max_runs is not None and entry.runs >= trigger.max_runs):
        entry.given_up = "interrupted"
        return []
    passed = times.passed(entry.reached)
    decision, following = None, None
    if passed is not None:
        decision = missed(entry, times.age(passed.first), clock, tz, here=passed.first)
        run = passed.first if decision is None else decision.run
        if run is not None:
            following = make_up(run, trigger, decision.until if decision is not None else None)
    following = following or coming(entry, trigger, entry.reached, times, scheduler.random, tz)
    runs: list[StoredRun] = []
    if decision is not None:
        runs = scheduler.chronicle.skipped(entry, decision.skipped, decision.reason)
        scheduler.ledger.skip(entry, decision.skipped, reason=decision.reason)
    if following is None:
        entry.given_up = "interrupted"
    else:
        entry.go_to(following)
    return runs

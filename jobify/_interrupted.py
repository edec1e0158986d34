"""What becomes of a run that a crash of the process has cut short: it runs again, or it does not."""

from collections.abc import Iterable

from jobify._aftermath import coming, missed
from jobify._catching_up import catch_up
from jobify._entry import Entry, id_beside
from jobify._misfire import Decision
from jobify._policies import OnCrash
from jobify._records import make_up, times_now
from jobify._scheduler import Scheduler
from jobify.storage import StoredJob


def after_crash(scheduler: Scheduler, entry: Entry) -> Decision | None:
    """Let a restored job go on behind an attempt that was cut short.

    The attempt does not count, the crash does. A job that is over by that is given up.

    Returns:
        What was decided about times that passed since, if anything.
    """
    entry.unwritten += scheduler.chronicle.interrupted(entry)
    entry.interruptions += 1
    entry.attempt = max(entry.attempt - 1, 0)
    is_skipped = _is_skipped(entry)
    hold_if_cut_too_often(entry, scheduler.settings.max_interruptions)
    if is_skipped:
        return _skip(scheduler, entry)
    if not entry.attempt:
        entry.started_at = None
        entry.run_again()
    return catch_up(scheduler, entry)


def note_begun_beside(rows: Iterable[StoredJob]) -> None:
    """Take times as covered for which there is a job: a crash may have come before that was noted, too."""
    by_id = {row.id: row for row in rows}
    for child in by_id.values():
        parent = by_id.get(child.parent) if child.parent is not None else None
        if parent is None or child.id != id_beside(parent.id, child.scheduled_for):
            continue
        is_in_run = parent.running or parent.attempt > 0
        if is_in_run and child.scheduled_for > (parent.covered or parent.scheduled_for):
            parent.covered = child.scheduled_for


def hold_if_cut_too_often(entry: Entry, most: int | None) -> None:
    """Hold a job that crashes have interrupted as often as the settings allow, unless it is held already."""
    if entry.held is None and most is not None and entry.interruptions >= most:
        times = "once" if entry.interruptions == 1 else f"{entry.interruptions} times"
        entry.held = f"a crash has cut its run short {times}"


def _is_skipped(entry: Entry) -> bool:
    if entry.held is not None or entry.spec is None:  # it is seen later what becomes of it
        return False
    default = OnCrash.SKIP if entry.trigger is not None or entry.is_beside else OnCrash.RERUN
    return (entry.spec.on_crash or default) is OnCrash.SKIP


def _skip(scheduler: Scheduler, entry: Entry) -> Decision | None:
    """Let a job go to its next time, without another attempt for the one that was cut short."""
    clock, tz, trigger = scheduler.clock, scheduler.settings.tz, entry.trigger
    entry.attempt, entry.started_at = 0, None
    entry.runs += 1
    times = times_now(entry, clock, tz)
    if trigger is None or times is None or (trigger.max_runs is not None and entry.runs >= trigger.max_runs):
        entry.given_up = "interrupted"
        return None
    decision, following = None, None
    if entry.until is not None and (time := times.after(entry.reached, within=entry.until)) is not None:
        following = make_up(time, trigger, entry.until)
    elif (passed := times.passed(entry.reached)) is not None:
        decision = missed(entry, times.age(passed.first), clock, tz, here=passed.first)
        run = passed.first if decision is None else decision.run
        if run is not None:
            following = make_up(run, trigger, decision.until if decision is not None else None)
    following = following or coming(entry, trigger, entry.reached, times, scheduler.random, tz)
    if following is None:
        entry.given_up = "interrupted"
    else:
        entry.go_to(following)
    return decision

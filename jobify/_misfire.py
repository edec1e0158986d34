"""What a policy decides about due times at which no run started. Pure: it is given the time."""

from typing import NamedTuple

from jobify._nominal import Nominal, Passed, Times
from jobify._policies import MOST, MisfirePolicy, Overlap


class Decision(NamedTuple):
    """What becomes of due times that passed without a run.

    Attributes:
        run: the one that the next run is meant for; None if none of them is made up for.
        skipped: those for which there will be no run.
        reason: why: "missed", "overlap", or "dropped" because they were too many.
        until: the last of those for which a run each follows; None if one run is all.
    """

    run: Nominal | None
    skipped: tuple[Passed, ...]
    reason: str
    until: Nominal | None = None


def waiting(here: Nominal, reached: Nominal, times: Times) -> tuple[Passed, ...]:
    """Return the times that have passed and wait for a run: `here`, and all behind the last that has one."""
    later = times.passed(reached)
    if later is None:
        return (Passed(here, here, 1),)
    if here == reached:
        return (Passed(here, later.last, later.count + 1),)
    return Passed(here, here, 1), later  # those in between had jobs of their own


def judge_missed(
    policy: MisfirePolicy, here: Nominal, reached: Nominal, late: float, times: Times | None
) -> Decision | None:
    """Decide about a job that starts late.

    Args:
        policy: its policy.
        here: the time that it waited for.
        reached: the last time that has its run, `here` at least.
        late: how many seconds ago it should have started.
        times: those of its recurrence; None for a one-time job.

    Returns:
        None if it is just late, and starts all the same.
    """
    if times is None:
        missed: tuple[Passed, ...] = (Passed(here, here, 1),)
    else:
        missed = waiting(here, reached, times)
    last = missed[-1].last
    if times is not None and last != here:
        late = times.age(last)
    if policy.seconds is not None and late > policy.seconds:
        return Decision(None, missed, "missed")
    if times is None or last == here:
        return None
    if policy.name == MisfirePolicy.ALL.name:
        return _one_by_one(missed, policy.most, times)
    return Decision(last, _but_last(missed, 1, times), "missed")


def judge_overlap(overlap: Overlap, here: Nominal, times: Times) -> Decision | None:
    """Decide about the times behind `here` that passed while the run meant for it was in progress; None if none did."""
    passed = times.passed(here)
    if passed is None:
        return None
    if overlap is Overlap.BUFFER_ALL:
        return _one_by_one((passed,), MOST, times)
    if overlap in (Overlap.BUFFER_ONE, Overlap.CANCEL_OTHER):
        return Decision(passed.last, _but_last((passed,), 1, times), "overlap")
    return Decision(None, (passed,), "overlap")


def _one_by_one(passed: tuple[Passed, ...], most: int, times: Times) -> Decision:
    until = passed[-1].last
    if sum(stretch.count for stretch in passed) <= most:
        return Decision(passed[0].first, (), "dropped", until)
    tail = passed[-1]
    first = times.last(tail, most).first if tail.count > most else tail.first
    return Decision(first, _but_last(passed, most, times), "dropped", until)


def _but_last(passed: tuple[Passed, ...], most: int, times: Times) -> tuple[Passed, ...]:
    """Return all but the last `most` times, which are all of the last stretch, or some of it."""
    *others, tail = passed
    return (*others, times.before_last(tail, most)) if tail.count > most else tuple(others)

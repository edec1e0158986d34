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
        until: the last of those for which a run each follows, None if one run is all.
    """

    run: Nominal | None
    skipped: Passed | None
    reason: str
    until: Nominal | None = None


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
    passed = times.passed(reached) if times is not None else None
    missed = Passed(here, here, 1)
    if times is not None and passed is not None:
        missed = Passed(here, passed.last, passed.count + 1)
        late = times.age(passed.last)
    if policy.seconds is not None and late > policy.seconds:
        return Decision(None, missed, "missed")
    if times is None or passed is None:
        return None
    if policy.name == MisfirePolicy.ALL.name:
        return _one_by_one(missed, policy.most, times)
    return Decision(passed.last, times.before_last(missed, 1), "missed")


def judge_overlap(overlap: Overlap, here: Nominal, times: Times) -> Decision | None:
    """Decide about the times behind `here` that passed while the run meant for it was in progress; None if none did."""
    passed = times.passed(here)
    if passed is None:
        return None
    if overlap is Overlap.BUFFER_ALL:
        return _one_by_one(passed, MOST, times)
    if overlap in (Overlap.BUFFER_ONE, Overlap.CANCEL_OTHER):
        return Decision(passed.last, times.before_last(passed, 1) if passed.count > 1 else None, "overlap")
    return Decision(None, passed, "overlap")


def _one_by_one(passed: Passed, most: int, times: Times) -> Decision:
    dropped = None
    if passed.count > most:
        dropped, passed = times.before_last(passed, most), times.last(passed, most)
    return Decision(passed.first, dropped, "dropped", passed.last)

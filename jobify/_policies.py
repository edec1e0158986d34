"""What becomes of times at which a recurring job could not start, or had not ended. Pure."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Self, final

from jobify._zones import seconds_of
from jobify.exceptions import InvalidScheduleError

ON_TIME = 1.0
"""Seconds that a start may be late and still be on time, where a policy asks for that."""

MOST = 100
"""How many runs `MisfirePolicy.ALL` and `Overlap.BUFFER_ALL` make up for, unless the policy says otherwise."""

_GRACE = re.compile(r"grace:(.+)")
_ALL = re.compile(r"all:(\d+)")


@final
@dataclass(frozen=True, slots=True)
class MisfirePolicy:
    """What becomes of due times that passed while nothing could start the job.

    The program was down, the event loop was blocked, the machine slept, the wall clock was stepped, or no slot
    was free. It is decided at a start of the app and, while it runs, each time that a job is to start late.

    `ONCE`: one run for all that was missed; it is meant for the latest of these times. The default.
    `SKIP`: no run; the job goes on at its next time. A start at most one second late is on time.
    `ALL`: a run for each, one after the other, the oldest first; at most 100, the latest: `ALL.up_to(n)`.
    `GRACE(duration)`: as `ONCE` if the latest of these times is at most so long ago, else as `SKIP`.

    For a one-time job, of which there is one time only, `ONCE` and `ALL` are: run, however late. Under `SKIP` and
    `GRACE` a job that is too late is cancelled.

    Attributes:
        name: "once", "skip", "all" or "grace".
        seconds: how late a start may be; None for any time.
        most: how many runs make up for what was missed.
    """

    name: str
    seconds: float | None = None
    most: int = 1

    ONCE: ClassVar["MisfirePolicy"]
    SKIP: ClassVar["MisfirePolicy"]
    ALL: ClassVar["MisfirePolicy"]

    @classmethod
    def GRACE(cls, duration: float | timedelta) -> Self:  # noqa: N802  # one of the four, and the only one that asks
        """Return the policy that lets a job start so many seconds late, and no later.

        Raises:
            InvalidScheduleError: the duration cannot be used.
        """
        return cls("grace", seconds_of(duration, "the grace of a misfire policy"))

    def up_to(self, most: int) -> Self:
        """Return `ALL` with another bound.

        Raises:
            InvalidScheduleError: it is no whole number from 1, or the policy is not `ALL`.
        """
        if self.name != "all" or isinstance(most, bool) or not isinstance(most, int) or most < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot bound {self} by {most!r}: only MisfirePolicy.ALL has a bound, a whole number from 1"
            raise InvalidScheduleError(msg)
        return type(self)("all", None, most)

    def __str__(self) -> str:
        if self.name == "grace":
            return f"grace:{self.seconds!r}"
        return self.name if self.name != "all" or self.most == MOST else f"all:{self.most}"

    def __repr__(self) -> str:
        if self.name == "grace":
            return f"MisfirePolicy.GRACE({self.seconds:g})"
        bound = f".up_to({self.most})" if self.name == "all" and self.most != MOST else ""
        return f"MisfirePolicy.{self.name.upper()}{bound}"


MisfirePolicy.ONCE = MisfirePolicy("once")
MisfirePolicy.SKIP = MisfirePolicy("skip", ON_TIME)
MisfirePolicy.ALL = MisfirePolicy("all", None, MOST)


class Overlap(StrEnum):
    """What becomes of due times that pass while a run of the same job is in progress, its backoff included."""

    SKIP = "skip"
    """No run: the job goes on at its next time."""
    BUFFER_ONE = "buffer_one"
    """One run right after the one in progress, meant for the latest of these times."""
    BUFFER_ALL = "buffer_all"
    """A run for each, one after the other, the oldest first; at most 100, the latest."""
    CANCEL_OTHER = "cancel_other"
    """The run in progress is cancelled, and one for the new time starts. For `async def` only: no thread can be."""
    ALLOW = "allow"
    """A job of its own, with this one as `parent`, runs beside it."""


class OnCrash(StrEnum):
    """What becomes of a run that a crash of the process has cut short. A graceful stop is no crash."""

    RERUN = "rerun"
    """It runs again: at least once. The default of one-time jobs."""
    SKIP = "skip"
    """It does not: at most once. A one-time job is over; a recurring one goes on at its next time. Its default."""


def misfire_policy_of(policy: MisfirePolicy | str) -> MisfirePolicy:
    """Return a policy, found by its text if that is what is given.

    Raises:
        InvalidScheduleError: there is no such policy.
    """
    if isinstance(policy, MisfirePolicy):
        return policy
    named = {known.name: known for known in (MisfirePolicy.ONCE, MisfirePolicy.SKIP, MisfirePolicy.ALL)}
    if isinstance(policy, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        if policy in named:
            return named[policy]
        if found := _ALL.fullmatch(policy):
            return MisfirePolicy.ALL.up_to(int(found[1]))
        if found := _GRACE.fullmatch(policy):
            try:
                return MisfirePolicy.GRACE(float(found[1]))
            except ValueError:
                pass
    msg = (
        f"cannot use {policy!r} as misfire_policy: give MisfirePolicy.ONCE, SKIP, ALL or GRACE(duration), "
        "or one of 'once', 'skip' and 'all'"
    )
    raise InvalidScheduleError(msg)


def overlap_of(overlap: Overlap | str) -> Overlap:
    """Return an overlap policy, found by its name if that is what is given.

    Raises:
        InvalidScheduleError: there is no such policy.
    """
    try:
        return Overlap(overlap)
    except ValueError:
        msg = f"cannot use {overlap!r} as overlap: it must be one of {', '.join(map(repr, map(str, Overlap)))}"
        raise InvalidScheduleError(msg) from None

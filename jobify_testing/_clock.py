"""The hands of a test on virtual time."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol

from jobify import Job, JobStatus
from jobify_testing._engine import Engine
from jobify_testing._errors import VirtualTimeError
from jobify_testing._options import EPOCH, nanoseconds_of
from jobify_testing._pending import Pending, describe_pending, foreground_timers, list_pending
from jobify_testing._wall import TwoClocks

_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000_000
_YEAR = timedelta(days=366)
_LOOK_AGAIN = 10_000_000
"""Nanoseconds after which `until` looks again, in real mode only."""


class Jobs(Protocol):
    """What the hands know of the jobs of the test."""

    def unfinished(self) -> list[Job[Any]]:
        """Return the jobs of all apps that are not done."""
        ...

    def ended_runs(self, job_id: str) -> int:
        """Return how many runs of a job have ended."""
        ...

    def has_more(self) -> bool:
        """Whether jobs of a running app may wait in its storage alone."""
        ...


class _NoJobs:
    def unfinished(self) -> list[Job[Any]]:
        return []

    def ended_runs(self, job_id: str) -> int:  # noqa: ARG002  # there is no job
        return 0

    def has_more(self) -> bool:
        return False


class VirtualClock(TwoClocks):
    """The clock of a virtual loop: the wall clock and the monotonic one, and the means to move them.

    Waiting for what only time can bring moves time by itself: `await job.wait()`,
    `await asyncio.sleep(3600)`. `advance` and its like are for tests that want to stand at an instant.

    Args:
        loop: the virtual loop.
        start: what the wall clock shows when the loop is at 0; aware.
        jobs: the jobs of the test.
    """

    def __init__(self, loop: Engine, *, start: datetime = EPOCH, jobs: Jobs | None = None) -> None:
        _refuse_naive(start, "start at")
        super().__init__(loop, start)
        self._jobs = jobs or _NoJobs()

    async def advance(  # the units of a timedelta
        self,
        duration: float | timedelta = 0,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
    ) -> None:
        """Let a duration pass, its end included; seconds, a timedelta, or in units: `hours=1`.

        Time stops at every due instant on the way. When this returns, everything that could run has run,
        and no work is in flight. Several advances at once each return at their own instant; one that is
        cancelled moves time no further.

        Raises:
            ValueError: the duration is negative or not finite.
        """
        nanoseconds = nanoseconds_of(duration, "advance by") + nanoseconds_of(seconds, "advance by")
        for number, unit in ((days, 86_400), (hours, 3_600), (minutes, 60), (milliseconds, 0.001)):
            nanoseconds += _in_units(number, unit)
        if nanoseconds < 0:
            msg = f"cannot advance by {nanoseconds / _SECOND!r} s from {self.monotonic()!r} s: time does not go back"
            raise ValueError(msg)
        await self._loop.reach(self._loop.nanoseconds + nanoseconds)

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until the wall clock shows an aware datetime, that instant included.

        Raises:
            ValueError: the datetime is naive, or has passed.
        """
        _refuse_naive(moment, "advance to")
        if moment < self.now():
            msg = f"cannot advance to {moment.isoformat()}: it is {self.now().isoformat()} already"
            raise ValueError(msg)
        while self.now() < moment:  # again, if the wall clock was stepped back meanwhile
            await self._loop.reach(self._instant_of(moment))
        await self.settle()

    async def settle(self) -> None:
        """Return when everything that can run at this instant has run, and no work is in flight."""
        await self._loop.reach(self._loop.nanoseconds)

    async def next(self) -> datetime:
        """Let time pass to the next due instant, and return what the wall clock shows then.

        Raises:
            VirtualTimeError: nothing is due, ever.
        """
        await self.settle()
        due = self._loop.next_due()
        if due is None:
            msg = "cannot go to the next due instant: nothing is due"
            raise VirtualTimeError(msg)
        await self._loop.reach(due)
        return self.now()

    async def until(
        self,
        condition: Callable[[], object] | Job[Any] | datetime,
        *,
        run: int | None = None,
        limit: float | timedelta = _YEAR,
    ) -> None:
        """Let time pass, from one due instant to the next, until something is true.

        Args:
            condition: a function that is asked at every instant; a job, until its end; or an aware datetime
                of the wall clock.
            run: until so many runs of the job have ended, instead of its end.
            limit: how much virtual time that may take.

        Raises:
            VirtualTimeError: it did not become true within the limit, or nothing is due that could make it so.
            ValueError: the datetime is naive, or has passed.
        """
        end = self._loop.nanoseconds + nanoseconds_of(limit, "limit by")
        if isinstance(condition, datetime):
            _refuse_naive(condition, "go to")
            if self._loop.nanoseconds + (condition - self.now()) // _MICROSECOND * 1000 > end:
                msg = f"cannot go to {condition.isoformat()}: that is beyond the limit of {limit}"
                raise VirtualTimeError(msg)
            await self.advance_to(condition)
            return
        is_true, what = self._condition(condition, run)
        await self._step_until(is_true, what, end)

    def _condition(
        self, condition: Callable[[], object] | Job[Any], run: int | None
    ) -> tuple[Callable[[], object], str]:
        if not isinstance(condition, Job):
            if run is not None:
                msg = f"run={run!r} says which run of a job is meant, and {condition!r} is no job"
                raise TypeError(msg)
            return condition, f"{getattr(condition, '__qualname__', repr(condition))}() was not true"
        job: Job[Any] = condition
        if run is None:
            return job.is_done, f"{job!r} did not end"
        return lambda: self._jobs.ended_runs(job.id) >= run, f"{run} runs of {job!r} did not end"

    async def _step_until(self, is_true: Callable[[], object], what: str, end: int) -> None:
        await self.settle()
        while not is_true():
            due = self._loop.next_due()
            if self._is_real:  # something outside may be at work
                again = self._loop.nanoseconds + _LOOK_AGAIN
                due = again if due is None else min(due, again)
            if due is None or due > end:
                why = "nothing is due" if due is None else "the limit is reached"
                msg = f"{what} at {self.now().isoformat()}: {why}\n{self._describe_pending()}"
                raise VirtualTimeError(msg)
            await self._loop.reach(due)

    async def run_until_idle(self, *, limit: float | timedelta = _YEAR) -> None:
        """Let time pass until no one-time job is left, no run is in progress, and no other timer is set.

        Recurring work is background: its next time does not keep this from ending, nor does a job that is held. What
        waits in a storage alone may be either: it is read first, when its time comes near.

        Raises:
            VirtualTimeError: that took more virtual time than the limit.
        """
        end = self._loop.nanoseconds + nanoseconds_of(limit, "limit by")
        await self._step_until(self._is_idle, "something was still to do", end)

    def _is_idle(self) -> bool:
        if foreground_timers(self._loop):
            return False
        is_idle = all(
            job.held or (job.recurring and job.status is not JobStatus.RUNNING and not job.attempt)
            for job in self._jobs.unfinished()
        )
        return is_idle and not self._jobs.has_more()

    def pending(self) -> list[Pending]:
        """Return what is due when, and whose it is: the jobs, and the timers of everything else."""
        return list_pending(self._loop, self._jobs.unfinished(), self.now())

    def _describe_pending(self) -> str:
        return describe_pending(self.pending())

    def hold(self, what: str = "a hold of the test") -> AbstractContextManager[None]:
        """Keep time from moving in a `with` block: for real work that the loop cannot know of."""
        return self._loop.hold(what)

    def __repr__(self) -> str:
        return f"<VirtualClock: {self.now().isoformat()}, {self.monotonic()!r} s>"


def _refuse_naive(moment: datetime, verb: str) -> None:
    if not isinstance(moment, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot {verb} {moment!r}: give an aware datetime"
        raise TypeError(msg)
    if moment.utcoffset() is None:
        msg = f"cannot {verb} {moment!r}: it is naive; give it a zone, as in datetime(..., tzinfo=UTC)"
        raise ValueError(msg)


def _in_units(number: float, unit: float) -> int:
    """Return a number of units of so many seconds, in nanoseconds; whole numbers are exact at any size."""
    if isinstance(number, int):
        return number * round(unit * _SECOND)
    return nanoseconds_of(number * unit, "advance by")

"""A program that dies at a step of its loop or of its storage, and a ledger of what it had promised and what it did."""

import asyncio
import contextlib
import contextvars
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from jobify import Job, Jobify, JobStatus, Retry, RunRecord, RunStatus, StorageError, Transition
from jobify.storage import MemoryStorage
from jobify_testing import crash

START = datetime(2026, 1, 1, tzinfo=UTC)
LATE = 300
"""Seconds behind which everything must have ended."""

DOWN = 3
"""Seconds from a crash to the next start."""

VERBS = frozenset({"open", "add", "claim", "start", "finish", "amend", "release", "remove", "close"})


def at(seconds: float) -> datetime:
    """Return an instant, so many seconds behind the start of the program."""
    return START + timedelta(seconds=seconds)


class Strike:
    """Crashes an app at its n-th call; for a number that is too high, it just counts."""

    def __init__(self, app: Jobify, number: int) -> None:
        self.has_struck = asyncio.Event()
        self._app = app
        self._left = number

    def is_due(self) -> bool:
        """Count, and return whether it is time."""
        self._left -= 1
        return self._left == 0

    async def strike(self) -> None:
        """Crash the app."""
        self.has_struck.set()
        await crash(self._app)

    @contextlib.contextmanager
    def watching(self, storage: object) -> Any:
        """Strike, in this block, behind the n-th callback that the loop is given, or as the storage says."""
        loop = asyncio.get_running_loop()
        call_soon, strikes = loop.call_soon, list[object]()

        def counted(callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
            handle = call_soon(callback, *args, context=context)
            if self.is_due():  # as nobody's task: one of a job would die by it
                strikes.append(asyncio.Task(self.strike(), loop=loop, context=contextvars.Context()))
            return handle

        if isinstance(storage, MortalStorage):
            storage.strike = self
        else:
            vars(loop)["call_soon"] = counted
        try:
            yield
        finally:
            vars(loop).pop("call_soon", None)


class MortalStorage:
    """A storage in memory with whose n-th access, counted before and behind each verb, its app dies."""

    def __init__(self) -> None:
        self.strike: Strike | None = None
        self._storage = MemoryStorage()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        return partial(self._access, found) if name in VERBS else found

    async def _access(self, verb: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        await self._count()
        answer = await verb(*args, **options)
        await self._count()
        return answer

    async def _count(self) -> None:
        if self.strike is not None and self.strike.is_due():
            await self.strike.strike()
            msg = "the app has died"
            raise StorageError(msg)


class Program:
    """An app, what it was asked for, and what it did.

    Attributes:
        times: the times that recurring jobs are to have, in seconds.
        accepted: the ids of the jobs of which scheduling has returned.
        doubtful: those that somebody wanted to call off.
        called_off: those whose cancellation or replacement has returned, and how many bodies there were then.
        paused: those whose pause has returned, and how many bodies there were then.
        bodies: the names of the bodies that began; the name is the id but for a job that replaces another.
        ended: the names of those that ended well.
        begun: the attempts that were told to begin: the id of the job, its due time, the number of the attempt.
        crashes: how often the app has died.
        problems: the promises that were broken.
    """

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.app = Jobify(storage=storage)
        self.app.subscribe(self._hear)
        self.times: dict[str, list[float]] = {}
        self.accepted: set[str] = set()
        self.doubtful: set[str] = set()
        self.called_off: dict[str, int] = {}
        self.paused: dict[str, int] = {}
        self.bodies: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.begun: Counter[tuple[str, datetime, int]] = Counter()
        self.crashes = 0
        self.problems: list[str] = []

        @self.app.task(name="work", retry=Retry(1, delay=1, jitter=False))
        async def work(name: str, seconds: float = 0.5, *, fails: bool = False) -> None:
            self.bodies[name] += 1
            await asyncio.sleep(seconds)
            if fails and self.bodies[name] == 1:
                raise ValueError(name)
            self.ended[name] += 1

        @self.app.task(name="again", on_crash="rerun")
        async def again(name: str) -> None:
            self.bodies[name] += 1
            await asyncio.sleep(0.5)
            self.ended[name] += 1

        @self.app.task(name="in a thread")
        def in_a_thread(name: str) -> None:
            self.bodies[name] += 1
            self.ended[name] += 1

        self.work, self.again, self.in_a_thread = work, again, in_a_thread

    def _hear(self, event: object) -> None:
        if isinstance(event, Transition) and event.status is JobStatus.RUNNING:
            self.begun[event.job_id, event.due, event.attempt] += 1

    # What scripts do

    async def accept(self, name: str, order: Awaitable[Job[Any]], *times: float) -> Job[Any]:
        """Schedule a job, which recurs if there are times."""
        job = await order
        self.accepted.add(name)
        if times:
            self.times[name] = [*times]
        return job

    async def call_off(self, name: str, action: Awaitable[object]) -> None:
        """Cancel or replace a job."""
        self.doubtful.add(name)
        if await action:
            self.called_off[name] = self.bodies[name]

    async def pause(self, job: Job[Any]) -> None:
        """Pause a job."""
        if await job.pause():
            self.paused[job.id] = self.bodies[job.id]

    async def resume(self, job: Job[Any]) -> None:
        """Resume a job, which must not have run meanwhile."""
        count = self.paused.pop(job.id, None)
        if count not in (None, self.bodies[job.id]):
            self.problems.append(f"{job.id} has run, although it was paused")
        await job.resume()

    # A life of the program

    async def live(self, script: "Script | None", strike_at: int) -> bool:
        """Live until a crash, or to the end; return whether that was a crash.

        Args:
            script: what to do; None to go on as it is stored.
            strike_at: at which step to crash.
        """
        strike = Strike(self.app, strike_at)
        with strike.watching(self.storage):
            life = asyncio.create_task(self._live(script))
            death = asyncio.create_task(strike.has_struck.wait())
            await asyncio.wait([life, death], return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if not strike.has_struck.is_set():
            await life
            return False
        self.crashes += 1
        seen = self.bodies.total(), self.ended.total(), self.begun.total()
        life.cancel()
        await asyncio.wait([life])
        if not life.cancelled():
            life.exception()
        await asyncio.sleep(DOWN)
        if seen != (self.bodies.total(), self.ended.total(), self.begun.total()):
            self.problems.append("something was done behind the crash")
        return True

    async def _live(self, script: "Script | None") -> None:
        await self.app.start()
        if script is not None:
            await script(self)
        else:
            jobs = {job.id: job for job in await self.app.jobs()}
            self.problems += [f"{name} is not paused any more" for name in self.paused if not jobs[name].paused]
            for job in jobs.values():
                if job.paused:
                    await self.resume(job)
        await asyncio.sleep(LATE)
        self._judge(await self.app.history(limit=1000), await self.app.jobs())
        await self.app.stop()

    def _judge(self, records: list[RunRecord], left: list[Job[Any]]) -> None:
        """See whether all promises were kept."""
        self.problems += [f"{job} is left behind" for job in left]
        for name in self.accepted - self.doubtful - set(self.times):
            if not self.ended[name]:
                self.problems.append(f"{name} is lost")
        for name, count in self.called_off.items():
            if self.bodies[name] != count:
                self.problems.append(f"{name} has run, although it was called off")
        cut = Counter((run.job_id, run.scheduled_for, run.attempts) for run in records if run.status == "interrupted")
        for key, count in self.begun.items():
            if count > 1 and (count > 1 + cut[key] or (key[0] in self.times and key[0] != "again")):
                self.problems.append(f"attempt {key} was begun {count} times, and interrupted {cut[key]} times")
        for job_id, count in Counter(job_id for job_id, *_ in cut.elements()).items():
            if count > self.crashes:
                self.problems.append(f"{job_id} was interrupted {count} times by {self.crashes} crashes")
        self._judge_times(records)

    def _judge_times(self, records: list[RunRecord]) -> None:
        """See whether the history knows of each time of recurring jobs, and of one end of it."""
        lost = list[str]()
        for name, times in self.times.items():
            own = [run for run in records if name in (run.job_id, run.parent)]
            cut = {run.scheduled_for for run in own if run.status is RunStatus.INTERRUPTED}
            ended = [run for run in own if run.status is not RunStatus.INTERRUPTED]
            for time in times:
                ends = sum(run.scheduled_for <= at(time) <= (run.last or run.scheduled_for) for run in ended)
                if ends > 1:
                    self.problems.append(f"{name} has {ends} ends for {time} s")
                elif not ends and at(time) not in cut:
                    lost.append(name)
        if lost:
            self.problems.append(f"times are lost of {lost}")


Script = Callable[[Program], Coroutine[Any, Any, None]]

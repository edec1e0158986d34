"""Programs at random, with a window and without: each change of each job comes at the same instant."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from jobify import Cron, Every, Jobify, JobifyError, MisfirePolicy, Retry
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock, VirtualOptions, crash, run

SEEDS = [*range(8), 474, 958]
"""The last two have found something."""

STEPS = 25
SECONDS = [1, 7, 30, 60, 90, 600, 3600, 9000]
POLICIES = [MisfirePolicy.ONCE, MisfirePolicy.SKIP, MisfirePolicy.ALL, MisfirePolicy.GRACE(30)]
OVERLAPS = ["skip", "skip", "allow", "buffer_one", "buffer_all", "cancel_other"]
CRONS = ["* * * * *", "*/5 * * * *", "*/30 * * * *", "0 * * * *"]


class Program:
    """An app, and what happens in it.

    Args:
        seed: of all that it does.
        window: of its storage.

    Attributes:
        told: what was told of each job, but for its coming into memory.
        answers: what each verb has returned, or raised.
    """

    def __init__(self, seed: int, window: int | None) -> None:
        loop: Any = asyncio.get_running_loop()
        self.clock: VirtualClock = loop.jobify_runtime.clock
        self.told: defaultdict[str, list[str]] = defaultdict(list)
        self.answers: list[object] = []
        self._draw = random.Random(seed)
        rate = self._draw.choice([None, 1, 100])
        self._storage = SQLiteStorage("jobs.db", window=window, standby=self._draw.random() < 0.2)
        self.app = Jobify(storage=self._storage, catch_up_rate=rate, shutdown_grace=0)
        self.app.subscribe(self._hear)
        again = Retry(1, delay=20, jitter=False)
        self._tasks = [
            self.app.task(self._make_body(), name="work"),
            self.app.task(self._make_body(), name="retried", retry=again),
            self.app.task(self._make_body(), name="skipped", on_crash="skip", retry=again),
            self.app.task(self._make_body(), name="rerun", on_crash="rerun"),
            self.app.task(self._make_body(), name="fleeting", durable=False),
        ]

    def _make_body(self) -> Callable[[float, bool], Awaitable[None]]:
        async def body(seconds: float, fails: bool) -> None:  # noqa: FBT001  # they are arguments of jobs
            await asyncio.sleep(seconds)
            if fails:
                raise ValueError

        return body

    def _hear(self, event: Any) -> None:
        if event.reason != "restored":
            self.told[event.job_id].append(repr(event))

    def _any(self, *choices: Any) -> Any:
        return self._draw.choice(choices)

    def _recurrence(self) -> Cron | Every:
        limits: dict[str, Any] = {"misfire_policy": self._any(*POLICIES), "overlap": self._any(*OVERLAPS)}
        return (
            Cron(self._any(*CRONS), **limits) if self._any(True, False) else Every(self._any(60, 600, 9000), **limits)
        )

    async def live(self) -> list[tuple[object, ...]]:
        """Do what was drawn, then see what becomes of it; return the history."""
        await self.app.start()
        for _ in range(STEPS):
            step = self._any(*[self._order] * 6, *[self._change] * 5, *[self._let_pass] * 5, *[self._restart] * 3)
            try:
                self.answers.append(await step())
            except JobifyError as error:
                self.answers.append(repr(error))
            await self.clock.settle()
        await self.clock.advance(10_000)
        self.answers.append([(job.id, str(job.status), job.exec_at, job.held) for job in await self.app.jobs()])
        records = await self.app.history(limit=100_000)
        await self.app.stop()
        return sorted(
            (run.job_id, str(run.status), run.scheduled_for, run.finished_at, run.attempts, run.count, str(run.reason))
            for run in records
        )

    async def _order(self) -> object:
        order = self._any(*self._tasks).schedule(self._any(0, 5, 200, 4000), self._any(True, False, False))
        seconds, recurrence = self._any(*SECONDS), self._recurrence()
        options: dict[str, Any] = {"job_id": self._any(*"abcdefghi"), "replace": self._any(True, False, False)}
        kind = self._any("at", "delay", "recur")
        if kind == "at":
            moment = self.clock.now() + timedelta(seconds=seconds)
            job = await order.at(moment, misfire_policy=self._any(*POLICIES), **options)
        elif kind == "delay":
            job = await order.delay(seconds, **options)
        else:
            job = await (order.cron if isinstance(recurrence, Cron) else order.every)(recurrence, **options)
        return job.exec_at

    async def _change(self) -> object:
        job_id, verb = self._any(*"abcdefghi"), self._any("cancel", "pause", "resume", "reschedule", "trigger", "jobs")
        seconds, recurrence = self._any(*SECONDS), self._recurrence()
        if verb == "jobs":
            return [job.id for job in await self.app.jobs()] if seconds == 1 else None
        job = await self.app.get_job(job_id)
        if job is None:
            return None
        if verb == "reschedule":
            return await (job.reschedule(recurrence) if job.recurring else job.reschedule(delay=seconds))
        if verb == "trigger":
            return (await job.trigger()).status
        return await {"cancel": job.cancel, "pause": job.pause, "resume": job.resume}[verb]()

    async def _let_pass(self) -> None:
        seconds = self._any(*SECONDS)
        kind = self._any("advance", "advance", "step", "suspend")
        if kind == "advance":
            await self.clock.advance(seconds)
        elif kind == "step":
            self.clock.step_wall(self._any(-seconds, seconds, -10 * seconds, 10 * seconds))
        else:
            self.clock.suspend(seconds, monotonic=self._any(True, False))

    async def _restart(self) -> None:
        await (crash(self.app) if self._any(True, False) else self.app.stop())
        await asyncio.sleep(self._any(0, 0, *SECONDS))
        self.clock.step_wall(self._any(0, 0, -600, 600))
        await self.app.start()


async def _outcome(seed: int, window: int | None) -> tuple[object, ...]:
    program = Program(seed, window)
    history = await program.live()
    return program.answers, dict(program.told), history


@pytest.mark.parametrize("seed", SEEDS)
def test_a_window_changes_nothing(seed: int) -> None:
    """Orders, changes, steps of the clock, suspends, stops and crashes: with all in memory it is the same."""
    options = VirtualOptions(seed=seed, order="lifo" if seed % 3 == 0 else "fifo")
    whole = run(_outcome(seed, None), options=options)
    assert run(_outcome(seed, 1 + seed % 3), options=options) == whole

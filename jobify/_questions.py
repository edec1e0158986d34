"""What can be asked of an app: its jobs, how it is, and to be told what happens in it."""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from jobify._chronicle import record_of
from jobify._clock import Timeout
from jobify._health import Health
from jobify._history import RunRecord, RunStatus
from jobify._job import Job, job_of
from jobify._registry import TaskRegistry
from jobify._run import JobStatus
from jobify._scheduler import Scheduler
from jobify._stream import Listener, Stream
from jobify._task import Task
from jobify._wait_all import wait_all
from jobify._zones import aware_utc, seconds_of
from jobify.exceptions import InvalidScheduleError
from jobify.serializers import Serializer
from jobify.storage import RunQuery


class AppState(StrEnum):
    """Where an app is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Questions(TaskRegistry):
    """The part of an app that answers; who starts and stops it is `Jobify`.

    Args:
        serializer: turns the arguments of jobs into bytes.
    """

    def __init__(self, serializer: Serializer) -> None:
        super().__init__(serializer)
        self._stream = Stream()
        self._state = AppState.STOPPED
        self._scheduler: Scheduler | None = None

    @abstractmethod
    def _running(self, what: str, /) -> Scheduler:
        """Return the scheduler, to do what `what` says.

        Raises:
            ApplicationStateError: the app does not run, or on another event loop.
        """

    async def get_job(self, job_id: str) -> Job[Any] | None:
        """Return the job of an id; None if there is none, or if it has finished.

        Raises:
            ApplicationStateError: the app does not run.
            StorageError: the job is not in memory, and the storage cannot be read.
        """
        scheduler = self._running("look for a job")
        await scheduler.transactions.look()
        return await scheduler.find(job_id)

    async def jobs(
        self, *, task: Task[..., Any, Any] | str | None = None, status: JobStatus | str | None = None
    ) -> list[Job[Any]]:
        """Return the jobs that are not finished, in the order in which they were scheduled.

        Behind them, those that other processes hold, if the storage is shared. What waits in the storage until its time
        is near is read for that, and stays in memory.

        Args:
            task: only those of this task, or of the task of this name.
            status: only those that have it.

        Raises:
            InvalidScheduleError: there is no such status.
            ApplicationStateError: the app does not run.
            StorageError: the storage cannot be read.
        """
        scheduler = self._running("list the jobs")
        name = task.name if isinstance(task, Task) else task
        try:
            status = JobStatus(status) if status is not None else None
        except ValueError:
            known = ", ".join(map(repr, map(str, JobStatus)))
            msg = f"cannot look for jobs of status {status!r}: the statuses are {known}"
            raise InvalidScheduleError(msg) from None
        await scheduler.transactions.look()
        if scheduler.storage.shared or status in (None, JobStatus.SCHEDULED):
            await scheduler.window.fetch_all()
        found = self._select(name, status)
        if scheduler.storage.shared:
            others = await scheduler.elsewhere(task=name)
            found += [job_of(entry) for entry in others if status in (None, entry.status)]
        return found

    async def wait_all(self, *, timeout: float | timedelta | None = None) -> None:  # noqa: ASYNC109  # on our own clock
        """Return when no one-time job is left, those counted that are scheduled meanwhile.

        Not waited for are recurring jobs, jobs that are held, and those whose run somebody has cut short from
        outside: they wait for the next start.

        Raises:
            TimeoutError: that took longer than `timeout` seconds.
            ApplicationStateError: the app does not run, or was stopped meanwhile.
        """
        scheduler = self._running("wait for the jobs")
        await scheduler.transactions.look()
        if timeout is None:
            await wait_all(scheduler)
            return
        seconds = seconds_of(timeout, "timeout")
        with Timeout(scheduler.clock, seconds) as limit:
            await wait_all(scheduler)
        if limit.expired:
            msg = f"not all one-time jobs ended within {seconds:g} s"
            raise TimeoutError(msg)

    async def history(
        self,
        *,
        job_id: str | None = None,
        task: Task[..., Any, Any] | str | None = None,
        status: RunStatus | str | Iterable[RunStatus | str] | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[RunRecord]:
        """Return what is known of ended runs of durable jobs, the latest first, those of earlier processes included.

        How long they are kept says the `retention` of the app.

        Args:
            job_id: only those of this job.
            task: only those of this task, or of the task of this name.
            status: only those of this status, or of one of these.
            since: only those that ended at this aware datetime, or later.
            limit: how many at most.

        Raises:
            InvalidScheduleError: there is no such status, `since` is naive, or `limit` is no whole number from 1.
            ApplicationStateError: the app does not run.
            StorageError: the storage cannot be read.
        """
        scheduler = self._running("read the history")
        given = (status,) if isinstance(status, str) else tuple(status) if status is not None else None
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot return {limit!r} runs: give a whole number from 1"
            raise InvalidScheduleError(msg)
        try:
            statuses = [str(RunStatus(one)) for one in given] if given is not None else None
        except ValueError:
            known = ", ".join(map(repr, map(str, RunStatus)))
            msg = f"cannot look for runs of status {status!r}: the statuses are {known}"
            raise InvalidScheduleError(msg) from None
        query = RunQuery(
            job_id=job_id,
            task=task.name if isinstance(task, Task) else task,
            statuses=statuses,
            since=aware_utc(since, "since") if since is not None else None,
            limit=limit,
        )
        rows = await scheduler.keeper.read(scheduler.storage.runs, query)
        serialized = scheduler.storage.serialized
        return [record_of(row, self._specs, scheduler.settings.tz, serialized=serialized) for row in rows]

    async def get_run(self, job_id: str) -> RunRecord | None:
        """Return the last ended run of a durable job, in this process or an earlier one; None if none is known.

        Raises:
            ApplicationStateError: the app does not run.
            StorageError: the storage cannot be read.
        """
        ended = (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.INTERRUPTED)
        found = await self.history(job_id=job_id, status=ended, limit=1)
        return found[0] if found else None

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every `Transition`, `Skipped` and `Moved` from now on, over all starts.

        Listeners are plain functions, called in the order of their subscription, on the event loop.
        One that raises is logged, and harms nobody.

        Returns:
            What ends the subscription.

        Raises:
            TypeError: `listener` is no plain function.
        """
        if not callable(listener) or inspect.iscoroutinefunction(listener):
            msg = f"cannot tell {listener!r} what happens: give a plain function, for nobody would await another"
            raise TypeError(msg)
        return self._stream.subscribe(listener)

    def local_jobs(self) -> list[Job[Any]]:
        """Return the unfinished jobs that this process holds, without a look into the storage.

        In the order in which they were scheduled; none if the app does not run. For tests and tools: what the
        storage knows beyond that, `jobs` tells.
        """
        return self._select(None, None)

    def _select(self, task: str | None, status: JobStatus | None) -> list[Job[Any]]:
        if self._scheduler is None:
            return []
        entries = self._scheduler.ledger.in_order()
        return [job_of(entry) for entry in entries if task in (None, entry.task) and status in (None, entry.status)]

    def health(self) -> Health:
        """Return how the app is; to be asked at any time."""
        scheduler = self._scheduler
        entries = scheduler.ledger.in_order() if scheduler is not None else []
        return Health(
            state=self._state,
            storage_error=scheduler.keeper.error if scheduler is not None else None,
            scheduled=sum(entry.status is JobStatus.SCHEDULED for entry in entries),
            running=sum(entry.status is JobStatus.RUNNING for entry in entries),
            has_more=scheduler is not None and scheduler.window.has_rest,
            held={entry.id: reason for entry in entries if (reason := entry.kept_back) is not None},
        )

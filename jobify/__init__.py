"""jobify: the job scheduler for asyncio that can be tested like a pure function."""

from jobify._app import Jobify
from jobify._clock import Alarm, Clock, SystemClock, to_nanoseconds
from jobify._cron import Cron
from jobify._health import Health
from jobify._job import Job
from jobify._retry import Retry
from jobify._run import JobStatus, Run
from jobify._runtime import Runtime, StartedApp, SystemRuntime
from jobify._spec import RunMode
from jobify._stream import Event, Listener, Skipped, Transition
from jobify._task import Schedule, Task
from jobify._triggers import Every
from jobify._workers import Lane, Workers
from jobify.exceptions import (
    ApplicationStateError,
    DuplicateJobError,
    DuplicateTaskError,
    IllegalTransitionError,
    InvalidArgumentsError,
    InvalidScheduleError,
    JobCancelledError,
    JobFailedError,
    JobifyError,
    JobNotCompletedError,
    JobTimeoutError,
    StorageError,
    TaskDefinitionError,
    WorkerError,
)

__all__ = [
    "Alarm",
    "ApplicationStateError",
    "Clock",
    "Cron",
    "DuplicateJobError",
    "DuplicateTaskError",
    "Event",
    "Every",
    "Health",
    "IllegalTransitionError",
    "InvalidArgumentsError",
    "InvalidScheduleError",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "JobNotCompletedError",
    "JobStatus",
    "JobTimeoutError",
    "Jobify",
    "JobifyError",
    "Lane",
    "Listener",
    "Retry",
    "Run",
    "RunMode",
    "Runtime",
    "Schedule",
    "Skipped",
    "StartedApp",
    "StorageError",
    "SystemClock",
    "SystemRuntime",
    "Task",
    "TaskDefinitionError",
    "Transition",
    "WorkerError",
    "Workers",
    "to_nanoseconds",
]

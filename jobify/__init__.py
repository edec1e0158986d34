"""jobify: the job scheduler for asyncio that can be tested like a pure function."""

from jobify._app import Jobify
from jobify._calendar import CalendarInterval
from jobify._clock import Alarm, Clock, SystemClock, to_nanoseconds
from jobify._cron import Cron
from jobify._dst import DstRule
from jobify._health import Health
from jobify._history import Retention, RunRecord, RunStatus
from jobify._job import Job
from jobify._policies import MisfirePolicy, OnCrash, Overlap
from jobify._recurrence import AnyOf, Every, Recurrence
from jobify._retry import Retry
from jobify._run import JobStatus, Run
from jobify._runtime import Runtime, StartedApp, SystemRuntime
from jobify._spec import RunMode
from jobify._stream import Event, Listener, Moved, Skipped, Transition
from jobify._task import Schedule, Task
from jobify._workers import Lane, Workers
from jobify.exceptions import (
    ApplicationStateError,
    DuplicateJobError,
    DuplicateTaskError,
    ElsewhereError,
    IllegalTransitionError,
    InvalidArgumentsError,
    InvalidScheduleError,
    JobCancelledError,
    JobFailedError,
    JobifyError,
    JobNotCompletedError,
    JobTimeoutError,
    ResultNotStoredError,
    StorageError,
    TaskDefinitionError,
    WorkerError,
)

__all__ = [
    "Alarm",
    "AnyOf",
    "ApplicationStateError",
    "CalendarInterval",
    "Clock",
    "Cron",
    "DstRule",
    "DuplicateJobError",
    "DuplicateTaskError",
    "ElsewhereError",
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
    "MisfirePolicy",
    "Moved",
    "OnCrash",
    "Overlap",
    "Recurrence",
    "ResultNotStoredError",
    "Retention",
    "Retry",
    "Run",
    "RunMode",
    "RunRecord",
    "RunStatus",
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

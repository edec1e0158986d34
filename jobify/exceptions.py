"""All errors of the library, as one tree.

    JobifyError
    ├── ApplicationStateError        used before the start, after the stop, or started twice
    ├── InvalidScheduleError         a time, a delay or an expression that cannot be used  (ValueError)
    ├── InvalidArgumentsError        arguments that do not fit the task or cannot be kept  (TypeError)
    ├── TaskDefinitionError          a function that cannot be a task as declared          (TypeError)
    │   └── DuplicateTaskError       the name of the task is taken
    ├── DuplicateJobError            the id of the job is taken
    ├── JobNotCompletedError         there is no result yet
    │   └── JobCancelledError        there will never be one
    ├── JobFailedError               the run failed; the original exception is its `__cause__`
    ├── JobTimeoutError              the attempt took longer than its `timeout`            (TimeoutError)
    ├── WorkerError                  a thread or process could not give back an outcome
    ├── IllegalTransitionError       a change of status that the life of a job does not know
    └── StorageError                 the storage could not do what it was asked

Every one of them survives pickling, so that it can cross a process boundary.
"""


class JobifyError(Exception):
    """The root of all errors that jobify raises on its own account."""


class ApplicationStateError(JobifyError):
    """The application is not in a state in which this can be done."""


class InvalidScheduleError(JobifyError, ValueError):
    """A time, a delay, an interval or an expression that cannot be used."""


class InvalidArgumentsError(JobifyError, TypeError):
    """Arguments that do not fit the signature of a task, or that its storage cannot keep."""


class TaskDefinitionError(JobifyError, TypeError):
    """A function that cannot be a task in the way it was declared."""


class DuplicateTaskError(TaskDefinitionError):
    """A second task was declared under a name that is taken."""


class DuplicateJobError(JobifyError):
    """A job was scheduled under an id that is taken.

    Attributes:
        job_id: the id.
    """

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return (
            f"cannot schedule under the id {self.job_id!r}: a job of that id is there already; "
            "choose another id, or take its place with replace=True"
        )


class JobNotCompletedError(JobifyError):
    """The result of a job was asked for before there was one.

    Attributes:
        job_id: the id of the job.
        status: the status that it had.
    """

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(job_id, status)
        self.job_id = job_id
        self.status = status

    def __str__(self) -> str:
        return f"job {self.job_id!r} has no result: it is {self.status}; await job.wait() first"


class JobCancelledError(JobNotCompletedError):
    """The result of a job was asked for, and the job was cancelled before it had one."""

    def __init__(self, job_id: str, status: str = "cancelled") -> None:
        super().__init__(job_id, status)

    def __str__(self) -> str:
        return f"job {self.job_id!r} was cancelled before it had a result"


class JobFailedError(JobifyError):
    """The run whose result was asked for did not succeed; `__cause__` is the original exception.

    Attributes:
        job_id: the id of the job.
        reason: the original exception in words.
    """

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(job_id, reason)
        self.job_id = job_id
        self.reason = reason

    def __str__(self) -> str:
        return f"job {self.job_id!r} failed: {self.reason}"


class ResultNotStoredError(JobifyError):
    """The stored result of a run was asked for, and there is none, or it cannot be read.

    Attributes:
        job_id: the id of the job.
        reason: why.
    """

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(job_id, reason)
        self.job_id = job_id
        self.reason = reason

    def __str__(self) -> str:
        return f"job {self.job_id!r} has succeeded, but {self.reason}"


class JobTimeoutError(JobifyError, TimeoutError):
    """An attempt was ended because it took longer than the `timeout` of its task.

    Attributes:
        job_id: the id of the job.
        seconds: the time that the attempt was allowed.
    """

    def __init__(self, job_id: str, seconds: float) -> None:
        super().__init__(job_id, seconds)
        self.job_id = job_id
        self.seconds = seconds

    def __str__(self) -> str:
        return f"job {self.job_id!r} ran longer than its timeout of {self.seconds:g} s"


class WorkerError(JobifyError):
    """A worker thread or process could not give back an outcome.

    Raised for a process that died, for a value that cannot be sent between processes, and in place
    of an exception that cannot: the message then has its type, its text and its traceback.
    """


class ElsewhereError(JobifyError):
    """The exception of a run in another process, in words: the exception itself stays there."""


class IllegalTransitionError(JobifyError):
    """A change of status was tried that the life of a job does not know: a bug in jobify."""


class StorageError(JobifyError):
    """The storage could not do what it was asked; `__cause__` is the driver's own exception."""

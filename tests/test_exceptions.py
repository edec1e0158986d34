"""The errors: their tree, their sentences, and their way through a pickle."""

import pickle

import pytest

import jobify
from jobify import (
    DuplicateJobError,
    JobCancelledError,
    JobFailedError,
    JobifyError,
    JobNotCompletedError,
    JobTimeoutError,
    ResultNotStoredError,
)

ERRORS = [
    getattr(jobify, name)
    for name in jobify.__all__
    if isinstance(getattr(jobify, name), type) and issubclass(getattr(jobify, name), BaseException)
]
ARGUMENTS: dict[type[BaseException], tuple[object, ...]] = {
    DuplicateJobError: ("it",),
    JobNotCompletedError: ("it", "running"),
    JobCancelledError: ("it",),
    JobFailedError: ("it", "ValueError: no"),
    JobTimeoutError: ("it", 30.0),
    ResultNotStoredError: ("it", "its result is too large"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_a_jobify_error_and_survives_pickling(kind: type[BaseException]) -> None:
    """Errors cross process boundaries with their sentence and their attributes."""
    error = kind(*ARGUMENTS.get(kind, ("what went wrong",)))
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own pickle
    assert isinstance(error, JobifyError)
    assert (type(back), str(back), vars(back)) == (kind, str(error), vars(error))
    assert str(error)


def test_errors_are_also_what_the_language_calls_them() -> None:
    """Who catches `ValueError`, `TypeError` or `TimeoutError` catches ours of that kind."""
    assert issubclass(jobify.InvalidScheduleError, ValueError)
    assert issubclass(jobify.InvalidArgumentsError, TypeError)
    assert issubclass(jobify.TaskDefinitionError, TypeError)
    assert issubclass(JobTimeoutError, TimeoutError)
    assert issubclass(JobCancelledError, JobNotCompletedError)


def test_errors_name_what_they_are_about() -> None:
    """The sentence of an error names the job, and what to do where there is something."""
    assert str(JobTimeoutError("it", 2.5)) == "job 'it' ran longer than its timeout of 2.5 s"
    assert str(JobNotCompletedError("it", "running")) == "job 'it' has no result: it is running; await job.wait() first"
    assert "replace=True" in str(DuplicateJobError("it"))

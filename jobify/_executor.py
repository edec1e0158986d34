"""How a job runs: one attempt. It returns an `Outcome`, and decides nothing."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, NamedTuple

from jobify._clock import Clock, Timeout
from jobify._run import JobStatus
from jobify._spec import RunMode, TaskSpec
from jobify._steps import Step
from jobify._words import is_a
from jobify._workers import ProcessCall, Workers
from jobify.exceptions import JobTimeoutError


class Outcome(NamedTuple):
    """What became of one attempt: SUCCESS with a value, FAILED or TIMEOUT with an error."""

    status: JobStatus
    value: Any
    error: BaseException | None


class RunTask(Step[None]):
    """The asyncio task that carries an attempt, and knows who cancelled it.

    A body that cancels its own task has failed. A cancellation from elsewhere, as by `asyncio.run`
    at the end of a program that did not stop its app, has cut it short: that is not its fault.

    Attributes:
        is_whole: whether the attempt is over, and what follows from it is not to be cut in two.
        was_cancelled: whether anybody has ever asked for a cancellation, which may still be under way.
        due: when its job was due.
        behind: what carries the job that is to begin before this one; None if there is none, or it has.
        is_begun: whether the body has begun, or nobody is to wait for that.
        waiter: what the one task waits for that is behind this one.
        gone: whether the job was not in its storage any more when the attempt was to start.
        is_in_body: whether the function of its job is being called.
        context: in which it runs.
    """

    is_whole = False
    was_cancelled = False
    due = 0
    behind: "RunTask | None" = None
    is_begun = False
    waiter: asyncio.Future[None] | None = None
    gone = False
    is_in_body = False
    context: Context
    _by_itself = 0

    def cancel(self, msg: object = None) -> bool:
        """Request a cancellation, as every task does."""
        self.was_cancelled = True
        if not self.is_whole and asyncio.current_task(self.get_loop()) is self:
            self._by_itself += 1
        return super().cancel(msg)

    def was_interrupted(self) -> bool:
        """Whether a cancellation stands that neither the body asked for nor its timeout."""
        return self.cancelling() > self._by_itself

    def line_up(self, due: int, last: "RunTask | None") -> None:
        """Let the body begin behind that of the task that was made before, if that is due at the same instant."""
        self.due = due
        if last is not None and last.due == due and not last.is_begun:
            self.behind = last

    async def wait_for_turn(self) -> None:
        """Return when the body of the task before has begun, or nobody is to wait for it."""
        if self.behind is not None and not self.behind.is_begun:
            self.behind.waiter = asyncio.get_running_loop().create_future()
            await self.behind.waiter

    def let_pass(self) -> None:
        """Let nobody wait any more for the body to begin."""
        self.is_begun = True
        self.behind = None
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


_around: ContextVar[RunTask | None] = ContextVar("jobify_run", default=None)


def run_around() -> RunTask | None:
    """Return what carries the attempt in whose body this is called, or by what it has begun; None if there is none."""
    task = _around.get()
    return task if task is not None and task.is_in_body else None


class Executor:
    """Tries once."""

    def __init__(self, clock: Clock, workers: Workers) -> None:
        self._clock = clock
        self._workers = workers

    def attempt(
        self, spec: TaskSpec, job_id: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Outcome]:
        """Call the function of a task and return, to who awaits it, what became of that.

        A cancellation does not come out of here: it is the error of a FAILED outcome, whoever asked
        for it. What ends the whole program does: `KeyboardInterrupt` and `SystemExit`.
        """
        if spec.timeout is None:
            return self._call(spec, args, kwargs)
        return self._call_in_time(spec, spec.timeout, job_id, args, kwargs)

    async def _call_in_time(
        self, spec: TaskSpec, seconds: float, job_id: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Outcome:
        outcome = Outcome(JobStatus.FAILED, None, asyncio.CancelledError())
        with Timeout(self._clock, seconds) as timeout:
            outcome = await self._call(spec, args, kwargs)
        if timeout.expired and outcome.error is not None:
            error = JobTimeoutError(job_id, seconds)
            if not is_a(outcome.error, asyncio.CancelledError):
                error.__cause__ = outcome.error
            return Outcome(JobStatus.TIMEOUT, None, error)
        return outcome

    async def _call(self, spec: TaskSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Outcome:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert isinstance(task, RunTask)  # noqa: S101  # the runner makes no other
        token = _around.set(task)
        task.is_in_body = True
        try:
            if spec.run_mode is RunMode.MAIN:
                value = spec.function(*args, **kwargs)
            else:
                value, error = await self._call_off_loop(spec, args, kwargs)
                if error is not None:
                    return Outcome(JobStatus.FAILED, None, error)
            if inspect.isawaitable(value):
                value = await value
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if is_a(error, GeneratorExit) and asyncio.current_task(loop) is not task:
                raise  # the coroutine is being thrown away
            return Outcome(JobStatus.FAILED, None, error)
        finally:
            task.is_in_body = False
            if asyncio.current_task(loop) is task:  # else it is being thrown away, in the context of somebody else
                _around.reset(token)  # or the task and its context would hold each other
        return Outcome(JobStatus.SUCCESS, value, None)

    async def _call_off_loop(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Any, BaseException | None]:
        if spec.run_mode is RunMode.THREAD:
            return await self._workers.run_in_thread(partial(_capture, spec.function, args, kwargs))
        module, qualname = spec.function.__module__, spec.function.__qualname__
        return await self._workers.run_in_process(ProcessCall(module, qualname, args, dict(kwargs)))


def _capture(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, BaseException | None]:
    """Call, and return the exception: some, like StopIteration, cannot be raised through a future."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001  # a thread ends neither the program nor its worker
        return None, error

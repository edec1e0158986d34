"""Functions in threads and processes: on virtual time, and for real."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from jobify import ApplicationStateError, JobFailedError, Jobify, JobStatus, SystemRuntime, Task, WorkerError
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog, VirtualClock, VirtualLoop, VirtualTimeWarning
from tests.off_loop import (
    die,
    fail,
    fail_deviously,
    fail_unpicklably,
    hang,
    process_id,
    processes,
    return_a_lambda,
    take,
)


async def test_a_function_runs_in_a_thread_of_its_own(app: Jobify) -> None:
    """`def` runs beside the loop, and its value is the result."""

    @app.task
    def name_of_thread() -> str:
        return threading.current_thread().name

    async with app:
        assert await (await name_of_thread.push()) != threading.current_thread().name


async def test_threads_take_their_turn_in_order(app: Jobify, job_transitions: TransitionLog) -> None:
    """Under virtual time the thread jobs of one instant run one after the other, always in the same order."""
    order: list[int] = []

    @app.task
    def note(n: int) -> None:
        order.append(n)

    async with app:
        jobs = [await note.schedule(n).delay(5) for n in range(20)]
        await app.wait_all()
    assert order == list(range(20))
    assert {tuple(job_transitions.timeline(job)) for job in jobs} == {
        ((0, "scheduled"), (5, "running"), (5, "success"))
    }


async def test_no_more_threads_than_slots(virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """With `max_threads=1` a thread job starts when the one before has ended."""
    app = Jobify(storage=MemoryStorage(), max_threads=1)

    @app.task
    def note() -> None: ...

    async with app:
        jobs = [await note.push() for _ in range(3)]
        await app.wait_all()
    statuses = [(event.job_id, event.status) for task in [note] for event in job_transitions.of(task)][3:]
    assert statuses == [(job.id, status) for job in jobs for status in (JobStatus.RUNNING, JobStatus.SUCCESS)]


@pytest.mark.slow
async def test_a_thread_that_keeps_its_turn_holds_time_and_is_named(virtual_clock: VirtualClock) -> None:
    """A thread that waits for what only the loop can do gets it, at the cost of a warning; time waits for it."""
    app = Jobify(storage=MemoryStorage())
    gate = threading.Event()

    @app.task(timeout=60)
    def wait() -> bool:
        return gate.wait()

    async with app:
        # The loop gets to run only when the thread has kept its turn for too long.
        asyncio.get_running_loop().call_later(0, lambda: asyncio.get_running_loop().call_soon(gate.set))
        job = await wait.push()
        with pytest.warns(VirtualTimeWarning, match=r"in .*wait, at .*test_threads\.py.* not reproducible"):
            await job.wait()
        assert job.result() is True
    assert virtual_clock.monotonic() == 0


async def test_a_process_job_runs_under_virtual_time(virtual_clock: VirtualClock) -> None:
    """Under virtual time process jobs run in threads that take their turn."""
    async with processes:
        assert await (await process_id.push()) == os.getpid()
        with pytest.raises(JobFailedError, match="LookupError: 5"):
            await (await fail.push(5))


@pytest.mark.slow
async def test_a_process_job_runs_in_a_process() -> None:
    """A process job runs in a process of its own, which is used again."""
    async with processes:
        first, second = await (await process_id.push()), await (await process_id.push())
    assert first == second != os.getpid()


@pytest.mark.slow
async def test_a_process_that_dies_fails_its_own_job_only() -> None:
    """A worker process that dies fails its job; the jobs beside it and behind it run."""
    async with processes:
        beside, dead = await process_id.push(), await die.push()
        with pytest.raises(JobFailedError, match="died") as caught:
            await dead
        assert isinstance(caught.value.__cause__, WorkerError)
        assert await beside != os.getpid()
        assert await (await process_id.push()) != os.getpid()


@pytest.mark.slow
async def test_a_process_that_takes_too_long_is_killed() -> None:
    """The timeout of a process job ends its process."""
    async with processes:
        job = await hang.push()
        await job.wait()
        assert job.status is JobStatus.TIMEOUT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "args", "cause", "word"),
    [
        (fail, (7,), LookupError, "7"),
        (fail_unpicklably, (), WorkerError, "only here"),
        (return_a_lambda, (), WorkerError, "lambda"),
        (take, (lambda: None,), WorkerError, "cannot send"),
    ],
)
async def test_what_cannot_cross_is_a_failure_with_its_reason(
    task: Task[..., None, None], args: tuple[object, ...], cause: type[Exception], word: str
) -> None:
    """Exceptions, values and arguments that cannot be sent fail the job, say why, and harm no process."""
    async with processes:
        job = await task.push(*args)
        with pytest.raises(JobFailedError, match=word) as caught:
            await job
        assert isinstance(caught.value.__cause__, cause)
        assert await (await process_id.push()) != os.getpid()


PROGRAM = """
import asyncio, threading
from jobify import Jobify
from jobify.storage import MemoryStorage

app = Jobify(storage=MemoryStorage(), shutdown_grace=0)
started = threading.Event()

@app.task
def hang():
    started.set()
    threading.Event().wait()

async def main():
    async with app:
        await hang.push()
        await asyncio.get_running_loop().run_in_executor(None, started.wait)
    print("stopped")

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.slow
def test_a_busy_thread_does_not_hold_up_the_exit(tmp_path: Path) -> None:
    """A thread that cannot be stopped is left behind, and the interpreter exits."""
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    assert process.stdout == "stopped\n"


@pytest.mark.slow
async def test_a_lane_makes_its_calls_in_order_and_to_the_end() -> None:
    """A lane calls one function after the other; who is cancelled gives up the answer, not the call."""
    lane = SystemRuntime().workers.open_lane("test")
    made: list[int] = []
    told: list[tuple[object, object]] = []

    def tell(value: object, error: object) -> None:
        told.append((value, error))

    gate = threading.Event()
    first = asyncio.ensure_future(lane.run(gate.wait))
    others = [asyncio.ensure_future(lane.run(partial(made.append, n))) for n in range(5)]
    await asyncio.sleep(0)
    failure = OSError("a failure")
    lane.begin(lambda: made.append(5), tell)
    lane.begin(partial(_raise, failure), tell)
    others[2].cancel()
    gate.set()
    await lane.close()
    assert made == [0, 1, 2, 3, 4, 5]
    assert told == [(None, None), (None, failure)]
    assert await first is True
    with pytest.raises(RuntimeError, match="closed"):
        await lane.run(gate.wait)
    with pytest.raises(RuntimeError, match="closed"):
        lane.begin(gate.wait, tell)


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.virtual_clock
async def test_a_virtual_lane_makes_its_calls_in_order_and_to_the_end() -> None:
    """It promises the same, to those with a task and to those without one; what was abandoned is not made."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    workers = loop.jobify_runtime.workers
    lane, made = workers.open_lane("test"), list[object]()

    def tell(value: object, error: object) -> None:
        made.append((value, error))

    failure = OSError("a failure")
    lane.begin(lambda: "a", tell)
    waiting = asyncio.ensure_future(lane.run(lambda: made.append("b")))
    await asyncio.sleep(0)
    lane.begin(partial(_raise, failure), tell)
    await lane.close()
    assert made == [("a", None), "b", (None, failure)]
    await waiting
    with pytest.raises(RuntimeError, match="closed"):
        lane.begin(print, tell)
    abandoned = workers.open_lane("test")
    abandoned.begin(lambda: made.append("never"), tell)
    waiting = asyncio.ensure_future(abandoned.run(lambda: made.append("never")))
    await asyncio.sleep(0)
    made.clear()
    abandoned.abandon(lambda: made.append("last"))
    with pytest.raises(RuntimeError, match="abandoned"):
        await waiting
    assert made == ["last"]


@pytest.mark.slow
async def test_workers_are_used_again_after_their_close() -> None:
    """Closed workers end their idle threads; a later call makes new ones."""
    workers = SystemRuntime().workers
    empty: dict[str, int] = {}
    for _ in range(2):
        assert await workers.run_in_thread(threading.get_ident) != threading.get_ident()
        await workers.close()
    with pytest.raises(LookupError):
        await workers.run_in_thread(lambda: empty["x"])
    await workers.close()


async def test_a_job_is_used_on_the_loop_of_its_app(virtual_clock: VirtualClock) -> None:
    """Waiting or cancelling on another event loop is refused, with the way that works from a thread."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def work() -> str:
        return "done"

    async with app:
        job = await work.schedule().delay(60)
        for use in (job.wait, job.cancel):
            with pytest.raises(
                ApplicationStateError, match=r"runs on another event loop; do it there, from a thread by"
            ):
                await asyncio.to_thread(asyncio.run, use())
        loop = asyncio.get_running_loop()
        run = await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(job.wait(), loop).result())
        assert run is not None
        assert run.result() == "done"
    assert virtual_clock.monotonic() == 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nothing", "end"])
async def test_an_exception_that_does_not_survive_the_way_is_a_failure(kind: str) -> None:
    """Whatever pickling makes of it, a job that raised has failed, and the program goes on."""
    async with processes:
        run = await (await fail_deviously.push(kind)).wait()
    assert run is not None
    assert run.status is JobStatus.FAILED
    assert isinstance(run.error, WorkerError)


@pytest.mark.slow
async def test_a_worker_that_was_killed_while_idle_fails_nobody() -> None:
    """The next process job gets a new process, not the error of a dead one."""
    async with processes:
        pid = await (await process_id.push())
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # it has been reaped already
            await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert await (await process_id.push()) != pid

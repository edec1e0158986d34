"""What is left of a killed program at the end of its test: it is cleared away, and nobody sees anything of it."""

import asyncio
import gc
import logging
import warnings
from collections.abc import Awaitable, Callable

import pytest

from jobify import ApplicationStateError, Jobify, StorageError
from jobify.storage import MemoryStorage, SQLiteStorage
from jobify_testing import VirtualClock, VirtualDeadlockError, VirtualLoop, VirtualOptions, crash, run
from tests.projects import make
from tests.projects import run as run_project

GHOSTS = """
from program import *
from jobify_testing import crash

pytestmark = pytest.mark.asyncio(loop_scope="module")
app, other = (Jobify(storage=MemoryStorage()) for _ in range(2))
lock = asyncio.Lock()
log = []


@app.task(name="haunt")
async def haunt(who): log.append(who)


@other.task(name="haunt")
async def haunt_other(who): log.append(who)


@app.task(name="work", durable=False)
async def work():
    clock = asyncio.get_running_loop().jobify_runtime.clock
    async with lock:
        try:
            await asyncio.sleep(100)
        finally:
            log.append("cleans up")
            await asyncio.sleep(30)
            clock.block(5)
            time.sleep(5)
            for reach in (haunt.push, haunt_other.push, other.stop, app.start, job.cancel):
                try:
                    await (reach("a ghost") if "push" in reach.__qualname__ else reach())
                except ApplicationStateError:
                    log.append("refused")
            kept.append(asyncio.create_task(fail()))
            asyncio.get_running_loop().call_later(5, log.append, "its timer")
            raise ValueError("of a ghost")


async def fail():
    raise RuntimeError("of a ghost")


kept = []


async def test_of_the_dead(virtual_clock):
    global job
    await other.start()
    job = await haunt_other.schedule("a living one").delay(3)
    await app.start()
    await work.push()
    await virtual_clock.advance(1)
    await crash(app)
    await app.start()


async def test_of_the_living(virtual_clock, job_transitions, caplog):
    assert log == ["cleans up"] + ["refused"] * 5 + ["its timer"]
    assert not lock.locked()
    assert clocks() == at(1)
    assert job_transitions.text() == ""
    kept.clear()
    await virtual_clock.advance(100)
    assert virtual_clock.monotonic() == 101
    assert log[7:] == ["a living one"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await app.stop()
    await other.stop()
"""


def test_no_test_sees_the_dead_of_another(pytester: pytest.Pytester) -> None:
    """On a shared loop the clean-up of the dead moves no time, reaches no app, tells nothing, and is over at once."""
    make(pytester, GHOSTS.replace("import crash", "import crash\nfrom jobify import ApplicationStateError"))
    result = run_project(pytester)
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*ghost*")
    result.stderr.no_fnmatch_line("*ghost*")


def haunted(app: Jobify, haunt: Callable[[], Awaitable[object]]) -> float:
    """Run a program whose only job is killed in its sleep, and return when that ended."""

    async def main() -> float:
        @app.task
        async def work() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                await haunt()

        await app.start()
        await work.push()
        await asyncio.sleep(1)
        await crash(app)
        gc.collect()
        await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    return run(main())


async def fail() -> None:
    """Fail."""
    raise ValueError("of a ghost")


async def leave_a_failure() -> None:
    """Leave a task behind that fails."""
    asyncio.create_task(fail()).add_done_callback(lambda _: 1 // 0)
    await asyncio.sleep(1)


async def never_end() -> None:
    """Do not let it end, whatever is asked for."""
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:  # not even by that
            logging.getLogger("jobify").warning("of a ghost")


async def exit_all() -> None:
    """End the program."""
    raise SystemExit(3)


@pytest.mark.parametrize("haunt", [fail, leave_a_failure, never_end, exit_all])
def test_nothing_is_told_of_the_dead(
    haunt: Callable[[], Awaitable[object]], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the clean-up of a killed program does, no log tells of it, and no program ends or hangs by it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert haunted(Jobify(storage=MemoryStorage()), haunt) == 2
        gc.collect()
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


class Down(SQLiteStorage):
    """A storage that takes jobs, and then is down."""

    async def finish(self, *_args: object, **_options: object) -> None:
        """Fail."""
        raise StorageError("down")


def test_nothing_is_told_of_a_write_that_the_crash_cut_short(caplog: pytest.LogCaptureFixture) -> None:
    """A write that waits for its next try ends with its program, and nobody looks for what became of it."""
    app = Jobify(storage=Down("jobs.db"))

    @app.task
    async def work() -> None: ...

    async def main() -> None:
        await app.start()
        await work.push()
        await asyncio.sleep(0.05)
        await crash(app)

    run(main())
    gc.collect()
    assert {record.name for record in caplog.records} == {"jobify"}  # of the storage, while the app ran


@pytest.mark.parametrize("turns", range(8))
def test_nothing_is_told_of_a_stop_that_the_crash_cut_short(turns: int, caplog: pytest.LogCaptureFixture) -> None:
    """An app that is killed while it stops leaves no error behind that nobody has looked at."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    async def main() -> None:
        await app.start()
        stopping = asyncio.create_task(app.stop())
        for _ in range(turns):
            await asyncio.sleep(0)
        await crash(app)
        await asyncio.wait([stopping])
        assert stopping.exception() is None or isinstance(stopping.exception(), ApplicationStateError)

    run(main())
    gc.collect()
    assert caplog.records == []


def test_a_runner_ends_what_a_crash_has_left() -> None:
    """A loop that somebody else runs is closed as ever: its runner waits for the dead, and they end."""
    app = Jobify(storage=MemoryStorage())
    steps: list[str] = []

    @app.task
    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(5)
            steps.append("cleaned up")

    async def main() -> None:
        await app.start()
        await work.push()
        await asyncio.sleep(1)
        await crash(app)
        await asyncio.sleep(200)
        assert steps == []

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    assert steps == ["cleaned up"]


def test_the_living_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Beside the dead, what goes wrong with the living is told as ever."""

    async def leave() -> None:
        leaving = asyncio.ensure_future(fail())
        await asyncio.sleep(1)
        del leaving

    async def main() -> None:
        app = Jobify(storage=MemoryStorage())

        @app.task
        async def work() -> None:
            await asyncio.sleep(100)

        await app.start()
        await work.push()
        await asyncio.sleep(1)
        await crash(app)
        await leave()
        gc.collect()

    run(main())
    assert [record.getMessage().partition("\n")[0] for record in caplog.records] == [
        "Task exception was never retrieved"
    ]


def test_what_advances_time_dies_too() -> None:
    """In manual mode an advance that a killed program has begun moves no time: nobody advances."""
    app = Jobify(storage=MemoryStorage())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = loop.jobify_runtime.clock

        @app.task
        async def advance() -> None:
            await clock.advance(1000)

        await app.start()
        await advance.push()
        await clock.settle()
        await crash(app)
        await clock.advance(1)
        await asyncio.sleep(500)

    with pytest.raises(VirtualDeadlockError, match="in manual mode only advance"):
        run(main(), options=VirtualOptions(mode="manual"))


async def test_a_run_of_an_abandoned_start_reaches_no_app(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Without a crash, what an abandoned app has begun goes on, and finds every app closed to it."""
    other = Jobify(storage=MemoryStorage())
    refused: list[str] = []

    @other.task
    async def note() -> None: ...

    @app.task(durable=False)
    async def work() -> None:
        await asyncio.sleep(10)
        for attempt in (note.push, other.jobs, other.stop, app.start):
            with pytest.raises(ApplicationStateError, match="of an app that was abandoned") as caught:
                await attempt()
            refused.append(str(caught.value).partition(": the run")[0])

    async with other:
        await app.start()
        await work.push()
        await virtual_clock.advance(1)
        app.abandon()
        async with app:
            await virtual_clock.advance(60)
            assert await other.jobs() == []
    assert refused == [
        f"cannot schedule {note.name!r}",
        "cannot list the jobs",
        "cannot stop the app",
        "cannot start the app",
    ]

"""`--virtual-runs`, which looks for what depends on order; `--virtual-check`, for what depends on anything else."""

import shlex
from collections import Counter
from typing import Any

import pytest

from tests.projects import make, run
from tests.test_plugin_untouched import observe


def calls(seen: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the tests that were called, in order, and what they have recorded."""
    assert seen["failures"] == []
    return [
        (nodeid.partition("::")[2], dict(properties).get("said"))
        for nodeid, when, _, properties in seen["reports"]
        if when == "call"
    ]


SAYING = """
from program import *

@pytest.fixture
def say(record_property):
    def said():
        loop = asyncio.get_event_loop()
        options = getattr(loop, "jobify_runtime").options
        record_property("said", f"{options.order} {options.seed}")
    return said
"""


def test_each_virtual_test_is_run_under_each_seed(pytester: pytest.Pytester) -> None:
    """`--virtual-runs=3`: once as usual, under its own id, and in two random orders, whose seeds are in the ids.

    Only a test whose marker names an order keeps to that.
    """
    make(
        pytester,
        conftest=SAYING,
        test_it="""
        from hypothesis import HealthCheck, given, settings, strategies

        from program import *

        async def test_plain(virtual_clock, say):
            say()

        @pytest.mark.virtual_clock(seed=9)
        class TestClass:
            @pytest.mark.parametrize("n", [1, 2])
            async def test_method(self, say, n):
                say()

            @pytest.mark.virtual_clock(order="lifo")
            async def test_of_an_order(self, say):
                say()

        @pytest.mark.parametrize("order", [pytest.param("a", id="seed=1")])
        def test_sync(job_transitions, say, order):
            say()

        examples = []

        @given(n=strategies.integers())
        @settings(max_examples=4, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        async def test_hypothesis(virtual_clock, n):
            examples.append(n)

        async def test_ordinary(): ...

        @pytest.mark.parametrize("n", [1, 2])
        def test_ordinary_and_sync(n): ...

        def test_examples():
            assert len(examples) == 3 * 4
        """,
    )
    assert calls(observe(pytester, "--virtual-runs=3")) == [
        ("test_plain", "fifo 0"),
        ("test_plain[seed=1]", "random 1"),
        ("test_plain[seed=2]", "random 2"),
        ("TestClass::test_method[1]", "fifo 9"),
        ("TestClass::test_method[2]", "fifo 9"),
        ("TestClass::test_method[seed=1-1]", "random 1"),
        ("TestClass::test_method[seed=1-2]", "random 1"),
        ("TestClass::test_method[seed=2-1]", "random 2"),
        ("TestClass::test_method[seed=2-2]", "random 2"),
        ("TestClass::test_of_an_order", "lifo 9"),
        ("test_sync[seed=1]", "fifo 0"),
        ("test_sync[seed=1-seed=1]", "random 1"),
        ("test_sync[seed=2-seed=1]", "random 2"),
        ("test_hypothesis", None),
        ("test_hypothesis[seed=1]", None),
        ("test_hypothesis[seed=2]", None),
        ("test_ordinary", None),
        ("test_ordinary_and_sync[1]", None),
        ("test_ordinary_and_sync[2]", None),
        ("test_examples", None),
    ]
    further = "--virtual-runs=3", "--virtual-seed=70", "--virtual-order=lifo"
    assert calls(observe(pytester, *further, "-k", "plain or test_sync")) == [
        ("test_plain", "lifo 70"),
        ("test_plain[seed=71]", "random 71"),
        ("test_plain[seed=72]", "random 72"),
        ("test_sync[seed=1]", "lifo 70"),
        ("test_sync[seed=71-seed=1]", "random 71"),
        ("test_sync[seed=72-seed=1]", "random 72"),
    ]
    assert [name for name, _ in calls(observe(pytester, "--virtual-runs=1", "-k", "plain"))] == ["test_plain"]


@pytest.mark.parametrize("scope", ["function", "module"])
def test_seeds_and_loop_factories_of_a_project_go_together(pytester: pytest.Pytester, scope: str) -> None:
    """Where loops are parametrized, ordinary tests have the loops, and virtual tests the seeds; on shared loops too."""
    make(
        pytester,
        conftest=SAYING
        + """
def pytest_asyncio_loop_factories(config, item):
    return {"plain": asyncio.SelectorEventLoop, "own": asyncio.SelectorEventLoop}
""",
        test_it=f"""
        from program import *

        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        async def test_virtual(virtual_clock, say):
            say()

        async def test_real():
            assert type(asyncio.get_running_loop()) is asyncio.SelectorEventLoop

        async def test_other(virtual_clock, say):
            say()
        """,
    )
    assert sorted(calls(observe(pytester, "--virtual-runs=2"))) == [
        ("test_other", "fifo 0"),
        ("test_other[seed=1]", "random 1"),
        ("test_real[own]", None),
        ("test_real[plain]", None),
        ("test_virtual", "fifo 0"),
        ("test_virtual[seed=1]", "random 1"),
    ]


RACE = """
from program import *

app = Jobify(storage=MemoryStorage())
account = {}

@app.task
async def withdraw(amount):
    balance = account["balance"]
    await asyncio.sleep(0)
    account["balance"] = balance - amount

@app.task
async def deposit(amount):
    await asyncio.sleep(0)
    balance = account["balance"]
    await asyncio.sleep(0)
    account["balance"] = balance + amount

async def test_balance(virtual_clock):
    account["balance"] = 100
    async with app:
        jobs = [await withdraw.schedule(30).delay(60), await deposit.schedule(50).delay(60)]
        await virtual_clock.advance(60)
    assert (account["balance"], jobs[0].id) == (120, jobs[0].id)
"""


def test_planted_race_is_found_and_replayed(pytester: pytest.Pytester) -> None:
    """A race that passes as usual is found within twenty seeds, and its seed gives the same failure each time."""
    make(pytester, RACE)
    run(pytester).assert_outcomes(passed=1)
    recorder: Any = pytester.inline_run("-p", "no:cacheprovider", "--virtual-runs=20")  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    _, _, failed = recorder.listoutcomes()
    assert failed
    for report in failed[:3]:
        told = dict(report.sections)["virtual time"]
        (command,) = [shlex.split(line)[5:] for line in told.splitlines() if line.startswith("To see it again: pytest")]
        again: Any = pytester.inline_run(*command)  # pyright: ignore[reportUnknownMemberType]  # the same
        (same,) = again.listoutcomes()[2]
        assert same.longrepr.reprcrash.message == report.longrepr.reprcrash.message
        assert dict(same.sections)["virtual time"] == told


CHECKED = """
import multiprocessing
import os
import random
import uuid
from pathlib import Path

from hypothesis import given, settings, strategies

from program import *

FIRST = multiprocessing.parent_process() is None
app = Jobify(storage=MemoryStorage())
seen = []

@app.task(name="work")
async def work(): ...

async def live(delay=60, job_id=None):
    async with app:
        await work.schedule().delay(delay, job_id=job_id)
        await app.wait_all()

@pytest.fixture(autouse=True)
def noted(request):
    with Path("runs").open("a") as file:
        file.write(f"{os.getpid()} {request.node.name}\\n")

@pytest.fixture
def once(virtual_clock):
    return []

@pytest.mark.parametrize("n", [1, 2])
async def test_clean(once, n):
    assert once == []
    once.append(n)
    seen.append(n)
    assert len(seen) == n
    await live()

class TestClass:
    @pytest.mark.virtual_clock
    def test_sync(self): ...

@pytest.mark.virtual_clock
@given(n=strategies.integers(1, 1000))
@settings(max_examples=5, database=None)
async def test_hypothesis(n):
    await live(n)

async def test_uuid(virtual_clock):
    await live(job_id=str(uuid.uuid4()))

async def test_random(virtual_clock):
    await live(random.random())

async def test_monotonic(virtual_clock):
    await live(time.monotonic())

async def test_perf_counter(virtual_clock):
    await live(time.perf_counter())

async def test_set(virtual_clock):
    for name in {"Ada", "Bob", "Cy", "Dan", "Eve", "Fay", "Gus", "Hal"}:
        await live(job_id=name)

async def test_count(virtual_clock):
    for _ in range(1 + FIRST):
        await live()


@pytest.fixture
async def uneven(virtual_clock):
    yield
    await live(job_id=str(uuid.uuid4()))

async def test_teardown(uneven): ...

async def test_fails(virtual_clock):
    await live()
    raise OSError("as it should")

async def test_fails_elsewhere(virtual_clock):
    assert FIRST

@pytest.mark.skip
async def test_skipped(virtual_clock): ...

@pytest.fixture(scope="module")
def wide():
    return []

def test_ordinary(wide):
    wide.append(0)

@pytest.mark.parametrize("n", [1, 2])
async def test_wide(virtual_clock, wide, n):
    assert wide.count(1) == n - 1
    wide.append(1)
    await live(len(wide) - wide.count(0))

def test_ordinary_failure():
    raise OSError("as it should")

async def test_wide_again(virtual_clock, wide):
    assert wide.count(1) == 2

@pytest.mark.virtual_clock(mode="real")
async def test_real_time(): ...

@pytest.mark.virtual_clock(threads="real")
async def test_real_threads(): ...

@pytest.mark.virtual_clock(storage="keep")
async def test_kept_storage(): ...

@pytest.mark.virtual_clock(order="up")
async def test_refused(): ...

if FIRST:
    async def test_here_only(virtual_clock): ...

async def test_ends(virtual_clock):
    if not FIRST:
        os._exit(5)
"""

SAME = "the same test with the same seed, run twice, has not done the same twice: "
LOOK = "\nLook for time, randomness, ids or the order of a set that do not come from the virtual world."


@pytest.mark.slow
def test_check_finds_what_is_not_reproducible(pytester: pytest.Pytester) -> None:
    """Ids, delays, orders and failures that differ fail a test once, and are shown; other tests are as they were."""
    make(pytester, CHECKED)
    recorder: Any = pytester.inline_run("-p", "no:cacheprovider", "--virtual-check")  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    reports = recorder.getreports("pytest_runtest_logreport")
    told = {(report.nodeid.partition("::")[2], report.when): report.longreprtext for report in reports if report.failed}
    assert "cannot use order='up'" in told.pop(("test_refused", "setup"))
    for name in ("test_fails", "test_ordinary_failure"):
        assert told.pop((name, "call")).endswith("OSError")
    for key, text in told.items():
        assert text.startswith(SAME)
        told[key] = text.removeprefix(SAME).removesuffix(LOOK)
    elsewhere = "in another process it failed\n"
    assert told.pop(("test_fails_elsewhere", "call")).startswith(elsewhere)
    assert told.pop(("test_here_only", "setup")) == (
        f"{elsewhere}there is no test of that id: ids, or what is collected, are not always the same"
    )
    assert told.pop(("test_ends", "setup")) == f"{elsewhere}that process has ended, with exit code 5"
    assert told.pop(("test_count", "call")) == "event 4, work scheduled, happened only here"
    for name, field, when in [
        ("test_uuid", "job_id", "call"),
        ("test_random", "due", "call"),
        ("test_monotonic", "due", "call"),
        ("test_perf_counter", "due", "call"),
        ("test_set", "job_id", "call"),
        ("test_teardown", "job_id", "teardown"),
    ]:
        text = told.pop((name, when))
        assert text.startswith("event ")  # the first of a set may be the same twice
        assert f", work scheduled, has\n  {field}: " in text
        assert " here, " in text
        assert text.endswith(" in another process")
    assert told == {}
    phases = Counter((report.nodeid, report.when) for report in reports)
    assert set(phases.values()) == {1}
    runs = Counter(line.partition(" ")[2] for line in (pytester.path / "runs").read_text().splitlines())
    once = {"test_ordinary", "test_ordinary_failure", "test_here_only"}
    once |= {"test_real_time", "test_real_threads", "test_kept_storage"}
    assert {name for name, count in runs.items() if count == 1} == once
    assert {count for name, count in runs.items() if name not in once} == {2}


@pytest.mark.slow
def test_check_goes_with_workers_and_seeds(pytester: pytest.Pytester) -> None:
    """Under xdist each worker has another process of its own; with `--virtual-runs` each seed is checked."""
    make(
        pytester,
        """
        import os
        import random

        from program import *

        app = Jobify(storage=MemoryStorage())

        @app.task(name="work")
        async def work(): ...

        async def live(delay):
            async with app:
                await work.schedule().delay(delay)
                await app.wait_all()

        async def test_clean(virtual_clock, worker_id):
            assert worker_id == os.environ["PYTEST_XDIST_WORKER"] == "gw0"
            await live(60)

        async def test_differs(virtual_clock):
            await live(random.random())

        """,
    )
    result = run(pytester, "-n1", "-pno:hypothesispytest", "-pno:anyio", "--virtual-check", "--virtual-runs=2")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            f"{SAME}event 1, work scheduled, has",
            "To see it again: pytest *::test_differs --virtual-order=random --virtual-seed=1 --virtual-check *",
        ]
    )


class Line:
    """The connection to the first process, of which all is said at once."""

    def __init__(self, *messages: object) -> None:
        self._messages = list(messages)
        self.runs: list[Any] = []

    def recv(self) -> object:
        """Return the next message, as long as there are any."""
        if not self._messages:
            raise EOFError
        return self._messages.pop(0)

    recv_bytes = recv

    def send(self, run: object) -> None:
        """Take note of what was seen."""
        self.runs.append(run)


def test_other_process_runs_what_it_is_asked_for(pytester: pytest.Pytester) -> None:
    """Fixtures that the next test shares live on, wherever that is run; the report has each phase."""
    make(
        pytester,
        test_one="""
        from program import *

        app = Jobify(storage=MemoryStorage())
        begun = []

        @app.task(name="work")
        async def work(): ...

        @pytest.fixture(scope="module")
        def wide():
            begun.append(0)
            yield
            pytest.fail("this is told where the test before has run")

        @pytest.fixture
        async def running(virtual_clock):
            async with app:
                await work.schedule().delay(60)
                yield

        async def test_first(wide, running):
            await asyncio.sleep(60)

        def test_ordinary(wide):
            raise AssertionError("nobody has asked for it")

        async def test_second(wide, virtual_clock):
            assert begun == [0]

        async def test_fails(virtual_clock, wide):
            raise OSError("as it should")
        """,
        test_two="""
        async def test_other(virtual_clock): ...
        """,
    )
    first, ordinary, second, fails = (f"test_one.py::test_{n}" for n in ("first", "ordinary", "second", "fails"))
    other = "test_two.py::test_other"
    requests = [(first, ordinary), (second, ordinary), (other, None), (fails, None), ("nothing", None)]
    line = Line(({"virtual_seed": 7, "unknown": 0}, {"workerid": "gw7"}), *requests)
    pytester.inline_run("-x", "--lf", "--basetemp=kept", plugins=[line, "jobify_testing._pytest_twin"])  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    phases = [{phase: len(events) for phase, events in run.events.items()} for run in line.runs]
    assert phases == [
        {"setup": 1, "call": 3, "teardown": 3},
        *[{"setup": 0, "call": 0, "teardown": 0}] * 3,
        {},
    ]
    assert line.runs[0].events["setup"][0]["status"] == "scheduled"
    assert [list(run.failures) for run in line.runs] == [[], [], [], ["call", "teardown"], ["setup"]]
    assert "OSError: as it should" in line.runs[3].failures["call"]
    assert not (pytester.path / "kept").exists()
    assert not (pytester.path / ".pytest_cache/v/cache/lastfailed").exists()

"""What the report of a failed test says of virtual time, and how it can be seen again."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.projects import make, run

DIFFERENT = """
from program import *

app = Jobify(storage=MemoryStorage())

@app.task
async def work(): ...

async def live(jobs):
    async with app:
        for n in range(jobs):
            await work.schedule().delay(60 * n)
        await app.wait_all()
"""


def sections(pytester: pytest.Pytester, *arguments: str) -> dict[tuple[str, str], dict[str, str]]:
    """Run the tests of a project, and return what the reports of each phase of each test have besides."""
    recorder: Any = pytester.inline_run("-p", "no:cacheprovider", *arguments)  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    reports = recorder.getreports("pytest_runtest_logreport")
    return {(report.nodeid.partition("::")[2], report.when): dict(report.sections) for report in reports}


def test_timelines_that_differ_are_shown_side_by_side(pytester: pytest.Pytester) -> None:
    """Whichever side it stands on, the timeline is the actual one; the first line that differs is marked."""
    make(
        pytester,
        DIFFERENT
        + """
async def test_left(job_transitions):
    await live(2)
    assert job_transitions.text() == '''
        0s work#1 scheduled for 0s
        0s work#2 scheduled for 1m
        0s work#1 running
        0s work#1 failed with ValueError
        1m work#2 running
    '''

async def test_right(job_transitions):
    await live(1)
    assert "0s work#1 scheduled for 5s" == job_transitions.text(work)

async def test_nothing_expected(job_transitions):
    await live(1)
    assert "" == job_transitions.text(work)
""",
    )
    result = run(pytester)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "E * assert timelines differ in line 4",
            "E            expected                         | actual",
            "E            0s work#1 scheduled for 0s       | 0s work#1 scheduled for 0s",
            "E            0s work#2 scheduled for 1m       | 0s work#2 scheduled for 1m",
            "E            0s work#1 running                | 0s work#1 running",
            "E         -> 0s work#1 failed with ValueError | 0s work#1 success",
            "E            1m work#2 running                | 1m work#2 running",
            "E            (nothing)                        | 1m work#2 success",
        ],
        consecutive=True,
    )
    result.stdout.fnmatch_lines(
        [
            "E * assert timelines differ in line 1",
            "E            expected                   | actual",
            "E         -> 0s work#1 scheduled for 5s | 0s work#1 scheduled for 0s",
            "E            (nothing)                  | 0s work#1 running",
            "E            (nothing)                  | 0s work#1 success",
        ],
        consecutive=True,
    )
    result.stdout.fnmatch_lines(["E         -> (nothing) | 0s work#1 scheduled for 0s"])
    assert "truncated" not in result.stdout.str()


def test_difference_of_long_timelines_is_shown_first(pytester: pytest.Pytester) -> None:
    """The marked line is in what pytest shows of a long explanation, also of wide lines; all of it is there for -vv."""
    make(
        pytester,
        DIFFERENT
        + """
from jobify_testing import Timeline

def lines(count, text):
    return "".join(f"{n}s {text}\\n" for n in range(count))

def test_long():
    assert Timeline(lines(50, "running")) == lines(40, "running") + "40s failed\\n" + lines(50, "running")

def test_wide():
    assert Timeline(lines(9, "scheduled " * 10)) == lines(8, "scheduled " * 10)
""",
    )
    result = run(pytester)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E * assert timelines differ in line 41",
            "E * expected    | actual",
            "E            38s running | 38s running",
            "E            39s running | 39s running",
            "E         -> 40s failed  | 40s running",
            "E            0s running  | 41s running",
            "E            1s running  | 42s running",
            "E * use '-vv' to show",
        ]
    )
    result.stdout.fnmatch_lines(["E * assert timelines differ in line 9", "E         -> (nothing) * | 8s scheduled *"])
    told = run(pytester, "-vv", "-k", "long")
    told.stdout.fnmatch_lines(["E         all lines:", "E * 0s running  | 0s running", "E * 49s running | (nothing)"])
    assert "truncated" not in told.stdout.str()


def test_actual_timeline_can_be_pasted(pytester: pytest.Pytester) -> None:
    """It is in the report as lines, indented as the expected one is: put in its place, it makes the test pass."""
    source = (
        DIFFERENT
        + """
@pytest.mark.parametrize("n", [1])
async def test_life(job_transitions, n):
    await live(3)
    assert job_transitions.text() == '''
            THE TEXT
    '''
"""
    )
    make(pytester, test_life=source)
    seen = sections(pytester)
    text = seen["test_life[1]", "call"]["timeline, to be pasted"]
    assert text.splitlines()[0] == "            0s  work#1  scheduled for 0s"
    pytester.makepyfile(test_life=source.replace("            THE TEXT", text))
    run(pytester).assert_outcomes(passed=1)


def test_timelines_are_printed_at_the_end(pytester: pytest.Pytester) -> None:
    """`--virtual-timelines` prints all that failed tests compared, without tracebacks too; others print nothing."""
    make(
        pytester,
        DIFFERENT
        + """
async def test_twice(job_transitions):
    await live(1)
    with pytest.raises(AssertionError):
        assert job_transitions.text(work) == "nothing"
    job_id = job_transitions.of(work)[0].job_id
    assert "    other" == job_transitions.text(job_id)

async def test_passes(job_transitions):
    await live(1)
    with pytest.raises(AssertionError):
        assert job_transitions.text() == "what a test that passes expected"

async def test_teardown(job_transitions, late): ...

@pytest.fixture
def late(job_transitions):
    yield
    assert job_transitions.text() == "what a fixture expected"

def test_other_text():
    assert "one" == "other"
""",
    )
    assert "timelines, to be pasted" not in run(pytester, "--tb=no").stdout.str()
    result = run(pytester, "--tb=no", "--virtual-timelines")
    result.assert_outcomes(passed=2, failed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "=* timelines, to be pasted =*",
            "_* test_timelines_are_printed_at_the_end.py::test_twice _*",
            "0s  work#1  scheduled for 0s",
            "0s  work#1  running",
            "0s  work#1  success",
            "_* test_timelines_are_printed_at_the_end.py::test_twice _*",
            "    0s  scheduled for 0s",
            "    0s  running",
            "    0s  success",
            "_* test_timelines_are_printed_at_the_end.py::test_teardown _*",
            "",
            "=* short test summary info =*",
        ],
        consecutive=True,
    )


def test_reports_of_failures_have_a_section(pytester: pytest.Pytester) -> None:
    """What fails on virtual time, in setup, call or teardown, says the instant, order, seed and events; no other."""
    make(
        pytester,
        DIFFERENT
        + """
@pytest.fixture
async def broken(virtual_clock):
    await virtual_clock.advance(0.1)
    raise OSError

@pytest.fixture
async def broken_at_last(virtual_clock):
    yield
    await virtual_clock.advance(7)
    raise OSError

async def test_setup(broken): ...

async def test_call(virtual_clock):
    await live(1)
    await virtual_clock.advance(days=36500, milliseconds=1)
    raise OSError

@pytest.mark.virtual_clock(order="lifo", seed=5, mode="manual", start=datetime(2030, 1, 1, tzinfo=UTC))
def test_sync():
    raise OSError

async def test_teardown(broken_at_last): ...

async def test_many(virtual_clock):
    await live(7)
    pytest.fail("at last")

async def test_passes(virtual_clock): ...

@pytest.mark.xfail(strict=True)
async def test_expected_to_fail(virtual_clock):
    raise OSError

@pytest.mark.virtual_clock
async def test_skipped():
    pytest.skip()

async def test_real():
    raise OSError

async def test_refused(request):
    request.getfixturevalue("virtual_clock")
""",
    )
    told = {
        key: found["virtual time"].splitlines() for key, found in sections(pytester).items() if "virtual time" in found
    }
    assert set(told) == {
        ("test_setup", "setup"),
        ("test_call", "call"),
        ("test_sync", "call"),
        ("test_teardown", "teardown"),
        ("test_many", "call"),
    }
    usual = "in auto mode; order fifo, seed 0."
    assert told["test_setup", "setup"][0] == f"It was 2026-01-01T00:00:00.100000+00:00, 0.1 s of the loop, {usual}"
    assert len(told["test_setup", "setup"]) == 2
    assert (
        told["test_call", "call"][0]
        == f"It was 2125-12-08T00:00:00.001000+00:00, 3153600000.001 s of the loop, {usual}"
    )
    assert told["test_call", "call"][2:] == [
        "What happened:",
        "0s  work#1  scheduled for 0s",
        "0s  work#1  running",
        "0s  work#1  success",
    ]
    assert told["test_sync", "call"][0] == (
        "It was 2030-01-01T00:00:00+00:00, 0 s of the loop, in manual mode; order lifo, seed 5."
    )
    assert told["test_teardown", "teardown"][0] == f"It was 2026-01-01T00:00:07+00:00, 7 s of the loop, {usual}"
    assert told["test_many", "call"][2] == "The last 20 of 21 events:"
    assert told["test_many", "call"][3] == "0s  work#2  scheduled for 1m"
    assert len(told["test_many", "call"]) == 23


FAILING = """
from program import *

app = Jobify(storage=MemoryStorage())

@app.task(retry=Retry(9, delay=10))
async def work(order, n):
    order.append(n)

async def order_of(count):
    order = []
    async with app:
        ids = [(await work.schedule(order, n).delay(5)).id for n in range(count)]
        await app.wait_all()
    return ids[0], order

async def test_plain(virtual_clock):
    pytest.fail(f"plain {await order_of(5)}")

@pytest.mark.virtual_clock(seed=3)
class TestClass:
    @pytest.mark.parametrize("text", ["it's $HOME", "seed=-1-a", "a-seed=-1", "-x]y-"])
    @pytest.mark.parametrize("n", [4])
    async def test_method(self, n, text):
        pytest.fail(f"{text} {await order_of(n)}")

@pytest.fixture
async def broken(job_transitions):
    pytest.fail(f"broken {await order_of(4)}")

async def test_of_a_fixture(broken): ...

@pytest.mark.virtual_clock(order="lifo")
def test_sync():
    pytest.fail(f"at {datetime.now(UTC)}, {time.time()}")
"""


def failures(pytester: pytest.Pytester, *arguments: str) -> Iterator[tuple[str, list[str]]]:
    """Run the tests of a project, and yield how each failure is told, and the command that repeats it."""
    recorder: Any = pytester.inline_run(*arguments)  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    for report in recorder.getreports("pytest_runtest_logreport"):
        if report.failed:
            (line,) = [line for line in dict(report.sections)["virtual time"].splitlines() if "again: " in line]
            yield report.longrepr.reprcrash.message, shlex.split(line.partition("again: ")[2])


@pytest.mark.parametrize(
    ("arguments", "runs"), [([], 1), (["--virtual-order=random", "--virtual-seed=-2", "--virtual-runs=2"], 2)]
)
def test_command_repeats_the_failure(pytester: pytest.Pytester, arguments: list[str], runs: int) -> None:
    """The line that repeats a failed test does: of that test alone, with the same values in the same order."""
    make(pytester, test_failing=FAILING)
    seen = list(failures(pytester, *arguments, "--tb=native"))  # pytest takes its time over the others
    assert len({told for told, _ in seen}) == len(seen) == runs * 6 + 1
    for told, command in seen:
        assert command[0] == "pytest"
        assert [again for again, _ in failures(pytester, *command[1:])] == [told]


def test_command_is_for_the_folder_where_pytest_was_started(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the path from there, and the options by which the project is found and set up."""
    make(pytester, test_other="")
    place = pytester.mkdir("sub") / "tests"
    place.mkdir()
    (place / "test_failing.py").write_text(FAILING)
    configuration = pytester.path.joinpath("tox.ini").rename(pytester.path / "own.ini")
    with configuration.open("a") as file:
        file.write("\naddopts = --virtual-runs=2\npythonpath = .\n")
    monkeypatch.chdir(pytester.path / "sub")
    told = ["-c", "../own.ini", "-pno:cacheprovider", "--override-ini=virtual_seed=4"]
    seen = list(failures(pytester, *told, "tests", "-k", "plain", "-q"))
    assert [command[2:5] for _, command in seen] == [
        ["--virtual-order=fifo", "--virtual-seed=4", "--virtual-runs=1"],
        ["--virtual-order=random", "--virtual-seed=1", "--virtual-runs=1"],
    ]
    for failure, command in seen:
        assert command[1] == "tests/test_failing.py::test_plain"
        assert command[5:] == told
        assert [again for again, _ in failures(pytester, *command[1:])] == [failure]


def test_report_says_when_a_loop_was_shared(pytester: pytest.Pytester) -> None:
    """Where time goes on from test to test, a test that is run alone may begin earlier: its report says so."""
    make(
        pytester,
        """
        from program import *

        pytestmark = pytest.mark.asyncio(loop_scope="module")

        async def test_first(virtual_clock):
            await asyncio.sleep(5.3)
            raise OSError

        async def test_second(virtual_clock):
            await asyncio.sleep(0.1)
            raise OSError
        """,
    )
    first, second = (found["virtual time"].splitlines() for found in sections(pytester).values() if found)
    assert len(first) == 2
    assert second[0].startswith("It was 2026-01-01T00:00:05.400000+00:00, 5.4 s of the loop")
    assert second[2] == "It began at 5.3 s of a loop that it shares: alone, it begins where its fixtures do."


@pytest.mark.slow
def test_reports_of_workers_are_complete(pytester: pytest.Pytester) -> None:
    """Under xdist failures have their sections, commands and timelines, too."""
    make(
        pytester,
        DIFFERENT
        + """
async def test_life(job_transitions):
    await live(1)
    assert job_transitions.text() == "  other"

async def test_ordinary(): ...
""",
    )
    result = run(pytester, "-n", "1", "-pno:hypothesispytest", "-pno:anyio", "--virtual-timelines")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E         -> other     | 0s work#1 scheduled for 0s",
            "*- timeline, to be pasted -*",
            "  0s  work#1  scheduled for 0s",
            "*- virtual time -*",
            "To see it again: pytest test_reports_of_workers_are_complete.py::test_life --virtual-order=fifo *",
            "What happened:",
            "*= timelines, to be pasted =*",
            "  0s  work#1  success",
        ]
    )

"""The world of a test on virtual time: its start, ids, databases, time zone, and its end."""

import pytest

from tests.projects import line_of, make, run


def test_marker_takes_start_and_seed(pytester: pytest.Pytester) -> None:
    """`start=` is where the wall clock starts; `seed=` chooses the ids, which depend on nothing else."""
    make(
        pytester,
        """
        from program import *

        pytestmark = pytest.mark.virtual_clock(start=datetime(2030, 6, 1, 12, tzinfo=UTC))
        app = Jobify(storage=MemoryStorage())

        @app.task
        async def nothing(): ...

        async def ids():
            async with app:
                return [(await nothing.push()).id for _ in range(3)]

        OF_SEED_0 = [
            "10d7be1b082fed8f53701dec84e7bd34",
            "882ea94889c0fc92474bfbcf31e1d0a3",
            "0d346ec40f0ed0c76f060dd6d642e369",
        ]

        async def test_of_a_module(virtual_clock):
            assert datetime.now(UTC) == virtual_clock.now() == datetime(2030, 6, 1, 12, tzinfo=UTC)
            assert asyncio.get_running_loop().time() == 0

        @pytest.mark.virtual_clock(start=datetime(1999, 12, 31, 23, tzinfo=UTC))
        class TestClass:
            async def test_of_a_class(self):
                assert datetime.now(UTC) == datetime(1999, 12, 31, 23, tzinfo=UTC)

            @pytest.mark.virtual_clock(start=datetime(2000, 1, 1, tzinfo=UTC), seed=-1)
            async def test_of_a_function(self):
                assert datetime.now(UTC) == datetime(2000, 1, 1, tzinfo=UTC)

        async def test_default_seed():
            assert await ids() == OF_SEED_0

        @pytest.mark.virtual_clock(seed=0)
        async def test_same_seed_under_another_name():
            assert await ids() == OF_SEED_0

        @pytest.mark.virtual_clock(seed=7)
        async def test_other_seed():
            assert not set(await ids()) & set(OF_SEED_0)

        @pytest.mark.parametrize(
            "year", [2030, pytest.param(2040, marks=pytest.mark.virtual_clock(start=datetime(2040, 1, 1, tzinfo=UTC)))]
        )
        async def test_of_a_parameter(virtual_clock, year):
            assert datetime.now(UTC).year == year
        """,
    )
    run(pytester).assert_outcomes(passed=8)


def test_same_test_gives_the_same_record(pytester: pytest.Pytester) -> None:
    """Ids, jitter and the order of what is due at once are the same each time, whatever the test is called."""
    make(
        pytester,
        """
        from program import *

        app = Jobify()
        records = []

        @app.task(retry=Retry(3, delay=10, factor=2))
        async def flaky(n):
            raise ConnectionError(n)

        @app.task
        def threaded(n): ...

        async def record(log):
            async with app:
                jobs = [await (flaky, threaded)[n % 2].schedule(n).delay(n // 4) for n in range(8)]
                await app.wait_all()
            records.append([(event.job_id, event.at, event.status) for event in log])
            assert {job.id for job in jobs} == {job_id for job_id, _, _ in records[-1]}
            assert len(records[-1]) == 48
            assert records[-1] == records[0]

        @pytest.mark.parametrize("n", [1, 2])
        async def test_one(job_transitions, n):
            await record(job_transitions)

        class TestOther:
            async def test_it(self, virtual_clock, job_transitions):
                await record(job_transitions)
        """,
    )
    run(pytester).assert_outcomes(passed=3)


def test_storages_are_private_and_empty(pytester: pytest.Pytester) -> None:
    """A database is a real file in the temporary folder of the run: one for each path, and new in each test."""
    make(
        pytester,
        """
        from pathlib import Path

        from program import *

        app = Jobify()
        memory = Jobify(storage=MemoryStorage())

        async def later(): ...

        tasks = [app.task(later), memory.task(later)]

        async def test_without_a_database_there_is_no_folder(virtual_clock, tmp_path_factory):
            async with memory:
                pass
            assert not list(tmp_path_factory.getbasetemp().glob("jobify*"))

        @pytest.mark.parametrize("n", [1, 2])
        async def test_starts_empty_and_survives_a_restart(virtual_clock, tmp_path_factory, n):
            Path("sub").mkdir(exist_ok=True)
            same = Jobify(storage=SQLiteStorage(Path("sub/../jobify.db").absolute()))
            other = Jobify(storage=SQLiteStorage("sub/jobify.db"))
            for program, task in zip([app, memory], tasks):
                async with program:
                    assert await program.jobs() == []
                    await task.schedule().delay(60, job_id="it")
                async with program:
                    assert [job.id for job in await program.jobs()] == ["it"]
            async with same, other:
                assert list(same.health().held) == ["it"]
                assert await other.jobs() == []
            files = [path for path in tmp_path_factory.getbasetemp().rglob("*jobify.db")]
            assert len(files) == 2 * n
            assert all(path.read_bytes().startswith(b"SQLite format 3") for path in files)
            assert not Path("jobify.db").exists()

        KEPT = pytest.mark.virtual_clock(storage="keep")

        @KEPT
        async def test_kept_storage_is_used():
            for program, task in zip([app, memory], tasks):
                async with program:
                    await task.schedule().delay(60, job_id="it")
            assert Path("jobify.db").exists()

        @KEPT
        async def test_kept_storage_has_what_it_had():
            for program in [app, memory]:
                async with program:
                    assert [job.id for job in await program.jobs()] == ["it"]

        async def test_kept_rows_are_not_for_private_tests(virtual_clock):
            for program in [app, memory]:
                async with program:
                    assert await program.jobs() == []
        """,
    )
    run(pytester).assert_outcomes(passed=6)


def test_hypothesis_examples_share_the_time_of_their_test(pytester: pytest.Pytester) -> None:
    """Time goes on from example to example, as on one loop it must."""
    make(
        pytester,
        """
        from hypothesis import HealthCheck, given, settings, strategies

        from program import *

        seen = []

        @given(n=strategies.integers(1, 1000))
        @settings(max_examples=10, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        async def test_fixture(virtual_clock, n):
            assert virtual_clock.monotonic() == sum(seen)
            await virtual_clock.advance(n)
            seen.append(n)

        @pytest.mark.virtual_clock
        @given(n=strategies.integers(1, 1000))
        @settings(max_examples=10, database=None)
        async def test_marker(n):
            before = asyncio.get_running_loop().time()
            await asyncio.sleep(n)
            assert clocks() == at(before + n)

        async def test_there_were_examples(virtual_clock):
            assert len(seen) == 10
            await hour_passes()
        """,
    )
    run(pytester).assert_outcomes(passed=3)


def test_wall_clock_and_zone_are_restored(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """E50: TZ is never touched, and after a test time is real, also for fixtures that outlive it."""
    monkeypatch.setenv("TZ", "America/New_York")
    make(
        pytester,
        """
        import os

        import time_machine

        from program import *

        real = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)

        def is_real():
            return not time_machine.escape_hatch.is_travelling() and os.environ["TZ"] == "America/New_York"

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def wide():
            assert is_real()
            yield time.tzname
            assert is_real()
            assert time.tzname == ("EST", "EDT")

        @pytest.fixture(scope="module", autouse=True)
        def zone():
            time.tzset()

        @pytest.mark.virtual_clock(start=datetime(2026, 7, 1, 12, tzinfo=UTC))
        async def test_virtual(wide):
            assert os.environ["TZ"] == "America/New_York"
            assert wide == time.tzname == ("EST", "EDT")
            assert datetime.now().hour == 8
            raise OSError("a failure")

        async def test_real(wide):
            assert is_real()

        async def test_travel_wins_while_it_lasts(virtual_clock):
            with time_machine.travel(datetime(2040, 1, 1, tzinfo=UTC), tick=False):
                await asyncio.sleep(5)
                assert datetime.now(UTC) == datetime(2040, 1, 1, tzinfo=UTC)
                assert virtual_clock.now() == START + timedelta(seconds=5)
            assert clocks() == at(5)
            assert os.environ["TZ"] == "America/New_York"
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E * OSError: a failure"])


@pytest.mark.parametrize("scope", ["function", "module"])
def test_deadlocks_end_and_finalizers_run(pytester: pytest.Pytester, scope: str) -> None:
    """E42, E43: a test, a fixture or a teardown that waits for ever fails by name and line; all others go on."""
    make(
        pytester,
        f"""
        from program import *

        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")
        fixture = pytest_asyncio.fixture(loop_scope="{scope}")
        ended = []

        async def forever():
            await asyncio.Event().wait()  # the line

        @fixture
        async def resource(virtual_clock):
            yield
            await asyncio.sleep(1)
            ended.append("resource")

        @fixture
        async def stuck_at_first(resource):
            await forever()

        @fixture
        async def stuck_at_last(resource):
            yield
            await forever()

        async def test_body(resource):
            try:
                await forever()
            finally:
                await asyncio.sleep(1)
                ended.append("body")

        async def test_fixture(stuck_at_first): ...

        async def test_teardown(stuck_at_last): ...

        async def test_task(resource):
            await asyncio.gather(asyncio.create_task(forever(), name="the stuck one"))

        async def test_that_follows(virtual_clock):
            assert ended == ["body", "resource", "resource", "resource", "resource"]
            before = asyncio.get_running_loop().time()
            await virtual_clock.advance(10)
            assert clocks() == at(before + 10)
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=2, errors=2)
    error = "E * jobify_testing._errors.VirtualDeadlockError: nothing is scheduled, and nothing is running"
    place = f"is at *finalizers_run.py:{line_of(pytester, '# the line')}, in Event.wait, and awaits <Future *"
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_fixture*",
            error,
            f"E * task * {place}",
            "*ERROR at teardown of test_teardown*",
            error,
            "* test_body *",
            error,
            f"E * task * of test_body, made at *, {place}",
            "* test_task *",
            error,
            f"E * task 'the stuck one' of forever, made at *, {place}",
        ]
    )


def test_deadlock_of_a_teardown_names_its_line(pytester: pytest.Pytester) -> None:
    """Also behind the `yield` of a fixture, the report says where the waiting is."""
    make(
        pytester,
        """
        from program import *

        @pytest.fixture
        async def stuck(virtual_clock):
            yield
            await asyncio.Event().wait()

        async def test_passes(stuck): ...
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"E * is at *names_its_line.py:{line_of(pytester, 'Event()')}, in Event.wait, *"])

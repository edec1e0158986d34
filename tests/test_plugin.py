"""How tests ask for virtual time, and what they get, fixtures included; each project is fresh."""

import pytest

from tests.projects import make, run


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_each_way_of_asking_is_enough(pytester: pytest.Pytester, mode: str) -> None:
    """A fixture, a fixture of a fixture or the marker: each alone brings the loop, and clocks that start in 2026."""
    make(
        pytester,
        test_function="""
        from program import *

        pytestmark = pytest.mark.asyncio

        @pytest.fixture
        def patient(virtual_clock):
            return virtual_clock

        async def test_clock(virtual_clock):
            await hour_passes()
            assert virtual_clock.now() == START + timedelta(hours=1)

        async def test_log(job_transitions):
            await hour_passes()

        async def test_both(job_transitions, virtual_clock):
            await hour_passes()

        async def test_fixture_of_a_fixture(patient):
            await hour_passes()

        @pytest.mark.usefixtures("virtual_clock")
        async def test_used_fixture():
            await hour_passes()

        @pytest.mark.virtual_clock
        async def test_marker():
            await hour_passes()

        @pytest.mark.virtual_clock
        class TestMarked:
            async def test_method(self):
                await hour_passes()

            @staticmethod
            async def test_static_method():
                await hour_passes()

        async def test_that_does_not_ask():
            assert type(asyncio.get_running_loop()) is not VirtualLoop
        """,
        test_module="""
        from program import *

        pytestmark = [pytest.mark.asyncio, pytest.mark.virtual_clock]

        async def test_of_a_marked_module():
            await hour_passes()

        @pytest.mark.parametrize("n", [1, 2])
        async def test_parametrized(n, request):
            assert request.node.name == f"test_parametrized[{n}]"
            await hour_passes()
        """,
        test_autouse="""
        from program import *

        @pytest.fixture(autouse=True)
        def patience(virtual_clock):
            pass

        @pytest.mark.asyncio
        async def test_where_a_fixture_asks_for_all():
            await hour_passes()
        """,
    )
    run(pytester, f"--asyncio-mode={mode}").assert_outcomes(passed=13)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_fixtures_are_in_the_virtual_world_too(pytester: pytest.Pytester, mode: str) -> None:
    """Async and sync fixtures of async and sync tests: whatever the order, they see the time and loop of the test."""
    make(
        pytester,
        """
        from program import *

        app = Jobify(storage=MemoryStorage())

        @app.task
        async def nothing(): ...

        @pytest_asyncio.fixture
        async def running():
            assert clocks() == at(0)
            async with app:
                await asyncio.sleep(10)
                yield asyncio.get_running_loop()
                await asyncio.sleep(10)
                assert clocks() == at(25)

        @pytest.fixture
        def sync():
            return datetime.now(UTC)

        @pytest_asyncio.fixture
        async def dependent(virtual_clock):
            await virtual_clock.advance(10)
            return asyncio.get_running_loop()

        async def uses(loop, log):
            assert asyncio.get_running_loop() is loop
            job = await nothing.schedule().delay(5)
            await job
            assert log.timeline(job) == [(10, "scheduled"), (15, "running"), (15, "success")]

        @pytest.mark.asyncio
        @pytest.mark.parametrize("n", [1, 2])
        async def test_clock_first(sync, virtual_clock, running, job_transitions, n):
            assert sync == START
            await uses(running, job_transitions)

        @pytest.mark.asyncio
        async def test_clock_last(running, job_transitions, sync, virtual_clock):
            await uses(running, job_transitions)

        class TestClass:
            @pytest.mark.asyncio
            async def test_method(self, running, job_transitions):
                await uses(running, job_transitions)

            @pytest.mark.asyncio
            async def test_fixture_that_depends_on_the_clock(self, dependent):
                assert asyncio.get_running_loop() is dependent
                assert clocks() == at(10)

        def test_sync_with_the_clock_first(virtual_clock, running, job_transitions, sync):
            running.run_until_complete(uses(running, job_transitions))
            assert virtual_clock.monotonic() == 15
            assert sync == START + timedelta(seconds=10)

        def test_sync_with_the_clock_last(running, job_transitions, virtual_clock):
            running.run_until_complete(uses(running, job_transitions))

        @pytest.mark.virtual_clock(start=START + timedelta(days=1))
        def test_sync_with_the_marker():
            assert datetime.now(UTC) == START + timedelta(days=1)
        """,
    )
    run(pytester, f"--asyncio-mode={mode}").assert_outcomes(passed=8)


def test_time_runs_on_where_tests_share_a_loop(pytester: pytest.Pytester) -> None:
    """On a loop of a wider scope the time goes on from test to test; log, ids and databases start anew."""
    program = """
apps = [Jobify(storage=SQLiteStorage("jobs.db")), Jobify(storage=MemoryStorage())]


async def later(): ...


tasks = [app.task(later) for app in apps]


async def look(log, start):
    assert clocks() == at(start)
    assert len(log) == 0
    ids = []
    for app, task in zip(apps, tasks):
        async with app:
            assert await app.jobs() == []
            job = await task.schedule().delay(60)
            assert log.timeline(job) == [(0, "scheduled")]
            ids.append(job.id)
    assert ids == ["10d7be1b082fed8f53701dec84e7bd34", "882ea94889c0fc92474bfbcf31e1d0a3"]
    await asyncio.sleep(5)
"""
    module = """
        from together import *

        pytestmark = pytest.mark.asyncio(loop_scope="{scope}")

        async def test_first(job_transitions):
            await look(job_transitions, {first})

        async def test_second(job_transitions):
            await look(job_transitions, {first} + 5)
        """
    make(
        pytester,
        together="from program import *\n" + program,
        test_function=module.format(scope="function", first=0).replace("+ 5", ""),
        test_module_1=module.format(scope="module", first=0),
        test_module_2=module.format(scope="module", first=0),
        test_session_1=module.format(scope="session", first=0),
        test_session_2=module.format(scope="session", first=10),
        test_class="""
        from together import *

        @pytest.mark.asyncio(loop_scope="class")
        class TestFirst:
            async def test_first(self, job_transitions):
                await look(job_transitions, 0)

            async def test_second(self, job_transitions):
                await look(job_transitions, 5)

        class TestSecond(TestFirst):
            pass
        """,
    )
    run(pytester, "--asyncio-mode=strict").assert_outcomes(passed=14)


def test_default_loop_scope_is_heeded(pytester: pytest.Pytester) -> None:
    """`asyncio_default_test_loop_scope` decides, for sync tests too."""
    make(
        pytester,
        """
        from program import *

        @pytest.fixture
        async def loop():
            await asyncio.sleep(1)
            return asyncio.get_running_loop()

        async def test_first(virtual_clock, loop):
            assert clocks() == at(1)

        def test_sync(virtual_clock, loop):
            assert virtual_clock.monotonic() == 2
            loop.run_until_complete(virtual_clock.advance(8))

        async def test_last(loop, virtual_clock):
            assert asyncio.get_running_loop() is loop
            assert clocks() == at(11)
        """,
    )
    session = [f"asyncio_default_{what}_loop_scope=session" for what in ("test", "fixture")]
    run(pytester, "-o", session[0], "-o", session[1]).assert_outcomes(passed=3)


def test_app_of_a_wider_fixture_is_logged(pytester: pytest.Pytester) -> None:
    """An app that a module-scoped fixture keeps running lives on virtual time; each test has its own log of it."""
    make(
        pytester,
        """
        from program import *

        pytestmark = pytest.mark.asyncio(loop_scope="module")

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def app():
            app = Jobify(storage=MemoryStorage())
            async with app:
                yield app
            assert asyncio.get_running_loop().time() == 120

        async def tell():
            return datetime.now(UTC)

        logs = []

        @pytest.mark.parametrize("n", [0, 1])
        async def test_jobs(app, n, virtual_clock, job_transitions):
            job = await app.task(tell, name=f"task {n}").schedule().delay(60)
            await virtual_clock.advance(60)
            assert job.result() == START + timedelta(seconds=60 * (n + 1))
            assert job_transitions.timeline(job) == [(0, "scheduled"), (60, "running"), (60, "success")]
            logs.append(job_transitions)
            assert [len(log) for log in logs] == [3] * (n + 1)
        """,
    )
    run(pytester).assert_outcomes(passed=2)


def test_asking_late_is_fine_for_who_has_asked(pytester: pytest.Pytester) -> None:
    """`getfixturevalue` gives a test that is on virtual time the same clock and log."""
    make(
        pytester,
        """
        from program import *

        @pytest.mark.virtual_clock
        async def test_marked(request):
            clock = request.getfixturevalue("virtual_clock")
            await clock.advance(5)
            assert clocks() == at(5)
            assert len(request.getfixturevalue("job_transitions")) == 0
        """,
    )
    run(pytester).assert_outcomes(passed=1)


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_virtual_tests_run_once_where_loops_are_parametrized(pytester: pytest.Pytester, scope: str) -> None:
    """In a project with loop factories of its own, virtual tests get the virtual loop; others all of theirs."""
    pytester.makeconftest(
        """
        import asyncio

        class Own(asyncio.SelectorEventLoop): ...

        def pytest_asyncio_loop_factories(config, item):
            return {"plain": asyncio.SelectorEventLoop, "own": Own}
        """
    )
    make(
        pytester,
        """
        from program import *

        @pytest_asyncio.fixture
        async def loop():
            return type(asyncio.get_running_loop()).__name__

        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def wide():
            return asyncio.get_running_loop()

        async def test_real(loop, wide, request):
            assert request.node.name == f"test_real[{'own' if loop == 'Own' else 'plain'}]"
            assert not wide.is_closed()

        @pytest.mark.virtual_clock
        def test_sync(wide, loop):
            assert loop == "VirtualLoop"
            assert not wide.is_closed()

        def test_real_sync(loop):
            assert loop != "VirtualLoop"

        async def test_virtual(virtual_clock, loop, wide):
            await hour_passes()
            assert loop == "VirtualLoop"
            assert not wide.is_closed()

        @pytest.mark.asyncio(loop_factories=["own"])
        async def test_real_on_one(loop, wide):
            assert loop == "Own"
            assert not wide.is_closed()
        """,
    )
    result = run(pytester, "-v", "-o", f"asyncio_default_test_loop_scope={scope}")
    result.assert_outcomes(passed=6)
    assert sorted(line.split()[0].partition("::")[2] for line in result.outlines if "PASSED" in line) == [
        "test_real[own]",
        "test_real[plain]",
        "test_real_on_one",
        "test_real_sync",
        "test_sync",
        "test_virtual",
    ]

"""Virtual time in tests that AnyIO's own plugin runs."""

import pytest

from tests.projects import line_of, make, run


def test_tests_of_anyio_run_on_virtual_time(pytester: pytest.Pytester) -> None:
    """AnyIO's sleeps, timeouts and groups take virtual time, with fixtures before and behind; ids do not change."""
    make(
        pytester,
        """
        import anyio
        from program import *

        pytestmark = pytest.mark.anyio
        ended = []

        @pytest.fixture
        async def slow_resource():
            await anyio.sleep(30)
            yield "resource"
            await anyio.sleep(30)
            ended.append(asyncio.get_running_loop().time())

        @pytest.mark.virtual_clock
        async def test_marker():
            await anyio.sleep(3600)
            assert clocks() == at(3600)
            with anyio.move_on_after(5):
                await anyio.sleep(10)
            assert clocks() == at(3605)

        async def test_fixtures(slow_resource, virtual_clock):
            assert clocks() == at(30)
            await virtual_clock.advance(10)
            assert clocks() == at(40)
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 20)
            assert clocks() == at(60)

        def test_that_is_not_asynchronous(slow_resource, virtual_clock, anyio_backend):
            assert virtual_clock.monotonic() == 30

        @pytest.mark.virtual_clock
        @pytest.mark.parametrize("n", [1, 2])
        async def test_parameters(n):
            await anyio.sleep(n)
            assert clocks() == at(n)

        def test_teardown():
            assert ended == [90, 60]

        async def test_real():
            assert type(asyncio.get_running_loop()).__name__ != "VirtualLoop"
        """,
    )
    result = run(pytester, "-v", "--asyncio-mode=strict")
    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(
        [
            "*::test_marker PASSED*",
            "*::test_fixtures PASSED*",
            "*::test_that_is_not_asynchronous PASSED*",
            "*::test_parameters?1? PASSED*",
            "*::test_parameters?2? PASSED*",
            "*::test_teardown PASSED*",
            "*::test_real?asyncio? PASSED*",
        ]
    )


def test_jobs_run_under_anyio(pytester: pytest.Pytester) -> None:
    """An app is in the virtual world under AnyIO's plugin, too: its log, its ids and its database."""
    make(
        pytester,
        """
        from program import *

        app = Jobify()

        @app.task
        async def greet(name: str) -> str:
            return f"hello {name}"

        @pytest.mark.anyio
        @pytest.mark.parametrize("again", range(2))
        async def test_job(again, job_transitions):
            async with app:
                job = await greet.schedule("Ada").delay(3600)
                assert await job == "hello Ada"
            assert job_transitions.timeline(job) == [(0, "scheduled"), (3600, "running"), (3600, "success")]
        """,
    )
    run(pytester, "--asyncio-mode=strict").assert_outcomes(passed=2)


def test_stuck_tests_of_anyio_end(pytester: pytest.Pytester) -> None:
    """A test, a fixture or a teardown that waits for ever ends by name and line, and finalizers run."""
    make(
        pytester,
        """
        import anyio
        from program import *

        pytestmark = pytest.mark.anyio
        ended = []

        async def forever():
            await anyio.Event().wait()  # the line

        @pytest.fixture
        async def resource(virtual_clock):
            yield
            await anyio.sleep(1)
            ended.append("resource")

        @pytest.fixture
        async def stuck(resource):
            await forever()

        async def test_body(resource):
            try:
                await forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1)
                ended.append("body")

        async def test_fixture(stuck): ...

        async def test_that_follows(virtual_clock):
            assert ended == ["body", "resource", "resource"]
            await virtual_clock.advance(10)
            assert clocks() == at(10)
        """,
    )
    result = run(pytester, "--asyncio-mode=strict")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*VirtualDeadlockError: nothing is scheduled, and nothing is running",
            f"*is at *of_anyio_end.py:{line_of(pytester, '# the line')}, in Event.wait, and awaits *",
        ]
    )

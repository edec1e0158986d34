"""The plugin where what it needs is missing, and in processes of its own."""

import sys

import pytest

from tests.projects import make, run

ORDINARY = """
import pytest


def test_ordinary(): ...


@pytest.mark.virtual_clock
def test_virtual(): ...


def test_virtual_by_fixture(virtual_clock): ...


def test_log(job_transitions): ...
"""

TOLD = "install jobify[[]testing[]]"


def test_project_without_pytest_asyncio(pytester: pytest.Pytester) -> None:
    """Ordinary tests pass; a virtual one fails with what to install."""
    pytester.makepyfile(ORDINARY)
    result = run(pytester, "-p", "no:asyncio", "-W", "error")
    result.assert_outcomes(passed=1, errors=3)
    result.stdout.fnmatch_lines([f"virtual time needs pytest-asyncio 1.4 or newer: {TOLD}"] * 3)


def test_project_without_time_machine(pytester: pytest.Pytester) -> None:
    """Ordinary tests pass, async ones too; a virtual one fails with what to install."""
    pytester.makeconftest("import sys; sys.modules['time_machine'] = None")
    make(pytester, ORDINARY + "async def test_async(): ...")
    result = run(pytester)
    result.assert_outcomes(passed=2, errors=3)
    result.stdout.fnmatch_lines([f"E * ImportError: virtual time needs time-machine: {TOLD}"] * 3)


@pytest.mark.slow
def test_plugin_loads_where_nothing_else_is_installed(pytester: pytest.Pytester) -> None:
    """With neither pytest-asyncio nor time-machine to import, pytest starts, and ordinary tests run."""
    pytester.makepyfile(
        blocker="import sys; sys.modules.update(dict.fromkeys(['time_machine', 'pytest_asyncio']))",
        test_it="""
        import sys

        import pytest

        def test_ordinary(request):
            assert request.config.pluginmanager.has_plugin("jobify_testing")
            assert "jobify_testing._engine" not in sys.modules
            assert "jobify" not in sys.modules

        @pytest.mark.virtual_clock
        def test_virtual(): ...
        """,
    )
    absent = "asyncio", "time_machine", "hypothesispytest", "anyio", "xdist"
    result = pytester.runpytest_subprocess("-W", "error", "-p", "blocker", *(f"-pno:{name}" for name in absent))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*: {TOLD}"])


LIGHT = ("_pytest_anyio", "_pytest_loops", "_pytest_options", "_pytest_reports", "plugin")
"""The modules that pytest loads in every project."""


@pytest.mark.slow
def test_import_is_light(pytester: pytest.Pytester) -> None:
    """The plugin is imported in every project of an environment: it brings in nothing of the scheduler."""
    program = """
import sys, pytest
import jobify_testing.plugin
heavy = {"jobify", "time_machine", "croniter", "msgspec", "asyncio", "sqlite3", "pytest_asyncio"}
print(sorted({name.partition(".")[0] for name in sys.modules} & heavy))
print(sorted(name for name in sys.modules if name.startswith("jobify")))
"""
    own = ["jobify_testing", *(f"jobify_testing.{name}" for name in LIGHT)]
    assert pytester.run(sys.executable, "-c", program).outlines == ["[]", str(own)]


@pytest.mark.slow
def test_workers_of_xdist_run_virtual_tests(pytester: pytest.Pytester) -> None:
    """Tests spread over processes have the same ids and times as in one."""
    make(
        pytester,
        """
        import os

        from program import *

        app = Jobify()

        @app.task
        async def when():
            return datetime.now(UTC)

        @pytest.mark.parametrize("n", range(6))
        async def test_jobs(virtual_clock, n):
            assert "PYTEST_XDIST_WORKER" in os.environ
            async with app:
                job = await when.schedule().delay(n)
                assert job.id == "10d7be1b082fed8f53701dec84e7bd34"
                assert await job == START + timedelta(seconds=n)

        @pytest.mark.parametrize("n", range(4))
        async def test_real(n):
            assert type(asyncio.get_running_loop()) is not VirtualLoop

        @pytest.mark.virtual_clock
        async def test_stuck():
            await asyncio.Event().wait()
        """,
    )
    # Workers start faster without the plugins that are not needed.
    result = run(pytester, "-n", "2", "-pno:hypothesispytest", "-pno:anyio")
    result.assert_outcomes(passed=10, failed=1)
    result.stdout.fnmatch_lines(
        ["E * jobify_testing._errors.VirtualDeadlockError: nothing is scheduled, and nothing is running"]
    )

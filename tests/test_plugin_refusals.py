"""What the plugin refuses: each time by a failure that says why, and what to do."""

import pytest

from tests.projects import make, run


def test_other_arguments_of_the_marker_are_refused(pytester: pytest.Pytester) -> None:
    """What the marker does not know, or cannot use, fails the test and says why."""
    make(
        pytester,
        """
        from program import *

        @pytest.mark.virtual_clock("private")
        async def test_1(): ...

        @pytest.mark.virtual_clock(sed=1)
        async def test_2(): ...

        @pytest.mark.virtual_clock(storage="none")
        async def test_3(virtual_clock): ...

        @pytest.mark.virtual_clock(start=datetime(2026, 1, 1))
        async def test_4(job_transitions): ...

        @pytest.mark.virtual_clock(start="2026-01-01")
        def test_5(): ...

        @pytest.mark.virtual_clock(seed="7")
        async def test_6(): ...

        @pytest.mark.virtual_clock(seed=True)
        async def test_7(): ...
        """,
    )
    result = run(pytester)
    result.assert_outcomes(errors=7)
    result.stdout.fnmatch_lines(
        [
            "*::test_1: the marker virtual_clock cannot be used with positional arguments",
            "*::test_2: *cannot be used with sed=: it knows start=, mode=, order=, seed=, storage=, threads=, *",
            "*::test_3: *cannot use storage='none': it must be one of 'private', 'keep'",
            "*::test_4: *cannot use start=datetime.datetime(2026, 1, 1, 0, 0): it must be an aware datetime, as *",
            "*::test_5: *cannot use start='2026-01-01': it must be an aware datetime, as *",
            "*::test_6: *cannot use seed='7': it must be a whole number",
            "*::test_7: *cannot use seed=True: it must be a whole number",
        ]
    )


def test_asking_too_late_is_refused(pytester: pytest.Pytester) -> None:
    """A test that asks when its loop is chosen already fails, and says how to ask; it does not run on real time."""
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            items[-1].add_marker("virtual_clock")
        """
    )
    make(
        pytester,
        """
        from program import *

        async def test_by_getfixturevalue(request):
            request.getfixturevalue("virtual_clock")

        def test_sync_by_getfixturevalue(request):
            request.getfixturevalue("job_transitions")

        @pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.virtual_clock), 2])
        async def test_by_the_mark_of_a_parameter(n):
            assert n == 2
            assert type(asyncio.get_running_loop()) is not VirtualLoop

        async def test_by_a_marker_of_a_conftest():
            raise AssertionError
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=2, errors=2)
    told = "virtual time is not possible here: the test runs on <*SelectorEventLoop *. Ask for it in the signature*"
    result.stdout.fnmatch_lines([told] * 4)


def test_own_loops_and_virtual_time_are_not_both_possible(pytester: pytest.Pytester) -> None:
    """`loop_factories=` on a virtual test is refused: neither is it skipped, nor run on another loop."""
    pytester.makeconftest(
        """
        import asyncio

        def pytest_asyncio_loop_factories(config, item):
            return {"plain": asyncio.SelectorEventLoop}
        """
    )
    make(
        pytester,
        """
        import pytest

        @pytest.mark.asyncio(loop_factories=["plain"])
        async def test_both(virtual_clock): ...
        """,
    )
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*::test_both: cannot run both on virtual time and on the loops ?'plain'?;*"])


def test_other_runners_are_refused(pytester: pytest.Pytester) -> None:
    """A test that neither pytest-asyncio nor AnyIO runs sees real time: it fails, and is told how to be virtual."""
    make(
        pytester,
        """
        import unittest

        from program import *

        async def test_of_nobody(virtual_clock):
            raise AssertionError

        @pytest.mark.virtual_clock
        class TestCase(unittest.IsolatedAsyncioTestCase):
            async def test_of_unittest(self):
                raise AssertionError
        """,
    )
    result = run(pytester, "--asyncio-mode=strict")
    result.assert_outcomes(errors=2)
    told = "*: virtual time needs a test that pytest-asyncio or AnyIO runs: mark it with pytest.mark.asyncio or *"
    result.stdout.fnmatch_lines(
        [
            f"*::test_of_nobody{told}",
            "virtual time is not possible here: * unittest.TestCase*",
        ]
    )


def test_a_test_that_is_not_async_runs_no_real_loop(pytester: pytest.Pytester) -> None:
    """`asyncio.run` in a test on virtual time would be real, and is refused; fixtures and threads are free."""
    make(
        pytester,
        """
        from program import *
        import jobify_testing

        async def main():
            await asyncio.sleep(0)
            return 1

        def test_run(virtual_clock):
            asyncio.run(main())

        def test_runner(virtual_clock):
            with asyncio.Runner() as runner:
                runner.run(main())

        def test_loop(virtual_clock):
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(main())
            finally:
                loop.close()

        @pytest.fixture
        def prepared():
            yield asyncio.run(main())
            asyncio.run(main())

        async def test_in_a_thread(prepared, virtual_clock):
            assert await asyncio.to_thread(lambda: asyncio.run(main())) == prepared

        def test_virtual(prepared, virtual_clock):
            assert jobify_testing.run(main()) == prepared

        @pytest.mark.virtual_clock(mode="real")
        def test_real():
            assert asyncio.run(main()) == 1

        def test_behind():
            assert asyncio.run(main()) == 1
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=4, failed=3)
    told = "*cannot run main in *::test_{} by asyncio.run() or its like: the test is on virtual time, *"
    result.stdout.fnmatch_lines([told.format(name) for name in ("run", "runner", "loop")])


@pytest.mark.parametrize(
    ("mode", "marks", "remedy"),
    [
        ("auto", "pytest.mark.anyio", "set asyncio_mode = strict, or take that marker away"),
        ("strict", "[pytest.mark.anyio, pytest.mark.asyncio]", "take one of the two markers away"),
    ],
)
def test_two_runners_at_once_are_refused(pytester: pytest.Pytester, mode: str, marks: str, remedy: str) -> None:
    """A test that pytest-asyncio runs while AnyIO makes its fixtures would be on two loops."""
    make(
        pytester,
        f"""
        from program import *

        pytestmark = {marks}

        async def test_both(virtual_clock):
            raise AssertionError
        """,
    )
    result = run(pytester, f"--asyncio-mode={mode}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*::test_both: cannot be run both by pytest-asyncio and by AnyIO, *; {remedy}"])


def test_a_loop_whose_class_another_plugin_swaps_is_refused(pytester: pytest.Pytester) -> None:
    """E57: looptime does that to each loop that pytest-asyncio has made; it would be a second virtual time."""
    pytester.makeconftest(
        """
        import asyncio

        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_fixture_setup(fixturedef, request):
            result = yield
            loop = getattr(result, "get_loop", lambda: result)()
            if isinstance(loop, asyncio.AbstractEventLoop):
                kind = type(loop)
                loop.__class__ = type("Patched" + kind.__name__, (kind,), {})
            return result
        """
    )
    make(
        pytester,
        """
        from program import *

        async def test_virtual(virtual_clock):
            raise AssertionError

        async def test_real():
            assert type(asyncio.get_running_loop()).__name__.startswith("Patched")
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["virtual time is not possible here: the test runs on <Patched* *"])

"""What a test leaves behind on its loop, for those who want to know."""

import pytest

from tests.projects import make, run


def test_leftovers_fail_a_test_that_asked_for_it(pytester: pytest.Pytester) -> None:
    """E58: with leaks="fail" a pending task or timer of the test is named; jobs of a running app are background."""
    make(
        pytester,
        """
        from program import *

        pytestmark = pytest.mark.virtual_clock(leaks="fail")
        kept = []

        async def forget():
            await asyncio.sleep(3600)

        async def test_task():
            kept.append(asyncio.create_task(forget(), name="the forgotten one"))

        async def test_timer():
            asyncio.get_running_loop().call_later(60, kept.clear)

        async def test_app():
            app = Jobify(storage=MemoryStorage())

            @app.task(every=60)
            async def beat(): ...

            await app.start()
            kept.append(app)

        async def test_clean():
            await asyncio.create_task(forget())

        @pytest.mark.virtual_clock(leaks="ignore")
        async def test_that_does_not_ask():
            kept.append(asyncio.create_task(forget()))
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=5, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_task*",
            "the test has left behind:",
            "  task 'the forgotten one' of forget, made at *",
            "*ERROR at teardown of test_timer*",
            "the test has left behind:",
            "  a timer of *clear",
        ]
    )

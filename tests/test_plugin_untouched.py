"""The plugin in projects, and for tests, that do not ask for it."""

from typing import Any

import pytest

STRICT = """
[pytest]
asyncio_mode = strict
asyncio_default_fixture_loop_scope = function
"""

SUITE = """
'''
>>> 1 + 1
2
'''

import asyncio
import unittest
import warnings

import pytest
import pytest_asyncio

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")


@pytest.fixture(params=["a", "b"])
def parameter(request):
    return request.param


@pytest.fixture
def virtual_clock():
    return "of this project"


@pytest.fixture(params=[1])
def own_scoped_runner(request):
    return request.param


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared():
    yield asyncio.get_running_loop()


@pytest.fixture
def anyio_backend():
    return "asyncio"


def name(loop):
    return f"{type(loop).__module__}.{type(loop).__qualname__}"


@pytest.mark.asyncio
async def test_async(record_property, parameter, virtual_clock, own_scoped_runner):
    assert own_scoped_runner == 1
    assert virtual_clock == "of this project"
    record_property("loop", name(asyncio.get_running_loop()))


@pytest.mark.asyncio(loop_scope="module")
class TestClass:
    @pytest.mark.parametrize("n", [1, 2])
    async def test_shared(self, shared, n, record_property):
        assert asyncio.get_running_loop() is shared
        record_property("loop", name(shared))

    async def test_warns(self):
        warnings.warn("old", DeprecationWarning)


def test_sync(shared, parameter, record_property):
    record_property("loop", name(shared))


@pytest.mark.anyio
async def test_of_another_runner(record_property):
    record_property("loop", name(asyncio.get_running_loop()))


class TestOld(unittest.IsolatedAsyncioTestCase):
    async def test_method(self):
        self.assertFalse(asyncio.get_running_loop().is_closed())


@pytest.mark.asyncio
async def test_fails():
    await asyncio.sleep(0)
    raise OSError("as it should")


@pytest.mark.parametrize("fixture", ["broken", "async_broken", "broken_at_the_end", "async_broken_at_the_end"])
def test_fixture_fails(fixture, request):
    request.getfixturevalue(fixture)


@pytest.mark.asyncio
async def test_fixture_of_async_test_fails(async_broken_at_the_end, broken): ...


@pytest.mark.skip
@pytest.mark.asyncio
async def test_skipped(): ...


@pytest.mark.asyncio
@pytest.mark.xfail(strict=True)
async def test_expected_to_fail():
    raise OSError
"""

BROKEN = """
import asyncio

import pytest
import pytest_asyncio


def pytest_generate_tests(metafunc):
    if "broken_at_collection" in metafunc.fixturenames:
        raise OSError("the hook")


@pytest.fixture
def broken_at_collection(): ...


@pytest.fixture
def broken():
    raise OSError("the fixture")


@pytest.fixture
def broken_at_the_end():
    yield
    raise OSError("the end of the fixture")


@pytest_asyncio.fixture
async def async_broken():
    raise OSError("the async fixture")


@pytest_asyncio.fixture
async def async_broken_at_the_end():
    yield
    raise OSError("the end of the async fixture")
"""

WRONG = """
def test_that_a_hook_refuses(broken_at_collection): ...
"""

ALSO_WRONG = """
import pytest


@pytest.mark.asyncio
@pytest.mark.parametrize("unknown", [1, 2])
async def test_that_cannot_be_collected(): ...
"""

# pytest-asyncio#1501: a loop factory given to async tests only ends the first fixture under the second.
CHAIN = """
import asyncio

import pytest
import pytest_asyncio


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def parent():
    yield asyncio.get_running_loop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def child(parent):
    assert asyncio.get_running_loop() is parent
    yield parent
"""

SHARERS = """
import asyncio

import pytest

from jobify_testing import VirtualLoop


@pytest.mark.asyncio
async def test_async(child, parent):
    assert not child.is_closed()


def test_sync(child, parent):
    assert not child.is_closed()
"""

LOOPS = """


class Own(asyncio.SelectorEventLoop): ...


def pytest_asyncio_loop_factories(config, item):
    return {"plain": asyncio.SelectorEventLoop, "own": Own}
"""


def observe(pytester: pytest.Pytester, *arguments: str) -> dict[str, Any]:
    """Run the tests of the project, and return all that a user sees of that."""
    recorder: Any = pytester.inline_run("-p", "no:cacheprovider", *arguments)  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    reports = recorder.getreports("pytest_runtest_logreport")
    uncollected = recorder.getreports("pytest_collectreport")
    warned = recorder.getcalls("pytest_warning_recorded")
    return {
        "code": recorder.ret,
        "collected": [call.item.nodeid for call in recorder.getcalls("pytest_itemcollected")],
        "reports": [(report.nodeid, report.when, report.outcome, report.user_properties) for report in reports],
        "failures": [report.longreprtext for report in (*uncollected, *reports) if report.failed],
        "warnings": [(call.nodeid, str(call.warning_message.message)) for call in warned],
    }


@pytest.mark.parametrize(("loops", "factories"), [("function", False), ("session", True)])
def test_suite_that_does_not_ask_is_as_it_was(pytester: pytest.Pytester, loops: str, *, factories: bool) -> None:
    """E57: with and without the plugin a suite has the same ids, order, outcomes, loops, failures and warnings."""
    pytester.makeini(f"{STRICT}asyncio_default_test_loop_scope = {loops}")
    pytester.makeconftest(BROKEN + (LOOPS if factories else ""))
    pytester.makepyfile(test_suite=SUITE, test_wrong=WRONG, test_wrong_too=ALSO_WRONG)
    everything = "--doctest-modules", "--continue-on-collection-errors"
    without = observe(pytester, "-p", "no:jobify_testing", *everything)
    assert observe(pytester, *everything) == without
    calls = [outcome for _, when, outcome, _ in without["reports"] if when == "call"]
    assert calls.count("passed") == 12 + 5 * factories
    assert len(without["failures"]) == 9 + 3 * factories
    assert [message for _, message in without["warnings"]] == ["old"] * (1 + factories)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_fixtures_shared_by_async_and_sync_tests_live_on(pytester: pytest.Pytester, mode: str) -> None:
    """The suite of pytest-asyncio#1501 passes, though a plugin with virtual loops is installed."""
    pytester.makeini(STRICT)
    pytester.makeconftest(CHAIN)
    pytester.makepyfile(SHARERS)
    arguments = f"--asyncio-mode={mode}", "-W", "error"
    without = observe(pytester, "-p", "no:jobify_testing", *arguments)
    assert without["code"] == pytest.ExitCode.OK
    assert observe(pytester, *arguments) == without


def test_fixtures_shared_with_virtual_tests_live_on(pytester: pytest.Pytester) -> None:
    """A virtual test on a loop of its own does not end the session's fixtures, or take part in their loop."""
    pytester.makeini(STRICT)
    pytester.makeconftest(CHAIN)
    pytester.makepyfile(
        SHARERS
        + """
loops = []


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("n", range(2))
async def test_on_the_same_loop(child, n):
    assert asyncio.get_running_loop() is child
    loops.append(child)


@pytest.mark.asyncio
@pytest.mark.parametrize("n", range(2))
async def test_virtual(child, virtual_clock, parent, n):
    await virtual_clock.advance(5)
    assert asyncio.get_running_loop() is not child
    loops.append(child)


def test_sync_and_virtual(virtual_clock, child):
    loops.append(child)


def test_all_have_had_the_one_loop(child, parent):
    assert set(loops) == {child}
    assert parent is child
    assert type(child) is not VirtualLoop
    assert not child.is_closed()
"""
    )
    seen = observe(pytester, "-W", "error")
    assert seen["failures"] == []
    assert len(seen["collected"]) == 8


def test_no_test_is_given_a_fixture_of_a_loop_that_ends(pytester: pytest.Pytester) -> None:
    """Where virtual tests share a wider loop, its fixtures are made anew for the tests on the other loop."""
    pytester.makeini(STRICT)
    body = """
import asyncio

import pytest

from jobify_testing import VirtualLoop


def test_sync(child, parent):
    assert not child.is_closed()
    assert child is parent


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("n", range(2))
async def test_real(child, n, parent):
    assert asyncio.get_running_loop() is child is parent
    assert type(child) is not VirtualLoop


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("n", range(2))
async def test_virtual(n, child, parent, virtual_clock):
    assert asyncio.get_running_loop() is child is parent
    assert type(child) is VirtualLoop
    await virtual_clock.advance(5)


def test_sync_again(child, parent):
    assert not child.is_closed()
    assert child is parent


@pytest.mark.asyncio(loop_scope="session")
async def test_real_again(child, parent):
    assert asyncio.get_running_loop() is child is parent


@pytest.mark.virtual_clock
def test_sync_and_virtual(child, parent):
    assert not child.is_closed()


@pytest.mark.asyncio(loop_scope="module")
async def test_virtual_on_a_loop_between(child, virtual_clock):
    assert not child.is_closed()
"""
    pytester.makeconftest(CHAIN)
    pytester.makepyfile(test_one=body, test_two=body, test_three=SHARERS)
    for order in (["test_one.py", "test_three.py", "test_two.py"], ["test_three.py", "test_two.py"]):
        seen = observe(pytester, "-W", "error", *order)
        assert seen["failures"] == []
        assert len(seen["collected"]) == 9 * len(order) - 7

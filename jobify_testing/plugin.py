"""The pytest plugin: virtual time for the tests that ask for it, and nothing for all others.

A test asks by one of the fixtures `virtual_clock` and `job_transitions`, of its own or by another
fixture, or by the marker `virtual_clock`. It then runs on a `VirtualLoop`: the fixture in which
pytest-asyncio makes the loop of the test is parametrized, for this test alone. An implementation of its
hook for loop factories would parametrize every async test of every project (pytest-asyncio#1501).
"""

import inspect
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import pytest

from jobify_testing import _pytest_anyio
from jobify_testing._pytest_loops import (
    FACTORY,
    RUNTIME,
    OnlyVirtual,
    WiderLoops,
    asks,
    door_of,
    give_virtual_loop,
    is_virtual,
    loop_scope,
    runner_of,
    set_up_early,
)
from jobify_testing._pytest_options import add_options, configure, give_seeds, options_of
from jobify_testing._pytest_reports import CALLED, WORLD, add_sections, explain_comparison, print_timelines

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from jobify_testing._clock import VirtualClock
    from jobify_testing._loop import VirtualLoop
    from jobify_testing._runtime import VirtualRuntime
    from jobify_testing._transitions import TransitionLog

_MISSING = "virtual time needs pytest-asyncio 1.4 or newer: install jobify[testing]"
_WIDER_LOOPS = "jobify_testing wider loops"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what can be said of virtual time on the command line and in the configuration."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and refuse what cannot be; with `--virtual-check`, have tests run twice."""
    configure(config)
    if config.getoption("--virtual-check"):
        from jobify_testing._pytest_check import TwinCheck  # noqa: PLC0415  # it has processes to start

        config.pluginmanager.register(TwinCheck(is_virtual))


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """Show two timelines side by side."""
    return explain_comparison(config, op, left, right)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the timeline and the seed to the report of a failed test on virtual time."""
    if CALLED in item.stash:
        del item.stash[CALLED]
    report = yield
    add_sections(item, report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """With `--virtual-timelines`, print those that were not as expected."""
    if config.getoption("--virtual-timelines"):
        print_timelines(terminalreporter)


@pytest.hookimpl(wrapper=True)  # a wrapper runs before pytest-asyncio's own implementation
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, None, None]:
    """Give the tests that ask a virtual loop."""
    __tracebackhide__ = True  # from the failures of all projects
    definition, plugins = metafunc.definition, metafunc.config.pluginmanager
    factories = getattr(definition.ihook, "pytest_asyncio_loop_factories", None)
    if not asks(metafunc.fixturenames, definition):
        return (yield)
    if not plugins.hasplugin(_WIDER_LOOPS):
        plugins.register(WiderLoops(), _WIDER_LOOPS)
    give_seeds(metafunc)
    _pytest_anyio.refuse_both(definition)
    if _pytest_anyio.runs(definition, metafunc.fixturenames):
        _pytest_anyio.give_virtual_loop(definition)
        return (yield)
    if factories is None:
        return (yield)
    mark = definition.get_closest_marker("asyncio")
    if mark is not None and mark.kwargs.get("loop_factories") is not None:
        pytest.fail(
            f"{definition.nodeid}: cannot run both on virtual time and on the loops {mark.kwargs['loop_factories']!r}; "
            "take loop_factories= away, or ask for virtual time in another test",
            pytrace=False,
        )
    if not factories.get_hookimpls():
        # The runner, not the factory: that one is behind the loops of all scopes, with all their fixtures.
        give_virtual_loop(metafunc, runner_of(definition))
        return (yield)
    only = OnlyVirtual()
    plugins.register(only)
    try:
        result = yield
    finally:
        plugins.unregister(only)
    if FACTORY not in metafunc.fixturenames:  # pytest-asyncio asks for async tests only
        give_virtual_loop(metafunc, FACTORY)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have the virtual loop and world of a test that asks made before the other fixtures of their scopes.

    An app that one of them starts is then in that world, whatever the order in which the test names them.
    Wider fixtures serve other tests too: they see the real time.
    """
    if not isinstance(item, pytest.Function) or not asks(item.fixturenames, item):
        return
    door = door_of(item)
    if door is not None:
        # Else it would end fixtures of the other loop that the test has been given already.
        set_up_early(item, door, "session" if door == FACTORY else loop_scope(item))
    set_up_early(item, RUNTIME, "function")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Take note that a test is called from now on."""
    if WORLD in item.stash:
        item.stash[CALLED] = True


@contextmanager
def _virtual_loop(request: pytest.FixtureRequest) -> Generator["VirtualLoop", None, None]:
    from jobify_testing._loop import VirtualLoop  # noqa: PLC0415  # only for tests that ask

    item: pytest.Function = request.node  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    is_anyio = _pytest_anyio.runs(item, item.fixturenames)
    with _pytest_anyio.virtual_loop(item) if is_anyio else nullcontext(_asyncio_loop(request)) as loop:
        if type(loop) is not VirtualLoop:
            pytest.fail(
                f"virtual time is not possible here: the test runs on {loop!r}. Ask for it in the signature of the "
                "test or by its own marker, not by getfixturevalue, the marks of a parameter or in a "
                "unittest.TestCase, and let no other plugin change the loop",
                pytrace=False,
            )
        if not is_anyio and inspect.iscoroutinefunction(item.obj) and item.get_closest_marker("asyncio") is None:
            pytest.fail(
                f"{item.nodeid}: virtual time needs a test that pytest-asyncio or AnyIO runs: mark it with "
                "pytest.mark.asyncio or pytest.mark.anyio, or set asyncio_mode = auto",
                pytrace=False,
            )
        yield loop


def _asyncio_loop(request: pytest.FixtureRequest) -> "AbstractEventLoop":
    if getattr(request.config.hook, "pytest_asyncio_loop_factories", None) is None:
        pytest.fail(_MISSING, pytrace=False)
    item: pytest.Item = request.node  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    loop: AbstractEventLoop = request.getfixturevalue(runner_of(item)).get_loop()
    return loop


@pytest.fixture
def _virtual_runtime(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator["VirtualRuntime", None, None]:
    """The virtual world of one test: fresh ids, databases and log on the loop of the test."""
    item: pytest.Item = request.node  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    options = options_of(item)
    with _virtual_loop(request) as loop:
        from jobify_testing._pytest_sync import no_real_loop  # noqa: PLC0415  # only for tests that ask
        from jobify_testing._runtime import VirtualRuntime  # noqa: PLC0415  # the same
        from jobify_testing._travel import wall_follows  # noqa: PLC0415  # the same

        runtime = VirtualRuntime(loop, options, folder=partial(tmp_path_factory.mktemp, "jobify"))
        item.stash[WORLD] = runtime
        wall = nullcontext() if options.mode == "real" else wall_follows(runtime.clock)
        with runtime.in_force(), wall, no_real_loop(item, runtime):
            yield runtime
            leftovers = runtime.leftovers()
        if options.leaks == "fail" and leftovers:
            pytest.fail(f"the test has left behind:\n{leftovers}", pytrace=False)


@pytest.fixture
def _virtual_seed(request: pytest.FixtureRequest) -> int | None:
    """The seed of one of the runs of `--virtual-runs`."""
    seed: int | None = request.param
    return seed


@pytest.fixture
def virtual_clock(_virtual_runtime: "VirtualRuntime") -> "VirtualClock":
    """Run the test on virtual time, and give it the clock to move."""
    return _virtual_runtime.clock


@pytest.fixture
def job_transitions(_virtual_runtime: "VirtualRuntime") -> "TransitionLog":
    """Run the test on virtual time, and give it the log of all that happens to jobs."""
    return _virtual_runtime.transitions

"""The pytest plugin: virtual time for the tests that ask for it, and nothing for all others.

A test asks by one of the fixtures `virtual_clock` and `job_transitions`, of its own or by another
fixture, or by the marker `virtual_clock`. It then runs on a `VirtualLoop`, by the door that
pytest-asyncio has for other loops, opened for this test alone: an implementation of its hook for
everybody would parametrize every async test of every project (pytest-asyncio#1501).
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jobify_testing._clock import VirtualClock
    from jobify_testing._loop import VirtualLoop
    from jobify_testing._runtime import VirtualRuntime
    from jobify_testing._transitions import TransitionLog

_FIXTURES = ("virtual_clock", "job_transitions", "_virtual_runtime")
_FACTORY = "_asyncio_loop_factory"
_MARKER_ARGUMENTS = ("seed", "start", "storage")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "virtual_clock(*, storage='private', start=None, seed=0): run the test on virtual time; "
        "storage='keep' uses the given databases, start is the aware datetime at which time starts.",
    )


def _asks(names: list[str], definition: pytest.Item) -> bool:
    return any(name in names for name in _FIXTURES) or definition.get_closest_marker("virtual_clock") is not None


class _OnlyVirtual:
    """Answers for one test, in a project that parametrizes its loops."""

    @pytest.hookimpl(wrapper=True)
    def pytest_asyncio_loop_factories(self) -> Generator[None, Any, dict[str, Any]]:
        yield
        from jobify_testing._loop import VirtualLoop  # noqa: PLC0415  # only for tests that ask

        return {"virtual": VirtualLoop}


@pytest.hookimpl(wrapper=True)  # a wrapper runs before pytest-asyncio's own implementation
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, None, None]:
    """Give the tests that ask a virtual loop."""
    definition, plugins = metafunc.definition, metafunc.config.pluginmanager
    if not _asks(metafunc.fixturenames, definition) or not plugins.hasplugin("asyncio"):
        return (yield)
    if definition.ihook.pytest_asyncio_loop_factories.get_hookimpls():
        only = _OnlyVirtual()
        plugins.register(only)
        try:
            return (yield)
        finally:
            plugins.unregister(only)
    from jobify_testing._loop import VirtualLoop  # noqa: PLC0415  # only for tests that ask

    mark = definition.get_closest_marker("asyncio")
    scope = mark.kwargs.get("loop_scope") if mark is not None else None
    metafunc.fixturenames.append(_FACTORY)
    metafunc.parametrize(
        _FACTORY,
        [VirtualLoop],
        ids=[pytest.HIDDEN_PARAM],
        indirect=True,
        scope=scope or metafunc.config.getini("asyncio_default_test_loop_scope"),
    )
    return (yield)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have the virtual world made for a test that asks by the marker alone, before all its fixtures."""
    names: list[str] | None = getattr(item, "fixturenames", None)
    if names is not None and "_virtual_runtime" not in names and item.get_closest_marker("virtual_clock") is not None:
        names.insert(0, "_virtual_runtime")


def _virtual_loop(request: pytest.FixtureRequest) -> "VirtualLoop":
    if not request.config.pluginmanager.hasplugin("asyncio"):
        pytest.fail("virtual time needs pytest-asyncio: install jobify[testing]", pytrace=False)
    from jobify_testing._loop import VirtualLoop  # noqa: PLC0415  # only for tests that ask

    item: pytest.Item = request.node  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    scope = getattr(item, "_loop_scope", "function")
    loop = request.getfixturevalue(f"_{scope}_scoped_runner").get_loop()
    if type(loop) is not VirtualLoop:
        pytest.fail(
            f"virtual time is not possible here: the test runs on {loop!r}. Ask for it in the signature of the test "
            "or by its marker, not by getfixturevalue, and let no other plugin change the loop",
            pytrace=False,
        )
    return loop


def _marker_arguments(request: pytest.FixtureRequest) -> dict[str, Any]:
    item: pytest.Item = request.node  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    marker = item.get_closest_marker("virtual_clock")
    if marker is None:
        return {}
    unknown = [*map(repr, marker.args), *(name for name in marker.kwargs if name not in _MARKER_ARGUMENTS)]
    if unknown or marker.kwargs.get("storage", "private") not in ("private", "keep"):
        pytest.fail(
            f"the marker virtual_clock cannot be used with {', '.join(unknown) or marker.kwargs}: "
            "it takes storage='private' or 'keep', start= and seed=",
            pytrace=False,
        )
    return dict(marker.kwargs)


@pytest.fixture
def _virtual_runtime(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator["VirtualRuntime", None, None]:
    """The virtual world of one test: fresh ids, databases and log on the loop of the test."""
    arguments = _marker_arguments(request)
    loop = _virtual_loop(request)
    from jobify_testing._clock import EPOCH, wall_follows  # noqa: PLC0415  # only for tests that ask
    from jobify_testing._runtime import VirtualRuntime  # noqa: PLC0415  # the same

    before = loop.jobify_runtime
    runtime = VirtualRuntime(
        loop,
        start=arguments.get("start") or EPOCH,
        seed=arguments.get("seed", 0),
        folder=tmp_path_factory.mktemp("jobify"),
        keep=arguments.get("storage") == "keep",
    )
    loop.jobify_runtime = runtime
    try:
        with wall_follows(runtime.clock):
            yield runtime
    finally:
        loop.jobify_runtime = before
        runtime.close()


@pytest.fixture
def virtual_clock(_virtual_runtime: "VirtualRuntime") -> "VirtualClock":
    """Run the test on virtual time, and give it the clock to move."""
    return _virtual_runtime.clock


@pytest.fixture
def job_transitions(_virtual_runtime: "VirtualRuntime") -> "TransitionLog":
    """Run the test on virtual time, and give it the log of all that happens to jobs."""
    return _virtual_runtime.transitions

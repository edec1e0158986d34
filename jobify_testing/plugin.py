"""The pytest plugin: virtual time for the tests that ask for it, and nothing for all others.

A test asks by one of the fixtures `virtual_clock` and `job_transitions`, of its own or by another
fixture, or by the marker `virtual_clock`. It then runs on a `VirtualLoop`: the fixture in which
pytest-asyncio makes the loop of the test is parametrized, for this test alone. An implementation of its
hook for loop factories would parametrize every async test of every project (pytest-asyncio#1501).
"""

import inspect
from collections.abc import Generator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest

if TYPE_CHECKING:
    from jobify_testing._clock import VirtualClock
    from jobify_testing._loop import VirtualLoop
    from jobify_testing._runtime import VirtualRuntime
    from jobify_testing._transitions import TransitionLog

_RUNTIME = "_virtual_runtime"
_FACTORY = "_asyncio_loop_factory"
_MISSING = "virtual time needs pytest-asyncio 1.4 or newer: install jobify[testing]"
_SCOPES = ("session", "package", "module", "class", "function")
_RUNNERS = {scope: f"_{scope}_scoped_runner" for scope in _SCOPES}


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "virtual_clock(*, storage='private', start=None, seed=0): run the test on virtual time; "
        "storage='keep' uses the given databases, start is the aware datetime at which time starts.",
    )


def _asks(names: list[str], definition: pytest.Item) -> bool:
    # The other fixtures depend on it; one of a project's own that has only their name does not.
    return _RUNTIME in names or definition.get_closest_marker("virtual_clock") is not None


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
    __tracebackhide__ = True  # from the failures of all projects
    definition, plugins = metafunc.definition, metafunc.config.pluginmanager
    factories = getattr(definition.ihook, "pytest_asyncio_loop_factories", None)
    if factories is None or not _asks(metafunc.fixturenames, definition):
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
        _give_virtual_loop(metafunc, _runner_of(definition))
        return (yield)
    only = _OnlyVirtual()
    plugins.register(only)
    try:
        result = yield
    finally:
        plugins.unregister(only)
    if _FACTORY not in metafunc.fixturenames:  # pytest-asyncio asks for async tests only
        _give_virtual_loop(metafunc, _FACTORY)
    return result


def _give_virtual_loop(metafunc: pytest.Metafunc, door: str) -> None:
    from jobify_testing._loop import VirtualLoop  # noqa: PLC0415  # only for tests that ask

    metafunc.fixturenames.append(door)
    scope = _loop_scope(metafunc.definition)
    metafunc.parametrize(door, [VirtualLoop], ids=[pytest.HIDDEN_PARAM], indirect=True, scope=scope)


def _loop_scope(item: pytest.Item) -> Any:
    """Return the scope of the loop of a test, found as pytest-asyncio finds it."""
    mark = item.get_closest_marker("asyncio")
    chosen: Mapping[str, Any] = mark.kwargs if mark is not None else {}
    return chosen.get("loop_scope") or chosen.get("scope") or item.config.getini("asyncio_default_test_loop_scope")


def _runner_of(item: pytest.Item) -> str:
    return _RUNNERS[_loop_scope(item)]


def _door_of(item: pytest.Item | None) -> str | None:
    """Return the parametrized fixture by which a test gets its virtual loop, if it does."""
    if not isinstance(item, pytest.Function) or not _asks(item.fixturenames, item) or not hasattr(item, "callspec"):
        return None
    return next((name for name in (_FACTORY, _runner_of(item)) if name in item.callspec.params), None)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: Any) -> Generator[None, Any, Any]:
    """Have a runner that was parametrized make its loop by the parameter."""
    __tracebackhide__ = True
    if fixturedef.argname not in _RUNNERS.values() or not hasattr(request, "param"):
        return (yield)
    make = fixturedef.func

    def runner(**given: Any) -> Generator[Any, None, None]:
        yield from make(**given | {_FACTORY: request.param})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixturedef, "func", runner)
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have the virtual loop and world of a test that asks made before the other fixtures of their scopes.

    An app that one of them starts is then in that world, whatever the order in which the test names them.
    Wider fixtures serve other tests too: they see the real time.
    """
    if not isinstance(item, pytest.Function) or not _asks(item.fixturenames, item):
        return
    door = _door_of(item)
    if door is not None:
        # Else it would end fixtures of the other loop that the test has been given already.
        _set_up_early(item, door, "session" if door == _FACTORY else _loop_scope(item))
    _set_up_early(item, _RUNTIME, "function")


def _set_up_early(item: pytest.Function, name: str, scope: str) -> None:
    definitions = item._fixtureinfo.name2fixturedefs  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the only way to know the scope of a fixture
    names = [other for other in item.fixturenames if other != name]
    narrower = _SCOPES[_SCOPES.index(scope) :]
    behind = (i for i, other in enumerate(names) if other in definitions and definitions[other][-1].scope in narrower)
    names.insert(next(behind, len(names)), name)
    item.fixturenames = names  # a new list: that of the function is shared by its parameters


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    """End a virtual loop of a wider scope behind the last test on it, and with it the fixtures on that loop.

    A test on another loop would else be given them, and then see them end.
    """
    __tracebackhide__ = True
    try:
        return (yield)
    finally:
        door = _door_of(item)
        if isinstance(item, pytest.Function) and door in item.funcargs and _door_of(nextitem) != door:
            request: Any = item._request  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as pytest-asyncio does
            request._get_active_fixturedef(door).finish(request)  # noqa: SLF001  # the same


def _virtual_loop(request: pytest.FixtureRequest) -> "VirtualLoop":
    if getattr(request.config.hook, "pytest_asyncio_loop_factories", None) is None:
        pytest.fail(_MISSING, pytrace=False)
    from jobify_testing._loop import VirtualLoop  # noqa: PLC0415  # only for tests that ask

    item: pytest.Item = request.node  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    loop = request.getfixturevalue(_runner_of(item)).get_loop()
    if type(loop) is not VirtualLoop:
        pytest.fail(
            f"virtual time is not possible here: the test runs on {loop!r}. Ask for it in the signature of the test "
            "or by its own marker, not by getfixturevalue, the marks of a parameter or in a unittest.TestCase, and "
            "let no other plugin change the loop",
            pytrace=False,
        )
    if inspect.iscoroutinefunction(getattr(item, "obj", None)) and item.get_closest_marker("asyncio") is None:
        pytest.fail(
            f"{item.nodeid}: virtual time needs a test that pytest-asyncio runs: mark it with pytest.mark.asyncio, "
            "or set asyncio_mode = auto",
            pytrace=False,
        )
    return loop


class _Options(NamedTuple):
    """The arguments of the marker, as they were given."""

    storage: Any = "private"
    start: Any = None
    seed: Any = 0


def _options(request: pytest.FixtureRequest) -> _Options:
    """Return what the marker says, checked."""
    item: pytest.Item = request.node  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
    marker = item.get_closest_marker("virtual_clock")
    if marker is None:
        return _Options()
    if marker.args:
        _refuse(item, "positional arguments")
    try:
        options = _Options(**marker.kwargs)
    except TypeError:
        known = ", ".join(f"{name}=" for name in _Options._fields)
        _refuse(item, f"{marker.kwargs!r}: it knows {known}")
    if options.storage not in ("private", "keep"):
        _refuse(item, f"storage={options.storage!r}: it is 'private' or 'keep'")
    start = options.start
    if start is not None and (not isinstance(start, datetime) or start.utcoffset() is None):
        _refuse(item, f"start={start!r}: it is an aware datetime")
    if isinstance(options.seed, bool) or not isinstance(options.seed, int):
        _refuse(item, f"seed={options.seed!r}: it is a whole number")
    return options


def _refuse(item: pytest.Item, what: str) -> NoReturn:
    pytest.fail(f"{item.nodeid}: the marker virtual_clock cannot be used with {what}", pytrace=False)


@pytest.fixture
def _virtual_runtime(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator["VirtualRuntime", None, None]:
    """The virtual world of one test: fresh ids, databases and log on the loop of the test."""
    options = _options(request)
    loop = _virtual_loop(request)
    from jobify_testing._clock import EPOCH, wall_follows  # noqa: PLC0415  # only for tests that ask
    from jobify_testing._runtime import VirtualRuntime  # noqa: PLC0415  # the same

    before = loop.jobify_runtime
    runtime = VirtualRuntime(
        loop,
        start=options.start or EPOCH,
        seed=options.seed,
        folder=tmp_path_factory.mktemp("jobify"),
        keep=options.storage == "keep",
    )
    runtime.succeed(before)
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

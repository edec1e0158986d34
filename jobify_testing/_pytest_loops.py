"""The loops of pytest-asyncio: how a test that asks gets a virtual one, and nobody else does."""

from collections.abc import Generator, Mapping
from typing import Any

import pytest

RUNTIME = "_virtual_runtime"
"""The fixture that makes the virtual world of a test; who depends on it asks for virtual time."""

FACTORY = "_asyncio_loop_factory"
_SCOPES = ("session", "package", "module", "class", "function")
_RUNNERS = {scope: f"_{scope}_scoped_runner" for scope in _SCOPES}


def is_virtual(item: pytest.Item) -> bool:
    """Whether a test asks for virtual time."""
    return isinstance(item, pytest.Function) and asks(item.fixturenames, item)


def asks(names: list[str], definition: pytest.Item) -> bool:
    """Whether a test with such fixtures asks for virtual time."""
    # The other fixtures depend on it; one of a project's own that has only their name does not.
    return RUNTIME in names or definition.get_closest_marker("virtual_clock") is not None


class OnlyVirtual:
    """Answers for one test, in a project that parametrizes its loops."""

    @pytest.hookimpl(wrapper=True)
    def pytest_asyncio_loop_factories(self) -> Generator[None, Any, dict[str, Any]]:
        yield
        from jobify_testing._loop import VirtualLoop  # noqa: PLC0415  # only for tests that ask

        return {"virtual": VirtualLoop}


def give_virtual_loop(metafunc: pytest.Metafunc, door: str) -> None:
    """Parametrize the fixture behind the loop of a test, for this test alone."""
    from jobify_testing._loop import VirtualLoop  # noqa: PLC0415  # only for tests that ask

    metafunc.fixturenames.append(door)
    scope = loop_scope(metafunc.definition)
    metafunc.parametrize(door, [VirtualLoop], ids=[pytest.HIDDEN_PARAM], indirect=True, scope=scope)


def loop_scope(item: pytest.Item) -> Any:
    """Return the scope of the loop of a test, found as pytest-asyncio finds it."""
    mark = item.get_closest_marker("asyncio")
    chosen: Mapping[str, Any] = mark.kwargs if mark is not None else {}
    default = "asyncio_default_test_loop_scope"
    known = hasattr(item.config.hook, "pytest_asyncio_loop_factories")
    return chosen.get("loop_scope") or chosen.get("scope") or (item.config.getini(default) if known else "function")


def runner_of(item: pytest.Item) -> str:
    """Return the fixture that runs the loop of a test."""
    return _RUNNERS[loop_scope(item)]


def door_of(item: pytest.Item | None) -> str | None:
    """Return the parametrized fixture by which a test gets its virtual loop, if it does."""
    if not isinstance(item, pytest.Function) or not asks(item.fixturenames, item) or not hasattr(item, "callspec"):
        return None
    return next((name for name in (FACTORY, runner_of(item)) if name in item.callspec.params), None)


def set_up_early(item: pytest.Function, name: str, scope: str) -> None:
    """Have a fixture of a test set up before its others of a scope, or of narrower ones."""
    definitions = item._fixtureinfo.name2fixturedefs  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the only way to know the scope of a fixture
    names = [other for other in item.fixturenames if other != name]
    narrower = _SCOPES[_SCOPES.index(scope) :]
    behind = (i for i, other in enumerate(names) if other in definitions and definitions[other][-1].scope in narrower)
    names.insert(next(behind, len(names)), name)
    item.fixturenames = names  # a new list: that of the function is shared by its parameters


class WiderLoops:
    """What is done around fixtures, in a run that has virtual tests: in no other is it seen in a traceback."""

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> Generator[None, Any, Any]:
        """Have a runner that was parametrized make its loop by the parameter."""
        __tracebackhide__ = True
        if fixturedef.argname not in _RUNNERS.values() or not hasattr(request, "param"):
            return (yield)
        make = fixturedef.func

        def runner(**given: Any) -> Generator[Any, None, None]:
            yield from make(**given | {FACTORY: request.param})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fixturedef, "func", runner)
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        """End a virtual loop of a wider scope behind the last test on it, and with it the fixtures on that loop.

        A test on another loop would else be given them, and then see them end.
        """
        __tracebackhide__ = True
        try:
            return (yield)
        finally:
            door = door_of(item)
            if isinstance(item, pytest.Function) and door in item.funcargs and door_of(nextitem) != door:
                request: Any = item._request  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as pytest-asyncio does
                request._get_active_fixturedef(door).finish(request)  # noqa: SLF001  # the same

"""Virtual time for the tests that AnyIO's own plugin runs."""

import contextlib
import inspect
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_BACKEND = "anyio_backend"


def runs(item: pytest.Item, names: list[str]) -> bool:
    """Whether AnyIO's plugin runs a test, or the asynchronous fixtures of one that is not asynchronous."""
    if _BACKEND not in names or item.get_closest_marker("asyncio") is not None:
        return False
    return not (inspect.iscoroutinefunction(_inner(item)) and _asyncio_takes_all(item.config))


def _inner(item: pytest.Item) -> Any:
    """Return the function of a test, within that of hypothesis if there is one."""
    function: Any = getattr(item, "obj", None)
    return getattr(getattr(function, "hypothesis", None), "inner_test", function)


def refuse_both(definition: pytest.Item) -> None:
    """Refuse a test that pytest-asyncio runs on its loop, while AnyIO makes its fixtures on another one."""
    __tracebackhide__ = True
    if definition.get_closest_marker("anyio") is None or not inspect.iscoroutinefunction(_inner(definition)):
        return
    is_marked = definition.get_closest_marker("asyncio") is not None
    if is_marked or _asyncio_takes_all(definition.config):
        remedy = (
            "take one of the two markers away" if is_marked else "set asyncio_mode = strict, or take that marker away"
        )
        pytest.fail(
            f"{definition.nodeid}: cannot be run both by pytest-asyncio and by AnyIO, whose marker it has: its "
            f"fixtures would be on another loop than the test; {remedy}",
            pytrace=False,
        )


def _asyncio_takes_all(config: pytest.Config) -> bool:
    """Whether pytest-asyncio is in auto mode, in which all coroutine functions are its own."""
    if not hasattr(config.hook, "pytest_asyncio_loop_factories"):
        return False
    return str(config.getoption("asyncio_mode") or config.getini("asyncio_mode")) == "auto"


def give_virtual_loop(definition: pytest.Item) -> None:
    """Have a test run on asyncio with a virtual loop, whatever the backends of the other tests."""
    from jobify_testing._loop import VirtualLoop  # noqa: PLC0415  # only for tests that ask

    if any(_BACKEND in str(mark.args[:1]) for mark in definition.iter_markers("parametrize")):
        pytest.fail(
            f"{definition.nodeid}: cannot run both on virtual time and on the backends of its parametrize mark; "
            f"take that of {_BACKEND!r} away: virtual time is asyncio's",
            pytrace=False,
        )
    backend = pytest.param(("asyncio", {"loop_factory": VirtualLoop}), id=pytest.HIDDEN_PARAM)
    definition.add_marker(pytest.mark.parametrize(_BACKEND, [backend]))


@contextlib.contextmanager
def virtual_loop(item: pytest.Item) -> Generator["AbstractEventLoop", None, None]:
    """Return the loop that AnyIO's plugin makes for a test, and keep it until the end of the test."""
    from anyio.pytest_plugin import extract_backend_and_options, get_runner  # noqa: PLC0415  # it is there: it asked

    callspec = getattr(item, "callspec", None)
    backend: Any = callspec.params.get(_BACKEND, "asyncio") if callspec is not None else "asyncio"
    name, options = extract_backend_and_options(backend)
    with get_runner(name, options) as runner:
        its: Any = runner  # that of Trio has no loop
        loop: AbstractEventLoop = its.get_loop() if hasattr(its, "get_loop") else its
        yield loop

"""Virtual time without pytest."""

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any, TypeVar

from jobify_testing._errors import VirtualTimeError
from jobify_testing._loop import VirtualLoop
from jobify_testing._options import VirtualOptions
from jobify_testing._travel import wall_follows

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], *, options: VirtualOptions | None = None, debug: bool | None = None) -> T:
    """Run a coroutine on virtual time and return its result, as `asyncio.run` does on real time.

    `asyncio.get_running_loop().jobify_runtime` is its virtual world, with `clock` and `transitions`.

    Args:
        main: the coroutine.
        options: how virtual time behaves.
        debug: whether the loop is in debug mode.

    Raises:
        VirtualTimeError: it waits for what never comes, an event loop runs in this thread already, or freezegun
            is in the way.
        ImportError: time-machine is not installed.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented for authors of loops
        main.close()
        msg = (
            "cannot run virtual time inside a running event loop; run it in a thread of its own: asyncio.to_thread(...)"
        )
        raise VirtualTimeError(msg)
    with asyncio.Runner(debug=debug, loop_factory=lambda: VirtualLoop(options)) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)  # noqa: S101  # made on the line above
        try:
            with wall_follows(loop.jobify_runtime.clock):
                return runner.run(main)
        finally:
            if inspect.iscoroutine(main) and inspect.getcoroutinestate(main) == inspect.CORO_CREATED:
                main.close()  # there was no virtual time for it
            loop.clear_away()

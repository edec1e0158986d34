"""Tests on virtual time that are not async: what they may not run."""

import asyncio
import inspect
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from jobify_testing._errors import VirtualTimeError
from jobify_testing._loop import VirtualLoop
from jobify_testing._pytest_reports import CALLED
from jobify_testing._report import is_standard
from jobify_testing._runtime import VirtualRuntime


@contextmanager
def no_real_loop(item: pytest.Item, runtime: VirtualRuntime) -> Generator[None, None, None]:
    """Refuse in a test that `asyncio.run` and its like run anything: that would be on real time."""
    if runtime.options.mode == "real":
        yield
        return
    run, home = asyncio.BaseEventLoop.run_until_complete, threading.get_ident()

    def run_virtual(loop: asyncio.BaseEventLoop, future: Any) -> Any:
        coroutine: Any = getattr(future, "get_coro", lambda: future)()  # of a task, or itself
        is_here = threading.get_ident() == home and item.stash.get(CALLED, False)
        # What a runner runs when it closes is asyncio's own.
        is_own = not inspect.iscoroutine(coroutine) or is_standard(coroutine.cr_code.co_filename)
        if isinstance(loop, VirtualLoop) or is_own or not is_here:
            return run(loop, future)
        if future is coroutine:
            coroutine.close()
        msg = (
            f"cannot run {coroutine.__qualname__} in {item.nodeid} by asyncio.run() or its like: the test is on "
            "virtual time, and that would be on real time; make the test `async def` and await it, or ask for no "
            "virtual time here and use jobify_testing.run()"
        )
        raise VirtualTimeError(msg)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.BaseEventLoop, "run_until_complete", run_virtual)
        yield

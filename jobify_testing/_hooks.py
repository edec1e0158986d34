"""The hooks that stand in `threading` and `concurrent.futures` while a virtual loop runs, and are gone behind it."""

import asyncio
import concurrent.futures
import concurrent.futures.process
import contextlib
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Protocol

from jobify_testing._holds import Holds
from jobify_testing._threads import current_turn
from jobify_testing._waits import FUTURES, VIRTUAL_TIME, Host, submit_turn, waiting_for_turns


class Hooked(Host, Protocol):
    """A loop whose work is noted."""

    @property
    def holds(self) -> Holds:
        """Where it is noted."""
        ...

    @property
    def has_turns(self) -> bool:
        """Whether its threads take turns."""
        ...


_running: list[Hooked] = []


@contextlib.contextmanager
def hooked(loop: Hooked) -> Generator[None, None, None]:
    """Have threads and pool calls noted that begin in this block, and those of `loop` take turns."""
    _running.append(loop)
    if len(_running) == 1:
        _set_hooks()
    try:
        yield
    finally:
        _running.remove(loop)
        if not _running:
            _unset_hooks()


_originals: list[tuple[Any, str, Any]] = []


def _set_hooks() -> None:
    start = threading.Thread.start

    def start_noted(thread: threading.Thread) -> None:
        holds = (_loop_here() or _running[-1]).holds
        holds.thread_starts(thread)
        try:
            start(thread)
        except RuntimeError:  # it was started before, or there can be no more threads
            holds.thread_starts_not(thread)
            raise

    _replace(threading.Thread, "start", start_noted)
    for pool in (concurrent.futures.ThreadPoolExecutor, concurrent.futures.process.ProcessPoolExecutor):
        _replace(pool, "submit", _submit_noted(pool.submit))
    install = "_create_and_install_waiters"
    if hasattr(FUTURES, install):
        _replace(FUTURES, install, waiting_for_turns(getattr(FUTURES, install)))
    _replace(FUTURES, "time", VIRTUAL_TIME)


def _submit_noted(submit: Callable[..., Any]) -> Callable[..., Any]:
    def submit_noted(pool: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        # Calls that take turns are seen to by who makes them.
        loop = None if getattr(fn, "takes_turns", False) else _loop_here()
        if loop is None:
            return submit(pool, fn, *args, **kwargs)
        what = f"a call of {getattr(fn, '__qualname__', repr(fn))} in an executor"
        loop.holds.check("executor", what)
        is_turn = loop.has_turns and loop.holds.waits_for("executor")
        if is_turn and isinstance(pool, concurrent.futures.ThreadPoolExecutor):
            return submit_turn(loop, pool, partial(fn, *args, **kwargs))
        call = submit(pool, fn, *args, **kwargs)
        loop.holds.call_submitted(call, what)
        return call

    return submit_noted


def _loop_here() -> Hooked | None:
    """Return the virtual loop that runs in this thread, or else gives it turns."""
    loop: object = asyncio._get_running_loop()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented for authors of loops
    turn = current_turn()
    wanted = (loop, turn.loop if turn is not None else None)
    return next((running for here in wanted for running in _running if running is here), None)


def _replace(owner: Any, name: str, new: Any) -> None:
    _originals.append((owner, name, getattr(owner, name)))
    setattr(owner, name, new)


def _unset_hooks() -> None:
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)

"""What a stuck test is told: who waits, where, and for what; or what goes on and on."""

import asyncio
import gc
import os
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextvars import Context
from functools import cache, partial
from pathlib import Path
from types import AsyncGeneratorType, FrameType
from typing import Any

_STANDARD = sysconfig.get_path("stdlib")
_PACKAGES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
_OWN = f"{Path(__file__).parent}{os.sep}"
_GENERATOR_STEPS = ("async_generator_asend", "async_generator_athrow", "anext_awaitable")


def describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Return who waits for what, a task a line, in the order in which the tasks were made."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name()))
    return "\n".join(map(describe_task, tasks)) or "  no task is left"


def describe_task(task: asyncio.Task[Any]) -> str:
    """Return what a task is, where it is, and what it waits for, as an indented line."""
    coroutine: Any = task.get_coro()
    steps = list(_steps(coroutine))
    inner = steps[-1][0] if steps else "its last step"
    place = _place(_own_frame([frame for _, frame in steps])) if steps else "its end"
    origin = getattr(task, "virtual_origin", None)
    made = f", made at {origin}" if origin is not None else ""
    awaited = describe_awaited(getattr(task, "_fut_waiter", None))
    return f"  task {task.get_name()!r} of {_name_of(coroutine)}{made}, is at {place}, in {inner}, and awaits {awaited}"


def _name_of(thing: Any) -> str:
    """Return the name of a function or coroutine, which anybody's need not have."""
    name = getattr(thing, "__qualname__", None)
    return name if isinstance(name, str) else _shown(thing)


def _shown(thing: object) -> str:
    try:
        return repr(thing)
    except Exception as error:  # noqa: BLE001  # it may be anybody's; a report is not to fail by it
        return f"<{type(thing).__name__}, whose repr raises {type(error).__name__}>"


def _own_frame(frames: list[FrameType]) -> FrameType:
    """Return the innermost frame of the program itself; if there is none, of a package; else of all."""
    files = [(frame, frame.f_code.co_filename) for frame in frames]
    packages = [frame for frame, name in files if not is_standard(name)]
    own = [frame for frame, name in files if not is_standard(name) and not name.startswith(_PACKAGES)]
    return (own or packages or frames)[-1]


def describe_awaited(future: Any) -> str:
    """Return what a task waits for, in words: another task by its name, several of them by theirs."""
    if future is None:
        return "its next step"
    if isinstance(future, asyncio.Task):
        return f"task {future.get_name()!r}"
    children: Any = getattr(future, "_children", None)  # of asyncio.gather
    if children:
        return " and ".join(describe_awaited(child) for child in children if not child.done())
    return _shown(future)


def _steps(awaited: Any) -> Iterator[tuple[str, FrameType]]:
    """Yield the names and frames of a chain of coroutines, the outermost first."""
    while awaited is not None:
        for kind in ("cr", "gi", "ag"):
            frame: FrameType | None = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                yield _name_of(awaited), frame
                awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
                break
        else:
            # One step of an async generator does not say of which; what it refers to does.
            if type(awaited).__name__ not in _GENERATOR_STEPS:
                return
            referents = gc.get_referents(awaited)
            generators: list[Any] = [found for found in referents if isinstance(found, AsyncGeneratorType)]
            awaited = generators[0] if generators else None


def describe_timer(timer: asyncio.TimerHandle) -> str:
    """Return whose a timer is: the task that it wakes, or the function that it calls."""
    callback: Any = getattr(timer, "_callback", None)
    for argument in getattr(timer, "_args", None) or ():
        task = _woken_by(argument)
        if task is not None:
            return f"task {task.get_name()!r} of {_name(task.get_coro())}"
    return _name(callback)


def wakes_no_task(timer: asyncio.TimerHandle) -> bool:
    """Whether a timer is not one for which a task waits, as in `asyncio.sleep`."""
    return all(_woken_by(argument) is None for argument in getattr(timer, "_args", None) or ())


def _woken_by(future: Any) -> asyncio.Task[Any] | None:
    """Return the task that is woken when a future is done, as by `asyncio.sleep`."""
    for callback, _ in getattr(future, "_callbacks", None) or ():
        owner: asyncio.Task[Any] | None = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            return owner
    return None


def describe_call(function: Any) -> str:
    """Return the name of a function; that of the innermost one, where functions wrap each other."""
    if isinstance(function, partial):
        inner = next((part for part in (function.func, *function.args) if _is_user_function(part)), function.func)
        return describe_call(inner)
    return _name(function)


def _is_user_function(part: Any) -> bool:
    if isinstance(part, partial):
        return True
    if isinstance(getattr(part, "__self__", None), Context):
        return False
    module = getattr(part, "__module__", None)
    return callable(part) and not (module or "").startswith(("jobify", "contextvars", "_contextvars"))


def _name(function: Any) -> str:
    if isinstance(function, partial):
        return _name(function.func)
    module = getattr(function, "__module__", None) or ""
    return f"{module}.{_name_of(function)}".lstrip(".")


class Histogram:
    """Counts whose timers moved time."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, whose: str) -> None:
        """Take note of a jump to a timer."""
        self._counts[whose] += 1

    def __str__(self) -> str:
        lines = [f"  {count:6} x {name}" for name, count in self._counts.most_common(8)]
        self._counts.clear()
        return "\n".join(lines)


def where(frame: FrameType | None) -> str:
    """Return the line that a thread is at: outside of the standard library, if there is one."""
    found = frame
    while found is not None and _is_machinery(found.f_code.co_filename):
        found = found.f_back
    return _place(found) if found is not None else "a call of the standard library"


def _is_machinery(filename: str) -> bool:
    return is_standard(filename) or filename.startswith(_OWN)


@cache
def is_standard(filename: str) -> bool:
    """Whether a file belongs to the standard library."""
    return filename.startswith("<") or (filename.startswith(_STANDARD) and not filename.startswith(_PACKAGES))


def _place(frame: FrameType | None) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "its end"

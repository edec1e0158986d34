"""What a stuck test is told: who waits, where, and for what."""

import asyncio
import sysconfig
from collections.abc import Iterator
from types import FrameType
from typing import Any

_STANDARD = sysconfig.get_path("stdlib")
_PACKAGES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))


def describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Return who waits for what, a task a line, in the order in which the tasks were made."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name()))
    return "\n".join(f"  {_describe(task)}" for task in tasks) or "  no task is left"


def _describe(task: asyncio.Task[Any]) -> str:
    coroutine: Any = task.get_coro()
    steps = list(_steps(coroutine))
    own = [step for step in steps if not is_standard(step[1].f_code.co_filename)]
    waits_for = getattr(task, "_fut_waiter", None)
    inner = steps[-1][0] if steps else repr(waits_for)
    place = _place(own[-1][1] if own else steps[-1][1]) if steps else "its end"
    return f"task {task.get_name()!r} of {coroutine.__qualname__} is at {place}, in {inner}, and awaits {waits_for!r}"


def _steps(awaited: Any) -> Iterator[tuple[str, FrameType]]:
    """Yield the names and frames of a chain of coroutines, the outermost first."""
    while awaited is not None:
        for kind in ("cr", "gi", "ag"):
            frame: FrameType | None = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                yield awaited.__qualname__, frame
                awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
                break
        else:
            return


def where(frame: FrameType | None) -> str:
    """Return the line that a thread is at: outside of the standard library, if there is one."""
    found = frame
    while found is not None and is_standard(found.f_code.co_filename):
        found = found.f_back
    return _place(found or frame)


def is_standard(filename: str) -> bool:
    """Whether a file belongs to the standard library."""
    return filename.startswith("<") or (filename.startswith(_STANDARD) and not filename.startswith(_PACKAGES))


def _place(frame: FrameType | None) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "its end"

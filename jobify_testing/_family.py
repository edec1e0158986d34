"""Where tasks come from: on which line they were made."""

import asyncio
import itertools
import sys
from collections.abc import Coroutine, Generator
from types import CodeType, FrameType
from typing import Any, NamedTuple, Self, TypeVar

from jobify_testing._owner import owner_in
from jobify_testing._report import is_standard
from jobify_testing._timers import TimedLoop

T = TypeVar("T")


class Origin(NamedTuple):
    """Where a task comes from.

    Attributes:
        code: the function that made it, outside of the standard library.
        line: the line there.
        owner: the start of an app that it belongs to, if there is one.
    """

    code: CodeType
    line: int
    owner: object | None

    def __str__(self) -> str:
        return f"{self.code.co_filename}:{self.line}"


class Task(asyncio.Task[T]):
    """A task whose place in a set is that of its number: groups and waits walk through sets."""

    def __new__(cls, *_args: Any, loop: "FamilyLoop", **_options: Any) -> Self:  # pyright: ignore[reportInconsistentConstructor]  # the rest is for `__init__`
        """Take the next number of the loop."""
        task = super().__new__(cls)
        task.number = next(loop.task_numbers)
        return task

    number: int

    def __hash__(self) -> int:
        return self.number

    __eq__ = object.__eq__


class FamilyLoop(TimedLoop):
    """A loop that remembers where its tasks come from, and numbers them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.task_numbers = itertools.count(1)
        super().__init__(*args, **options)

    def create_task(self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:
        """Make a task."""
        awaited: Any = coro  # typeshed leaves generators out, which asyncio still takes
        if self.get_task_factory() is None:
            self._check_closed()
            task: asyncio.Task[T] = Task(awaited, loop=self, **options)
            if (trace := getattr(task, "_source_traceback", None)) is not None:
                del trace[-1]  # this very line, as the loop of asyncio does
        else:
            task = super().create_task(awaited, **options)
        frame: FrameType = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, in spite of its name
        while is_standard(frame.f_code.co_filename) and frame.f_back is not None:
            frame = frame.f_back
        origin = Origin(frame.f_code, frame.f_lineno, owner_in(options.get("context")))
        setattr(task, "virtual_origin", origin)  # noqa: B010  # an attribute that type checkers do not know; a C task has no vars()
        return task


def owner_of_task(task: asyncio.Task[Any]) -> object | None:
    """Return to which start of an app a task belongs, if it was made by the loop."""
    origin: Origin | None = getattr(task, "virtual_origin", None)
    return origin.owner if origin is not None else None

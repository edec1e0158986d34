"""Tasks of our own that are carried to their end: a write and what follows from it, a stop."""

import asyncio
import types
from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Step(asyncio.Task[T]):
    """A task that no cancellation cuts in two.

    `asyncio.run` cancels all tasks of its loop at the end of a program. A write would then be done or not, and nobody
    would know; so a step goes on. What may take long in it is a pause, and that ends at once.

    Attributes:
        is_whole: whether it is not to be cut in two.
        hurried: whether somebody wanted it to end.
        pausing: what its pause, if it makes one, waits for.
    """

    is_whole = True
    hurried = False
    pausing: asyncio.Future[None] | None = None

    def cancel(self, msg: object = None) -> bool:
        """Take note, and go on."""
        if not self.is_whole:
            return super().cancel(msg)
        self.hurried = True
        if self.pausing is not None and not self.pausing.done():
            self.pausing.set_result(None)
        return False

    def abandon(self) -> None:
        """Cut the step in two: it is of no interest any more what becomes of it."""
        super().cancel()


def hush(step: "asyncio.Future[Any]") -> None:
    """Let nobody be told of the error of a step: who still waits for it gets it."""
    if not step.cancelled():
        step.exception()


async def pause(over: asyncio.Future[None]) -> None:
    """Return when `over` is resolved, or somebody wants the running step to end."""
    task = asyncio.current_task()
    if isinstance(task, Step):
        task.pausing = over
    await over


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Return when all have had their turn that the loop is to call next; no time passes."""
    yield


def is_hurried() -> bool:
    """Whether somebody wants the running step to end."""
    task = asyncio.current_task()
    return isinstance(task, Step) and task.hurried

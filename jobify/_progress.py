"""What is in progress about which job, and who stands in line for that.

Most of it are steps, which are tasks; what a storage tells by callbacks has none.
"""

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Hashable
from typing import Any, TypeVar

from jobify._steps import Step

T = TypeVar("T")


class Progress:
    """Knows what is in progress, and lets others wait for the end of that."""

    def __init__(self) -> None:
        self._busy: dict[Hashable, Step[Any] | None] = {}
        self._lines: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._steps: set[Step[Any]] = set()
        self._without_step = 0
        self._ends: dict[Hashable, list[asyncio.Future[None]]] = {}
        self._guard: AsyncGenerator[None] | None = None
        self._context = contextvars.copy_context()

    def enter(self, step: Step[Any] | None, about: Hashable) -> None:
        """Take note that something has begun: a step, or what callbacks carry out."""
        if step is not None:
            self._steps.add(step)
        else:
            self._without_step += 1
            if self._guard is None:
                self._guard = self._see_out()
                _begin(self._guard)
        if about is not None:
            self._busy[about] = step

    def leave(self, step: Step[Any] | None, about: Hashable) -> None:
        """Take note that it is over."""
        if step is None:
            self._without_step -= 1
            if self._ends:
                self._tell_end(about)
        else:
            self._steps.discard(step)
        if about in self._busy and self._busy[about] is step:
            del self._busy[about]
            if self._lines and not (step is not None and step.get_loop().is_closed()):  # else it is being thrown away
                self._call_next(about)

    async def _see_out(self) -> AsyncGenerator[None]:
        """Keep the loop of a program that ends without a stop of its app until what has no step is over too.

        `asyncio.run` cancels all tasks then, and waits for those that go on, as a step does; and then it closes the
        generators that have begun, as this one. A task would be there for as long as the app.
        """
        try:
            yield
        finally:
            while self._without_step or self._steps:
                for step in self._steps:
                    step.cancel()
                await asyncio.wait(self._steps or [self._end_of_all()])

    async def all_over(self) -> None:
        """Return when nothing is in progress; nothing may begin from now on but by what is."""
        while self._steps or self._without_step:
            await asyncio.wait(self._steps or [self._end_of_all()])

    def _end_of(self, about: Hashable) -> asyncio.Future[Any]:
        """Return what is done when that is over which is in progress about this."""
        step = self._busy[about]
        if step is not None:
            return step
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.setdefault(about, []).append(end)
        return end

    def _end_of_all(self) -> asyncio.Future[Any]:
        """Return what is done when nothing is in progress that callbacks carry out."""
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.setdefault(None, []).append(end)
        return end

    def _tell_end(self, about: Hashable) -> None:
        ends = self._ends.pop(about, [])
        if not self._without_step:
            ends += self._ends.pop(None, ())
        for end in ends:
            if not end.done():
                end.set_result(None)

    def is_busy(self, about: Hashable) -> bool:
        """Whether a step is in progress about this."""
        return about in self._busy

    def has_others(self, about: Hashable) -> bool:
        """Whether a step is in progress about this, or somebody stands in line for that."""
        return about in self._busy or about in self._lines

    async def others(self, *abouts: Hashable) -> None:
        """Return when no step is in progress that was begun about any of these: an id, or a job at its end.

        One caller after the other: who has waited begins a step of its own, as a rule; so the next in line is called
        when that has ended. If all were woken at once, a thousand would look a thousand times.
        """
        while any(self.has_others(about) for about in abouts):
            for about in abouts:
                await self._turn(about)
            if not any(about in self._busy for about in abouts):
                return

    async def _turn(self, about: Hashable) -> None:
        if not self.has_others(about):
            return
        loop = asyncio.get_running_loop()
        line = self._lines.setdefault(about, deque())
        turn: asyncio.Future[None] = loop.create_future()
        line.append(turn)
        try:
            await turn
            while about in self._busy:  # of one who need not wait
                await asyncio.wait([self._end_of(about)])
        finally:
            line.remove(turn)
            if not loop.is_closed():
                loop.call_soon(self._call_next, about, context=self._context)

    def _call_next(self, about: Hashable) -> None:
        """Let the first in line go on, unless a step has begun meanwhile, or it is called already."""
        line = self._lines.get(about)
        if line is None or about in self._busy:
            return
        if not line:
            del self._lines[about]
        elif not line[0].done():
            line[0].set_result(None)


async def behind(previous: asyncio.Future[Any], step: Coroutine[Any, Any, T]) -> T:
    """Carry out a step when that is over which was before."""
    await asyncio.wait([previous])
    return await step


def _begin(generator: AsyncGenerator[None]) -> None:
    """Have a generator of the running loop come to its first `yield`, which it does without waiting."""
    with contextlib.suppress(StopIteration):
        generator.__anext__().__await__().__next__()

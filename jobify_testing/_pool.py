"""Who makes calls in threads that take turns: threads that are kept, or those of a pool of the user's."""

import asyncio
import concurrent.futures
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from jobify_testing._threads import Timekeeper, Turn

T = TypeVar("T")


class _Kept:
    """A thread that makes one call after the other, and is kept between them."""

    def __init__(self, number: int) -> None:
        self._turns: queue.SimpleQueue[Turn[Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"jobify worker {number}", daemon=True).start()

    def _work(self) -> None:
        while (turn := self._turns.get()) is not None:
            turn()
            del turn  # or its arguments would live until the next one

    def take(self, turn: Turn[Any]) -> None:
        self._turns.put(turn)

    def end(self) -> None:
        self._turns.put(None)


class TurnPool:
    """Makes calls in threads, one turn after the other, for one loop."""

    def __init__(self, loop: Timekeeper) -> None:
        self._loop = loop
        self._idle: list[_Kept] = []
        self._made = 0
        self._turns: dict[Turn[Any], concurrent.futures.Executor | None] = {}
        self._abandoned: list[Turn[Any]] = []
        self._queues: dict[concurrent.futures.Executor, deque[Turn[Any]]] = {}
        self._busy: dict[concurrent.futures.Executor, int] = {}

    def submit(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Make a call in a thread of our own, from the next turn of the loop on: as many at once as there are."""
        turn = Turn(self._loop, call)
        thread = self._idle.pop() if self._idle else self._new_thread()
        thread.take(turn)
        self._note(turn, None, lambda: self._idle.append(thread))
        # The others that are due at this instant start first, as they would beside a real thread.
        self._loop.call_soon(turn.resume)
        return turn.answer

    def _new_thread(self) -> _Kept:
        self._made += 1
        return _Kept(self._made)

    def submit_to(self, pool: concurrent.futures.ThreadPoolExecutor, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Make a call in a thread of a pool, which has only so many."""
        turn = Turn(self._loop, call)
        pool.submit(turn)
        self._note(turn, pool, lambda: self._leave(pool))
        slots = pool._max_workers  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a pool does not say it otherwise
        if self._busy.get(pool, 0) < slots:
            self._enter(pool, turn)
        else:
            self._queues.setdefault(pool, deque()).append(turn)
        return turn.answer

    def _enter(self, pool: concurrent.futures.Executor, turn: Turn[Any]) -> None:
        self._busy[pool] = self._busy.get(pool, 0) + 1
        self._loop.call_soon(turn.resume)

    def _leave(self, pool: concurrent.futures.Executor) -> None:
        self._busy[pool] -= 1
        waiting = self._queues.get(pool)
        if waiting:
            self._enter(pool, waiting.popleft())
        elif not self._busy[pool]:
            del self._busy[pool]
            self._queues.pop(pool, None)

    def _note(self, turn: Turn[Any], where: concurrent.futures.Executor | None, then: Callable[[], object]) -> None:
        self._turns[turn] = where

        def ended() -> None:
            self._turns.pop(turn, None)
            then()

        turn.when_ended(ended)

    def finish(self, pool: concurrent.futures.Executor) -> None:
        """See the calls in a pool through, here and now, as a loop does that waits for the pool to shut down."""
        while turn := next((turn for turn, where in self._turns.items() if where is pool), None):
            turn.see_through()

    async def join(self) -> None:
        """Return when all calls have ended."""
        while self._turns:
            ended: asyncio.Future[None] = self._loop.create_future()
            next(iter(self._turns)).when_ended(partial(_resolve, ended))
            await ended

    def abandon(self, owner: object) -> None:
        """Give the calls that belong to `owner` no further turn."""
        for turn in [turn for turn in self._turns if turn.owner is owner]:
            turn.abandon()
            del self._turns[turn]
            self._abandoned.append(turn)

    def close(self) -> None:
        """End all threads: those that stand still in a call, too."""
        for turn in (*self._turns, *self._abandoned):
            turn.dismiss()
        self._turns.clear()
        self._abandoned.clear()
        while self._idle:
            self._idle.pop().end()


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)

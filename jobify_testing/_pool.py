"""Who makes calls in threads that take turns: threads that are kept, or those of a pool of the user's."""

import asyncio
import concurrent.futures
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from jobify_testing._errors import VirtualDeadlockError
from jobify_testing._threads import Turn, current_turn
from jobify_testing._timekeeper import Timekeeper

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
        turn.resume_soon()
        return turn.answer

    def _new_thread(self) -> _Kept:
        self._made += 1
        return _Kept(self._made)

    def submit_to(
        self,
        pool: concurrent.futures.ThreadPoolExecutor,
        call: Callable[[], T],
        context: contextvars.Context | None = None,
    ) -> Turn[T]:
        """Make a call in a thread of a pool, which has only so many."""
        turn = Turn(self._loop, call, context)
        pool.submit(turn)
        # Also where no hook stands, as in a fixture, whoever shuts the pool down waits for calls that wait for turns.
        vars(pool)["shutdown"] = partial(self._shut_down, pool)
        self._note(turn, pool, lambda: self._leave(pool))
        slots = pool._max_workers  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a pool does not say it otherwise
        if self._busy.get(pool, 0) < slots:
            self._enter(pool, turn)
        else:
            self._queues.setdefault(pool, deque()).append(turn)
        return turn

    def _enter(self, pool: concurrent.futures.Executor, turn: Turn[Any]) -> None:
        self._busy[pool] = self._busy.get(pool, 0) + 1
        turn.resume_soon()

    def _leave(self, pool: concurrent.futures.Executor) -> None:
        self._busy[pool] -= 1
        waiting = self._queues.get(pool)
        if waiting:
            self._enter(pool, waiting.popleft())
        elif not self._busy[pool]:
            del self._busy[pool]
            self._queues.pop(pool, None)
            vars(pool).pop("shutdown", None)

    def _note(self, turn: Turn[Any], where: concurrent.futures.Executor | None, then: Callable[[], object]) -> None:
        self._turns[turn] = where

        def ended() -> None:
            if self._turns.pop(turn, self) is not self:  # else it was abandoned
                then()

        turn.when_ended(ended)

    # The end of a pool, and other waits for calls

    def _shut_down(
        self,
        pool: concurrent.futures.ThreadPoolExecutor,
        wait: bool = True,  # noqa: FBT001, FBT002  # as in the original
        *,
        cancel_futures: bool = False,
    ) -> None:
        """Shut a pool down whose threads would wait for turns from who waits for them."""
        if cancel_futures:
            self._call_off(pool)
        turn = current_turn()
        if wait and turn is not None and turn.loop is self._loop:
            self._stand_until_idle(pool, turn)
        elif wait and self._loop.is_home():
            self.see_through(lambda: pool not in self._busy, None)
        type(pool).shutdown(pool, wait, cancel_futures=cancel_futures)

    def _call_off(self, pool: concurrent.futures.Executor) -> None:
        for turn in self._queues.pop(pool, ()):
            self._turns.pop(turn, None)
            turn.call_off()
        for turn in self._of(pool):
            turn.is_taken(self._loop.patience)  # else it would be called off without our knowledge

    def _of(self, pool: concurrent.futures.Executor) -> list[Turn[Any]]:
        return [turn for turn, where in self._turns.items() if where is pool]

    def _stand_until_idle(self, pool: concurrent.futures.Executor, waiter: Turn[Any]) -> None:
        while turns := [turn for turn in self._of(pool) if turn is not waiter]:
            turns[-1].when_ended(waiter.resume_soon)
            waiter.stand_still(None)

    def see_through(self, is_over: Callable[[], object], nanoseconds: int | None) -> None:
        """Give the threads their turns, with the loop blocked meanwhile, until something is over, or so much time is.

        Raises:
            VirtualDeadlockError: all of them wait for the loop, which waits for them.
        """
        end = None if nanoseconds is None else self._loop.nanoseconds + nanoseconds
        with self._loop.governing():
            self._give_turns(is_over, end)

    def _give_turns(self, is_over: Callable[[], object], end: int | None) -> None:
        while not is_over():
            for turn in list(self._turns):
                if turn.overstays:
                    turn.catch_up(self._loop.patience)
            if is_over():
                return
            coming = self._next()
            if end is not None and (coming is None or _by_due(coming)[0] > end):
                self._loop.block(end - self._loop.nanoseconds)
                return
            if coming is None:
                names = "\n".join(f"  {turn}" for turn in self._turns)
                msg = f"the loop is blocked until calls in threads have ended, and they wait for the loop:\n{names}"
                raise VirtualDeadlockError(msg)
            self._loop.block(max(_by_due(coming)[0] - self._loop.nanoseconds, 0))
            coming.resume()

    def _next(self) -> Turn[Any] | None:
        due = [turn for turn in self._turns if turn.due is not None]
        return min(due, key=_by_due) if due else None

    def describe_standing(self) -> str:
        """Return which threads stand still in a call, and where, a line each."""
        return "\n".join(f"  {turn}" for turn in (*self._turns, *self._abandoned) if turn.stands)

    async def join(self) -> None:
        """Return when all calls have ended."""
        while self._turns:
            ended: asyncio.Future[None] = self._loop.create_future()
            next(iter(self._turns)).when_ended(partial(_resolve, ended))
            await ended

    # What belongs to a program that was killed

    def abandon(self, owner: object) -> None:
        """Give the calls that belong to `owner` no further turn, and their places in pools to others."""
        for turn in [turn for turn in self._turns if turn.owner is owner]:
            pool = self._turns[turn]
            waiting = self._queues.get(pool) if pool is not None else None
            if waiting is not None and turn in waiting:
                waiting.remove(turn)
                del self._turns[turn]
                turn.dismiss()
            elif not turn.has_begun:
                turn.call_off()  # its thread has done nothing yet, and is free
            else:
                turn.abandon()
                del self._turns[turn]
                self._abandoned.append(turn)
                if isinstance(pool, concurrent.futures.ThreadPoolExecutor):
                    _replace_thread(pool, turn.thread)
                    self._leave(pool)

    def close(self) -> None:
        """End all threads: those that stand still in a call, too."""
        for turn in (*self._turns, *self._abandoned):
            turn.dismiss()
        self._turns.clear()
        self._abandoned.clear()
        for pool in self._busy:
            vars(pool).pop("shutdown", None)
        self._busy.clear()
        self._queues.clear()
        while self._idle:
            self._idle.pop().end()


def _by_due(turn: Turn[Any]) -> tuple[int, int]:
    return turn.due if turn.due is not None else 0, turn.number


def _replace_thread(pool: concurrent.futures.ThreadPoolExecutor, thread: threading.Thread | None) -> None:
    """Let a pool make another thread in the place of one that gets no further turn, and not wait for it at its end."""
    its: Any = pool  # private, and the same since Python 3.9; where it has changed, the place stays taken
    if hasattr(its, "_threads") and hasattr(its, "_adjust_thread_count"):
        its._threads.discard(thread)  # noqa: SLF001
        if not its._shutdown and not its._work_queue.empty():  # noqa: SLF001
            its._adjust_thread_count()  # noqa: SLF001


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)

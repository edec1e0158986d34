"""Verbs that arrive while a transaction is being written share the next one."""

import asyncio
import contextvars
import sqlite3
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jobify._workers import Lane
from jobify.exceptions import StorageError
from jobify.storage._sqlite_file import OpenFile

T = TypeVar("T")


class _Verb(NamedTuple):
    """A verb that waits for its transaction."""

    write: Callable[[sqlite3.Connection], Any]
    answer: asyncio.Future[Any]


class GroupCommit:
    """The one writer of a file: one transaction after the other, each begun when the one before is over.

    It is made of callbacks. A task for each transaction would cost two more turns of the loop.

    Args:
        path: the database, for what errors say.
        lane: where the transactions are made.
        file: the file, which is open.
    """

    def __init__(self, path: Path, lane: Lane, file: OpenFile) -> None:
        self._path = path
        self._lane = lane
        self._file = file
        self._waiting: list[_Verb] = []
        self._writing: list[_Verb] = []
        self._singly: deque[_Verb] = deque()
        self._idle: asyncio.Future[None] | None = None  # resolved when all is written; None if nothing is

    def submit(self, write: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Have a verb written, and return, to who awaits it, its answer; to cancel that gives up the answer only.

        What is returned raises:
            StorageError: SQLite reports an error, or the storage was abandoned.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Verb(write, answer))
        if self._idle is None:
            self._idle = loop.create_future()
            # Soon, not now: others of this turn of the loop share it. Not in the context of the caller: it serves all.
            loop.call_soon(self._write_next, context=contextvars.Context())
        return answer

    async def drain(self) -> None:
        """Return when all that was submitted is written."""
        idle = self._idle
        if idle is not None and idle.get_loop() is asyncio.get_running_loop():  # else it will never end
            await asyncio.wait([idle])

    def abandon(self) -> None:
        """Write nothing more, and let all that wait fail."""
        self._fail_all(RuntimeError("the app was abandoned"))
        self._rest()

    def _write_next(self) -> None:
        if self._singly:
            self._writing = [self._singly.popleft()]
        elif self._waiting:
            self._writing, self._waiting = self._waiting, []
        else:
            self._rest()
            return
        batch = self._writing
        transact = partial(self._file.transact, [verb.write for verb in batch])
        try:
            self._lane.begin(transact, partial(self._written, batch))
        except Exception as error:  # noqa: BLE001  # who asked for it gets it
            self._fail_all(error)
            self._write_next()  # it has nothing to write

    def _written(self, batch: list[_Verb], answers: list[Any] | None, error: BaseException | None) -> None:
        self._writing = []
        if error is None:
            for verb, answer in zip(batch, answers or (), strict=True):
                if not verb.answer.done():
                    verb.answer.set_result(answer)
        elif len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, sqlite3.OperationalError):
            self._singly.extend(batch)  # one of them cannot be written, which is not the fault of the others
        else:
            self._fail(batch, error)
        self._write_next()
        if error is not None and not isinstance(error, Exception):
            raise error  # it is meant for the program

    def _rest(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and not idle.done() and not idle.get_loop().is_closed():
            idle.set_result(None)

    def _fail_all(self, error: BaseException) -> None:
        verbs = [*self._writing, *self._singly, *self._waiting]
        self._writing, self._waiting = [], []
        self._singly.clear()
        self._fail(verbs, error)

    def _fail(self, verbs: list[_Verb], error: BaseException) -> None:
        for verb in verbs:
            if not verb.answer.done() and not verb.answer.get_loop().is_closed():
                failure = StorageError(f"cannot use {str(self._path)!r}: {error}")
                failure.__cause__ = error
                verb.answer.set_exception(failure)
                verb.answer.exception()  # its caller may be gone

"""Verbs that arrive while a transaction is being written share the next one."""

import asyncio
import contextvars
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jobify._steps import Step
from jobify._workers import Lane
from jobify.exceptions import StorageError
from jobify.storage._sqlite_file import OpenFile

T = TypeVar("T")


class _Verb(NamedTuple):
    """A verb that waits for its transaction."""

    write: Callable[[sqlite3.Connection], Any]
    answer: asyncio.Future[Any]


class GroupCommit:
    """The one writer of a file.

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
        self._pump: Step[None] | None = None
        self._abandoned = False

    def submit(self, write: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Have a verb written, and return, to who awaits it, its answer; to cancel that gives up the answer only.

        What is returned raises:
            StorageError: SQLite reports an error, or the storage was abandoned.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Verb(write, answer))
        if self._pump is None:
            self._pump = Step(self._write_all(), loop=loop, context=contextvars.Context())
        return answer

    async def drain(self) -> None:
        """Return when all that was submitted is written."""
        pump = self._pump
        if pump is not None and pump.get_loop() is asyncio.get_running_loop():  # else it will never end
            await asyncio.wait([pump])

    def abandon(self) -> None:
        """Write nothing more, and let all that wait fail."""
        self._abandoned = True
        verbs = [*self._writing, *self._waiting]
        self._writing, self._waiting = [], []
        for verb in verbs:
            if not verb.answer.get_loop().is_closed():
                self._fail(verb, RuntimeError("the app was abandoned"))

    async def _write_all(self) -> None:
        try:
            while self._waiting and not self._abandoned:
                self._writing, self._waiting = self._waiting, []
                await self._write_batch(self._writing)
        finally:
            self._pump = None
            self._writing = []

    async def _write_batch(self, batch: list[_Verb]) -> None:
        try:
            answers = await self._lane.run(partial(self._file.transact, [verb.write for verb in batch]))
        except Exception as error:  # noqa: BLE001  # who asked for it gets it
            if len(batch) > 1 and not isinstance(error, sqlite3.OperationalError):
                for verb in batch:  # one of them cannot be written, which is not the fault of the others
                    await self._write_batch([verb])
                return
            for verb in batch:
                self._fail(verb, error)
        else:
            for verb, answer in zip(batch, answers, strict=True):
                if not verb.answer.done():
                    verb.answer.set_result(answer)

    def _fail(self, verb: _Verb, error: BaseException) -> None:
        if not verb.answer.done():
            failure = StorageError(f"cannot use {str(self._path)!r}: {error}")
            failure.__cause__ = error
            verb.answer.set_exception(failure)
            verb.answer.exception()  # its caller may be gone

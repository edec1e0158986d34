"""Verbs that arrive while a transaction is being written share the next one."""

import asyncio
import contextvars
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from jobify._log import logger
from jobify._workers import Lane
from jobify.exceptions import StorageError
from jobify.storage._answer import Answer
from jobify.storage._sqlite_file import OpenFile

T = TypeVar("T")


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
        self._waiting: list[Answer[Any]] = []
        self._writing: list[Answer[Any]] = []
        self._singly: deque[Answer[Any]] = deque()
        self._busy_on: asyncio.AbstractEventLoop | None = None
        self._idle: asyncio.Future[None] | None = None  # resolved when all is written, if anybody waits for that

    def submit(
        self, verb: Callable[..., Any], *args: Any, seen: Callable[[tuple[Any, ...], Any], T] | None = None
    ) -> Answer[T]:
        """Have a verb written, called with the connection and these arguments, and return its answer.

        What is returned raises:
            StorageError: SQLite reports an error, or the storage was abandoned.
        """
        loop = asyncio.get_running_loop()
        answer = Answer(loop, verb, args, seen)
        self._waiting.append(answer)
        if self._busy_on is None:
            self._busy_on = loop
            # Soon, not now: others of this turn of the loop share it. Not in the context of the caller: it serves all.
            loop.call_soon(self._write_next, context=contextvars.Context())
        return answer

    async def drain(self) -> None:
        """Return when all that was submitted is written."""
        loop = asyncio.get_running_loop()
        if self._busy_on is loop:  # on another it will never end
            self._idle = self._idle or loop.create_future()
            await asyncio.wait([self._idle])

    def abandon(self) -> None:
        """Write nothing more, and let all that wait fail."""
        self._give_up(RuntimeError("the app was abandoned"))

    def _write_next(self) -> None:
        if self._singly:
            self._writing = [self._singly.popleft()]
        else:
            self._writing, self._waiting = self._waiting, []
        batch = self._writing
        transact = partial(self._file.transact, batch)
        try:
            self._lane.begin(transact, partial(self._written, batch))
        except Exception as error:  # noqa: BLE001  # who asked for it gets it
            self._give_up(error)

    def _written(self, batch: list[Answer[Any]], answers: list[Any] | None, error: BaseException | None) -> None:
        self._writing = []
        if len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, sqlite3.OperationalError):
            self._singly.extend(batch)  # one of them cannot be written, which is not the fault of the others
            batch = []
        if self._waiting or self._singly:
            self._write_next()
        else:
            self._rest()
        if error is not None:
            self._fail(batch, error)
        else:
            _reach(zip(batch, answers or (), strict=True))
        if error is not None and not isinstance(error, Exception):
            raise error  # it is meant for the program

    def _give_up(self, error: Exception) -> None:
        self._fail_all(error)
        self._rest()

    def _rest(self) -> None:
        idle, self._idle, self._busy_on = self._idle, None, None
        if idle is not None and not idle.done() and not idle.get_loop().is_closed():
            idle.set_result(None)

    def _fail_all(self, error: BaseException) -> None:
        verbs = [*self._writing, *self._singly, *self._waiting]
        self._writing, self._waiting = [], []
        self._singly.clear()
        self._fail(verbs, error)

    def _fail(self, verbs: list[Answer[Any]], error: BaseException) -> None:
        for verb in verbs:
            if not verb.get_loop().is_closed():
                failure = StorageError(f"cannot use {str(self._path)!r}: {error}")
                failure.__cause__ = error
                _tell(verb, None, failure)


def _reach(answers: Iterable[tuple[Answer[Any], Any]]) -> None:
    """Give all verbs their answers. What ends the program, as a listener may, is raised behind that."""
    ends: BaseException | None = None
    for verb, answer in answers:
        try:
            _tell(verb, answer)
        except (KeyboardInterrupt, SystemExit) as end:
            ends = end
    if ends is not None:
        raise ends


def _tell(verb: Answer[Any], answer: Any, error: BaseException | None = None) -> None:
    """Give a verb its answer, whatever that leads to: there are others."""
    try:
        verb.reach(answer, error)
    except Exception:  # noqa: BLE001  # the log has it
        logger.exception("jobify itself failed")

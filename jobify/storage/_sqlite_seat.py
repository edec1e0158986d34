"""Whether an app may work on a SQLite file: alone, or as the active one of several that share it."""

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from jobify._clock import Clock
from jobify._workers import Lane
from jobify.exceptions import StorageError
from jobify.storage._bus_peer import Message
from jobify.storage._ownership import Ownership
from jobify.storage._standby import Standby
from jobify.storage._stored import Notice

_seats: "weakref.WeakValueDictionary[str, Seat]" = weakref.WeakValueDictionary()
"""Who works on a file in this process."""


class Seat:
    """The place of the one app that may work on a file.

    Args:
        path: the file.
        is_private: whether it is a file of a test, which no other process knows.

    Attributes:
        loop: on which its app runs.
    """

    def __init__(self, path: Path, *, is_private: bool) -> None:
        self._path = path
        self._is_private = is_private
        self.loop = asyncio.get_running_loop()
        self._ownership: Ownership | None = None

    @property
    def is_active(self) -> bool:
        """Whether this app runs the jobs that are stored."""
        return True

    async def take(self, lane: Lane) -> None:
        """Sit down, before the file is opened.

        Raises:
            StorageError: another app works on the file.
        """
        key = os.path.realpath(self._path)
        other = _seats.get(key)
        if other is not None and not other.loop.is_closed():
            self._refuse("another app in this process has it open")
        if other is not None:  # its app was never stopped, and has lost the file
            other.abandon()
        _seats[key] = self
        if not self._is_private:
            self._ownership = await lane.run(partial(Ownership.try_acquire, self._path))
            if self._ownership is None:
                self._refuse(f"it is in use by {Ownership.holder(self._path)}")

    def _refuse(self, reason: str) -> NoReturn:
        msg = (
            f"cannot open {str(self._path)!r}: {reason}, and each would run every job; stop that one first, or give "
            "each app a file of its own; processes that share a file are opened by SQLiteStorage(..., standby=True)"
        )
        raise StorageError(msg)

    async def join(self, read_version: Callable[[], Awaitable[int]]) -> None:
        """Begin to hear of others, when the file is open."""

    def tell(self, kind: str, number: int = 0) -> None:
        """Tell the other processes what has happened."""

    async def leave(self) -> None:
        """Get up, when the file is closed; harmless if repeated."""
        self.abandon()

    def abandon(self) -> None:
        """Get up at once, as the death of the process would; harmless if repeated."""
        key = os.path.realpath(self._path)
        if _seats.get(key) is self:
            del _seats[key]
        ownership, self._ownership = self._ownership, None
        if ownership is not None:
            ownership.release()


class SharedSeat(Seat):
    """The place of an app among several on one file, of which one is active and the others stand by.

    Args:
        path: the file.
        clock: when to try again.
        listener: is called with what others have done.
    """

    def __init__(self, path: Path, clock: Clock, listener: Callable[[Notice], None]) -> None:
        super().__init__(path, is_private=False)
        self._clock = clock
        self._listener = listener
        self._standby: Standby | None = None

    @property
    def is_active(self) -> bool:
        """Whether this app runs the jobs that are stored."""
        return self._standby is not None and self._standby.is_active()

    async def take(self, lane: Lane) -> None:  # the file may be opened by all
        """Do nothing: whether there is a place is seen when the file is open."""

    async def join(self, read_version: Callable[[], Awaitable[int]]) -> None:
        """Become the active one, or stand by.

        Raises:
            StorageError: there can be no lock on the file.
        """
        self._standby = Standby(
            self._path,
            self._clock,
            on_active=self._look,
            on_message=self._hear,
            read_version=read_version,
        )
        await self._standby.start()

    def _look(self) -> None:
        self._listener(Notice("look"))

    def _hear(self, message: Message) -> None:
        kind, number = message.get("kind"), message.get("number")
        if kind in ("ended", "gone") and isinstance(number, int):
            self._listener(Notice("ended" if kind == "ended" else "gone", number))
        else:
            self._look()

    def tell(self, kind: str, number: int = 0) -> None:
        """Tell the active process, or as the active one all others."""
        if self._standby is not None:
            self._standby.send({"kind": kind, "number": number})

    async def leave(self) -> None:
        """Let another be active, at once."""
        if self._standby is not None:
            await self._standby.stop()

    def abandon(self) -> None:
        """Get up at once, as the death of the process would; harmless if repeated."""
        ownership = self._standby.abandon() if self._standby is not None else None
        if ownership is not None:
            ownership.release()

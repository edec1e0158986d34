"""How a process without a bus learns that a database has changed: it asks SQLite, each second."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

from jobify._clock import Alarm, Clock
from jobify._log import logger
from jobify._steps import Step

INTERVAL = 1.0
"""Seconds from one look to the next."""


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection has changed the database; it tells nothing else.

    Numbers of two connections cannot be compared.

    Raises:
        sqlite3.Error: SQLite reports an error.
    """
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


class ChangePoll:
    """Looks each second whether a database was changed by somebody else.

    Args:
        clock: when to look.
        read_version: returns the `data_version`, of one and the same connection.
        on_change: is called on the event loop after a change, and when the first version was read: whatever was changed
            before is not known.
    """

    def __init__(
        self, clock: Clock, read_version: Callable[[], Awaitable[int]], on_change: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._read_version = read_version
        self._on_change = on_change
        self._running = False
        self._failed = False
        self._version: int | None = None
        self._alarm: Alarm | None = None
        self._step: Step[None] | None = None

    def start(self) -> None:
        """Look now, and each second from then on; harmless if repeated."""
        if not self._running:
            self._running = True
            self._version = None
            if self._step is None or self._step.done():  # else it goes on
                self._begin()

    def _begin(self) -> None:
        self._alarm = None
        self._step = Step(self._look(), loop=asyncio.get_running_loop())

    async def _look(self) -> None:
        try:
            version = await self._read_version()
            changed, self._version, self._failed = version != self._version, version, False
            if changed and self._running:
                self._on_change()
        except Exception:  # noqa: BLE001  # whatever it was, it may be over at the next look
            if not self._failed and self._running:
                logger.exception("a look for changes of a database led to an error; it is repeated")
            self._failed = True
        if self._running:
            self._alarm = self._clock.call_at(self._clock.monotonic() + INTERVAL, self._begin)

    def stop(self) -> None:
        """Look no more; harmless if repeated. A look that is under way is of no consequence."""
        self._running = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

"""What the PostgreSQL storages of one event loop tell each other, and are told by the server."""

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Sequence

from jobify._log import logger
from jobify.storage._postgres_batch import notices_in
from jobify.storage._postgres_driver import Connection
from jobify.storage._stored import Notice

_boards: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[Board]]" = weakref.WeakKeyDictionary()


class Board:
    """The notices for one storage, from `open` to `close`.

    Storages on the same loop that have the same tables tell each other at once, in the order in which things are
    written; what the server says of that is not told again.

    Args:
        tables: which tables they are.
        listeners: who is told, each in the context in which it began to listen.
    """

    def __init__(
        self, tables: object, listeners: Sequence[tuple[Callable[[Notice], None], contextvars.Context]]
    ) -> None:
        self._tables = tables
        self._listeners = listeners
        self._senders: set[int] = set()
        self._loop = asyncio.get_running_loop()
        _boards.setdefault(self._loop, []).append(self)

    def close(self) -> None:
        """Hear and tell nothing any more."""
        if self in (boards := _boards.get(self._loop, [])):
            boards.remove(self)

    def _those_here(self) -> list["Board"]:
        return [board for board in _boards.get(self._loop, []) if board._tables == self._tables]  # noqa: SLF001  # of its own kind

    def take_note(self, connection: Connection) -> None:
        """Take note of a connection of the storage: who hears of its process knows that it is one of here."""
        self._senders.add(connection.get_server_pid())

    def tell(self, notices: Sequence[Notice]) -> None:
        """Tell the others of this loop what was written."""
        for board in self._those_here():
            if board is not self:
                board.hear(notices)

    def heard(self, _connection: object, sender: int, _channel: str, payload: object) -> None:
        """Take a notification of the server."""
        boards = self._those_here()
        if self in boards and not any(sender in board._senders for board in boards):  # noqa: SLF001  # of its own kind
            self.hear(notices_in(str(payload)))

    def hear(self, notices: Sequence[Notice]) -> None:
        """Tell the listeners."""
        for notice in notices:
            for listener, context in self._listeners:
                try:
                    context.run(listener, notice)
                except Exception:  # noqa: BLE001  # a listener may be anybody's; the log has it
                    logger.exception("a listener of the storage has failed")

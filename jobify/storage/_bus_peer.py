"""One end of a connection of the bus, and what goes over it: messages, each a JSON object on a line of its own."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any, cast

import jobify.storage._forks as forks
from jobify._log import logger

Message = dict[str, Any]

LOOK_AGAIN: Message = {"look": "again"}
"""Messages may have been missed: look at the database."""

LONGEST_LINE = 64 * 1024
"""Bytes of a message, with the end of its line."""

BUFFER = 256 * 1024
"""Bytes that are kept for somebody who does not read, beside those that the kernel keeps."""


class Peer(asyncio.Protocol):
    """One end of a connection: messages in, lines out, both bounded."""

    def __init__(
        self,
        on_message: Callable[[Message], object],
        *,
        on_made: "Callable[[Peer], object] | None",
        on_lost: "Callable[[Peer], object]",
    ) -> None:
        self._on_message = on_message
        self._on_made = on_made
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the connection."""
        self._transport = cast("asyncio.Transport", transport)
        forks.withhold(self._descriptor())
        self.write(to_line(LOOK_AGAIN))
        if self._on_made is not None:
            self._on_made(self)

    def _descriptor(self) -> int:
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if sock is None else cast("int", sock.fileno())

    def data_received(self, data: bytes) -> None:
        """Read the lines that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self.is_open():
                return
            self._read(line)
        if len(self._rest) >= LONGEST_LINE:
            self._refuse("a line that does not end")

    def _read(self, line: bytes) -> None:
        found: Any = None
        if len(line) < LONGEST_LINE:
            with contextlib.suppress(ValueError, RecursionError):
                found = json.loads(line)
        if not isinstance(found, dict):
            self._refuse(repr(line[:80]))
            return
        message = cast("Message", found)
        try:
            self._on_message(message)
        except Exception:  # noqa: BLE001  # a message is a hint, and no reason to lose the bus
            logger.exception("a message of another process led to an error: %r", message)

    def _refuse(self, what: str) -> None:
        if self.is_open():
            logger.warning("the connection to another process is closed, which sent no message, but %s", what)
            self.cut()

    def write(self, line: bytes) -> bool:
        """Send a line; return whether the connection is still there."""
        if self._transport is None or not self.is_open():
            return False
        self._transport.write(line)
        if self._transport.get_write_buffer_size() <= BUFFER:
            return True
        logger.warning("the connection to another process is closed, which does not read")
        self.cut()
        return False

    def is_open(self) -> bool:
        """Whether anything can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def cut(self) -> None:
        """End the connection; the other end sees it at once, whenever this loop turns again, if it ever does."""
        if self._transport is None or not self.is_open():
            return
        # Sockets of uvloop cannot be shut down; and the connection may be gone.
        with contextlib.suppress(OSError, TypeError):
            self._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        if not self._lost.get_loop().is_closed():
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it ended, it is over
        """Take note that there is no connection any more."""
        forks.forget(self._descriptor())
        if not self._lost.done():
            self._lost.set_result(None)
        self._on_lost(self)

    async def wait_lost(self) -> None:
        """Return when the connection is no more; at once on another loop."""
        if self._lost.get_loop() is asyncio.get_running_loop():
            await asyncio.shield(self._lost)


def to_line(message: Message) -> bytes:
    """Return a message as a line.

    Raises:
        TypeError: it has no form in JSON.
        ValueError: the same, or it is longer than `LONGEST_LINE`.
    """
    line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(line) > LONGEST_LINE:
        msg = f"cannot send a message of {len(line)} bytes: it must not be longer than {LONGEST_LINE}"
        raise ValueError(msg)
    return line

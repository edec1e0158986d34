"""How the processes of one database tell each other things: through the one that owns it, without polling.

A message is a hint: it says where to look, and everything true is in the database. One may be lost when a connection
is; so the first message on each, from either side, is `LOOK_AGAIN`. A message is a JSON object on a line of its own.

Who sends something else, or does not read, loses its connection, and nothing else happens.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import jobify.storage._bus_address as addresses
from jobify._clock import Alarm, Clock
from jobify._log import logger
from jobify._steps import Step
from jobify.storage._bus_peer import LOOK_AGAIN, Message, Peer, to_line
from jobify.storage._ownership import Ownership

_PAUSE = 1.0
"""Seconds in which nothing is accepted when there are too many open files."""


class BusServer:
    """The bus, in the process that owns the database.

    Args:
        clock: when to accept again, after there were too many open files.
        on_message: is called on the event loop with each message of a client.
    """

    def __init__(self, clock: Clock, on_message: Callable[[Message], object]) -> None:
        self._clock = clock
        self._on_message = on_message
        self._place: addresses.Place | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pause: Alarm | None = None
        self._arriving: set[Step[None]] = set()
        self._peers: set[Peer] = set()
        self._process = os.getpid()

    def start(self, owner: Ownership) -> Path | None:
        """Let clients come, and return where; None if there can be no socket: then all have to poll.

        Only an owner may start it: it removes what a dead one has left.

        Raises:
            RuntimeError: the ownership is not held, or the bus is there already.
        """
        if self._place is not None or not owner.is_held():
            msg = f"cannot start a bus with {owner!r}: {'it has one' if self._place else 'it was released'}"
            raise RuntimeError(msg)
        self._loop = asyncio.get_running_loop()
        place = self._place = addresses.listen(owner.path)
        if place is None:
            return None
        try:
            self._loop.add_reader(place.listener, self._accept)
        except NotImplementedError:  # a loop without such things
            self._place = None
            place.vacate()
            addresses.close(place.listener)
            return None
        return place.address

    def _accept(self) -> None:
        if self._place is None or self._loop is None:
            return
        try:
            sock = addresses.accept(self._place.listener)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # too many open files: the client stays where it is
            logger.exception("the bus cannot accept a connection, and will try again")
            self._loop.remove_reader(self._place.listener)
            self._pause = self._clock.call_at(self._clock.monotonic() + _PAUSE, self._resume)
            return
        step = Step(self._adopt(sock), loop=self._loop)
        self._arriving.add(step)
        step.add_done_callback(self._arriving.discard)

    def _resume(self) -> None:
        if self._place is not None and self._loop is not None:
            self._loop.add_reader(self._place.listener, self._accept)

    async def _adopt(self, sock: socket.socket) -> None:
        peer = Peer(self._on_message, on_made=self._welcome, on_lost=self._lose)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: peer, sock)
        except BaseException as error:
            addresses.close(sock)
            if not isinstance(error, OSError):
                raise

    def _lose(self, peer: Peer) -> None:
        """What its process wrote at the end it may not have told any more."""
        if peer in self._peers:
            self._peers.discard(peer)
            if self._place is not None:
                self._on_message(dict(LOOK_AGAIN))

    def _welcome(self, peer: Peer) -> None:
        self._peers.add(peer)
        if self._place is None:  # it was closed meanwhile
            peer.cut()

    def broadcast(self, message: Message) -> None:
        """Send a message to all clients. Who has not read for too long is dropped.

        Raises:
            TypeError: the message has no form in JSON.
            ValueError: it is longer than `LONGEST_LINE`.
        """
        line = to_line(message)
        for peer in list(self._peers):
            peer.write(line)

    def vacate(self) -> None:
        """Let no more clients come, and remove the file of the socket; those that are there stay."""
        place, self._place = self._place, None
        if place is None or self._loop is None or self._process != os.getpid():
            return
        place.vacate()
        if self._pause is not None:
            self._pause.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(place.listener)
        addresses.close(place.listener)

    def cut(self) -> None:
        """Vacate, and end all connections, at once."""
        self.vacate()
        for peer in list(self._peers):
            peer.cut()

    async def close(self) -> None:
        """End all connections, and remove the file of the socket; harmless if repeated."""
        self.cut()
        if self._loop is not asyncio.get_running_loop():
            return
        if self._arriving:
            await asyncio.wait(list(self._arriving))
        for peer in list(self._peers):
            await peer.wait_lost()


class BusClient:
    """The bus, in a process that does not own the database.

    Args:
        on_message: is called on the event loop with each message of the owner.
        on_lost: is called on the event loop when a connection that `connect` has made ends, but not by `close`: the
            owner is gone, or has dropped this client.
    """

    def __init__(self, on_message: Callable[[Message], object], on_lost: Callable[[], object]) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._peer: Peer | None = None

    async def connect(self, path: str | os.PathLike[str]) -> bool:
        """Connect to the owner of a database; return whether somebody is there."""
        sock = addresses.reach(Path(os.path.realpath(path)))
        if sock is None:
            return False
        peer = Peer(self._on_message, on_made=None, on_lost=self._lose)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: peer, sock=sock)
        except BaseException as error:
            peer.cut()
            addresses.close(sock)
            if isinstance(error, OSError):
                return False
            raise
        if not peer.is_open():
            return False
        self.cut()
        self._peer = peer
        return True

    def _lose(self, peer: Peer) -> None:
        if peer is self._peer:
            self._peer = None
            self._on_lost()

    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._peer is not None

    def send(self, message: Message) -> bool:
        """Send a message to the owner; return whether there is a connection.

        Raises:
            TypeError: the message has no form in JSON.
            ValueError: it is longer than `LONGEST_LINE`.
        """
        line = to_line(message)
        return self._peer is not None and self._peer.write(line)

    def cut(self) -> None:
        """End the connection at once."""
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.cut()

    async def close(self) -> None:
        """End the connection; harmless if repeated."""
        peer = self._peer
        self.cut()
        if peer is not None:
            await peer.wait_lost()

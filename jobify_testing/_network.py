"""The doors of the loop to the network: what is under way on connections holds time, idle ones do not.

Time waits for

- a connect, until it has succeeded or failed;
- a TLS handshake, of a client, of a server, or by `start_tls`;
- the answer to what was written: a stream that was written to holds until it is read from, or closed. Under TLS
  that goes by the data, not by the records below;
- a moment in which more may follow, in real time: a greeting or a request on a new connection, for a quarter of a
  second; a further part of an answer, for eight times as long as the first took, which is between ten
  milliseconds and a quarter of a second;
- bytes, their end, or a new connection on the way between two sockets of this loop: until they have arrived, and
  only if somebody reads, or accepts, there. For anything else both ends of such a connection live on virtual
  time: a server that takes a minute to answer takes a minute, a handshake that nobody answers times out.

What is never answered lets no time pass: `holds={"socket": "ignore"}` does. What is long in coming by itself, as
the news of a subscription, does not hold: `hold()` does.

Listening and idle sockets hold nothing, nor do the answers of a server to a client in another thread of this
process, which may keep its connection. Datagrams hold nothing: they may get lost, and none need be answered.
Pipes hold nothing: those of a subprocess are seen to by that process, and what is in the others is there at
once. Connections that a library only watches, by `add_reader` and `add_writer`, are not known here.
"""

import asyncio
import contextlib
import selectors
import socket
import weakref
from collections import Counter
from collections.abc import Generator
from typing import Any

from jobify_testing._connections import Connections
from jobify_testing._ends import End, NotedSocket, seal, shut_file
from jobify_testing._owner import owner_in
from jobify_testing._subprocesses import SubprocessLoop


class NetworkLoop(SubprocessLoop):
    """A loop that waits for what is under way on its connections.

    Attributes:
        connections: the ledger of these.
    """

    _selector: Any

    def __init__(self) -> None:
        super().__init__()
        self._files = self._selector.get_map()
        self.connections = Connections(self, self.holds, self._files)
        self._servers: weakref.WeakSet[asyncio.AbstractServer] = weakref.WeakSet()
        self._accepting: Counter[Any] = Counter()
        self._ends: weakref.WeakKeyDictionary[asyncio.BaseTransport, End] = weakref.WeakKeyDictionary()

    # Connecting

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """Connect to a server.

        Raises:
            ForbiddenWorkError: this test forbids sockets.
        """
        self.holds.check("socket", f"a connection to {host}:{port}")
        return await super().create_connection(protocol_factory, host, port, **options)

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **options: Any) -> Any:
        """Connect to a server at a path.

        Raises:
            ForbiddenWorkError: this test forbids sockets.
        """
        self.holds.check("socket", f"a connection to {path}")
        return await super().create_unix_connection(protocol_factory, path, **options)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Connect a socket.

        Raises:
            ForbiddenWorkError: this test forbids sockets.
        """
        with self.holds.during("socket", f"a connect to {address}"):
            await super().sock_connect(sock, address)
        self.connections.meet(sock)

    # Serving

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """Make a server."""
        server = await super().create_server(*arguments, **options)
        self._servers.add(server)
        return server

    async def create_unix_server(self, *arguments: Any, **options: Any) -> Any:
        """Make a server at a path."""
        server = await super().create_unix_server(*arguments, **options)
        self._servers.add(server)
        return server

    async def sock_accept(self, sock: Any) -> Any:
        """Accept a connection."""
        self._accepting[sock] += 1
        try:
            connection, address = await super().sock_accept(sock)
        finally:
            self._accepting[sock] -= 1
            self._accepting += Counter()  # without those at which nobody waits
        self.connections.meet(connection, accepted=True)
        return connection, address

    def listeners(self) -> list[Any]:
        """Return the sockets at which this loop accepts connections."""
        serving = [sock for server in self._servers for sock in getattr(server, "sockets", ())]
        return serving + list(self._accepting) + [key.fileobj for key in self._files.values() if _listens(key.fileobj)]

    # Transports. Private is what makes them: it is the one place that servers and clients of all kinds pass

    def _make_socket_transport(self, sock: Any, protocol: Any, waiter: Any = None, **options: Any) -> Any:
        base: Any = super()
        end = self.connections.meet(sock, accepted=options.get("server") is not None)
        if end is None:
            return base._make_socket_transport(sock, protocol, waiter, **options)  # noqa: SLF001  # see above
        end.is_raw = False
        transport = base._make_socket_transport(NotedSocket(sock, end), protocol, waiter, **options)  # noqa: SLF001  # see above
        self._ends[transport] = end
        return transport

    def _make_ssl_transport(self, sock: Any, protocol: Any, context: Any, waiter: Any = None, **options: Any) -> Any:
        base: Any = super()
        end = self.connections.meet(sock, accepted=options.get("server") is not None)
        if end is None:
            return base._make_ssl_transport(sock, protocol, context, waiter, **options)  # noqa: SLF001  # see above
        end.is_raw = False
        transport = base._make_ssl_transport(NotedSocket(sock, end), protocol, context, waiter, **options)  # noqa: SLF001  # see above
        self._ends[transport] = end
        seal(end, transport)
        if waiter is not None:

            def shaken(_: object) -> None:
                end.has_shaken_hands()

            end.shakes_hands()
            waiter.add_done_callback(shaken)
        return transport

    async def start_tls(self, transport: Any, *arguments: Any, **options: Any) -> Any:
        """Go on with TLS on a transport.

        Raises:
            ForbiddenWorkError: this test forbids sockets.
        """
        self.holds.check("socket", "a TLS handshake")
        end = self._ends.get(transport) if isinstance(transport, asyncio.BaseTransport) else None
        if end is None:
            return await super().start_tls(transport, *arguments, **options)
        end.shakes_hands()
        try:
            sealed = await super().start_tls(transport, *arguments, **options)
        finally:
            end.has_shaken_hands()
        if sealed is not None:
            self._ends[sealed] = end
            seal(end, sealed)
        return sealed

    # Raw sockets

    async def sock_sendall(self, sock: Any, data: Any) -> None:
        """Send all of some data.

        Raises:
            ForbiddenWorkError: this test forbids sockets.
        """
        self.holds.check("socket", "a send on a socket")
        end = self.connections.meet(sock)
        if end is not None:
            self.connections.is_written_to(end)
        await super().sock_sendall(sock, data)
        if end is not None:
            end.sent += len(data)

    async def sock_sendto(self, sock: Any, data: Any, address: Any) -> int:
        """Send a datagram.

        Raises:
            ForbiddenWorkError: this test forbids sockets.
        """
        self.holds.check("socket", f"a datagram to {address}")
        return await super().sock_sendto(sock, data, address)

    async def sock_sendfile(self, sock: Any, *arguments: Any, **options: Any) -> int:
        """Send a file, on a socket or on that of a transport.

        Raises:
            ForbiddenWorkError: this test forbids sockets.
        """
        self.holds.check("socket", "a file on a socket")
        end = sock.end if isinstance(sock, NotedSocket) else self.connections.meet(sock)
        if end is not None:
            self.connections.is_written_to(end)
        its: Any = sock
        count = await super().sock_sendfile(its, *arguments, **options)
        if end is not None:
            end.sent += count
        return count

    async def sock_recv(self, sock: Any, n: int) -> bytes:
        """Receive."""
        end = self.connections.meet(sock)
        with _reading(end):
            data = await super().sock_recv(sock, n)
        if end is not None:
            end.was_read(len(data))
        return data

    async def sock_recv_into(self, sock: Any, buf: Any) -> int:
        """Receive into a buffer."""
        end = self.connections.meet(sock)
        with _reading(end):
            count = await super().sock_recv_into(sock, buf)
        if end is not None:
            end.was_read(count)
        return count

    def cut_off(self, owner: object) -> None:
        """Watch nothing more that belongs to `owner`, which was killed, and shut its sockets, as a system does."""
        super().cut_off(owner)
        self.connections.cut_off(owner)
        for file, key in list(self._files.items()):
            if any(handle is not None and owner_in(handle._context) is owner for handle in key.data):  # noqa: SLF001  # nothing else tells whose it is
                self._selector.unregister(file)
                shut_file(file)

    def _process_events(self, event_list: list[tuple[selectors.SelectorKey, int]]) -> None:
        base: Any = super()
        self.connections.saw(event_list)
        base._process_events(event_list)  # noqa: SLF001  # what a loop on a selector does with events


def _listens(sock: object) -> bool:
    """Whether something that is watched is a socket at which a library accepts connections itself."""
    if not isinstance(sock, socket.socket):
        return False
    with contextlib.suppress(OSError):
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return False


@contextlib.contextmanager
def _reading(end: End | None) -> Generator[None, None, None]:
    if end is None:
        yield
        return
    end.readers += 1
    try:
        yield
    finally:
        end.readers -= 1

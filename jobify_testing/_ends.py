"""One end of a connection: what has gone through it, and who says so."""

import contextlib
import errno
import os
import socket
import stat
import struct
import sys
import time
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeGuard

from jobify_testing._owner import owner_in

try:
    import ssl
except ImportError:  # a Python without TLS
    ssl = None  # type: ignore[assignment]

Address = tuple[str, int] | str | bytes

LONGEST = 0.25
"""Real seconds in which the first bytes come on a connection that is made: a greeting, or a request."""

SHORTEST = 0.01
"""Real seconds in which further parts of an answer follow, at the least; if it was long in coming, they are, too."""

_UNIX = getattr(socket, "AF_UNIX", None)
_STREAMS = (socket.AF_INET, socket.AF_INET6, _UNIX)


def is_stream(sock: object) -> TypeGuard[socket.socket]:
    """Whether something is a socket whose other end can be waited for."""
    return isinstance(sock, socket.socket) and sock.type == socket.SOCK_STREAM and sock.family in _STREAMS


class End:
    """One end of a connection, as far as a loop has had to do with it.

    Args:
        sock: the socket, which is connected.
        under_way: what is to be looked at before time moves.
        accepted: whether a server of the loop has accepted it, so that the other end is that of a client.

    Attributes:
        name: its own address.
        peer: that of the other end; None if it is not connected.
        sent: how many bytes have gone in.
        received: how many have come out.
        shut: whether no more will go in.
        ended: whether no more will come out.
        is_new: whether the other end may still have to be accepted.
        shaking_hands: whether its TLS handshake is in progress.
        is_sealed: whether TLS says what is data on it: a session ticket is no answer.
        is_raw: whether it is used by `sock_recv` and its like, and not by a transport.
        readers: how many of those wait for bytes.
        unanswered: whether data was written to it, and none read from it since.
        quiet_at: when nothing more is likely to come by itself, on the real monotonic clock.
        is_outside: whether nothing but its answer tells what the other end does; None if that is not known.
        owner: the start of an app that it belongs to, if there is one.
    """

    def __init__(self, sock: socket.socket, under_way: "dict[End, None]", *, accepted: bool) -> None:
        self.name, self.peer = _addresses_of(sock)
        self.is_unix = sock.family == _UNIX
        self.accepted = accepted
        self.sent = self.received = 0
        self.shut = self.ended = False
        self.is_new = not accepted and self.is_local()
        self.shaking_hands = self.is_sealed = False
        self.is_raw = True
        self.readers = 0
        self.unanswered = False
        self.quiet_at = self._written_at = 0.0
        self._pause = SHORTEST
        self.is_outside: bool | None = None
        self.owner = owner_in(None)
        self._sock = weakref.ref(sock)
        self._under_way = under_way

    def __str__(self) -> str:
        other = self.peer or "its pair"
        address = f"{other[0]}:{other[1]}" if isinstance(other, tuple) else os.fsdecode(other)
        return f"the socket {'from' if self.accepted else 'to'} {address}"

    def is_local(self) -> bool:
        """Whether both ends have an address of this machine."""
        if not isinstance(self.name, tuple) or not isinstance(self.peer, tuple):
            return False
        hosts = (self.name[0], self.peer[0])
        return hosts[0] == hosts[1] or all(host.startswith("127.") for host in hosts)

    def process_behind(self) -> int | None:
        """Return the process that has made the other end of a Unix socket; None if the system does not tell."""
        sock = self._sock()
        with contextlib.suppress(OSError):
            if sock is not None and sys.platform == "linux":
                return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
            if sock is not None and sys.platform == "darwin":
                return sock.getsockopt(0, 2)  # SOL_LOCAL, LOCAL_PEERPID
        return None

    @property
    def file(self) -> int:
        """The number of its file; -1 if it is closed."""
        sock = self._sock()
        return -1 if sock is None else sock.fileno()

    # What happens to it

    def is_under_way(self) -> None:
        """Have it looked at before time moves."""
        self._under_way[self] = None

    def is_made(self) -> None:
        """Take note that it can be used from now on."""
        self.quiet_at = time.monotonic() + LONGEST
        self.is_under_way()

    def shakes_hands(self) -> None:
        """Take note that its TLS handshake begins."""
        self.shaking_hands = True
        self.is_under_way()

    def has_shaken_hands(self) -> None:
        """Take note that it has ended."""
        self.shaking_hands = False
        self.is_made()

    def is_written_to(self) -> None:
        """Take note that data is about to be written."""
        self.is_under_way()
        if not self.ended and not self.unanswered:
            self.unanswered = True
            self._written_at = time.monotonic()

    def is_answered(self) -> None:
        """Take note that data was read, or can be."""
        now = time.monotonic()
        if self.unanswered:
            self.unanswered = False
            self._pause = min(max(8 * (now - self._written_at), SHORTEST), LONGEST)
        self.quiet_at = now + self._pause
        self.is_under_way()

    def was_read(self, count: int) -> None:
        """Take note of how many bytes were read; none is the end."""
        self.received += count
        if not count:
            self.ended = True
            self.unanswered = False
        elif not self.is_sealed:
            self.is_answered()

    def cut_off(self) -> None:
        """Let the other end see that the program of this one was killed; nobody here will ever read or write again."""
        self.shut = self.ended = True
        self.shaking_hands = self.unanswered = False
        self.is_under_way()
        if self.file >= 0:
            shut_file(self.file)


class NotedSocket:
    """The socket of a transport, which tells its end what goes through it."""

    def __init__(self, sock: socket.socket, end: End) -> None:
        self.end = end
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def __repr__(self) -> str:
        return repr(self._sock)

    def send(self, *arguments: Any) -> int:
        """Send."""
        self._is_written_to()
        count = self._sock.send(*arguments)
        self.end.sent += count
        return count

    def sendmsg(self, *arguments: Any) -> int:
        """Send what is in several buffers."""
        self._is_written_to()
        count = self._sock.sendmsg(*arguments)
        self.end.sent += count
        return count

    def _is_written_to(self) -> None:
        if self.end.is_sealed:
            self.end.is_under_way()
        else:
            self.end.is_written_to()

    def recv(self, *arguments: Any) -> bytes:
        """Receive."""
        data = self._sock.recv(*arguments)
        self.end.was_read(len(data))
        return data

    def recv_into(self, *arguments: Any) -> int:
        """Receive into a buffer."""
        count = self._sock.recv_into(*arguments)
        self.end.was_read(count)
        return count

    def shutdown(self, how: int) -> None:
        """Shut one direction, or both."""
        self._sock.shutdown(how)
        self.end.shut = True
        self.end.is_under_way()

    def close(self) -> None:
        """Close."""
        self.end.is_under_way()
        self._sock.close()


def seal(end: End, transport: object) -> None:
    """Have the TLS of a transport tell what is data; if its insides have changed, all that goes through is."""
    tls: Any = getattr(getattr(transport, "_ssl_protocol", None), "_sslobj", None)
    if ssl is not None and type(tls) is ssl.SSLObject:  # pyright: ignore[reportUnnecessaryComparison]  # see above
        tls.__class__ = _NotedTLS
        vars(tls)["jobify_end"] = end
        end.is_sealed = True


if ssl is not None:  # pyright: ignore[reportUnnecessaryComparison]  # see above

    class _NotedTLS(ssl.SSLObject):
        """The TLS of a transport, which tells its end of data, and not of tickets and changes of keys."""

        jobify_end: End

        def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002  # as in the original
            """Read data."""
            data = super().read(len, buffer)
            self.jobify_end.is_answered()
            return data

        def write(self, data: Any) -> int:
            """Write data."""
            self.jobify_end.is_written_to()
            return super().write(data)

        def unwrap(self) -> None:
            """Say that no more data comes, which is to be answered in kind."""
            self.jobify_end.is_written_to()
            super().unwrap()


def _addresses_of(sock: socket.socket) -> tuple[Address | None, Address | None]:
    try:
        return plain(sock.getsockname()), plain(sock.getpeername())
    except OSError:
        return None, None


def plain(address: Any) -> Address | None:
    """Return an address so that the two ends of a connection have the same one for each of them."""
    if isinstance(address, tuple):
        host, port, *_ = (*address, None)  # pyright: ignore[reportUnknownVariableType]  # addresses are untyped
        return str(host).removeprefix("::ffff:"), port  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # the same
    return address if isinstance(address, str | bytes) else None


def has_socket_at(address: Address | None) -> bool:
    """Whether a socket of this process has an address as its own."""
    try:
        files = [int(file.name) for file in Path("/dev/fd").iterdir()]
    except OSError:  # the system does not tell
        return False
    return any(_address_of_file(file) == address for file in files)


def _address_of_file(file: int) -> Address | None:
    with contextlib.suppress(OSError), _borrowed(file) as sock:
        return plain(sock.getsockname())
    return None


def shut_file(file: int) -> None:
    """Shut a socket in both directions, if the file is one; it stays open, so that its number is not given away."""
    with contextlib.suppress(OSError), _borrowed(file) as sock:
        sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _borrowed(file: int) -> Generator[socket.socket, None, None]:
    if not stat.S_ISSOCK(os.fstat(file).st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    sock = socket.socket(fileno=file)
    try:
        yield sock
    finally:
        sock.detach()

"""What is under way on a network holds virtual time; what only waits there does not."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from pathlib import Path

import pytest

from jobify import Jobify
from jobify.storage import MemoryStorage
from jobify_testing import ForbiddenWorkError, VirtualClock, VirtualDeadlockError, VirtualLoop, VirtualOptions, crash
from tests.outside import Address, Outside, client_tls, server_tls, take_a_while

pytestmark = pytest.mark.virtual_clock

NEVER = pytest.mark.virtual_clock(patience=300.0, grace=300.0)
"""Whoever waits in real time, for what does not come, is noticed: the test does not end."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def outside() -> Iterator[Outside]:
    """A thread that began before the loop."""
    thread = Outside()
    yield thread
    thread.close()


@pytest.fixture
def unix_path() -> Iterator[str]:
    """A path that is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "socket")  # noqa: PTH118  # it is a name for a socket


@contextlib.asynccontextmanager
async def connected(
    *address: object, **options: object
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and close at the end."""
    reader, writer = await asyncio.open_connection(*address, **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it takes all of them
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


def answer_late(connection: socket.socket) -> None:
    """Answer a line, after some real work."""
    line = connection.recv(100)
    take_a_while()
    connection.sendall(line.upper())
    connection.recv(100)


def say_nothing(connection: socket.socket) -> None:
    """Read until the end."""
    while connection.recv(100):
        pass


async def echo_after_a_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line a second later."""
    while line := await reader.readline():
        await asyncio.sleep(1)
        writer.write(line.upper())
    writer.close()
    await writer.wait_closed()


# What is outside holds time until it answers


@pytest.mark.slow
async def test_an_answer_from_outside_is_there_before_time_moves(outside: Outside, virtual_clock: VirtualClock) -> None:
    """E34: what was written to a stream holds time until the answer is read, and no longer."""
    async with connected(*outside.serve(answer_late)) as (reader, writer):
        async with asyncio.timeout(5):
            writer.write(b"hello\n")
            assert await reader.readline() == b"HELLO\n"
        assert virtual_clock.monotonic() == 0
        await asyncio.sleep(60)
        assert virtual_clock.monotonic() == 60


@pytest.mark.slow
async def test_an_answer_on_a_raw_socket_is_there_before_time_moves(
    outside: Outside, virtual_clock: VirtualClock
) -> None:
    """E34: the same goes for `sock_sendall` and `sock_recv`."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        async with asyncio.timeout(5):
            await loop.sock_connect(sock, outside.serve(answer_late))
            await loop.sock_sendall(sock, b"hello\n")
            assert await loop.sock_recv(sock, 100) == b"HELLO\n"
        assert virtual_clock.monotonic() == 0
        await asyncio.sleep(60)


@pytest.mark.slow
async def test_an_answer_that_is_read_by_hand_is_there_before_time_moves(
    outside: Outside, virtual_clock: VirtualClock
) -> None:
    """E34: who sends by the loop may read by other means: the answer is waited for, and the reading is seen."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, outside.serve(answer_late))
        await loop.sock_sendall(sock, b"hello\n")
        await asyncio.sleep(1)
        assert sock.recv(100) == b"HELLO\n"
        await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 61


@pytest.mark.slow
async def test_an_answer_that_a_reader_of_the_loop_reads_is_there_before_time_moves(
    outside: Outside, virtual_clock: VirtualClock
) -> None:
    """E34: `add_reader` is such a means, too."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, outside.serve(answer_late))
        answer: asyncio.Future[bytes] = loop.create_future()
        loop.add_reader(sock, lambda: answer.set_result(sock.recv(100)))
        await loop.sock_sendall(sock, b"hello\n")
        async with asyncio.timeout(5):
            assert await answer == b"HELLO\n"
        loop.remove_reader(sock)
        await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60


@pytest.mark.slow
async def test_an_answer_may_come_in_parts(outside: Outside, virtual_clock: VirtualClock) -> None:
    """E34: a part that is not longer in coming than the first is there before time moves, too."""

    def answer_in_parts(connection: socket.socket) -> None:
        connection.recv(100)
        take_a_while(5)
        for part in (b"one, ", b"two, ", b"three\n"):
            take_a_while(0.1)  # on a busy machine a part may take many times longer than it should
            connection.sendall(part)
        connection.recv(100)

    async with connected(*outside.serve(answer_in_parts)) as (reader, writer), asyncio.timeout(5):
        writer.write(b"hello\n")
        assert await reader.readline() == b"one, two, three\n"
    assert virtual_clock.monotonic() == 0


@pytest.mark.slow
async def test_a_greeting_is_there_before_time_moves(outside: Outside, virtual_clock: VirtualClock) -> None:
    """E34: a server that speaks first is given a moment to do so."""

    def greet(connection: socket.socket) -> None:
        take_a_while()
        connection.sendall(b"welcome\n")
        connection.recv(100)

    async with connected(*outside.serve(greet)) as (reader, _), asyncio.timeout(5):
        assert await reader.readline() == b"welcome\n"
    assert virtual_clock.monotonic() == 0


@pytest.mark.slow
async def test_the_end_of_a_connection_is_an_answer(outside: Outside, virtual_clock: VirtualClock) -> None:
    """E34: a peer that closes instead of answering holds time no longer."""
    async with connected(*outside.serve(lambda connection: connection.recv(100))) as (reader, writer):
        async with asyncio.timeout(5):
            writer.write(b"quit\n")
            assert await reader.read() == b""
        await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60


@pytest.mark.slow
@NEVER
async def test_a_closed_socket_awaits_no_answer(outside: Outside, virtual_clock: VirtualClock) -> None:
    """E34: who closes a stream, or a socket, without an answer lets time pass."""
    loop = asyncio.get_running_loop()
    async with connected(*outside.serve(say_nothing)) as (_, writer):
        writer.write(b"never mind\n")
    await asyncio.sleep(60)
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, outside.serve(say_nothing))
        await loop.sock_sendall(sock, b"never mind\n")
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 120


@pytest.mark.slow
@NEVER
async def test_who_does_not_read_awaits_no_answer(outside: Outside, virtual_clock: VirtualClock) -> None:
    """E34: a transport that pauses its reading cannot get an answer, so time passes."""
    async with connected(*outside.serve(answer_late)) as (reader, writer):
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        writer.write(b"hello\n")
        await asyncio.sleep(60)
        transport.resume_reading()
        assert await reader.readline() == b"HELLO\n"
    assert virtual_clock.monotonic() == 60


@pytest.mark.slow
@NEVER
async def test_a_client_that_keeps_its_connection_holds_nothing(outside: Outside, virtual_clock: VirtualClock) -> None:
    """E34: a client in another thread has its answer; it owes none, however long it keeps the connection."""
    loop = asyncio.get_running_loop()
    answered, leaving, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await leaving.wait()
        writer.close()
        await writer.wait_closed()
        left.set()

    def ask(connection: socket.socket) -> None:
        connection.sendall(b"hello\n")
        assert connection.recv(100) == b"hello\n"
        loop.call_soon_threadsafe(answered.set)
        assert connection.recv(100) == b""

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        outside.connect(server.sockets[0].getsockname(), ask)
        await answered.wait()
        await asyncio.sleep(60)
        assert virtual_clock.monotonic() == 60
        leaving.set()
        await left.wait()


# TLS


@pytest.mark.slow
async def test_a_handshake_of_a_client_holds_time(
    outside: Outside, virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    """E34: a server outside may take its time over the handshake, and over the answer behind it."""
    tls = server_tls(tmp_path)

    def shake_hands_late(connection: socket.socket) -> None:
        take_a_while()
        with tls.wrap_socket(connection, server_side=True) as sealed:
            answer_late(sealed)

    async with asyncio.timeout(5):
        async with connected(*outside.serve(shake_hands_late), ssl=client_tls()) as (reader, writer):
            writer.write(b"hello\n")
            assert await reader.readline() == b"HELLO\n"
    assert virtual_clock.monotonic() == 0


@pytest.mark.slow
async def test_a_handshake_of_a_server_holds_time(
    outside: Outside, virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    """E34: so may a client outside."""
    answered = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        answered.set()
        writer.transport.abort()

    def ask_late(connection: socket.socket) -> None:
        take_a_while()
        with client_tls().wrap_socket(connection) as sealed:
            sealed.sendall(b"hello\n")
            with contextlib.suppress(OSError):
                sealed.recv(100)

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_tls(tmp_path), ssl_handshake_timeout=5)
    async with server:
        with virtual_clock.hold("the client, until it has connected"):
            outside.connect(server.sockets[0].getsockname(), ask_late)
            await asyncio.wait_for(answered.wait(), 5)
    assert virtual_clock.monotonic() == 0


@pytest.mark.slow
async def test_a_connection_that_goes_on_with_tls_holds_time(
    outside: Outside, virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    """E34: the handshake of `start_tls` is one as well, and what is said behind it is answered."""
    tls = server_tls(tmp_path)

    def go_on_with_tls(connection: socket.socket) -> None:
        assert connection.recv(100) == b"STARTTLS\n"
        connection.sendall(b"go ahead\n")
        take_a_while()
        with tls.wrap_socket(connection, server_side=True) as sealed:
            answer_late(sealed)

    async with connected(*outside.serve(go_on_with_tls)) as (reader, writer), asyncio.timeout(5):
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(client_tls())
        writer.write(b"hello\n")
        assert await reader.readline() == b"HELLO\n"
    assert virtual_clock.monotonic() == 0


@NEVER
async def test_a_handshake_within_the_loop_times_out_in_virtual_time(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    """E34: where the client is of this loop, and never shakes hands, the server gives it up in virtual time."""
    server = await asyncio.start_server(
        echo_after_a_second, "127.0.0.1", 0, ssl=server_tls(tmp_path), ssl_handshake_timeout=20
    )
    async with server, connected(*server.sockets[0].getsockname()) as (reader, _):
        assert await reader.read() == b""
    assert virtual_clock.monotonic() == 20


# Both ends in one loop


@NEVER
@pytest.mark.parametrize("kind", ["tcp", "ipv6", "unix", "tls"])
async def test_a_server_in_the_same_loop_takes_virtual_time(
    kind: str, virtual_clock: VirtualClock, unix_path: str, tmp_path: Path
) -> None:
    """E34: three answers of a handler that sleeps a second before each take exactly three virtual seconds."""
    if kind == "unix":
        server = await asyncio.start_unix_server(echo_after_a_second, unix_path)
        reader, writer = await asyncio.open_unix_connection(unix_path)
    else:
        host = "::1" if kind == "ipv6" else "127.0.0.1"
        if kind == "ipv6" and not _has_ipv6():
            pytest.skip("this machine has no IPv6")
        tls = server_tls(tmp_path) if kind == "tls" else None
        server = await asyncio.start_server(echo_after_a_second, host, 0, ssl=tls)
        address = server.sockets[0].getsockname()[:2]
        reader, writer = await asyncio.open_connection(*address, ssl=client_tls() if tls else None)
    async with server:
        for n in range(3):
            async with asyncio.timeout(1.001):
                writer.write(f"line {n}\n".encode())
                assert await reader.readline() == f"LINE {n}\n".encode()
        assert virtual_clock.monotonic() == 3
        writer.close()
        await writer.wait_closed()
    assert virtual_clock.monotonic() == 3


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@NEVER
async def test_a_server_that_speaks_first_is_heard_before_time_moves(virtual_clock: VirtualClock) -> None:
    """E34: a connection that is not accepted yet is on its way, and so is a greeting, and the end."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "0.0.0.0", 0)  # noqa: S104  # any address of this machine is one of this loop
    async with server:
        for _ in range(100):
            async with connected("127.0.0.1", server.sockets[0].getsockname()[1]) as (reader, _), asyncio.timeout(1):
                assert await reader.read() == b"welcome\n"
    assert virtual_clock.monotonic() == 0


@NEVER
async def test_a_great_lot_of_bytes_takes_no_time(virtual_clock: VirtualClock) -> None:
    """E34: eight megabytes go there and back, through full buffers and pauses, at one instant."""
    lot = os.urandom(8_000_000)

    async def send_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(100_000):
            writer.write(part)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(send_back, "127.0.0.1", 0)
    async with server, connected(*server.sockets[0].getsockname()) as (reader, writer), asyncio.timeout(1):
        sending = asyncio.ensure_future(_send(writer, lot))
        assert await reader.readexactly(len(lot)) == lot
        await sending
    assert virtual_clock.monotonic() == 0


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


@NEVER
async def test_raw_sockets_of_one_loop_take_virtual_time(virtual_clock: VirtualClock) -> None:
    """E34: `sock_accept` and its like, too: bytes are on their way only as long as somebody waits for them."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as left:
        for sock in (listener, left):
            sock.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await loop.sock_connect(left, listener.getsockname())
        right, _ = await accepting
        with right:
            await loop.sock_sendall(left, b"hello")
            await asyncio.sleep(1)
            buffer = bytearray(10)
            assert await loop.sock_recv_into(right, buffer) == 5
            reading = asyncio.ensure_future(loop.sock_recv(left, 100))
            await asyncio.sleep(1)
            await loop.sock_sendall(right, b"answer")
            async with asyncio.timeout(1):
                assert await reading == b"answer"
            right.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(1):
                assert await loop.sock_recv(left, 100) == b""
    assert virtual_clock.monotonic() == 2


@NEVER
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "transport"])
async def test_a_pair_of_sockets_takes_virtual_time(raw: bool, virtual_clock: VirtualClock) -> None:  # noqa: FBT001  # a parameter
    """E34: the other end of a pair is in this process: what stands in it holds nothing."""
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        if raw:
            await loop.sock_sendall(left, b"hello")
            await asyncio.sleep(1)
        else:
            async with connected(sock=left) as (_, writer):
                writer.write(b"hello")
                await asyncio.sleep(1)
        assert await loop.sock_recv(right, 100) == b"hello"
    assert virtual_clock.monotonic() == 1


@NEVER
async def test_who_pauses_its_reading_does_not_hold_time(virtual_clock: VirtualClock) -> None:
    """E34: bytes that stand before a transport that is paused are not on their way."""
    paused = asyncio.Event()

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        paused.set()
        await asyncio.sleep(60)
        transport.resume_reading()
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(read_late, "127.0.0.1", 0)
    async with server, connected(*server.sockets[0].getsockname()) as (reader, writer):
        await paused.wait()
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
    assert virtual_clock.monotonic() == 60


@pytest.mark.virtual_clock(grace=0.01, patience=300.0)
async def test_what_is_read_past_the_loop_does_not_hold_time_for_ever(virtual_clock: VirtualClock) -> None:
    """E34: bytes that somebody has taken without the loop are believed to have arrived, after a moment."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        async with connected(*listener.getsockname()) as (_, writer):
            sock, _ = await accepting
            with sock:
                writer.write(b"hello")
                assert await _readable(sock)
                assert sock.recv(100) == b"hello"
                reading = asyncio.ensure_future(loop.sock_recv(sock, 100))
                await asyncio.sleep(1)
                writer.write(b"again")
                assert await reading == b"again"
    assert virtual_clock.monotonic() == 1


async def _readable(sock: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[bool] = loop.create_future()

    def note() -> None:
        if not readable.done():
            readable.set_result(True)

    loop.add_reader(sock, note)
    try:
        return await readable
    finally:
        loop.remove_reader(sock)


@NEVER
async def test_a_file_that_is_sent_takes_no_time(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    """E34: `sendfile` is a write like any other."""
    loop = asyncio.get_running_loop()
    (tmp_path / "file").write_bytes(b"x" * 500_000 + b"\n")
    received: asyncio.Future[int] = loop.create_future()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(len(await reader.read(-1)))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    with (tmp_path / "file").open("rb") as file:
        async with server, asyncio.timeout(1):
            async with connected(*server.sockets[0].getsockname()) as (_, writer):
                assert await loop.sendfile(writer.transport, file) == 500_001
            assert await received == 500_001
    assert virtual_clock.monotonic() == 0


@NEVER
async def test_datagrams_hold_nothing(virtual_clock: VirtualClock) -> None:
    """E34: a datagram may get lost, so none is waited for; one within the machine is there at once."""
    loop = asyncio.get_running_loop()

    class Echo(asyncio.DatagramProtocol):
        transport: asyncio.DatagramTransport

        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # it is one
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Address) -> None:
            loop.call_later(1, self.transport.sendto, data.upper(), addr)

    answered: asyncio.Future[bytes] = loop.create_future()

    class Ask(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Address) -> None:
            answered.set_result(data)

    server, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    client, _ = await loop.create_datagram_endpoint(Ask, remote_addr=server.get_extra_info("sockname"))
    client.sendto(b"hello")
    assert await answered == b"HELLO"
    assert virtual_clock.monotonic() == 1
    client.sendto(b"nobody answers that in time")
    await asyncio.sleep(0.5)
    client.close()
    server.close()
    await asyncio.sleep(0)


# What only waits costs nothing


@pytest.mark.slow
@NEVER
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no handlers of signals in its loops")
async def test_what_listens_or_is_idle_costs_nothing_at_a_jump(
    outside: Outside, virtual_clock: VirtualClock, unix_path: str
) -> None:
    """E33, E34: with servers, idle connections and a signal handler, ten thousand jumps wait for nothing real."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    server = await asyncio.start_server(echo_after_a_second, "127.0.0.1", 0)
    other = await asyncio.start_unix_server(echo_after_a_second, unix_path)
    async with (
        server,
        other,
        connected(*server.sockets[0].getsockname()),
        connected(*outside.serve(say_nothing)),
    ):
        for _ in range(10_000):
            await asyncio.sleep(1)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert virtual_clock.monotonic() == 10_000


# Policies, and patience


@contextlib.contextmanager
def full_listener() -> Generator[Address]:
    """Listen, with so many connections that nobody accepts that a further one has to wait."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()


async def connect(address: Address) -> None:
    """Connect, by hand and not by a transport."""
    with socket.socket() as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses, instead of letting wait")
def test_a_connect_holds_time_and_is_named() -> None:
    """E34: a connect that nobody accepts holds time for as long as patience lasts; its timeout is a virtual one."""
    with full_listener() as address:
        loop = VirtualLoop(VirtualOptions(patience=0.05))
        with pytest.raises(VirtualDeadlockError, match=r"real work held time for more than 0\.05 real") as caught:
            loop.run_until_complete(asyncio.wait_for(connect(address), 5))
        assert f"a connect to {address}" in str(caught.value)
        loop.run_until_complete(asyncio.sleep(1))
        assert loop.time() == 1
        loop.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses, instead of letting wait")
@pytest.mark.virtual_clock(holds={"socket": "ignore"}, patience=300.0)
async def test_a_connect_that_is_ignored_times_out_in_virtual_time(virtual_clock: VirtualClock) -> None:
    """E34: `ignore` lets time pass beside a connect."""
    with full_listener() as address, pytest.raises(TimeoutError):
        await asyncio.wait_for(connect(address), 5)
    assert virtual_clock.monotonic() == 5


@pytest.mark.slow
def test_what_is_not_answered_is_named(outside: Outside) -> None:
    """E34: when patience is at its end, the error names the connection; the clean-up waits for it no more."""
    address = outside.serve(say_nothing)
    closed: list[float] = []

    async def ask() -> None:
        async with connected(*address) as (reader, writer):
            try:
                writer.write(b"hello\n")
                await reader.readline()
            finally:
                await asyncio.sleep(60)
                closed.append(asyncio.get_running_loop().time())

    loop = VirtualLoop(VirtualOptions(patience=0.05))
    name = rf"the socket to 127\.0\.0\.1:{address[1]}, written to and not yet read from"
    with pytest.raises(VirtualDeadlockError, match=name):
        loop.run_until_complete(ask())
    assert closed == [60]
    loop.close()


@pytest.mark.slow
def test_a_handshake_that_does_not_end_is_named(outside: Outside) -> None:
    """E34: so does a handshake with somebody outside who says nothing."""
    address = outside.serve(say_nothing)

    async def shake_hands() -> None:
        async with connected(*address, ssl=client_tls()):
            pass

    loop = VirtualLoop(VirtualOptions(patience=0.05))
    with pytest.raises(VirtualDeadlockError, match=rf":{address[1]}, whose TLS handshake is in progress"):
        loop.run_until_complete(shake_hands())
    loop.close()


@pytest.mark.slow
@pytest.mark.virtual_clock(holds={"socket": "ignore"}, patience=300.0)
async def test_sockets_that_are_ignored_hold_nothing(outside: Outside, virtual_clock: VirtualClock) -> None:
    """`ignore` lets time pass while an answer is awaited."""
    async with connected(*outside.serve(say_nothing)) as (reader, writer):
        writer.write(b"hello\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 5)
    assert virtual_clock.monotonic() == 5


async def open_connection() -> None:
    """Connect by TCP."""
    await asyncio.open_connection("127.0.0.1", 1)


async def open_unix_connection() -> None:
    """Connect by a path."""
    await asyncio.open_unix_connection("/nowhere")


async def connect_socket() -> None:
    """Connect a socket."""
    await connect(("127.0.0.1", 1))


async def connect_datagrams() -> None:
    """Connect a socket for datagrams."""
    await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", 1))


async def send_to() -> None:
    """Send a datagram."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_sendto(sock, b"hello", ("127.0.0.1", 1))


async def send() -> None:
    """Send on a pair."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(left, b"hello")


async def send_file() -> None:
    """Send a file on a pair."""
    left, right = socket.socketpair()
    with left, right, tempfile.TemporaryFile() as file:
        left.setblocking(False)
        await asyncio.get_running_loop().sock_sendfile(left, file)


@pytest.mark.parametrize(
    "work", [open_connection, open_unix_connection, connect_socket, connect_datagrams, send, send_to, send_file]
)
@pytest.mark.virtual_clock(holds={"socket": "forbid"})
async def test_sockets_that_are_forbidden_are_refused_at_the_door(work: Callable[[], Awaitable[None]]) -> None:
    """`forbid` raises where a connection, or something to send, is asked for; to listen is no work."""
    async with await asyncio.start_server(echo_after_a_second, "127.0.0.1", 0):
        with pytest.raises(ForbiddenWorkError, match="this test forbids real work of the kind 'socket'"):
            await work()


# A program that was killed


@NEVER
async def test_the_connections_of_a_killed_program_end(virtual_clock: VirtualClock) -> None:
    """After `crash` the sockets of the app are shut, as a system does; they hold nothing, and wake nobody."""
    app = Jobify(storage=MemoryStorage())
    ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"hello\n"
        writer.write(b"some of the answer")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        ended.set_result(virtual_clock.monotonic())
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    @app.task
    async def ask() -> None:
        async with connected(*address) as (reader, writer):
            writer.write(b"hello\n")
            await reader.readline()

    async with server:
        await app.__aenter__()
        await ask.schedule().delay(5)
        await virtual_clock.advance(10)
        await crash(app)
        assert await ended == 10
        await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 70


@pytest.mark.slow
@NEVER
async def test_nobody_waits_for_an_answer_to_a_killed_program(outside: Outside, virtual_clock: VirtualClock) -> None:
    """After `crash` the app's unanswered request to somebody outside holds nothing."""
    app = Jobify(storage=MemoryStorage())
    asked = asyncio.Event()
    address = outside.serve(say_nothing)

    @app.task
    async def ask() -> None:
        async with connected(*address) as (reader, writer):
            writer.write(b"hello\n")
            asked.set()
            await reader.readline()

    await app.__aenter__()
    await ask.push()
    await asked.wait()
    await crash(app)
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60


async def test_a_server_may_accept_by_itself(unix_path: str, virtual_clock: VirtualClock) -> None:
    """Who watches a listening socket serves it: both ends of a connection live on virtual time."""
    loop = asyncio.get_running_loop()
    served: list[asyncio.Task[None]] = []

    async def serve(sock: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        await echo_after_a_second(reader, writer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(unix_path)
        listener.listen()
        loop.add_reader(listener, lambda: served.append(loop.create_task(serve(listener.accept()[0]))))
        reader, writer = await asyncio.open_unix_connection(unix_path)
        writer.write(b"hello\n")
        assert await reader.readline() == b"HELLO\n"
        assert virtual_clock.monotonic() == 1
        writer.close()
        await asyncio.wait(served)
        loop.remove_reader(listener)

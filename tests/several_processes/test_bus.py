"""The bus of a database: what is heard by whom, and what becomes of those who misuse it."""

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import stat
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from jobify import SystemClock
from jobify.storage._bus import BusClient, BusServer
from jobify.storage._bus_peer import BUFFER, LONGEST_LINE, LOOK_AGAIN, Message
from jobify.storage._ownership import Ownership
from jobify_testing import VirtualClock, VirtualLoop

pytestmark = pytest.mark.virtual_clock


class Owner:
    """The owner of a database, with its bus; greetings are counted only."""

    def __init__(self, database: Path) -> None:
        ownership = Ownership.try_acquire(database)
        assert ownership is not None
        self.ownership = ownership
        self.heard: list[Message] = []
        self.greetings = 0
        self.bus = BusServer(SystemClock(), self.listen)

    def listen(self, message: Message) -> None:
        """Take note of a message."""
        if message == LOOK_AGAIN:
            self.greetings += 1
        else:
            self.heard.append(message)

    def start(self) -> Path | None:
        """Start the bus, and return where it is."""
        return self.bus.start(self.ownership)

    async def close(self) -> None:
        """Close the bus, and give the database back."""
        await self.bus.close()
        self.ownership.release()


class Other:
    """A process that does not own the database."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.losses = 0
        self.bus = BusClient(self.heard.append, self.lose)

    def lose(self) -> None:
        """Take note of the loss of the connection."""
        self.losses += 1


@pytest.fixture
async def owner(database: Path) -> AsyncIterator[Owner]:
    """An owner whose bus is open."""
    owner = Owner(database)
    assert owner.start() == beside(database)
    yield owner
    await owner.close()


@contextlib.asynccontextmanager
async def connected(database: Path) -> AsyncGenerator[Other]:
    """Connect somebody, who has been greeted."""
    other = Other()
    assert await other.bus.connect(database)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    await loop.jobify_runtime.clock.settle()
    assert other.heard == [LOOK_AGAIN]
    other.heard.clear()
    try:
        yield other
    finally:
        await other.bus.close()


def beside(database: Path) -> Path:
    """Return the file of the socket of a database."""
    return database.with_name("jobs.db-bus")


async def test_messages_go_both_ways(database: Path, owner: Owner, virtual_clock: VirtualClock) -> None:
    """What the owner says reaches all, in order; what another says reaches the owner alone."""
    async with connected(database) as first, connected(database) as second:
        owner.bus.broadcast({"added": 1})
        owner.bus.broadcast({"name": "Zoë\n\ud800"})
        assert first.bus.send({"cancelled": "it"})
        await virtual_clock.settle()
        assert first.heard == second.heard == [{"added": 1}, {"name": "Zoë\n\ud800"}]
        assert owner.heard == [{"cancelled": "it"}]


async def test_both_sides_of_a_connection_look_again(database: Path, owner: Owner, virtual_clock: VirtualClock) -> None:
    """Nobody knows what was missed before a connection; what is said after it comes after that."""
    other = Other()
    owner.bus.broadcast({"missed": 1})
    assert await other.bus.connect(database)
    await virtual_clock.settle()
    assert owner.greetings == 1
    owner.bus.broadcast({"heard": 1})
    await virtual_clock.settle()
    assert other.heard == [LOOK_AGAIN, {"heard": 1}]
    await other.bus.close()


async def test_the_socket_is_private_and_goes_with_its_server(database: Path) -> None:
    """Only its user can connect; the file is removed."""
    owner = Owner(database)
    owner.start()
    status = beside(database).stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert status.st_mode & 0o777 == 0o600
    await owner.close()
    assert not beside(database).exists()
    await owner.close()
    assert not await BusClient(print, print).connect(database)


async def test_a_stale_socket_is_replaced(database: Path) -> None:
    """What a dead owner left is nobody's; a client that meets it sees that nobody is there."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(beside(database)))
    assert not await BusClient(print, print).connect(database)
    owner = Owner(database)
    assert owner.start() == beside(database)
    async with connected(database):
        pass
    await owner.close()


async def test_the_socket_of_a_successor_is_left_alone(database: Path, owner: Owner) -> None:
    """Who closes late removes its own file only."""
    beside(database).unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(beside(database)))
        await owner.close()
    assert beside(database).exists()


async def test_only_an_owner_starts_a_bus(database: Path, owner: Owner) -> None:
    """Others must not remove a socket; and there is one bus."""
    with pytest.raises(RuntimeError, match="it has one"):
        owner.start()
    owner.ownership.release()
    with pytest.raises(RuntimeError, match="it was released"):
        BusServer(SystemClock(), print).start(owner.ownership)
    assert beside(database).exists()


async def test_a_long_path_has_its_socket_elsewhere(database: Path) -> None:
    """Where a name is too long for a socket it is in a folder of this user alone."""
    folder = database.parent / ("long" * 30)
    folder.mkdir()
    owner = Owner(folder / "jobs.db")
    address = owner.start()
    private = database.parent / f"jobify-{os.geteuid()}"
    assert address is not None
    assert address.parent == private
    assert private.stat().st_mode & 0o777 == 0o700
    async with connected(folder / "jobs.db"):
        pass
    await owner.close()
    assert not address.exists()


async def test_what_is_no_socket_is_left_alone(database: Path) -> None:
    """A file of somebody else in the place of the socket stays, and the bus is elsewhere."""
    beside(database).write_text("precious")
    owner = Owner(database)
    address = owner.start()
    assert address is not None
    assert address.parent != database.parent
    async with connected(database):
        pass
    await owner.close()
    assert beside(database).read_text() == "precious"


@pytest.mark.parametrize("kind", ["open to others", "no folder", "nowhere"])
async def test_no_bus_where_there_can_be_none(database: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private folder that is not private is not used: then there is no bus, and nobody there."""
    beside(database).write_text("precious")
    private = database.parent / f"jobify-{os.geteuid()}"
    if kind == "open to others":
        private.mkdir()
        private.chmod(0o755)
    elif kind == "no folder":
        private.write_text("precious")
    else:
        monkeypatch.setattr(tempfile, "tempdir", str(database.with_name("nowhere")))
    owner = Owner(database)
    assert owner.start() is None
    assert not await BusClient(print, print).connect(database)
    owner.bus.broadcast({"heard by": "nobody"})
    await owner.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
async def test_a_socket_of_another_user_is_not_trusted(database: Path, owner: Owner) -> None:
    """Who can write to the folder cannot make others listen to it; the owner of the database is trusted."""
    os.chown(beside(database), 12345, -1)
    assert not await BusClient(print, print).connect(database)
    database.touch()
    assert not await BusClient(print, print).connect(database)
    os.chown(database, 12345, -1)
    async with connected(database):
        pass


@pytest.mark.parametrize(
    "nonsense",
    [
        b"nonsense\n",
        b"\n",
        b"[1]\n",
        b"null\n",
        b"\xff\xfe\x00\n",
        b"[" * 50_000 + b"\n",
        b'{"pad": "' + b"x" * LONGEST_LINE + b'"}\n',
    ],
    ids=range(7),
)
async def test_nonsense_ends_its_connection_and_nothing_else(
    database: Path, owner: Owner, virtual_clock: VirtualClock, nonsense: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A foreign process is cut off with one line in the log, and what it says afterwards is not heard."""
    async with connected(database) as other:
        reader, writer = await asyncio.open_unix_connection(beside(database))
        writer.write(b'{"before": 1}\n' + nonsense + b'\n{"after": 1}\n')
        await virtual_clock.settle()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        owner.bus.broadcast({"still": "there"})
        other.bus.send({"still": "there"})
        await virtual_clock.settle()
        assert other.heard == owner.heard[1:] == [{"still": "there"}]
        assert owner.heard[0] == {"before": 1}
        (record,) = caplog.records
        assert "sent no message" in record.getMessage()
        assert len(record.getMessage()) < 500


async def test_a_line_without_an_end_is_not_waited_for(
    database: Path, owner: Owner, virtual_clock: VirtualClock
) -> None:
    """What is kept of a line that is not complete is bounded."""
    reader, writer = await asyncio.open_unix_connection(beside(database))
    writer.write(b"x" * (LONGEST_LINE - 1))
    await virtual_clock.settle()
    assert not reader.at_eof()
    writer.write(b"x")
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b'{"look":"again"}\n'
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert owner.heard == []


async def test_a_message_may_come_in_pieces(database: Path, owner: Owner, virtual_clock: VirtualClock) -> None:
    """Lines are put together, and taken apart."""
    _, writer = await asyncio.open_unix_connection(beside(database))
    for piece in (b'{"a"', b": 1", b'}\n{"b": 2}\n{"c', b'": 3}\n'):
        writer.write(piece)
        await virtual_clock.settle()
    assert owner.heard == [{"a": 1}, {"b": 2}, {"c": 3}]
    writer.close()
    await writer.wait_closed()


async def test_the_longest_message(database: Path, owner: Owner, virtual_clock: VirtualClock) -> None:
    """A message of the greatest length arrives; one more byte is refused at the door."""
    room = LONGEST_LINE - len('{"a":""}\n')
    async with connected(database) as other:
        assert other.bus.send({"a": "x" * room})
        await virtual_clock.settle()
        assert owner.heard == [{"a": "x" * room}]
        with pytest.raises(ValueError, match=f"{LONGEST_LINE + 1} bytes"):
            other.bus.send({"a": "x" * (room + 1)})
        with pytest.raises(ValueError, match=f"{LONGEST_LINE + 1} bytes"):
            owner.bus.broadcast({"a": "x" * (room + 1)})
        assert other.bus.is_connected()


@pytest.mark.parametrize("value", [object(), float("nan"), b"bytes"])
async def test_what_has_no_form_in_json_is_refused(database: Path, owner: Owner, value: Any) -> None:
    """The caller is told, and the connection stays."""
    async with connected(database) as other:
        with pytest.raises((TypeError, ValueError)):
            other.bus.send({"value": value})
        assert other.bus.is_connected()


async def test_who_does_not_read_is_dropped(
    database: Path, owner: Owner, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The buffer for a slow reader is bounded; others hear everything, and it may come again."""
    message = {"pad": "x" * 60_000}
    async with connected(database) as other:
        _, writer = await asyncio.open_unix_connection(beside(database))  # its reader stops at 128 KiB
        sent = 0
        while not caplog.records:
            owner.bus.broadcast(message)
            await virtual_clock.settle()
            sent += 1
            assert sent * 60_000 < 10 * BUFFER
        assert "does not read" in caplog.text
        owner.bus.broadcast({"last": 1})
        await virtual_clock.settle()
        assert other.heard == [message] * sent + [{"last": 1}]
        writer.transport.abort()
        async with connected(database):
            pass


async def test_an_error_of_a_listener_is_logged(
    database: Path, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that leads to an error costs nobody the bus."""
    heard: list[Message] = []

    def listen(message: Message) -> None:
        heard.append(message)
        if message != LOOK_AGAIN:
            message["number"] += 1

    ownership = Ownership.try_acquire(database)
    assert ownership is not None
    bus = BusServer(SystemClock(), listen)
    bus.start(ownership)
    async with connected(database) as other:
        other.bus.send({})
        other.bus.send({"number": 1})
        await virtual_clock.settle()
        assert heard == [LOOK_AGAIN, {}, {"number": 2}]
    assert [(record.levelno, record.exc_info is not None) for record in caplog.records] == [(logging.ERROR, True)]
    await bus.close()
    ownership.release()


async def test_the_end_of_the_owner_is_noticed_once(database: Path, virtual_clock: VirtualClock) -> None:
    """Who is connected is told; who was closed is not."""
    owner = Owner(database)
    owner.start()
    async with connected(database) as other, connected(database) as closed:
        await closed.bus.close()
        await closed.bus.close()
        await owner.close()
        await virtual_clock.settle()
        assert (other.losses, closed.losses) == (1, 0)
        assert not other.bus.is_connected()
        assert not other.bus.send({"heard by": "nobody"})


@pytest.mark.parametrize("turns", range(6))
async def test_who_comes_while_the_owner_goes_is_told(database: Path, virtual_clock: VirtualClock, turns: int) -> None:
    """Wherever a connection is when its server is closed, its client sees the end of it."""
    owner, other = Owner(database), Other()
    owner.start()
    connecting = asyncio.create_task(other.bus.connect(database))
    for _ in range(turns):
        await asyncio.sleep(0)
    await owner.close()
    connected = await connecting
    await virtual_clock.settle()
    assert not other.bus.is_connected()
    assert other.losses == connected
    assert not beside(database).exists()


@pytest.mark.parametrize("turns", range(4))
async def test_a_connect_may_be_cancelled(
    database: Path, owner: Owner, virtual_clock: VirtualClock, turns: int
) -> None:
    """It leaves no connection, on either side, unless it has succeeded."""
    other = Other()
    connecting = asyncio.create_task(other.bus.connect(database))
    for _ in range(turns):
        await asyncio.sleep(0)
    if connecting.cancel():
        await asyncio.wait([connecting])
        assert not other.bus.is_connected()
    await other.bus.close()
    assert other.losses == 0
    async with connected(database) as third:
        owner.bus.broadcast({"heard by": "one"})
        await virtual_clock.settle()
        assert third.heard == [{"heard by": "one"}]


async def test_too_many_open_files_are_no_error(database: Path, owner: Owner) -> None:
    """Who can have no socket has no bus, and reaches nobody; later it may."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    other = Owner(database.with_name("other.db"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        started = other.start()
        reached = await BusClient(print, print).connect(database)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (started, reached) == (None, False)
    assert other.start() is not None
    await other.close()


async def test_a_loop_that_watches_no_files_has_no_bus(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then all have to poll."""

    def refuse(*_: object) -> NoReturn:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    owner = Owner(database)
    assert owner.start() is None
    assert not beside(database).exists()
    await owner.close()


async def test_a_bus_can_be_started_again(database: Path, owner: Owner) -> None:
    """After its end, by the same owner."""
    await owner.bus.close()
    assert owner.start() == beside(database)
    async with connected(database):
        pass


@pytest.mark.virtual_clock(holds={"socket": "ignore"})  # it would wait for the greeting
async def test_too_many_open_files_are_no_end(
    database: Path, owner: Owner, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who cannot be accepted waits, and is accepted a second later; no loop is busy meanwhile."""
    other = Other()
    with pytest.MonkeyPatch.context() as patch:
        errors: list[float] = []

        def accept(_: socket.socket) -> NoReturn:
            errors.append(virtual_clock.monotonic())
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patch.setattr("jobify.storage._bus_address.accept", accept)
        assert await other.bus.connect(database)
        await virtual_clock.advance(2.5)
        assert errors == [0, 1, 2]
    assert other.heard == []
    await virtual_clock.advance(0.5)
    assert other.heard == [LOOK_AGAIN]
    assert len(caplog.records) == 3
    await other.bus.close()

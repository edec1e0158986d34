"""Who is active, and who takes over when: on virtual time, with all processes in one."""

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from jobify import StorageError
from jobify.storage._bus_peer import LOOK_AGAIN, Message
from jobify.storage._ownership import Ownership
from jobify.storage._standby import Standby
from jobify_testing import VirtualClock, VirtualTimeError

pytestmark = pytest.mark.virtual_clock


class Process:
    """What stands for a process."""

    def __init__(self, database: Path, clock: VirtualClock, *, polls: bool = False) -> None:
        self.active_since: list[float] = []
        self.heard: list[tuple[float, Message]] = []
        self.error: Exception | None = None
        self.looks: list[float] = []
        self.clock = clock
        self.standby = Standby(
            database,
            clock,
            on_active=self.become_active,
            on_message=lambda message: self.heard.append((clock.monotonic(), message)),
            read_version=self.look if polls else None,
        )

    def become_active(self) -> None:
        """Take note, or fail."""
        if self.error is not None:
            raise self.error
        self.active_since.append(self.clock.monotonic())

    async def look(self) -> int:
        """Return a version that has always changed."""
        self.looks.append(self.clock.monotonic())
        return len(self.looks)


Processes = Callable[..., Process]


@pytest.fixture
async def process(database: Path, virtual_clock: VirtualClock) -> AsyncIterator[Processes]:
    """Make processes, which are stopped at the end."""
    made: list[Process] = []

    def make(**options: Any) -> Process:
        made.append(Process(database, virtual_clock, **options))
        return made[-1]

    yield make
    for process in made:
        await process.standby.stop()


def acquired(database: Path) -> Ownership:
    """Acquire a database that nobody has: as a process that has no bus."""
    ownership = Ownership.try_acquire(database)
    assert ownership is not None
    return ownership


def open_files() -> int:
    """Return how many files this process has open, and its loops watch."""
    return len(list(Path("/dev/fd").iterdir()))


def beside(database: Path) -> Path:
    """Return the file of the socket of a database."""
    return database.with_name("jobs.db-bus")


async def test_the_first_is_active_and_the_others_wait(
    database: Path, process: Processes, virtual_clock: VirtualClock
) -> None:
    """The first start returns when its process is active; the next ones when they are connected."""
    first, second, third = process(), process(), process()
    assert await first.standby.start()
    assert first.active_since == [0]
    assert first.standby.ownership is not None
    assert not await second.standby.start()
    assert not await third.standby.start()
    assert second.standby.ownership is None
    await virtual_clock.settle()
    assert first.heard == [(0, LOOK_AGAIN)] * 2
    assert second.heard == third.heard == [(0, LOOK_AGAIN)]
    assert second.standby.send({"from": "second"})
    assert first.standby.send({"to": "all"})
    await virtual_clock.settle()
    assert first.heard[2:] == [(0, {"from": "second"})]
    assert second.heard == third.heard == [(0, LOOK_AGAIN), (0, {"to": "all"})]
    assert all(each.standby.is_on_bus() for each in (first, second, third))


async def test_a_stop_hands_over_at_once(process: Processes, virtual_clock: VirtualClock) -> None:
    """No time passes until exactly one of the others is active, and soon the rest are connected to that one."""
    processes = [process() for _ in range(4)]
    for each in processes:
        await each.standby.start()
    for left in (3, 2, 1):
        (active,) = [each for each in processes if each.standby.is_active()]
        await active.standby.stop()
        assert not active.standby.is_active()
        assert not active.standby.send({"heard by": "nobody"})
        processes.remove(active)
        now = virtual_clock.monotonic()
        await virtual_clock.settle()
        (successor,) = [each for each in processes if each.standby.is_active()]
        assert successor.active_since == [now]
        await virtual_clock.advance(0.05)
        assert all(each.standby.is_on_bus() for each in processes)
        assert successor.standby.send({"left": left})
        await virtual_clock.settle()
        assert [each.heard[-1][1] for each in processes if each is not successor] == [{"left": left}] * (left - 1)


async def test_the_one_that_waits_may_stop_at_any_time(process: Processes, virtual_clock: VirtualClock) -> None:
    """A process that has stopped is never active, and hears nothing."""
    first, second, third = process(), process(), process()
    for each in (first, second, third):
        await each.standby.start()
    await virtual_clock.settle()
    await second.standby.stop()
    await second.standby.stop()
    first.standby.send({"to": "all"})
    await first.standby.stop()
    await virtual_clock.advance(10)
    assert second.active_since == []
    assert second.heard == [(0, LOOK_AGAIN)]
    assert third.active_since == [0]
    await third.standby.stop()
    await virtual_clock.advance(10)
    assert second.active_since == []


async def test_what_is_abandoned_stays_owned_until_it_is_released(
    database: Path, process: Processes, virtual_clock: VirtualClock
) -> None:
    """Who is cut off may still be writing: the others see its end, and wait for its ownership."""
    first, second = process(), process()
    await first.standby.start()
    await second.standby.start()
    ownership = first.standby.abandon()
    assert ownership is not None
    assert first.standby.abandon() is None
    assert not first.standby.is_active()
    assert not beside(database).exists()
    await virtual_clock.advance(0.1)
    assert not second.standby.is_active()
    assert not second.standby.is_on_bus()
    ownership.release()
    await virtual_clock.advance(1)
    assert second.standby.is_active()
    assert second.standby.abandon() is not None  # and it is dropped
    acquired(database).release()


@pytest.mark.parametrize(
    ("free_at", "active_at"),
    [(0, 0.01), (0.02, 0.03), (0.03, 0.07), (0.5, 0.63), (1.2, 1.27), (1.3, 2.27), (9.9, 10.27)],
)
async def test_without_a_bus_it_is_tried_ever_more_rarely(
    database: Path, process: Processes, virtual_clock: VirtualClock, free_at: float, active_at: float
) -> None:
    """After 10 ms, 20, 40, up to each second: whom nobody is connected to is followed then, and no loop is busy."""
    ownership = acquired(database)
    waiting = process()
    assert not await waiting.standby.start()
    await virtual_clock.advance(free_at)
    ownership.release()
    await virtual_clock.advance(20)
    assert waiting.active_since == [pytest.approx(active_at, abs=1e-9)]  # sums of floats


async def test_who_stops_between_two_tries_leaves_no_timer(
    database: Path, process: Processes, virtual_clock: VirtualClock
) -> None:
    """There is nothing to wake for any more: no try, no look."""
    ownership = acquired(database)
    waiting = process(polls=True)
    await waiting.standby.start()
    await virtual_clock.advance(5)
    await waiting.standby.stop()
    with pytest.raises(VirtualTimeError, match="nothing is due"):
        await virtual_clock.next()
    ownership.release()


async def test_without_a_bus_the_database_is_looked_at(
    database: Path, process: Processes, virtual_clock: VirtualClock
) -> None:
    """Who cannot connect for a while looks each second itself; when it is connected it does not."""
    ownership = acquired(database)
    waiting, active = process(polls=True), process()
    await waiting.standby.start()
    await virtual_clock.advance(3)
    assert not waiting.standby.send({"heard by": "nobody"})
    looks = len(waiting.looks)
    assert looks == 2
    assert waiting.heard == [(at, LOOK_AGAIN) for at in waiting.looks]
    assert waiting.looks[0] == pytest.approx(1.27, abs=1e-9)
    ownership.release()
    await active.standby.start()
    await virtual_clock.advance(2)
    looks = len(waiting.looks)
    await virtual_clock.advance(60)
    assert len(waiting.looks) == looks


async def test_an_active_process_without_a_bus_looks_itself(
    database: Path, process: Processes, virtual_clock: VirtualClock
) -> None:
    """Where there can be no socket both sides look each second."""
    beside(database).write_text("no socket")
    (database.parent / "nowhere").write_text("no folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(database.parent / "nowhere"))
        active = process(polls=True)
        assert await active.standby.start()
        assert not active.standby.is_on_bus()
        assert not active.standby.send({"heard by": "nobody"})
        await virtual_clock.advance(2)
        assert active.looks == [0, 1, 2]
        await active.standby.stop()
        await virtual_clock.advance(5)
        assert active.looks == [0, 1, 2]


async def test_who_closes_each_connection_makes_no_loop_busy(
    database: Path, process: Processes, virtual_clock: VirtualClock
) -> None:
    """A foreign server in the place of the bus is tried as rarely as none."""
    ownership = acquired(database)
    connections: list[float] = []

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(virtual_clock.monotonic())
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_unix_server(close, beside(database)):
        waiting = process(polls=True)
        assert not await waiting.standby.start()
        await virtual_clock.advance(2.5)
        assert connections == pytest.approx([0, 0.01, 0.03, 0.07, 0.15, 0.31, 0.63, 1.27, 2.27], abs=1e-9)
        await waiting.standby.stop()
    ownership.release()


async def test_who_greets_and_closes_makes_no_loop_busy(
    database: Path, process: Processes, virtual_clock: VirtualClock
) -> None:
    """Nor is one that keeps the manners of the bus: each 10 ms at the most."""
    ownership = acquired(database)
    connections: list[float] = []

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(virtual_clock.monotonic())
        writer.write(b'{"look":"again"}\n')
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_unix_server(greet, beside(database)):
        waiting = process()
        assert not await waiting.standby.start()
        await virtual_clock.advance(0.1)
        assert connections == pytest.approx([number / 100 for number in range(11)], abs=1e-9)
        await waiting.standby.stop()
    ownership.release()


async def test_who_is_greeted_and_left_at_once_is_not_on_a_bus(
    database: Path, process: Processes, virtual_clock: VirtualClock
) -> None:
    """A connection that has ended before it is used is none."""
    ownership = acquired(database)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(beside(database)))
        listener.listen()
        waiting = process()
        starting = asyncio.create_task(waiting.standby.start())
        while not select.select([listener], [], [], 0)[0]:
            await asyncio.sleep(0)
        with listener.accept()[0] as connection:
            connection.sendall(b'{"look":"again"}\n')
            connection.shutdown(socket.SHUT_WR)
            assert not await starting
            await virtual_clock.settle()
            assert waiting.heard == [(0, LOOK_AGAIN)]
            assert not waiting.standby.is_on_bus()
        await waiting.standby.stop()
    ownership.release()


async def test_a_start_that_cannot_be_active_fails_and_leaves_nothing(
    database: Path, process: Processes, virtual_clock: VirtualClock
) -> None:
    """What the process has to do when it is active may fail: then another is active."""
    first, second = process(), process()
    first.error = ValueError("not today")
    with pytest.raises(ValueError, match="not today"):
        await first.standby.start()
    assert not first.standby.is_active()
    assert await second.standby.start()
    await second.standby.stop()
    await virtual_clock.advance(10)
    assert first.active_since == []


async def test_a_start_without_a_folder_fails(database: Path, virtual_clock: VirtualClock) -> None:
    """The error of the ownership is that of the start."""
    with pytest.raises(StorageError, match="nowhere"):
        await Process(database.with_name("nowhere") / "jobs.db", virtual_clock).standby.start()


async def test_a_takeover_that_fails_is_tried_again(
    database: Path, process: Processes, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged once, and the ownership is there for others meanwhile."""
    first, second = process(), process()
    await first.standby.start()
    await second.standby.start()
    await virtual_clock.advance(60)
    second.error = ValueError("not today")
    await first.standby.stop()
    await virtual_clock.advance(5)
    assert not second.standby.is_active()
    acquired(database).release()
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot take over {str(database)!r}, and will try again"
    ]
    second.error = None
    await virtual_clock.advance(1)
    assert second.standby.is_active()


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("owned", [False, True])
async def test_a_stop_may_overtake_a_start(
    database: Path, process: Processes, virtual_clock: VirtualClock, turns: int, *, owned: bool
) -> None:
    """Wherever a start is, a stop ends it, and nothing is left."""
    active, late = process(), process()
    if owned:
        await active.standby.start()
    before = open_files()
    starting = asyncio.create_task(late.standby.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    await late.standby.stop()
    await starting
    await virtual_clock.settle()
    assert open_files() == before
    assert not late.standby.is_active()
    assert not late.standby.is_on_bus()
    await active.standby.stop()
    await virtual_clock.advance(5)
    assert not late.standby.is_active()
    assert not beside(database).exists()
    acquired(database).release()


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("owned", [False, True])
async def test_a_start_may_be_cancelled(
    database: Path, process: Processes, virtual_clock: VirtualClock, turns: int, *, owned: bool
) -> None:
    """A start that is cancelled has either succeeded before, or leaves nothing."""
    active, late = process(), process()
    if owned:
        await active.standby.start()
    starting = asyncio.create_task(late.standby.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    if starting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert not late.standby.is_active()
    await active.standby.stop()
    await late.standby.stop()
    await virtual_clock.advance(5)
    assert not late.standby.is_active()
    assert not beside(database).exists()
    acquired(database).release()


async def test_it_may_end_in_the_moment_in_which_it_begins(database: Path, virtual_clock: VirtualClock) -> None:
    """A process may give up the database as soon as it has it."""
    given: list[Ownership | None] = []
    standby = Standby(
        database, virtual_clock, on_active=lambda: given.append(standby.abandon()), on_message=lambda _: None
    )
    assert not await standby.start()
    (ownership,) = given
    assert ownership is not None
    ownership.release()
    assert not beside(database).exists()
    await standby.stop()

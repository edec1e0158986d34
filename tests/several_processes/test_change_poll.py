"""How a process without a bus learns of changes."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobify.storage._change_poll import ChangePoll, data_version
from jobify_testing import VirtualClock

pytestmark = pytest.mark.virtual_clock


class Database:
    """A database whose version a test sets; a look at it takes a while."""

    def __init__(self, clock: VirtualClock) -> None:
        self.version = 1
        self.takes = 0.0
        self.looks: list[float] = []
        self.changes: list[float] = []
        self.error: Exception | None = None
        self.clock = clock

    async def read(self) -> int:
        """Return the version."""
        self.looks.append(self.clock.monotonic())
        await asyncio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        return self.version

    def changed(self) -> None:
        """Take note of a change."""
        self.changes.append(self.clock.monotonic())


@pytest.fixture
def watched(virtual_clock: VirtualClock) -> Database:
    """A database that is looked at."""
    return Database(virtual_clock)


@pytest.fixture
def poll(watched: Database) -> Iterator[ChangePoll]:
    """A poll, which is stopped at the end."""
    poll = ChangePoll(watched.clock, watched.read, watched.changed)
    yield poll
    poll.stop()


async def test_a_change_is_told_within_a_second(
    watched: Database, poll: ChangePoll, virtual_clock: VirtualClock
) -> None:
    """It looks at once, and each second; it tells of the first look, and of each change."""
    poll.start()
    poll.start()
    await virtual_clock.advance(2)
    assert watched.looks == [0, 1, 2]
    assert watched.changes == [0]
    watched.version = 5
    await virtual_clock.advance(0.999)
    assert watched.changes == [0]
    await virtual_clock.advance(0.001)
    assert watched.changes == [0, 3]
    await virtual_clock.advance(1)
    assert watched.changes == [0, 3]


async def test_a_look_never_overtakes_another(watched: Database, poll: ChangePoll, virtual_clock: VirtualClock) -> None:
    """The next look is a second after the end of the last one."""
    watched.takes = 5
    poll.start()
    await virtual_clock.advance(12)
    assert watched.looks == [0, 6, 12]


async def test_it_can_be_stopped_and_started_again(
    watched: Database, poll: ChangePoll, virtual_clock: VirtualClock
) -> None:
    """After a stop nothing is looked at, and nothing told; a new start tells of its first look, and goes on alone."""
    watched.takes = 0.5
    poll.start()
    await virtual_clock.advance(0.25)
    poll.stop()
    poll.stop()
    await virtual_clock.advance(10)
    assert (watched.looks, watched.changes) == ([0], [])
    poll.start()
    await virtual_clock.advance(0.25)
    poll.stop()
    poll.start()
    await virtual_clock.advance(2)
    assert watched.looks == [0, 10.25, 11.75]
    assert watched.changes == [10.75]


async def test_an_error_is_logged_once_and_the_next_look_made(
    watched: Database, poll: ChangePoll, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A locked database is no reason to look no more, nor to fill the log."""
    watched.error = sqlite3.OperationalError("database is locked")
    poll.start()
    await virtual_clock.advance(3)
    assert watched.looks == [0, 1, 2, 3]
    assert len(caplog.records) == 1
    watched.error = None
    await virtual_clock.advance(1)
    assert watched.changes == [4]
    watched.error = sqlite3.OperationalError("disk I/O error")
    await virtual_clock.advance(1)
    assert len(caplog.records) == 2


def test_the_version_of_sqlite(database: Path) -> None:
    """SQLite's number changes with each change that another connection makes, and with no other."""
    with sqlite3.connect(database, isolation_level=None) as ours, sqlite3.connect(database) as theirs:
        ours.execute("CREATE TABLE t (x)")
        before = data_version(ours)
        ours.execute("INSERT INTO t VALUES (1)")
        assert data_version(ours) == before
        theirs.execute("INSERT INTO t VALUES (2)")
        assert data_version(ours) == before
        theirs.commit()
        assert data_version(ours) != before
    ours.close()
    theirs.close()

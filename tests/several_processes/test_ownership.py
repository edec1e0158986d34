"""The ownership of a database file: who has it, who is told so, and what frees it."""

import errno
import fcntl
import gc
import os
import re
import socket
import sys
import threading
from pathlib import Path

import pytest

from jobify import StorageError
from jobify.storage._ownership import Ownership


def acquired(path: Path) -> Ownership:
    """Acquire a database that nobody has."""
    ownership = Ownership.try_acquire(path)
    assert ownership is not None
    return ownership


def beside(database: Path) -> Path:
    """Return the file of the lock of a database."""
    return database.with_name("jobs.db-owner")


def test_one_at_a_time(database: Path) -> None:
    """A second ownership is refused, in the same process too, until the first is released."""
    first = acquired(database)
    assert first.is_held()
    assert first.path == database
    assert Ownership.try_acquire(database) is None
    first.release()
    assert not first.is_held()
    second = acquired(database)
    first.release()  # once more: that of another is not touched
    assert Ownership.try_acquire(database) is None
    second.release()
    assert not database.exists()


def test_two_names_are_one_database(database: Path) -> None:
    """Symbolic links to the file, and to its folder, lead to the same lock; the file need not be there yet."""
    link = database.with_name("link.db")
    link.symlink_to(database)
    folder = database.with_name("folder")
    folder.symlink_to(database.parent)
    ownership = acquired(link)
    assert ownership.path == database
    assert Ownership.try_acquire(database) is None
    assert Ownership.try_acquire(folder / "jobs.db") is None
    assert Ownership.try_acquire(database.with_name("other.db")) is not None
    ownership.release()


def test_who_drops_it_releases_it(database: Path) -> None:
    """An ownership that is forgotten keeps nobody out."""
    acquired(database)
    gc.collect()
    acquired(database).release()


def test_it_can_be_released_in_another_thread(database: Path) -> None:
    """The thread that has made the last write releases it."""
    ownership = acquired(database)
    thread = threading.Thread(target=ownership.release)
    thread.start()
    thread.join()
    assert not ownership.is_held()
    acquired(database).release()


def test_the_holder_is_named(database: Path) -> None:
    """The process, its program, its host, and since when; nobody in particular if that is not known."""
    assert Ownership.holder(database) == "another process"
    ownership = acquired(database)
    said = Ownership.holder(database)
    ownership.release()
    pattern = r"process (\d+) \((.+)\) on host (.+) since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    found = re.fullmatch(pattern, said)
    assert found is not None, said
    assert (int(found[1]), found[3]) == (os.getpid(), socket.gethostname())
    assert Ownership.holder(database) == "another process"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"pid": {}, "program": "p", "host": "h"}',
        b'{"pid": "x", "program": "p", "host": "h"}',
        b"[" * 4000,
        b'{"pid": 1, "program": "' + b"p" * 5000,
    ],
)
def test_nonsense_about_a_holder_is_no_error(database: Path, content: bytes) -> None:
    """The file may contain anything."""
    beside(database).write_bytes(content)
    assert Ownership.holder(database) == "another process"
    acquired(database).release()


def test_what_is_said_of_a_holder_is_fit_to_be_shown(database: Path) -> None:
    """No line ends, no control characters, and not too much of it."""
    beside(database).write_text('{"pid": 7, "program": "a\\n\\u001b[1m' + "b" * 500 + '", "host": "h\\r"}\n')
    said = Ownership.holder(database)
    assert said.isprintable()
    assert said.startswith("process 7 (a??[1mbbb")
    assert len(said) < 200


def test_a_folder_that_is_missing_is_named(database: Path) -> None:
    """The folder of a database is not made."""
    with pytest.raises(StorageError, match=r"there is no folder '.+nowhere'; make it first"):
        Ownership.try_acquire(database.with_name("nowhere") / "jobs.db")


@pytest.mark.parametrize("kind", ["folder", "symbolic link", "hard link", "pipe"])
def test_a_file_of_somebody_else_is_left_alone(database: Path, kind: str) -> None:
    """What stands in the place of the lock file, and was not made by jobify, is not written to."""
    other = database.with_name("other")
    other.write_text("precious")
    {
        "folder": lambda: beside(database).mkdir(),
        "symbolic link": lambda: beside(database).symlink_to(other),
        "hard link": lambda: beside(database).hardlink_to(other),
        "pipe": lambda: os.mkfifo(beside(database)),
    }[kind]()
    with pytest.raises(StorageError, match="cannot lock"):
        Ownership.try_acquire(database)
    assert other.read_text() == "precious"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_an_error(database: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody owns a database by mistake; the error says what to do."""

    def refuse(descriptor: int, flags: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)  # stands for a network file system
    with pytest.raises(StorageError, match="keep the database on a local disk") as caught:
        Ownership.try_acquire(database)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_file_that_was_deleted_before_it_was_locked_is_made_anew(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a file that has no name any more is worth nothing; the next one is."""
    lock, deletions = fcntl.flock, [1, 2, 3]

    def delete_and_lock(descriptor: int, flags: int) -> None:
        if deletions:
            deletions.pop()
            beside(database).unlink()
        lock(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", delete_and_lock)
    ownership = acquired(database)
    assert deletions == []
    assert ownership.is_intact()
    assert Ownership.try_acquire(database) is None
    ownership.release()


def test_a_file_that_is_deleted_again_and_again_is_an_error(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried for ever."""
    lock = fcntl.flock

    def delete_and_lock(descriptor: int, flags: int) -> None:
        beside(database).unlink()
        lock(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", delete_and_lock)
    with pytest.raises(StorageError, match="again and again"):
        Ownership.try_acquire(database)


def test_an_owner_can_see_that_its_file_was_deleted(database: Path) -> None:
    """Who deletes the file of a lock that is held lets a second owner in, and the first one can tell."""
    first = acquired(database)
    assert first.is_intact()
    beside(database).unlink()
    assert not first.is_intact()
    second = acquired(database)
    assert (first.is_intact(), second.is_intact()) == (False, True)
    first.release()
    assert second.is_intact()
    second.release()
    assert not second.is_intact()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_lock_is_for_those_for_whom_the_database_is(database: Path, mode: int) -> None:
    """The file of the lock has the mode of the database; that of a new one is private."""
    acquired(database).release()
    assert beside(database).stat().st_mode & 0o777 == 0o600
    database.touch()
    database.chmod(mode)
    acquired(database).release()
    assert beside(database).stat().st_mode & 0o777 == mode


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed by Linux")
def test_no_descriptor_is_left(database: Path) -> None:
    """Neither success nor refusal nor error leaves a file open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    ownership = acquired(database)
    for _ in range(10):
        assert Ownership.try_acquire(database) is None
    ownership.release()
    beside(database).unlink()
    os.mkfifo(beside(database))
    with pytest.raises(StorageError):
        Ownership.try_acquire(database)
    assert len(list(Path("/proc/self/fd").iterdir())) == before

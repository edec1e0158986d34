"""Where the bus of a database is: a Unix socket beside it, or else in a private folder of the temporary one.

Names of Unix sockets are short, 107 bytes on Linux, and some file systems have none.
"""

import hashlib
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jobify.storage._forks as forks
from jobify._log import logger

SUFFIX = "-bus"
_BACKLOG = 128
"""How many connections may wait to be accepted."""

UNIX: int | None = getattr(socket, "AF_UNIX", None)


class Place(NamedTuple):
    """A socket that listens, where, and the identity of its file."""

    listener: socket.socket
    address: Path
    status: os.stat_result

    def vacate(self) -> None:
        """Remove the file, if it is still this socket's."""
        try:
            if os.path.samestat(self.address.lstat(), self.status):
                self.address.unlink()
        except OSError:
            pass  # it is gone, or its folder is


def listen(database: Path) -> Place | None:
    """Return a socket for who owns a database; None if none can be made. A stale file in its place is removed."""
    for address in _addresses(database, make=True):
        try:
            return _listen_at(address)
        except OSError as error:
            logger.debug("no bus at %s: %s", address, error)
    return None


def _listen_at(address: Path) -> Place:
    sock = _socket()
    try:
        if stat.S_ISSOCK(_mode_of(address)):
            address.unlink()
        sock.bind(os.fspath(address))
        address.chmod(0o600)  # it does not listen yet: nobody could connect before
        sock.listen(_BACKLOG)
        return Place(sock, address, address.lstat())
    except BaseException:
        close(sock)
        raise


def accept(listener: socket.socket) -> socket.socket:
    """Return the next connection.

    Raises:
        OSError: there is none, or it cannot be had.
    """
    with forks.calm:
        connection, _ = listener.accept()
        forks.withhold(connection.fileno())
    connection.setblocking(False)
    return connection


def reach(database: Path) -> socket.socket | None:
    """Return a socket that is connected to who owns a database; None if nobody answers."""
    for address in _addresses(database, make=False):
        try:
            if _is_trusted(address, database):
                return _connect_to(address)
        except OSError as error:
            logger.debug("nobody at %s: %s", address, error)
    return None


def _connect_to(address: Path) -> socket.socket:
    sock = _socket()
    try:
        sock.connect(os.fspath(address))  # at once, or not at all: it never waits
    except BaseException:
        close(sock)
        raise
    return sock


def close(sock: socket.socket) -> None:
    """Close a socket that no loop has yet."""
    forks.forget(sock.fileno())
    sock.close()


def _socket() -> socket.socket:
    assert UNIX is not None  # noqa: S101  # there are addresses
    with forks.calm:
        sock = socket.socket(UNIX, socket.SOCK_STREAM)
        forks.withhold(sock.fileno())
    sock.setblocking(False)
    return sock


def _addresses(database: Path, *, make: bool) -> Iterator[Path]:
    """Yield where the bus may be, beside the database by preference; with `make`, make the folder for it."""
    if UNIX is None or sys.platform == "win32":
        return
    yield database.with_name(database.name + SUFFIX)
    try:
        folder = _private_folder(make=make)
    except OSError as error:
        logger.debug("no private folder for a bus: %s", error)
    else:
        yield folder / hashlib.sha256(os.fsencode(database)).hexdigest()[:32]


def _private_folder(*, make: bool) -> Path:
    """Return a folder of this user alone; others may have made one of its name.

    Raises:
        OSError: they have, or it is not there and cannot be made.
    """
    user = _user()
    folder = Path(tempfile.gettempdir()) / f"jobify-{user}"
    if make:
        folder.mkdir(0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user or status.st_mode & 0o077:
        msg = f"{str(folder)!r} is not a folder of user {user} alone"
        raise PermissionError(msg)
    return folder


def _user() -> int:
    if sys.platform == "win32":
        return 0
    return os.geteuid()


def _is_trusted(address: Path, database: Path) -> bool:
    """Whether a file is a socket of this user, of the administrator, or of the owner of the database."""
    status = address.lstat()
    return stat.S_ISSOCK(status.st_mode) and (status.st_uid in (_user(), 0) or status.st_uid == database.stat().st_uid)


def _mode_of(address: Path) -> int:
    try:
        return address.lstat().st_mode
    except FileNotFoundError:
        return 0

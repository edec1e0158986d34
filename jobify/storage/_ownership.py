"""Who works on a database file: one process at a time, by a lock that its death frees.

The lock is the kernel's, on a file beside the database: `jobs.db-owner`. It is never on the database itself, as
closing any descriptor of that file would drop the locks that SQLite has there. The file stays where it is when its lock
is released; what it contains is for error messages only.

It does not see through hard links, and who deletes the file of a lock that is held makes room for a second owner: see
`Ownership.is_intact`.
"""

import errno
import json
import os
import socket
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import jobify.storage._forks as forks
from jobify.exceptions import StorageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SUFFIX = "-owner"

_TRIES = 100
"""How often a file may vanish between its opening and its locking, until that is called an error."""

_LONGEST = 80
"""Letters that are shown of each thing that a file says."""

_MOST = 4096
"""Bytes that are read of what a file says about who holds its lock."""

_FLAGS = os.O_RDWR | os.O_CREAT | sum(getattr(os, flag, 0) for flag in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"))
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class Ownership:
    """The right to work on a database, until it is released or its process ends, however it ends.

    A second one for the same file is refused, in this process too. A forked child does not have it. It is released at
    the latest when it is dropped.

    Attributes:
        path: the database, without symbolic links.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._process = os.getpid()

    @classmethod
    def try_acquire(cls, path: str | os.PathLike[str]) -> Self | None:
        """Return the ownership of a database file, which need not be there; None if another has it.

        It does not wait, but it does touch the disk.

        Raises:
            StorageError: there can be no lock: the folder is missing or read-only, the file system has no locks.
        """
        database, beside = _places(path)
        for _ in range(_TRIES):
            descriptor = _open(beside)
            try:
                locked = _lock(descriptor)
                if locked and _is_at(beside, descriptor):
                    _introduce(descriptor, database)
                    return cls(database, descriptor)
            except BaseException as error:
                _close(descriptor)
                if isinstance(error, OSError):
                    raise _no_lock(beside, error) from error
                raise
            _close(descriptor)
            if not locked:
                return None
        msg = f"cannot lock {str(beside)!r}: the file is deleted again and again; who does that?"
        raise StorageError(msg)

    @staticmethod
    def holder(path: str | os.PathLike[str]) -> str:
        """Return who has the ownership of a database, or had it last: "process 1234 (worker) on host x since ...".

        It goes on from "it is in use by". What was left by a process that has died is told as well: ask only when
        `try_acquire` has returned None.
        """
        try:
            with Path(_places(path)[1]).open("rb", buffering=0) as file:
                since = os.fstat(file.fileno()).st_mtime
                said = json.loads(file.read(_MOST).partition(b"\n")[0])
            process, program, host = int(said["pid"]), str(said["program"]), str(said["host"])
            moment = datetime.fromtimestamp(int(since), UTC)
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return "another process"
        return f"process {process} ({_shown(program)}) on host {_shown(host)} since {moment:%Y-%m-%d %H:%M:%S} UTC"

    def is_held(self) -> bool:
        """Whether this process has it: not after `release`, and not in a forked child."""
        return self._descriptor >= 0 and self._process == os.getpid()

    def is_intact(self) -> bool:
        """Whether it still keeps others out: not if somebody deleted or replaced the file of the lock."""
        return self.is_held() and _is_at(_places(self.path)[1], self._descriptor)

    def release(self) -> None:
        """Let another have it; harmless if repeated, and in a forked child. It can be called in any thread."""
        with forks.calm:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor < 0 or self._process != os.getpid():
                return
            try:
                os.ftruncate(descriptor, 0)
                _unlock(descriptor)  # a copy that a C library forked would keep it
            except OSError:
                pass  # the lock goes with the descriptor
            _close(descriptor)

    def __del__(self) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Ownership of {str(self.path)!r}, {'held' if self.is_held() else 'not held'}>"


def _places(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return a database without symbolic links, and the file of its lock."""
    database = os.path.realpath(path)
    return Path(database), Path(database + SUFFIX)


def _open(beside: Path) -> int:
    try:
        with forks.calm:
            descriptor = os.open(beside, _FLAGS, 0o600)
            forks.withhold(descriptor)
    except OSError as error:
        raise _no_lock(beside, error) from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return descriptor
    _close(descriptor)
    msg = f"cannot lock {str(beside)!r}: it is not a file that jobify has made; it would be overwritten"
    raise StorageError(msg)


def _close(descriptor: int) -> None:
    forks.forget(descriptor)
    os.close(descriptor)


def _no_lock(beside: Path, error: OSError) -> StorageError:
    if not beside.parent.is_dir():
        why = f"there is no folder {str(beside.parent)!r}; make it first"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = f"{error.strerror}; this process must be able to write to the folder of its database, and to that file"
    elif error.errno in _NO_LOCKS:
        why = f"{error.strerror}; the file system has no locks, so keep the database on a local disk"
    else:
        why = error.strerror or str(error)
    return StorageError(f"cannot lock {str(beside)!r}: {why}")


def _is_at(beside: Path, descriptor: int) -> bool:
    """Whether an open file is the one that has its name."""
    try:
        return os.path.samestat(beside.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _introduce(descriptor: int, database: Path) -> None:
    """Write down who holds a lock: one line over what the last one wrote, and then the end of the file."""
    who = {"pid": os.getpid(), "program": _program(), "host": socket.gethostname()}
    line = json.dumps(who).encode() + b"\n"
    try:
        _share(descriptor, database)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, line)
        os.ftruncate(descriptor, len(line))
    except OSError:
        pass  # a full disk, say: the lock is held all the same


def _program() -> str:
    """Return what this process calls itself: the title that it has set, else the name of its program."""
    try:
        title = Path("/proc/self/cmdline").read_bytes().partition(b"\0")[0].decode("utf-8", "replace").strip()
    except OSError:
        title = ""
    # Arguments may be secrets. What stands in the place of the interpreter was put there to be read.
    if title and sys.orig_argv[:1] != [title]:
        return title
    program = Path(sys.argv[0] if sys.argv else "")
    return (program.parent.name if program.name == "__main__.py" else program.name) or "python"


def _shown(text: str) -> str:
    """Return a text that anybody may have written, fit for a message."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST])


if sys.platform == "win32":
    _BEYOND = 1 << 30
    """What is locked of the file: one byte, far behind all that is written, as nobody else could read it."""

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def _share(descriptor: int, database: Path) -> None:
        """Do nothing: a new file has the rights of its folder."""

else:

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _share(descriptor: int, database: Path) -> None:
        """Give the file of a lock the owner and the mode of the database, as SQLite does with its own files."""
        try:
            model = database.stat()
        except FileNotFoundError:
            return  # there is no database yet
        if os.geteuid() == 0:
            os.fchown(descriptor, model.st_uid, model.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(model.st_mode) & 0o666)

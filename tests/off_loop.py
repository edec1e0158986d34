"""What tests have run in other processes: in a module that is quick to import there, without pytest."""

import gc
import os
import threading
from typing import Any

from jobify import Jobify, RunMode
from jobify.storage import MemoryStorage

processes = Jobify(storage=MemoryStorage())


@processes.task(run_mode=RunMode.PROCESS)
def process_id() -> int:
    """Say where this runs."""
    return os.getpid()


@processes.task(run_mode=RunMode.PROCESS)
def die() -> None:
    """End the process, as the kernel does when memory runs out."""
    os._exit(1)


@processes.task(run_mode=RunMode.PROCESS, timeout=0.6)
def hang() -> None:
    """Never end."""
    threading.Event().wait()


@processes.task(run_mode=RunMode.PROCESS)
def fail_unpicklably() -> None:
    """Raise what no other process can understand."""

    class LocalError(Exception):
        """Defined where nobody can import it."""

    raise LocalError("only here")


@processes.task(run_mode=RunMode.PROCESS)
def fail(number: int) -> None:
    """Raise what every process understands."""
    raise LookupError(number)


class TurnsToNothingError(Exception):
    """Comes back as None where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Ask for something else."""
        return (gc.collect, ())


class EndsTheProgramError(Exception):
    """Wants to end the program when it is pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Fail in the worst way."""
        raise SystemExit(3)


@processes.task(run_mode=RunMode.PROCESS)
def fail_deviously(kind: str) -> None:
    """Raise what is no exception on the other side."""
    raise TurnsToNothingError if kind == "nothing" else EndsTheProgramError


@processes.task(run_mode=RunMode.PROCESS)
def return_a_lambda() -> object:
    """Return what cannot be sent."""
    return lambda: None


@processes.task(run_mode=RunMode.PROCESS)
def take(cargo: object) -> None:
    """Take anything."""

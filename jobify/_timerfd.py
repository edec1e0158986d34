"""Timer descriptors: how the kernel of Linux wakes in time, and tells that its wall clock was stepped.

Python has them from 3.13 on; before, they are called in the C library that the interpreter is linked with.
This module makes, sets and reads them. It knows nothing of event loops.
"""

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

MONOTONIC = 1
REALTIME = 0
REALTIME_COARSE = 5
"""The wall clock as of the kernel's last tick."""

_FLAGS = 0o2004000  # TFD_NONBLOCK | TFD_CLOEXEC; the `os` of other platforms does not have their O_ names
_ABSOLUTE = 1
_CANCEL_ON_SET = 2

_LONGEST = 2**62
"""Nanoseconds, 146 years: as far ahead as is ever asked of the kernel, whose numbers end at twice that."""


class Kernel(NamedTuple):
    """The three calls; each raises `OSError`."""

    create: Callable[[int, int], int]
    """Takes a clock and flags, returns a descriptor."""
    set: Callable[[int, int, int], None]
    """Takes a descriptor, flags and nanoseconds."""
    read: Callable[[int, int], bytes] = os.read


class TimerDescriptor:
    """One timer of the kernel: `fd` becomes readable when its time has come. Closed at the latest when it is dropped.

    Raises:
        OSError: the kernel refuses it: too many open files, a sandbox.
    """

    fd = -1

    def __init__(self, kernel: Kernel, clock: int) -> None:
        self._kernel = kernel
        self.fd = kernel.create(clock, _FLAGS)

    def wake_in(self, nanoseconds: int) -> None:
        """Become readable when so many nanoseconds have passed: the next, if these are none or less."""
        self._kernel.set(self.fd, 0, min(max(nanoseconds, 1), _LONGEST))

    def wake_at(self, nanoseconds: int) -> bool:
        """Become readable at a time of the wall clock, or when that is stepped; return whether it just was."""
        try:
            self._kernel.set(self.fd, _ABSOLUTE | _CANCEL_ON_SET, min(max(nanoseconds, 1), _LONGEST))
        except OSError as error:
            return _means_stepped(error)  # the timer is set all the same
        return False

    def read(self) -> bool:
        """Be readable no longer, and return whether the wall clock was stepped."""
        try:
            self._kernel.read(self.fd, 8)
        except BlockingIOError:
            return False  # it was set anew meanwhile
        except OSError as error:
            return _means_stepped(error)
        return False

    def close(self) -> None:
        """Give the descriptor back; harmless if repeated."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


def _means_stepped(error: OSError) -> bool:
    if error.errno != errno.ECANCELED:
        raise error
    return True


@functools.cache
def find_kernel() -> Kernel | None:
    """Return the best way to timer descriptors that this process has; None if it has none."""
    return kernel_of_os() or kernel_of_libc()


def kernel_of_os() -> Kernel | None:
    """Return the functions of `os`, which it has on Linux from Python 3.13 on."""
    system: Any = os
    if not hasattr(system, "timerfd_create"):
        return None

    def create(clock: int, flags: int) -> int:
        return int(system.timerfd_create(clock, flags=flags))

    def set_(fd: int, flags: int, nanoseconds: int) -> None:
        system.timerfd_settime_ns(fd, flags=flags, initial=nanoseconds)

    return Kernel(create, set_)


def kernel_of_libc() -> Kernel | None:
    """Return the functions of the C library, where the interpreter can call it; the import of ctypes is not cheap."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes  # noqa: PLC0415  # not cheap, and not everywhere

        # Calls that keep the interpreter's lock: they are shorter than it would take to give it away.
        libc: Any = ctypes.PyDLL(None, use_errno=True)
        timerfd_create, timerfd_settime = libc.timerfd_create, libc.timerfd_settime
    except (ImportError, OSError, AttributeError):
        return None
    # struct itimerspec: interval and value, each a time_t and a long. Where a long is shorter than 64 bits,
    # the size of a time_t is a matter of how that library was built: hands off.
    spec = ctypes.c_long * 4
    if ctypes.sizeof(spec) != 32:  # noqa: PLR2004  # four times 64 bits
        return None

    def check(result: int, *_: object) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    timerfd_create.argtypes = [ctypes.c_int, ctypes.c_int]
    timerfd_settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_long), ctypes.c_void_p]
    timerfd_create.errcheck = timerfd_settime.errcheck = check

    def set_(fd: int, flags: int, nanoseconds: int) -> None:
        timerfd_settime(fd, flags, spec(0, 0, nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000), None)

    return Kernel(timerfd_create, set_)

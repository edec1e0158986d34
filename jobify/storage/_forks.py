"""Open files that are not for forked children.

A lock and a connection live until the last copy of their descriptor is closed. A child that a program forks, and that
executes no other program, has a copy of each: it would keep the lock of its dead parent, and who listens to the parent
would not hear of its death. So a child loses the copies as soon as it is there.
"""

import os
import threading

calm = threading.RLock()
"""Held by who forks. Hold it from the making of a descriptor until it is withheld: so no fork falls in between."""

_withheld: dict[int, tuple[int, int]] = {}
"""Descriptors, with the device and the number of the file: one that was closed may be another file's by now."""


def withhold(descriptor: int) -> None:
    """See to it that children which are forked from now on do not have an open file of this process.

    Raises:
        OSError: there is no such file.
    """
    with calm:
        _withheld[descriptor] = _identity(descriptor)


def forget(descriptor: int) -> None:
    """Withhold a descriptor no longer, as it is about to be closed; harmless if repeated."""
    with calm:
        _withheld.pop(descriptor, None)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _shed() -> None:
    """Lose the copies, in a child that was just forked.

    Objects that own a descriptor are copied too, and may close its number later. So the number stays taken.
    """
    calm.release()
    for descriptor, identity in _withheld.items():
        try:
            if _identity(descriptor) == identity:
                _replace(descriptor)
        except OSError:
            continue  # it was closed
    _withheld.clear()


def _replace(descriptor: int) -> None:
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
    except OSError:  # too many open files, or a world without devices
        os.close(descriptor)
        return
    os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


if hasattr(os, "register_at_fork"):  # not where there are no forks
    os.register_at_fork(before=calm.acquire, after_in_parent=calm.release, after_in_child=_shed)

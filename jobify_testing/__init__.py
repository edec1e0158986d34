"""jobify_testing: virtual time for programs that schedule, and for everything else on asyncio.

The names are imported when they are asked for: pytest imports this package for its plugin in every
project of an environment, also in those that have no use for it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobify_testing._assertions import assert_scheduled
    from jobify_testing._clock import VirtualClock
    from jobify_testing._crash import crash
    from jobify_testing._errors import (
        ForbiddenWorkError,
        VirtualDeadlockError,
        VirtualRunawayError,
        VirtualTimeError,
        VirtualTimeWarning,
    )
    from jobify_testing._loop import VirtualLoop
    from jobify_testing._options import VirtualOptions
    from jobify_testing._pending import Pending
    from jobify_testing._run import run
    from jobify_testing._runtime import VirtualRuntime
    from jobify_testing._shared_contract import SharedStorageContract
    from jobify_testing._timeline import Timeline
    from jobify_testing._transitions import TransitionLog
    from jobify_testing._travel import wall_follows
    from jobify_testing.storage_contract import StorageContract

_HOMES = {
    "ForbiddenWorkError": "_errors",
    "Pending": "_pending",
    "SharedStorageContract": "_shared_contract",
    "StorageContract": "storage_contract",
    "Timeline": "_timeline",
    "TransitionLog": "_transitions",
    "VirtualClock": "_clock",
    "VirtualDeadlockError": "_errors",
    "VirtualLoop": "_loop",
    "VirtualOptions": "_options",
    "VirtualRunawayError": "_errors",
    "VirtualRuntime": "_runtime",
    "VirtualTimeError": "_errors",
    "VirtualTimeWarning": "_errors",
    "assert_scheduled": "_assertions",
    "crash": "_crash",
    "run": "_run",
    "wall_follows": "_travel",
}

__all__ = [
    "ForbiddenWorkError",
    "Pending",
    "SharedStorageContract",
    "StorageContract",
    "Timeline",
    "TransitionLog",
    "VirtualClock",
    "VirtualDeadlockError",
    "VirtualLoop",
    "VirtualOptions",
    "VirtualRunawayError",
    "VirtualRuntime",
    "VirtualTimeError",
    "VirtualTimeWarning",
    "assert_scheduled",
    "crash",
    "run",
    "wall_follows",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

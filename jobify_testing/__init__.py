"""jobify_testing: virtual time for programs that schedule, and for everything else on asyncio.

The names are imported when they are asked for: pytest imports this package for its plugin in every
project of an environment, also in those that have no use for it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobify_testing._clock import VirtualClock, wall_follows
    from jobify_testing._errors import VirtualDeadlockError, VirtualTimeError, VirtualTimeWarning
    from jobify_testing._loop import VirtualLoop
    from jobify_testing._runtime import VirtualRuntime
    from jobify_testing._transitions import TransitionLog
    from jobify_testing.storage_contract import StorageContract

_HOMES = {
    "StorageContract": "storage_contract",
    "TransitionLog": "_transitions",
    "VirtualClock": "_clock",
    "VirtualDeadlockError": "_errors",
    "VirtualLoop": "_loop",
    "VirtualRuntime": "_runtime",
    "VirtualTimeError": "_errors",
    "VirtualTimeWarning": "_errors",
    "wall_follows": "_clock",
}

__all__ = [
    "StorageContract",
    "TransitionLog",
    "VirtualClock",
    "VirtualDeadlockError",
    "VirtualLoop",
    "VirtualRuntime",
    "VirtualTimeError",
    "VirtualTimeWarning",
    "wall_follows",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

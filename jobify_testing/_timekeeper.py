"""What threads that take turns need of their loop, as a protocol: the loop itself is made of them."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from jobify_testing._errors import VirtualTimeError


class Timekeeper(Protocol):
    """A loop on virtual time, as its threads see it."""

    @property
    def nanoseconds(self) -> int:
        """The virtual instant."""
        ...

    @property
    def patience(self) -> float:
        """For how many real seconds it waits for anything."""
        ...

    @property
    def home(self) -> int:
        """The thread that it ran in last, by its identifier."""
        ...

    @property
    def progress(self) -> int | None:
        """A number that grows while the loop gets on; None while it waits for something and knows for how long."""
        ...

    def is_home(self) -> bool:
        """Whether this is the thread of the loop."""
        ...

    def wait_for(self, semaphore: threading.Semaphore, seconds: float, /) -> bool:
        """Wait, for so many real seconds at most, for another thread."""
        ...

    def governing(self) -> AbstractContextManager[None]:
        """Have `time.sleep` and calls in pools be those of the loop in a block, also while it does not run."""
        ...

    def create_future(self) -> "asyncio.Future[Any]":
        """Make a future."""
        ...

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> asyncio.Handle:
        """Call in the next turn of the loop."""
        ...

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: Any) -> asyncio.Handle:
        """The same, from another thread."""
        ...

    def call_at_nanoseconds(self, when: int, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        """Call at a virtual instant."""
        ...

    def block(self, nanoseconds: int, /) -> None:
        """Let time pass while the loop does not get to run."""
        ...

    def take_hold(self, what: str, /) -> object:
        """Keep time from moving."""
        ...

    def let_go(self, token: object, /) -> None:
        """End that."""
        ...

    def fail_soon(self, error: VirtualTimeError, /) -> None:
        """End what runs on it with an error; from any thread."""
        ...

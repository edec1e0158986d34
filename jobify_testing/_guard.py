"""The guard: a real thread that sees a loop blocked by a thread to which that loop would have to give a turn.

A thread that sleeps in virtual time inside of a lock waits for its loop; a callback of the loop that wants the same
lock waits for the thread, and no hook is passed on the way. So the guard looks, while threads stand still, whether
the thread of their loop stays at one instruction, and computes nothing; if it does so for the whole patience of the
loop, both get an error.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Generator
from types import FrameType
from typing import Protocol

from jobify_testing._errors import VirtualDeadlockError
from jobify_testing._report import where
from jobify_testing._timekeeper import Timekeeper

_LOOKS = 20
"""How often the guard looks before it says that a loop is blocked."""

_SHORTEST = 0.01
"""Real seconds between two looks, at the least."""

_LONGEST = 0.5
"""Real seconds between two looks, at the most."""

_BUSY = 0.05
"""The part of the time from which on a thread that computes is not blocked, though it be at one instruction."""

_DEBUGGERS = frozenset({"pdb", "bdb", "pydevd", "_pydevd_bundle", "debugpy", "IPython", "code"})
"""Who stops at one instruction may be looked at by a person."""


class Standing(Protocol):
    """A thread that stands still."""

    @property
    def loop(self) -> Timekeeper:
        """From which it gets its turns."""
        ...

    def fail(self, error: VirtualDeadlockError, /) -> None:
        """Let it go on with an error."""
        ...


class _Loop:
    """What was seen of a loop."""

    def __init__(self) -> None:
        self.mark: object = None
        self.still = 0.0
        self.worked = 0.0


class Guard:
    """Looks after the loops whose threads stand still; there is one in a process."""

    def __init__(self) -> None:
        self._standing: dict[Standing, None] = {}
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self, turn: Standing) -> Generator[None, None, None]:
        """Look after the loop of a thread that stands still in this block."""
        self._standing[turn] = None
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="guard of virtual time", daemon=True)
            self._thread.start()
        self._some.set()
        try:
            yield
        finally:
            del self._standing[turn]

    def _work(self) -> None:
        while self._some.wait():
            self._some.clear()
            seen: dict[Timekeeper, _Loop] = {}
            before = time.monotonic()
            while standing := list(self._standing):
                loops = {turn.loop for turn in standing}
                pause = min(max(min(loop.patience for loop in loops) / _LOOKS, _SHORTEST), _LONGEST)
                threading.Event().wait(pause)
                now = time.monotonic()
                # A machine that slept, or a call that let no other thread run, is no blocked loop.
                passed, before = min(now - before, 2 * pause), now
                for loop in loops:
                    self._look(loop, seen.setdefault(loop, _Loop()), passed)

    def _look(self, loop: Timekeeper, seen: _Loop, passed: float) -> None:
        frame = sys._current_frames().get(loop.home)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, in spite of its name
        mark = (loop.progress, id(frame), frame.f_lasti if frame is not None else None)
        worked, seen.worked = seen.worked, _processor_seconds(loop.home) if frame is not None else 0.0
        is_busy = seen.worked - worked > _BUSY * passed
        if is_busy or mark != seen.mark or loop.progress is None or frame is None or _is_debugged(frame):
            seen.mark, seen.still = mark, 0.0
            return
        seen.still += passed
        if seen.still > loop.patience:
            seen.still = 0.0
            self._break_up(loop, frame)

    def _break_up(self, loop: Timekeeper, frame: FrameType) -> None:
        turns = [turn for turn in list(self._standing) if turn.loop is loop]
        names = "\n".join(f"  {turn}" for turn in turns)
        reason = (
            f"the loop has been blocked for more than {loop.patience:g} real seconds at {where(frame)}, perhaps by a "
            f"thread that stands still in virtual time until the loop goes on, and does so inside of a lock:\n{names}\n"
            'Let it not sleep or wait inside of what the loop wants, or use threads="real"'
        )
        loop.fail_soon(VirtualDeadlockError(reason))
        for turn in turns:
            turn.fail(VirtualDeadlockError(reason))


def _processor_seconds(thread: int) -> float:
    """Return for how long a thread, which has not ended, has computed; 0 where the platform does not tell."""
    if sys.platform == "win32" or not hasattr(time, "pthread_getcpuclockid"):
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(thread))


def _is_debugged(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _DEBUGGERS:
            return True
        frame = frame.f_back
    return False


guard = Guard()

"""The wall clock of the process, which follows a virtual one, and what would get in its way."""

import contextlib
import importlib
import os
import time
import warnings
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobify import SystemRuntime
from jobify_testing._errors import VirtualTimeError, VirtualTimeWarning
from jobify_testing._wall import TwoClocks

if TYPE_CHECKING:
    from time_machine import Traveller

_MICROSECOND = timedelta(microseconds=1)

_INSTEAD = (
    "begin at another date by start=, move time by advance() or step_wall(), or let a block see another date by "
    "time_machine.travel()"
)


@contextlib.contextmanager
def wall_follows(clock: TwoClocks) -> Generator[None, None, None]:
    """Let `datetime.now()`, `time.time()` and their like read a virtual clock, in this process.

    Raises:
        VirtualTimeError: freezegun has frozen time; and where somebody has it do so in the block.
        ImportError: time-machine is not installed.
    """
    try:
        import time_machine  # noqa: PLC0415  # a part of the extra: not there in every project
    except ImportError as error:
        msg = "virtual time needs time-machine: install jobify[testing]"
        raise ImportError(msg) from error
    # A number, unlike a datetime, leaves the TZ of the process alone.
    with _no_freezegun(), _same_timezone_behind(), _no_real_app(), time_machine.travel(0, tick=False) as traveller:
        # Read through a live function, a jump of time costs nothing. This is not documented, hence the check.
        with contextlib.suppress(AttributeError):
            traveller.time_ns = clock.wall_nanoseconds  # type: ignore[method-assign]  # as said
        with contextlib.ExitStack() as stack:
            if time.time_ns() != clock.wall_nanoseconds():
                _move(traveller, clock)
                stack.enter_context(clock.at_each_jump(lambda: _move(traveller, clock)))
            try:
                yield
            finally:
                _end_forgotten_travels(traveller)


@contextlib.contextmanager
def _no_freezegun() -> Generator[None, None, None]:
    """Refuse freezegun, which would show one wall clock to the code of a test, and the jobs would follow another."""
    api = _freezegun()
    if api is None:
        yield
        return
    if api.freeze_factories:
        msg = f"virtual time is not possible here: freezegun has frozen the wall clock already; {_INSTEAD}"
        raise VirtualTimeError(msg)

    def refuse(_: object) -> None:
        msg = f"cannot freeze time with freezegun: the wall clock is virtual; {_INSTEAD}"
        raise VirtualTimeError(msg)

    start, api._freeze_time.start = api._freeze_time.start, refuse  # noqa: SLF001  # its only door, however it is used
    try:
        yield
    finally:
        api._freeze_time.start = start  # noqa: SLF001  # as it was


def _freezegun() -> Any:
    """Return the module of freezegun that freezes, if there is one: a test may import it later."""
    try:
        api = importlib.import_module("freezegun.api")
    except ImportError:
        return None
    return api if hasattr(api, "_freeze_time") and hasattr(api, "freeze_factories") else None


@contextlib.contextmanager
def _no_real_app() -> Generator[None, None, None]:
    before = SystemRuntime.refused
    SystemRuntime.refused = (
        "on a real event loop while the wall clock is virtual: it would run what is really stored, at virtual dates. "
        "Start it on the loop of the test; a client that brings a thread and a loop of its own, as the TestClient of "
        "Starlette and FastAPI does, has an async one beside it, as httpx.AsyncClient with ASGITransport"
    )
    try:
        yield
    finally:
        SystemRuntime.refused = before


def _end_forgotten_travels(traveller: "Traveller") -> None:
    """Stop what a test has started on top of our own travel and not stopped: ours would else stop that instead."""
    from time_machine import traveller_stack  # noqa: PLC0415  # see above

    forgotten = 0
    while traveller in traveller_stack and traveller_stack[-1] is not traveller:
        traveller_stack.pop()
        forgotten += 1
    if forgotten:
        warnings.warn(
            f"{forgotten} time_machine.travel() of this test was started and not stopped; it is stopped now",
            VirtualTimeWarning,
            stacklevel=2,
        )


@contextlib.contextmanager
def _same_timezone_behind() -> Generator[None, None, None]:
    before = os.environ.get("TZ")
    try:
        yield
    finally:
        if os.environ.get("TZ") != before:
            if before is None:
                os.environ.pop("TZ", None)
            else:
                os.environ["TZ"] = before
            time.tzset()


def _move(traveller: "Traveller", clock: TwoClocks) -> None:
    # In microseconds, which a timedelta holds exactly; a float of seconds would not.
    traveller.shift((clock.wall_nanoseconds() - time.time_ns()) // 1000 * _MICROSECOND)

"""What can be decided about virtual time, in one value that every door fills: marker, options, `run`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

Mode = Literal["auto", "manual", "real"]
Order = Literal["fifo", "lifo", "random"]
Kind = Literal["executor", "thread", "subprocess", "socket", "hold"]
Policy = Literal["wait", "forbid", "ignore"]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time starts, unless a test says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualOptions:
    """How virtual time behaves.

    Args:
        start: what the wall clock shows at the start; an aware datetime.
        mode: "auto", and time moves when nothing else can happen; "manual", and only `advance` and its
            like move it; "real", and it is the time of the machine.
        order: in which order things due at one instant happen: "fifo", "lifo" or "random", by the seed.
        seed: of ids, of randomness and of the random order; a whole number.
        storage: "private", and databases are files of the test, empty at first; "keep", and they are used
            as they are.
        threads: "turns", and a thread and the loop never run at once; "real", and they do.
        patience: real seconds for which work in flight may hold time.
        grace: real seconds for which a loop with nothing to do listens to its sockets and signals before
            that counts as a deadlock.
        max_jumps: how often time may move while nobody has said how far it is to go.
        max_spins: how many turns the loop may take at one instant.
        leaks: "fail", and a test fails that leaves a task or a timer of its own behind, those of running apps
            excepted; "ignore", and nobody looks.
        holds: what real work of a kind does: "wait" holds time, "forbid" is an error, "ignore" is nothing.

    Raises:
        ValueError: one of these cannot be used.
    """

    start: datetime = EPOCH
    mode: Mode = "auto"
    order: Order = "fifo"
    seed: int = 0
    storage: Literal["private", "keep"] = "private"
    threads: Literal["turns", "real"] = "turns"
    patience: float = 30.0
    grace: float = 5.0
    max_jumps: int = 100_000
    max_spins: int = 1_000_000
    leaks: Literal["ignore", "fail"] = "ignore"
    holds: Mapping[Kind, Policy] = field(default_factory=dict["Kind", "Policy"])

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise _refusal(**{name: getattr(self, name)}, what=f"it must be one of {', '.join(map(repr, choices))}")
        if not _is_aware(self.start):
            raise _refusal(what="it must be an aware datetime, as datetime(2026, 1, 1, tzinfo=UTC)", start=self.start)
        for name in ("seed", "max_jumps", "max_spins"):
            number: object = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or (name != "seed" and number < 1):
                least = "" if name == "seed" else ", from 1"
                raise _refusal(**{name: number}, what=f"it must be a whole number{least}")
        for name in ("patience", "grace"):
            seconds: object = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
                raise _refusal(**{name: seconds}, what="it must be a number of real seconds, from 0")
        for kind, policy in dict(self.holds).items():
            if kind not in get_args(Kind) or policy not in get_args(Policy):
                known = f"the kinds are {get_args(Kind)}, the policies {get_args(Policy)}"
                raise _refusal(what=known, holds=self.holds)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options."""
        return tuple(option.name for option in fields(cls))


_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "mode": get_args(Mode),
    "order": get_args(Order),
    "leaks": ("ignore", "fail"),
    "storage": ("private", "keep"),
    "threads": ("turns", "real"),
}


def _is_aware(moment: object) -> bool:
    return isinstance(moment, datetime) and moment.utcoffset() is not None


def _refusal(*, what: str, **option: object) -> ValueError:
    ((name, value),) = option.items()
    return ValueError(f"cannot use {name}={value!r}: {what}")


def nanoseconds_of(duration: float | timedelta, verb: str) -> int:
    """Return a duration, which may be negative, in whole nanoseconds.

    Raises:
        ValueError: it is not finite.
    """
    from jobify import to_nanoseconds  # noqa: PLC0415  # the plugin loads this module in every project

    if isinstance(duration, timedelta):
        return duration // timedelta(microseconds=1) * 1000
    if isinstance(duration, int):
        return duration * 1_000_000_000  # exact at any size
    if not isinstance(duration, float):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot {verb} {duration!r}: give seconds as a number, or a timedelta"
        raise TypeError(msg)
    try:
        return to_nanoseconds(duration)
    except (ValueError, OverflowError):
        msg = f"cannot {verb} {duration!r} s: that never ends"
        raise ValueError(msg) from None

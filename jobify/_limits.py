"""What all recurrences share: how often they may run and fail, and what they call their task with. Pure."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from jobify.exceptions import InvalidScheduleError


@dataclass(frozen=True)
class Limits:
    """The limits of a recurrence.

    Attributes:
        max_runs: after how many runs it ends; None for never.
        max_failures: after how many failed runs in a row it ends; None for never.
        args: the positional arguments of a declared recurrence.
        kwargs: its keyword arguments.
    """

    _: KW_ONLY
    max_runs: int | None = None
    max_failures: int | None = 10
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def __post_init__(self) -> None:
        for what, number in (("max_runs", self.max_runs), ("max_failures", self.max_failures)):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
                msg = f"cannot use {number!r} as {what}: give a whole number from 1, or None for no limit"
                raise InvalidScheduleError(msg)
        if not isinstance(self.args, tuple | list) or not isinstance(self.kwargs, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot call a task with args={self.args!r} and kwargs={self.kwargs!r}: give a tuple and a dict"
            raise InvalidScheduleError(msg)
        object.__setattr__(self, "args", tuple(self.args))
        object.__setattr__(self, "kwargs", dict(self.kwargs))

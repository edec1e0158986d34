"""Whether and when a failed attempt is followed by another. Pure."""

from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from random import Random

from jobify._zones import seconds_of
from jobify.exceptions import InvalidScheduleError

Errors = type[BaseException] | tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """A rule for more attempts, with exponential backoff.

    The n-th retry waits `delay * factor ** (n - 1)` seconds, at most `maximum`. With `jitter` the wait
    is drawn evenly from the upper half of that ("equal jitter", after M. Brooker, "Exponential Backoff
    and Jitter", AWS Architecture Blog, 2015), so that jobs that failed together do not come back
    together.

    Args:
        retries: how many attempts may follow the first.
        delay: seconds before the first retry.
        factor: how much longer each further wait is; at least 1.
        maximum: the longest wait, in seconds.
        jitter: whether waits vary.
        on: the exceptions after which an attempt is repeated.
        never: the exceptions after which it is not, even if they are `on`.

    Raises:
        InvalidScheduleError: a number or an exception class cannot be used.
    """

    retries: int
    _: KW_ONLY
    delay: float | timedelta = 0.5
    factor: float = 2
    maximum: float | timedelta = 60
    jitter: bool = True
    on: Errors = (Exception,)
    never: Errors = ()

    def __post_init__(self) -> None:
        retries, factor = self.retries, self.factor
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot retry {retries!r} times: give a whole number from 0"
            raise InvalidScheduleError(msg)
        seconds_of(self.delay, "the delay of a retry")
        seconds_of(self.maximum, "the maximum of a retry")
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor < float("inf"):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot use {factor!r} as the factor of a retry: give a finite number from 1"
            raise InvalidScheduleError(msg)
        for what, errors in (("on", self.on), ("never", self.never)):
            if not all(isinstance(error, type) and issubclass(error, BaseException) for error in _classes(errors)):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
                msg = f"cannot retry with {what}={errors!r}: give exception classes"
                raise InvalidScheduleError(msg)

    def allows(self, error: BaseException, attempt: int) -> bool:
        """Whether another attempt may follow the `attempt`-th, from 1, which failed with `error`."""
        return attempt <= self.retries and isinstance(error, self.on) and not isinstance(error, self.never)

    def backoff(self, attempt: int, random: Random) -> float:
        """Return the seconds to wait after the `attempt`-th attempt, from 1."""
        delay, maximum = seconds_of(self.delay, "delay"), seconds_of(self.maximum, "maximum")
        try:
            wait = min(delay * float(self.factor) ** (attempt - 1), maximum)
        except OverflowError:
            wait = maximum if delay else 0.0
        return wait * random.uniform(0.5, 1.0) if self.jitter else wait


def _classes(errors: Errors) -> tuple[type[BaseException], ...]:
    return errors if isinstance(errors, tuple) else (errors,)

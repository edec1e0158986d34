"""The pure modules: limits, retries, zones. Recurrences are in `test_cron`, `test_dst` and `test_triggers`."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobify import AnyOf, CalendarInterval, Cron, Every, InvalidScheduleError, Jobify, Recurrence, Retry
from jobify.storage import MemoryStorage


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", True])
@pytest.mark.parametrize("limit", ["max_runs", "max_failures"])
def test_limits_are_whole_numbers_from_1(limit: str, number: Any) -> None:
    """A limit that could never be reached, or was passed before the start, is refused."""
    first_day = date(2026, 1, 1)
    makers: list[Callable[..., Recurrence]] = [
        partial(Cron, "* * * * *"),
        partial(Every, 5),
        partial(CalendarInterval, days=1, first_day=first_day),
        partial(AnyOf, Cron("* * * * *")),
    ]
    for make in makers:
        with pytest.raises(InvalidScheduleError, match=limit):
            make(**{limit: number})
        assert getattr(make(**{limit: None}), limit) is None


@given(attempt=st.integers(1, 10_000), delay=st.floats(0, 1e6), factor=st.floats(1, 1e6), maximum=st.floats(0, 1e6))
def test_a_backoff_is_bounded(attempt: int, delay: float, factor: float, maximum: float) -> None:
    """A wait is never longer than the maximum, never negative, and with jitter never less than half."""
    plain = Retry(5, delay=delay, factor=factor, maximum=maximum, jitter=False).backoff(attempt, random.Random(0))
    varied = Retry(5, delay=delay, factor=factor, maximum=maximum).backoff(attempt, random.Random(0))
    assert 0 <= plain <= maximum
    assert plain / 2 <= varied <= plain


def test_backoff_examples() -> None:
    """The n-th wait is `delay * factor ** (n - 1)`, at most `maximum`."""
    retry = Retry(10, delay=timedelta(seconds=1), factor=3, maximum=20, jitter=False)
    assert [retry.backoff(n, random.Random(0)) for n in range(1, 6)] == [1, 3, 9, 20, 20]


@pytest.mark.parametrize(
    "options",
    [
        {"delay": -1},
        {"delay": float("nan")},
        {"maximum": float("inf")},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"factor": "2"},
        {"on": ValueError()},
        {"on": (ValueError, "x")},
        {"never": int},
    ],
)
def test_refuses_what_is_no_retry(options: dict[str, Any]) -> None:
    """A retry that cannot be carried out is refused when it is made."""
    with pytest.raises(InvalidScheduleError):
        Retry(3, **options)


def test_zones_are_found_by_name() -> None:
    """The zone of an app may be given by its name, as an offset, or as a tzinfo."""
    for tz in ("Europe/Paris", ZoneInfo("Europe/Paris"), "UTC", UTC, "+05:30", timezone(timedelta(hours=-3))):
        Jobify(storage=MemoryStorage(), tz=tz)
    with pytest.raises(InvalidScheduleError, match=r"\+02:00"):
        Cron("* * * * *", tz="+nonsense")


class NamelessZone(tzinfo):
    """A zone that nobody can find again."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        """Return the offset of UTC."""
        return timedelta()

    dst = utcoffset

    def tzname(self, moment: datetime | None, /) -> None:
        """Have no name."""


def test_a_zone_without_a_name_is_refused() -> None:
    """A recurrence is stored with its zone, so the zone needs a name."""
    with pytest.raises(InvalidScheduleError, match="no name"):
        Cron("* * * * *", tz=NamelessZone())
    with pytest.raises(InvalidScheduleError, match="no name"):
        CalendarInterval(days=1, first_day=date(2026, 1, 1), tz=NamelessZone())
    with pytest.raises(InvalidScheduleError, match="no name"):
        Jobify(storage=MemoryStorage(), tz=NamelessZone())

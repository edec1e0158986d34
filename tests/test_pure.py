"""The pure modules: expressions, intervals, retries, zones. They are given the time, and never read it."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobify import Cron, Every, InvalidScheduleError, Jobify, Retry
from jobify.storage import MemoryStorage

first, last = datetime(1990, 1, 1), datetime(2090, 1, 1)  # noqa: DTZ001  # hypothesis takes the zone apart
moments = st.datetimes(first, last, timezones=st.just(UTC))
zones = st.sampled_from(
    [
        "UTC",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Sao_Paulo",
        "Pacific/Apia",
        "Europe/Dublin",
        "Antarctica/Troll",
    ]
)
expressions = st.sampled_from(
    [
        "* * * * *",
        "*/15 * * * *",
        "30 1 * * *",
        "30 2 * * *",
        "0 0 1 * *",
        "0 9 * * 1-5",
        "0 0 29 2 *",
        "5 0,12 * * sun",
    ]
)


@given(expression=expressions, zone=zones, moment=moments)
def test_cron_times_are_strictly_increasing(expression: str, zone: str, moment: datetime) -> None:
    """The next time is strictly after the moment asked, in every zone, on every day."""
    cron = Cron(expression, tz=zone)
    for _ in range(5):
        following = cron.next_after(moment)
        assert following > moment
        moment = following


@given(moment=moments)
def test_nothing_lies_between_a_moment_and_its_next_time(moment: datetime) -> None:
    """In UTC the next quarter of an hour is the first one after the moment."""
    following = Cron("*/15 * * * *").next_after(moment)
    assert following - moment <= timedelta(minutes=15)
    assert (following.minute % 15, following.second, following.microsecond) == (0, 0, 0)


@pytest.mark.parametrize(
    ("expression", "after", "following"),
    [
        ("0 0 * * *", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("0 0 * * *", "2025-12-31T23:59:59.999999", "2026-01-01T00:00:00"),
        ("@hourly", "2026-01-01T00:00:00", "2026-01-01T01:00:00"),
        ("@Daily", "2026-01-01T12:00:00", "2026-01-02T00:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 13 * fri", "2026-01-03T00:00:00", "2026-01-09T00:00:00"),
        ("59 23 31 12 *", "2026-12-31T23:58:00", "2026-12-31T23:59:00"),
    ],
)
def test_cron_examples(expression: str, after: str, following: str) -> None:
    """Expressions mean what the crontab of Unix means by them."""
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert Cron(expression).next_after(moment) == datetime.fromisoformat(following).replace(tzinfo=UTC)


@pytest.mark.parametrize("zone", ["UTC", "+05:30", "America/New_York"])
def test_the_offset_of_the_moment_does_not_matter(zone: str) -> None:
    """A schedule follows its own zone, not that of the datetime that it is asked about."""
    cron = Cron("0 9 * * *", tz=zone)
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert cron.next_after(moment) == cron.next_after(moment.astimezone(timezone(timedelta(hours=-7))))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * *", "6 fields"),
        ("* * * * * * *", "7 fields"),
        ("60 * * * *", "out of range"),
        ("* 24 * * *", "out of range"),
        ("* * 0 * *", "out of range"),
        ("* * * 13 *", "out of range"),
        ("* * * * 8", "out of range"),
        ("*/0 * * * *", "step '0'"),
        ("1,,2 * * * *", "not acceptable"),
        ("a b c d e", "not acceptable"),
        ("H * * * *", "drawn at random"),
        ("R * * * *", "drawn at random"),
        ("0 0 31 2 *", "never fires"),
        ("0 0 30 2 *", "never fires"),
        ("@reboot", "aliases"),
        ("@every", "aliases"),
        (" @daily x", "2 fields"),
        ("1," * 200 + "1 * * * *", "256"),
        ("9" * 5000 + " * * * *", "256"),
        ("9" * 200 + " * * * *", "out of range"),
        (None, "not a str"),
        (b"* * * * *", "not a str"),
        (5, "not a str"),
    ],
)
def test_a_bad_expression_is_refused_with_its_reason(expression: Any, reason: str) -> None:
    """What cannot be read, or never fires, is refused when it is given."""
    with pytest.raises(InvalidScheduleError, match=f"cannot use the cron expression(?s:.*){reason}"):
        Cron(expression)


def test_the_end_of_the_calendar_is_an_error_of_ours() -> None:
    """A recurrence that has no further time before the year 10000 says so."""
    with pytest.raises(InvalidScheduleError, match="no time after"):
        Cron("0 0 1 1 *").next_after(datetime(9999, 6, 1, tzinfo=UTC))
    with pytest.raises(InvalidScheduleError, match="no time after"):
        Every(86400 * 365).next_after(datetime(9999, 6, 1, tzinfo=UTC), last=datetime(9999, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", True])
@pytest.mark.parametrize("limit", ["max_runs", "max_failures"])
def test_limits_are_whole_numbers_from_1(limit: str, number: Any) -> None:
    """A limit that could never be reached, or was passed before the start, is refused."""
    makers: list[Callable[..., Cron | Every]] = [partial(Cron, "* * * * *"), partial(Every, 5)]
    for make in makers:
        with pytest.raises(InvalidScheduleError, match=limit):
            make(**{limit: number})
        assert getattr(make(**{limit: None}), limit) is None


def test_naive_moments_are_refused() -> None:
    """Recurrences are asked about instants."""
    with pytest.raises(InvalidScheduleError, match="naive"):
        Cron("* * * * *").next_after(datetime(2026, 1, 1))  # noqa: DTZ001  # naive on purpose
    with pytest.raises(InvalidScheduleError, match="naive"):
        Every(5).next_after(datetime(2026, 1, 1), last=datetime(2026, 1, 1, tzinfo=UTC))  # noqa: DTZ001  # naive on purpose


@given(
    interval=st.timedeltas(timedelta(microseconds=1), timedelta(days=400)),
    last=moments,
    since=st.timedeltas(timedelta(), timedelta(days=4000)),
)
def test_interval_times_are_whole_intervals_after_the_last(
    interval: timedelta, last: datetime, since: timedelta
) -> None:
    """The next time is strictly after the moment, at most an interval away, and in phase."""
    moment = last + since
    following = Every(interval).next_after(moment, last=last)
    assert moment < following <= moment + interval
    assert (following - last) % interval == timedelta()


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
        Jobify(storage=MemoryStorage(), tz=NamelessZone())

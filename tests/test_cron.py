"""Cron expressions: what they mean, which are refused and in which words, and what `H` draws."""

import threading
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobify import Cron, InvalidScheduleError

ORDER = "five fields are minute, hour, day-of-month, month, day-of-week; six are second and these five; seven are"
START = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday


def times(expression: str, n: int, *, after: datetime = START) -> list[str]:
    """Return the next n times in UTC."""
    return [f"{time:%Y-%m-%d %H:%M:%S}" for time in Cron(expression).preview(n, after=after)]


@pytest.mark.parametrize(
    ("expression", "after", "following"),
    [
        ("0 0 * * *", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("0 0 * * *", "2025-12-31T23:59:59.999999", "2026-01-01T00:00:00"),
        ("* * * * *", "2026-01-01T00:00:59", "2026-01-01T00:01:00"),
        ("@Daily", "2026-01-01T12:00:00", "2026-01-02T00:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 29 2 *", "2096-03-01T00:00:00", "2104-02-29T00:00:00"),
        ("0 0 * 2 fri#5", "2008-03-01T00:00:00", "2036-02-29T00:00:00"),
        ("59 23 31 12 *", "2026-12-31T23:58:00", "2026-12-31T23:59:00"),
        ("0 9 * * 1-5", "2026-01-02T09:00:00", "2026-01-05T09:00:00"),
        ("0 9 * jan,JUL Mon", "2026-01-26T09:00:00", "2026-07-06T09:00:00"),
        ("0 0 * * 7", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("0 0 * * fri-mon", "2026-01-02T00:00:00", "2026-01-03T00:00:00"),
        ("0 22-1 * * *", "2026-01-01T23:00:00", "2026-01-02T00:00:00"),
        ("0 0 1 nov-feb *", "2026-02-01T00:00:00", "2026-11-01T00:00:00"),
        ("5-5 * * * *", "2026-01-01T00:05:00", "2026-01-01T01:05:00"),
        ("59/15 * * * *", "2026-01-01T00:59:00", "2026-01-01T01:59:00"),
        ("0 0 * dec/3 *", "2026-01-01T00:00:00", "2026-12-01T00:00:00"),
        ("10-40/15 * * * *", "2026-01-01T00:25:00", "2026-01-01T00:40:00"),
        ("5/20 * * * *", "2026-01-01T00:05:00", "2026-01-01T00:25:00"),
        (" 0\t0  * * * ", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
    ],
)
def test_cron_examples(expression: str, after: str, following: str) -> None:
    """Expressions mean what the crontab of Unix means by them."""
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert Cron(expression).next_after(moment) == datetime.fromisoformat(following).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("30 12 * * 1", "2026-01-05 12:30:00"),
        ("0 0 12 * * 1", "2026-01-05 12:00:00"),
        ("15 30 12 * * mon", "2026-01-05 12:30:15"),
        ("15 30 12 5 1 * 2027", "2027-01-05 12:30:15"),
        ("0 0 0 1 1 * 2099", "2099-01-01 00:00:00"),
        ("0 0 0 1 1 * 2027-2031/2", "2027-01-01 00:00:00"),
        ("*/20 59 23 L 12 * *", "2026-12-31 23:59:00"),
    ],
)
def test_seconds_come_first_and_years_last(expression: str, first: str) -> None:
    """Six fields are second, minute, hour, day of month, month, day of week; seven have the year besides."""
    assert times(expression, 1) == [first]


@pytest.mark.parametrize(
    ("alias", "expression"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * sun"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_aliases(alias: str, expression: str) -> None:
    """Each alias stands for the five fields that it stands for in Vixie cron."""
    assert times(alias, 5) == times(expression, 5) == times(f" {alias.upper()} ", 5)


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("0 0 L * *", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("0 0 L 2 *", ["2026-02-28", "2027-02-28", "2028-02-29"]),
        ("0 0 1,L * *", ["2026-01-31", "2026-02-01", "2026-02-28"]),
        ("0 0 15W * *", ["2026-01-15", "2026-02-16", "2026-03-16"]),
        ("0 0 1W * *", ["2026-02-02", "2026-03-02", "2026-04-01"]),
        ("0 0 31W 1,5 *", ["2026-01-30", "2026-05-29", "2027-01-29"]),
        ("0 0 * * mon#2", ["2026-01-12", "2026-02-09", "2026-03-09"]),
        ("0 0 * * 1#1,3#3", ["2026-01-05", "2026-01-21", "2026-02-02"]),
        ("0 0 * * fri#5", ["2026-01-30", "2026-05-29", "2026-07-31"]),
        ("0 0 * * L5", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 ? * mon", ["2026-01-05", "2026-01-12", "2026-01-19"]),
    ],
)
def test_last_nearest_and_nth_days(expression: str, days: list[str]) -> None:
    """`L` is the last day, `15W` the nearest working day, `mon#2` the second Monday, `L5` the last Friday."""
    assert [time[:10] for time in times(expression, 3)] == days


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("0 0 13 * fri", [2, 9, 13, 16, 23, 30]),
        ("0 0 1-31 * fri", [2, 3, 4, 5, 6, 7]),
        ("0 0 13 * mon#1", [5, 13]),
        ("0 0 L * mon#1", [5, 31]),
        ("0 0 15W * sat", [3, 10, 15, 17, 24, 31]),
        ("0 0 */2 * fri", [9, 23]),
        ("0 0 1-7 * */7", [4]),
        ("0 0 *,13 * fri", [2, 9, 16, 23, 30]),
        ("0 0 * * fri", [2, 9, 16, 23, 30]),
        ("0 0 13 * *", [13]),
    ],
)
def test_either_day_is_enough_unless_one_begins_with_a_wildcard(expression: str, days: list[int]) -> None:
    """As in Vixie cron: of two given fields one is enough; one that begins with `*` is not given: both must match."""
    found = Cron(expression).preview(len(days), after=START)
    assert [time.day for time in found] == days
    assert all(time.month == 1 for time in found)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 8, 9])
def test_another_number_of_fields_is_refused_with_the_order(count: int) -> None:
    """Whoever counts wrong is told which field is which."""
    with pytest.raises(InvalidScheduleError, match=f"it has {count} fields: {ORDER} second, these five, and year"):
        Cron(" ".join("*" * count))


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("60 * * * *", "minute '60'"),
        ("* 24 * * *", "hour '24'"),
        ("* * 0 * *", "day-of-month '0'"),
        ("* * 32 * *", "day-of-month '32'"),
        ("* * * 13 *", "month '13'"),
        ("* * * foo *", "month 'foo'"),
        ("* * * * 8", "day-of-week '8'"),
        ("* * * * 5L", "day-of-week '5l'"),
        ("60 * * * * *", "second '60'"),
        ("0 0 9 * * 2026", "day-of-week '2026'"),
        ("* * * * * * 1969", "year '1969'"),
        ("* * * * * * 2100", "year '2100'"),
        ("*/0 * * * *", "minute '[*]/0'(?s:.*)1 to 60"),
        ("*/90 * * * *", "minute '[*]/90'(?s:.*)a longer interval is an Every"),
        ("0 */48 * * *", "hour '[*]/48'"),
        ("1,,2 * * * *", "minute '1,,2'"),
        ("1-2-3 * * * *", "minute '1-2-3'"),
        ("-1 * * * *", "minute '-1'"),
        ("+1 * * * *", "minute"),
        ("1_0 * * * *", "minute"),
        ("0x10 * * * *", "minute"),
        ("1.5 * * * *", "minute"),
        ("? * * * *", "minute"),
        ("L * * * *", "minute"),
        ("* * LW * *", "day-of-month 'lw'"),
        ("* * 5,15W * *", "day-of-month"),
        ("* * * * mon#6", "day-of-week"),
        ("R * * * *", "minute 'r' cannot be read: R is drawn anew at each start; H is drawn once"),
        ("* R(1-5) * * *", "hour"),
        ("9" * 200 + " * * * *", "minute"),
        ("* * * * * " + "9" * 200, "day-of-week"),
        ("*/" + "9" * 200 + " * * * *", "minute"),
    ],
)
def test_a_field_that_cannot_be_read_is_named_with_the_order(expression: str, field: str) -> None:
    """An error tells which field it is about, and the order of all."""
    with pytest.raises(InvalidScheduleError, match=f"cannot use the cron expression(?s:.*)its {field}(?s:.*); {ORDER}"):
        Cron(expression)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("@reboot", "the aliases are @annually, "),
        ("@every 5m", "2 fields"),
        ("@daily x", "2 fields"),
        ("0 0 31 2 *", "never fires"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 0 0 29 2 * 2026", "never fires"),
        ("0 0 0 29 2 * 2097-2099", "never fires"),
        ("1," * 200 + "1 * * * *", "longer than 256 characters"),
        ("1," * 1_000_000 + "1 * * * *", "longer than 256 characters"),
        ("9" * 5000 + " * * * *", "longer than 256 characters"),
        (" " * 300, "longer than 256 characters"),
        ("\u0661 * * * *", "not ASCII"),
        ("*\u00a0* * * *", "not ASCII"),
        ("* * * * * \ud800", "not ASCII"),
        (None, "not a str"),
        (b"* * * * *", "not a str"),
        (5, "not a str"),
        (["* * * * *"], "not a str"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_reason(expression: Any, reason: str) -> None:
    """What cannot be read, or never fires, is refused when it is given, in a message of bounded length."""
    with pytest.raises(InvalidScheduleError, match=f"cannot use the cron expression(?s:.*){reason}") as caught:
        Cron(expression)
    assert len(str(caught.value)) < 1000


@given(st.text(alphabet="0123456789*/-,LWHR#?()@ adeiklmnortwy\t\u0661\u00a0", max_size=40))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    """No text makes anything but an expression that fires, or an error of ours."""
    try:
        cron = Cron(text).bound_to("job")
    except InvalidScheduleError:
        return
    assert cron.next_after(datetime(1970, 1, 1, tzinfo=UTC)) > datetime(1970, 1, 1, tzinfo=UTC)


def test_an_expression_whose_years_are_over_has_no_time() -> None:
    """Years that have passed are no mistake of the expression: it just is not due any more."""
    cron = Cron("0 0 0 1 1 * 2026,2028")
    assert [time.year for time in cron.preview(5, after=datetime(2020, 1, 1, tzinfo=UTC))] == [2026, 2028]
    with pytest.raises(InvalidScheduleError, match="no time after 2028-01-01"):
        cron.next_after(datetime(2028, 1, 1, tzinfo=UTC))


def test_the_ends_of_the_calendar() -> None:
    """There is no time before the year 1 or after the year 9999, and no other error than that."""
    for zone in ("UTC", "+14:00", "Pacific/Apia", "America/New_York"):
        cron = Cron("0 0 1 1 *", tz=zone)
        with pytest.raises(InvalidScheduleError, match="no time after"):
            cron.next_after(datetime(9999, 6, 1, tzinfo=UTC))
        with pytest.raises(InvalidScheduleError, match="no time after"):
            cron.next_after(datetime.max.replace(tzinfo=UTC))
    with pytest.raises(InvalidScheduleError, match="no time after"):
        Cron("* * * * *").next_after(datetime.max.replace(tzinfo=UTC))
    assert times("@yearly", 2, after=datetime(1, 1, 2, tzinfo=UTC)) == ["2-01-01 00:00:00", "3-01-01 00:00:00"]
    with pytest.raises(InvalidScheduleError, match="no time after"):
        Cron("* * * * *", tz="America/New_York").next_after(datetime(1, 1, 1, tzinfo=UTC))


def test_the_offset_of_the_moment_does_not_matter() -> None:
    """A schedule follows its own zone, not that of the datetime that it is asked about."""
    for zone in ("UTC", "+05:30", "America/New_York"):
        cron = Cron("0 9 * * *", tz=zone)
        moment = datetime(2026, 3, 1, tzinfo=UTC)
        assert cron.next_after(moment) == cron.next_after(moment.astimezone(timezone(timedelta(hours=-7))))


def test_a_zone_of_its_own_wins_over_the_one_that_is_given() -> None:
    """The zone that is passed with a question is for expressions that have none."""
    plain, tokyo = Cron("0 9 * * *"), Cron("0 9 * * *", tz="Asia/Tokyo")
    paris = timezone(timedelta(hours=1))
    assert plain.preview(1, after=START, tz=paris)[0].isoformat() == "2026-01-01T09:00:00+01:00"
    assert tokyo.preview(1, after=START, tz=paris)[0].isoformat() == "2026-01-02T09:00:00+09:00"
    assert plain.in_zone(paris).tz is paris
    assert tokyo.in_zone(paris) is tokyo


SLOTS = [
    ("H", range(60)),
    ("H(0-29)", range(30)),
    ("H/15", range(15)),
    ("H(10-40)/10", range(10, 20)),
]


@pytest.mark.parametrize(("text", "firsts"), SLOTS)
def test_each_form_of_h_draws_all_that_it_can(text: str, firsts: range) -> None:
    """The first value of each form is any of those that it may be, over many ids, and no other."""
    before = START - timedelta(microseconds=1)
    drawn = {Cron(f"{text} 0 * * *").bound_to(f"job {n}").next_after(before).minute for n in range(1500)}
    assert drawn == set(firsts)


def test_a_step_from_a_drawn_value_goes_on_to_the_end() -> None:
    """`H/20` is every twentieth minute, `H(10-40)/10` those of its range."""
    for n in range(20):
        minutes = [time.minute for time in Cron("H/20 * * * *").bound_to(f"{n}").preview(3, after=START)]
        assert minutes == [minutes[0], minutes[0] + 20, minutes[0] + 40]
        within = {time.minute for time in Cron("H(10-40)/10 * * * *").bound_to(f"{n}").preview(20, after=START)}
        assert within == set(range(min(within), 41, 10))


def test_h_is_uniform_over_all_minutes_of_a_day() -> None:
    """Five thousand daily jobs spread over nearly all of the 1440 minutes of a day, none of them crowded."""
    counts: dict[tuple[int, int], int] = {}
    for n in range(5000):
        time = Cron("H H * * *").bound_to(f"job-{n}").next_after(START - timedelta(microseconds=1))
        counts[time.hour, time.minute] = counts.get((time.hour, time.minute), 0) + 1
    assert len(counts) > 1300
    assert max(counts.values()) < 20


def test_h_is_the_same_for_a_job_for_ever() -> None:
    """What is drawn depends on the id and the field only: these times are part of the contract."""
    daily, yearly = Cron("H H * * *").bound_to("nightly"), Cron("H H H H H *").bound_to("nightly")
    assert daily.next_after(START) == datetime(2026, 1, 1, 7, 32, tzinfo=UTC)
    assert yearly.next_after(START) == datetime(2026, 3, 19, 7, 32, 30, tzinfo=UTC)
    assert Cron("h(0-5),30 * * * *").bound_to("x").preview(2, after=START)[1].minute == 30


def test_h_of_a_day_of_month_is_a_day_that_every_month_has() -> None:
    """A monthly job with a drawn day runs each month."""
    for n in range(200):
        months = [time.month for time in Cron("0 0 H * *").bound_to(f"{n}").preview(12, after=START)]
        assert sorted(months) == list(range(1, 13))


def test_h_without_an_id_is_an_error_that_says_so() -> None:
    """Times that depend on the id of a job cannot be told without it."""
    cron = Cron("H 3 * * *", tz="Europe/Paris")
    for ask in (lambda: cron.next_after(START), lambda: cron.preview(3, after=START)):
        with pytest.raises(InvalidScheduleError, match=r"'H 3 \* \* \*'.*by the id of the job.*bound_to"):
            ask()
    bound = cron.bound_to("nightly")
    assert (bound.expression, bound.drawn_for, bound.tz) == ("H 3 * * *", "nightly", cron.tz)
    assert bound.next_after(START) > START
    plain = Cron("0 3 * * *")
    assert plain.bound_to("nightly") is plain


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("H(0-60) * * * *", "not within 0 to 59"),
        ("H(30-10) * * * *", "not within"),
        ("* * H(0-5) * *", "not within 1 to 31"),
        ("* * * * H(1-7)", "not within 0 to 6"),
        ("H/0 * * * *", "not within 1 to 60"),
        ("H/61 * * * *", "not within 1 to 60"),
        ("H(0-9)/11 * * * *", "not within 1 to 10"),
        ("H(mon-fri) * * * *", "none of the forms"),
        ("H5 * * * *", "none of the forms"),
        ("H-5 * * * *", "none of the forms"),
        ("* * * * * * H", "a year cannot be drawn"),
    ],
)
def test_h_in_another_form_is_refused(expression: str, reason: str) -> None:
    """What H cannot draw is refused when it is given, with the field."""
    with pytest.raises(InvalidScheduleError, match=f"its (minute|day|year)(?s:.*){reason}(?s:.*); {ORDER}"):
        Cron(expression)


def test_dates_bound_the_times() -> None:
    """No time is before `start_date` or after `end_date`; both are included."""
    start, end = START + timedelta(hours=9), START + timedelta(days=2, hours=9)
    cron = Cron("0 9 * * *", start_date=start, end_date=end.astimezone(timezone(timedelta(hours=5))))
    assert [time.day for time in cron.preview(9, after=datetime(2020, 1, 1, tzinfo=UTC))] == [1, 2, 3]
    assert cron.next_after(START) == start
    assert cron.next_after(start) == start + timedelta(days=1)
    with pytest.raises(InvalidScheduleError, match=r"cron '0 9 .*' has no time after 2026-01-03T09:00:00"):
        cron.next_after(end)
    with pytest.raises(InvalidScheduleError, match="no time after"):
        cron.preview(1, after=end)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"start_date": datetime(2026, 1, 1)}, "start_date: it is naive"),  # noqa: DTZ001  # on purpose
        ({"end_date": "2026-01-01"}, "end_date: give an aware datetime"),
        ({"start_date": START, "end_date": START - timedelta(seconds=1)}, "behind the start_date"),
    ],
)
def test_dates_that_are_no_instants_are_refused(limits: dict[str, Any], reason: str) -> None:
    """The dates of a recurrence are aware, and in order."""
    with pytest.raises(InvalidScheduleError, match=reason):
        Cron("* * * * *", **limits)


@pytest.mark.parametrize("n", [0, -1, 1.0, "3", True, None])
def test_a_preview_of_no_number_is_refused(n: Any) -> None:
    """A preview has a whole number of times, from 1."""
    with pytest.raises(InvalidScheduleError, match="whole number from 1"):
        Cron("* * * * *").preview(n, after=START)


def test_naive_moments_are_refused() -> None:
    """Recurrences are asked about instants."""
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  # naive on purpose
    with pytest.raises(InvalidScheduleError, match="naive"):
        Cron("* * * * *").next_after(naive)
    with pytest.raises(InvalidScheduleError, match="naive"):
        Cron("* * * * *").preview(3, after=naive)


def matching_days(day: str, month: str, weekday: str, year: int) -> Iterator[date]:
    """Yield the days of a year that match three fields: each field as a set, and the rule of Vixie cron."""
    for number in range(1, 13):
        for current in (date(year, number, day) for day in range(1, monthrange(year, number)[1] + 1)):
            by_day, by_weekday = day_matches(day, current), weekday_matches(weekday, current)
            is_open = day.startswith("*") or weekday.startswith("*")
            if month in ("*", str(number)) and (by_day and by_weekday if is_open else by_day or by_weekday):
                yield current


def day_matches(text: str, current: date) -> bool:
    """Return whether a day of month is meant: `*`, `*/n`, `L`, `nW` or a list of numbers."""
    last = monthrange(current.year, current.month)[1]
    if text.startswith("*"):
        return (current.day - 1) % int(text[2:] or 1) == 0
    if text == "L":
        return current.day == last
    if text.endswith("W"):
        wanted = current.replace(day=min(int(text[:-1]), last))
        near = [wanted + timedelta(days=shift) for shift in (0, -1, 1, -2, 2)]
        return current == next(day for day in near if day.month == current.month and day.isoweekday() < 6)
    return current.day in map(int, text.split(","))


def weekday_matches(text: str, current: date) -> bool:
    """Return whether a day of the week is meant: `*`, `*/n`, `n#k`, `Ln` or a list of numbers."""
    weekday = current.isoweekday() % 7
    if text.startswith("*"):
        return weekday % int(text[2:] or 1) == 0
    if text.startswith("L"):
        return weekday == int(text[1:]) and current.day + 7 > monthrange(current.year, current.month)[1]
    if "#" in text:
        wanted, nth = map(int, text.split("#"))
        return weekday == wanted and (current.day - 1) // 7 + 1 == nth
    return weekday in map(int, text.split(","))


@given(
    day=st.one_of(
        st.just("*"),
        st.integers(1, 31).map(lambda step: f"*/{step}"),
        st.just("L"),
        st.integers(1, 31).map(lambda day: f"{day}W"),
        st.sets(st.integers(1, 31), min_size=1, max_size=4).map(lambda days: ",".join(map(str, days))),
    ),
    month=st.one_of(st.just("*"), st.integers(1, 12).map(str)),
    weekday=st.one_of(
        st.just("*"),
        st.integers(1, 7).map(lambda step: f"*/{step}"),
        st.integers(0, 6).map(lambda day: f"L{day}"),
        st.tuples(st.integers(0, 6), st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}"),
        st.sets(st.integers(0, 6), min_size=1, max_size=3).map(lambda days: ",".join(map(str, days))),
    ),
    year=st.integers(1970, 2099),
)
def test_days_match_the_calendar(day: str, month: str, weekday: str, year: int) -> None:
    """On all days of a year an expression is due if the calendar says so: OR, AND, `L`, `W` and `#`."""
    try:
        cron = Cron(f"0 0 {day} {month} {weekday}")
    except InvalidScheduleError as error:
        assert "never fires" in str(error)  # noqa: PT017  # most expressions are none of these
        assert not [*matching_days(day, month, weekday, 2000), *matching_days(day, month, weekday, 2023)]
        return
    expected = list(matching_days(day, month, weekday, year))
    bounded = Cron(f"0 0 0 {day} {month} {weekday} {year}") if expected else None
    moment = datetime(year, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
    for current in expected:
        moment = cron.next_after(moment)
        assert moment.date() == current
    if bounded is not None:
        start = datetime(1960, 1, 1, tzinfo=UTC)
        assert [time.date() for time in bounded.preview(400, after=start)] == expected


def test_one_expression_can_be_asked_by_many_threads() -> None:
    """The calendar of an expression is shared, and gives each thread its own answer."""
    cron = Cron("0 12 * * mon#2")
    expected = cron.preview(60, after=START)
    found: list[list[datetime]] = []
    threads = [threading.Thread(target=lambda: found.append(cron.preview(60, after=START))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8

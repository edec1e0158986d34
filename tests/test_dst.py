"""What becomes of recurrences when clocks are changed: the tables of the explanation, zone by zone."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from jobify import CalendarInterval, Cron, DstRule, InvalidScheduleError

NEW_YORK = ZoneInfo("America/New_York")


def shown(cron: Cron, after: str, until: str) -> list[str]:
    """Return what a clock in the zone of a cron shows at its times, with day of the month and offset."""
    assert cron.tz is not None
    end = datetime.fromisoformat(until)
    times: list[str] = []
    moment = cron.next_after(datetime.fromisoformat(after))
    while moment <= end:
        local = moment.astimezone(cron.tz)
        times.append(f"{local:%d %H:%M}{local.isoformat()[19:22]}")
        moment = cron.next_after(moment)
    return times


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("30 2 * * *", ["09 03:00-04", "10 02:30-04"]),
        ("0 2 * * *", ["09 03:00-04", "10 02:00-04"]),
        ("0,30 2 * * *", ["09 03:00-04", "10 02:00-04", "10 02:30-04"]),
        ("30 2,3 * * *", ["09 03:00-04", "09 03:30-04", "10 02:30-04"]),
        ("0 2,3 * * *", ["09 03:00-04", "10 02:00-04"]),
        ("0 1-4 * * *", ["09 01:00-05", "09 03:00-04", "09 04:00-04", "10 01:00-04", "10 02:00-04"]),
        ("59 1 * * *", ["09 01:59-05", "10 01:59-04"]),
        ("30 * * * *", ["09 00:30-05", "09 01:30-05", "09 03:30-04", "09 04:30-04"]),
        ("*/15 2 * * *", ["10 02:00-04", "10 02:15-04", "10 02:30-04"]),
        ("0 */2 * * *", ["09 04:00-04", "09 06:00-04", "09 08:00-04"]),
        ("*/30 1-3 * * *", ["09 01:00-05", "09 01:30-05", "09 03:00-04", "09 03:30-04"]),
        ("@hourly", ["09 01:00-05", "09 03:00-04", "09 04:00-04"]),
    ],
)
def test_new_york_in_the_gap(expression: str, times: list[str]) -> None:
    """A fixed time in the gap is due right after it; a rhythm has nothing in it."""
    cron = Cron(expression, tz=NEW_YORK)
    assert shown(cron, "2025-03-09T00:00-05:00", "2025-03-10T02:30-04:00")[: len(times)] == times


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("30 1 * * *", ["02 01:30-04", "03 01:30-05"]),
        ("0 1 * * *", ["02 01:00-04", "03 01:00-05"]),
        ("0 2 * * *", ["02 02:00-05", "03 02:00-05"]),
        ("30 0-2 * * *", ["02 00:30-04", "02 01:30-04", "02 02:30-05", "03 00:30-05"]),
        ("0 1-23/2 * * *", ["02 01:00-04", "02 03:00-05", "02 05:00-05"]),
        ("30 * * * *", ["02 00:30-04", "02 01:30-04", "02 01:30-05", "02 02:30-05"]),
        ("@hourly", ["02 01:00-04", "02 01:00-05", "02 02:00-05"]),
        ("*/30 1 * * *", ["02 01:00-04", "02 01:30-04", "02 01:00-05", "02 01:30-05", "03 01:00-05"]),
        ("0 */2 * * *", ["02 02:00-05", "02 04:00-05"]),
        ("*,30 1 2 11 *", [f"02 01:{minute:02}{offset}" for offset in ("-04", "-05") for minute in range(60)]),
    ],
)
def test_new_york_in_the_fold(expression: str, times: list[str]) -> None:
    """A fixed time in the repeated hour is due in its first pass only; a rhythm in both."""
    cron = Cron(expression, tz=NEW_YORK)
    assert shown(cron, "2025-11-02T00:00-04:00", "2025-11-03T12:00-05:00")[: len(times)] == times


@pytest.mark.parametrize(
    ("after", "fixed", "both", "rhythm"),
    [
        ("01:10-04:00", "02 01:30-04", "02 01:30-04", "02 01:30-04"),
        ("01:30-04:00", "03 01:30-05", "02 01:30-05", "02 01:30-05"),
        ("01:40-04:00", "03 01:30-05", "02 01:30-05", "02 01:30-05"),
        ("01:10-05:00", "03 01:30-05", "02 01:30-05", "02 01:30-05"),
        ("01:30-05:00", "03 01:30-05", "03 01:30-05", "02 02:30-05"),
        ("01:59-05:00", "03 01:30-05", "03 01:30-05", "02 02:30-05"),
    ],
)
def test_from_either_pass_of_the_fold(after: str, fixed: str, both: str, rhythm: str) -> None:
    """The next time is right from moments in the first pass and in the second."""
    for expression, rule, expected in [
        ("30 1 * * *", DstRule.VIXIE, fixed),
        ("30 1 * * *", DstRule.SKIP, fixed),
        ("30 1 * * *", DstRule.BOTH, both),
        ("30 * * * *", DstRule.VIXIE, rhythm),
        ("30 * * * *", DstRule.SKIP, rhythm),
    ]:
        cron = Cron(expression, tz=NEW_YORK, dst=rule)
        assert shown(cron, f"2025-11-02T{after}", "2025-11-03T12:00-05:00")[0] == expected


def test_from_the_fold_to_its_very_end() -> None:
    """The minute at which the repeated hour ends comes once, and is not lost."""
    for rule in DstRule:
        cron = Cron("0 2 * * *", tz=NEW_YORK, dst=rule)
        for after in ("01:59-04:00", "01:10-05:00", "01:59-05:00"):
            assert shown(cron, f"2025-11-02T{after}", "2025-11-02T12:00-05:00") == ["02 02:00-05"]


@pytest.mark.parametrize(
    ("rule", "gap", "fold"),
    [
        ("vixie", ["09 03:00-04", "10 02:30-04"], ["02 01:30-04", "03 01:30-05"]),
        ("skip", ["10 02:30-04"], ["02 01:30-04", "03 01:30-05"]),
        ("both", ["09 03:00-04", "10 02:30-04"], ["02 01:30-04", "02 01:30-05", "03 01:30-05"]),
    ],
)
def test_the_rule_is_chosen_by_a_parameter(rule: str, gap: list[str], fold: list[str]) -> None:
    """Each rule says what becomes of a fixed time in the gap, and in the fold."""
    in_gap, in_fold = (Cron(expression, tz=NEW_YORK, dst=rule) for expression in ("30 2 * * *", "30 1 * * *"))
    assert shown(in_gap, "2025-03-09T00:00-05:00", "2025-03-10T12:00-04:00") == gap
    assert shown(in_fold, "2025-11-02T00:00-04:00", "2025-11-03T12:00-05:00") == fold


def test_an_unknown_rule_is_refused() -> None:
    """A rule that is not there is refused, and those that are there are named."""
    with pytest.raises(InvalidScheduleError, match="'vixie', 'skip', 'both'"):
        Cron("* * * * *", dst="shift")


@pytest.mark.parametrize(
    ("expression", "is_rhythm"),
    [
        ("* 1 * * *", True),
        ("*/10 1 * * *", True),
        ("*,5 1 * * *", True),
        ("30 */1 * * *", True),
        ("* 30 1 * * *", True),
        ("*/20 30 1 * * *", True),
        ("0 30 1 * * *", False),
        ("0-59 1 * * *", False),
        ("30 0-23 * * *", False),
        ("30 1 */1 */1 */1", False),
        ("0,30 1 * * *", False),
    ],
)
def test_a_rhythm_is_what_begins_with_a_wildcard(expression: str, *, is_rhythm: bool) -> None:
    """Second, minute or hour decide by their first character, as in Debian's cron; what they mean does not matter."""
    cron = Cron(expression, tz=NEW_YORK)
    second_pass = [time for time in shown(cron, "2025-11-02T00:00-04:00", "2025-11-02T01:59-05:00") if "01:" in time]
    assert any(time.endswith("-05") for time in second_pass) is is_rhythm


def test_seconds_in_gap_and_fold() -> None:
    """Fixed times with seconds are one run after the gap; every second keeps its rhythm through a fold."""
    assert shown(Cron("15,45 30 2 * * *", tz=NEW_YORK), "2025-03-09T00:00-05:00", "2025-03-09T12:00-04:00") == [
        "09 03:00-04"
    ]
    second = Cron("* * * * * *", tz=NEW_YORK)
    moment = start = datetime(2025, 11, 2, 5, 59, 50, tzinfo=UTC)
    for _ in range(20):
        moment = second.next_after(moment)
    assert moment - start == timedelta(seconds=20)


@pytest.mark.parametrize(
    ("expression", "after", "times"),
    [
        # half an hour: 02:00 is followed by 02:30 on 5 October, by 01:30 on 6 April
        ("0 * * * *", "2025-10-05T00:00+10:30", ["05 01:00+10", "05 03:00+11", "05 04:00+11"]),
        ("15 2 * * *", "2025-10-05T00:00+10:30", ["05 02:30+11", "06 02:15+11"]),
        ("15,30 2 * * *", "2025-10-05T00:00+10:30", ["05 02:30+11", "06 02:15+11"]),
        ("*/15 2 * * *", "2025-10-05T00:00+10:30", ["05 02:30+11", "05 02:45+11", "06 02:00+11"]),
        ("45 1 * * *", "2025-04-06T00:00+11:00", ["06 01:45+11", "07 01:45+10"]),
        ("15 1 * * *", "2025-04-06T00:00+11:00", ["06 01:15+11", "07 01:15+10"]),
        (
            "*/15 * * * *",
            "2025-04-06T01:15+11:00",
            ["06 01:30+11", "06 01:45+11", "06 01:30+10", "06 01:45+10", "06 02:00+10"],
        ),
    ],
)
def test_lord_howe(expression: str, after: str, times: list[str]) -> None:
    """Half an hour is put forward and back there."""
    cron = Cron(expression, tz="Australia/Lord_Howe")
    assert shown(cron, after, f"{after[:8]}08T00:00+11:00")[: len(times)] == times


@pytest.mark.parametrize(
    ("expression", "after", "times"),
    [
        # midnight is followed by 01:00 on 4 November; 24:00 by 23:00 on 17 February
        ("@daily", "2018-11-03T12:00-03:00", ["04 01:00-02", "05 00:00-02"]),
        ("0 0 4 * *", "2018-11-03T12:00-03:00", ["04 01:00-02"]),
        ("0 0 * * sun", "2018-11-03T12:00-03:00", ["04 01:00-02", "11 00:00-02"]),
        ("*/30 0 * * *", "2018-11-03T12:00-03:00", ["05 00:00-02", "05 00:30-02"]),
        ("@daily", "2018-02-17T12:00-02:00", ["18 00:00-03", "19 00:00-03"]),
        ("30 23 * * *", "2018-02-17T12:00-02:00", ["17 23:30-02", "18 23:30-03"]),
        ("30 * * * *", "2018-02-17T22:45-02:00", ["17 23:30-02", "17 23:30-03", "18 00:30-03"]),
    ],
)
def test_sao_paulo(expression: str, after: str, times: list[str]) -> None:
    """The gap begins at midnight there, and the fold ends at it, on the day before."""
    cron = Cron(expression, tz="America/Sao_Paulo")
    assert shown(cron, after, "2019-01-01T00:00-02:00")[: len(times)] == times


@pytest.mark.parametrize(
    ("expression", "rule", "times"),
    [
        ("0 12 * * *", "vixie", ["29 12:00-10", "31 00:00+14", "31 12:00+14"]),
        ("0 12 * * *", "skip", ["29 12:00-10", "31 12:00+14"]),
        ("0 0 * * *", "vixie", ["29 00:00-10", "31 00:00+14", "01 00:00+14"]),
        ("0 9 * * fri", "vixie", ["31 00:00+14", "06 09:00+14"]),
        ("0 9 30 * *", "vixie", ["31 00:00+14"]),
        ("0 */12 * * *", "vixie", ["29 00:00-10", "29 12:00-10", "31 00:00+14", "31 12:00+14"]),
        ("30 * * 12 fri", "vixie", []),
    ],
)
def test_apia_without_a_day(expression: str, rule: str, times: list[str]) -> None:
    """Friday 30 December 2011 did not happen in Samoa: a gap of a day."""
    cron = Cron(expression, tz="Pacific/Apia", dst=rule)
    found = shown(cron, "2011-12-28T23:30-10:00", "2012-01-10T00:00+14:00")
    assert found[: len(times) or 1] == times


@pytest.mark.parametrize(
    ("expression", "after", "times"),
    [
        # 01:00 is followed by 02:00 on 30 March, 02:00 by 01:00 on 26 October; winter is the exception by law
        ("30 1 * * *", "2025-03-30T00:00+00:00", ["30 02:00+01", "31 01:30+01"]),
        ("30 * * * *", "2025-03-30T00:00+00:00", ["30 00:30+00", "30 02:30+01"]),
        ("30 1 * * *", "2025-10-26T00:00+01:00", ["26 01:30+01", "27 01:30+00"]),
        ("30 * * * *", "2025-10-26T00:45+01:00", ["26 01:30+01", "26 01:30+00", "26 02:30+00"]),
    ],
)
def test_dublin(expression: str, after: str, times: list[str]) -> None:
    """The saving of daylight is negative there, in winter."""
    cron = Cron(expression, tz="Europe/Dublin")
    assert shown(cron, after, "2026-01-01T00:00+00:00")[: len(times)] == times


@pytest.mark.parametrize(
    ("expression", "after", "times"),
    [
        # 01:00 is followed by 03:00 on 30 March, 03:00 by 01:00 on 26 October
        ("30 1,2 * * *", "2025-03-30T00:00+00:00", ["30 03:00+02", "31 01:30+02", "31 02:30+02"]),
        ("0 */1 * * *", "2025-03-30T00:00+00:00", ["30 03:00+02", "30 04:00+02"]),
        ("30 1,2 * * *", "2025-10-26T00:00+02:00", ["26 01:30+02", "26 02:30+02", "27 01:30+00"]),
        ("0 * * * *", "2025-10-26T01:30+02:00", ["26 02:00+02", "26 01:00+00", "26 02:00+00", "26 03:00+00"]),
    ],
)
def test_troll(expression: str, after: str, times: list[str]) -> None:
    """Two hours are put forward and back there."""
    cron = Cron(expression, tz="Antarctica/Troll")
    assert shown(cron, after, "2026-01-01T00:00+00:00")[: len(times)] == times


def test_a_change_within_a_minute() -> None:
    """Monrovia gave up an offset of 44 minutes and 30 seconds: the gap ends in the middle of a minute."""
    cron = Cron("30 0 * * *", tz="Africa/Monrovia")
    after_gap = cron.next_after(datetime(1972, 1, 7, tzinfo=UTC))
    assert after_gap == datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)
    assert cron.next_after(after_gap) == datetime(1972, 1, 8, 0, 30, tzinfo=UTC)


def test_a_fixed_offset_has_no_changes() -> None:
    """Offsets and UTC keep their wall clock all year."""
    for zone in ("UTC", "-05:00", timezone(timedelta(hours=14))):
        times = Cron("30 2 * * *", tz=zone).preview(400, after=datetime(2025, 1, 1, tzinfo=UTC))
        assert {second - first for first, second in pairwise(times)} == {timedelta(days=1)}


def test_a_calendar_interval_has_fixed_times() -> None:
    """Its time of day follows the same rules."""
    first = datetime(2025, 3, 8, tzinfo=NEW_YORK).date()
    start = datetime(2025, 3, 8, 12, tzinfo=NEW_YORK)
    at = datetime(2025, 3, 8, 2, 30, tzinfo=UTC).time()
    for rule, expected in [("vixie", "2025-03-09T03:00:00-04:00"), ("skip", "2025-03-10T02:30:00-04:00")]:
        daily = CalendarInterval(days=1, first_day=first, at=at, tz=NEW_YORK, dst=rule)
        assert daily.preview(1, after=start)[0].isoformat() == expected


def test_times_of_one_zone_are_compared_as_instants() -> None:
    """Within one zone Python compares what clocks show; a next time is later as an instant."""
    first_pass = datetime(2025, 11, 2, 1, 45, tzinfo=NEW_YORK)
    following = Cron("*/30 * * * *", tz=NEW_YORK).next_after(first_pass)
    assert following == datetime(2025, 11, 2, 6, 0, tzinfo=UTC)
    assert following.astimezone(NEW_YORK) < first_pass < following

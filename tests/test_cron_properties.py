"""What holds for every expression, in every zone of the tz database, on every day on which its clocks are changed.

The oracle is slow and obvious: it walks through all minutes around a change of the clocks, reads the wall
clock of the zone at each, and applies the rule as it is written.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobify import AnyOf, CalendarInterval, Cron, DstRule, Every

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2037, 12, 31, tzinfo=UTC)
STRIDE = timedelta(days=6)  # changes are further apart
MINUTE = timedelta(minutes=1)
AROUND = timedelta(hours=26)  # what any change is less than
ZONES = sorted(available_timezones())


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """Return the instants at which the offset of a zone changes, found by bisecting it."""
    tz = ZoneInfo(zone)
    found: list[datetime] = []
    moment, offset = FIRST, FIRST.astimezone(tz).utcoffset()
    while moment < LAST:
        following = moment + STRIDE
        before, offset = offset, following.astimezone(tz).utcoffset()
        if offset != before:
            found.append(change_between(moment, following, tz))
        moment = following
    return tuple(found)


def change_between(low: datetime, high: datetime, tz: ZoneInfo) -> datetime:
    """Return the one instant between two at which the offset changes."""
    offset = low.astimezone(tz).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(tz).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high


class Part(NamedTuple):
    """A field of an expression, and the values that it means."""

    text: str
    values: frozenset[int]


class Expression(NamedTuple):
    """An expression of five fields, and what it means."""

    minute: Part
    hour: Part
    weekday: Part

    @property
    def text(self) -> str:
        """The expression itself."""
        return f"{self.minute.text} {self.hour.text} * * {self.weekday.text}"

    @property
    def is_wild(self) -> bool:
        """Whether it is one of those that Debian calls specified with wildcards."""
        return self.minute.text.startswith("*") or self.hour.text.startswith("*")

    def matches(self, wall: datetime) -> bool:
        """Return whether a clock that shows this shows one of its times."""
        return (
            not wall.second
            and wall.minute in self.minute.values
            and wall.hour in self.hour.values
            and wall.isoweekday() % 7 in self.weekday.values
        )


def parts(size: int) -> st.SearchStrategy[Part]:
    """Draw a field of so many values from 0 on."""
    values = st.integers(0, size - 1)
    every = frozenset(range(size))
    lists = st.frozensets(values, min_size=1, max_size=4)
    return st.one_of(
        st.just(Part("*", every)),
        st.integers(2, size - 1).map(lambda step: Part(f"*/{step}", frozenset(range(0, size, step)))),
        lists.map(lambda values: Part(",".join(map(str, values)), values)),
        lists.map(lambda values: Part(",".join(map(str, values)), values)),
        st.tuples(values, values)
        .filter(lambda ends: ends[0] < ends[1])
        .map(lambda ends: Part(f"{ends[0]}-{ends[1]}", frozenset(range(ends[0], ends[1] + 1)))),
    )


class Case(NamedTuple):
    """An expression in a zone, and a change of the clocks there."""

    expression: Expression
    zone: str
    change: datetime


rules = st.sampled_from(DstRule)
weekdays = st.one_of(st.just(Part("*", frozenset(range(7)))), parts(7))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a zone, a change of its clocks (some day, if it has none), and an expression, often one of that hour."""
    zone = draw(st.sampled_from(ZONES))
    change = draw(st.sampled_from(changes(zone) or (datetime(2026, 3, 29, 1, tzinfo=UTC),)))
    walls = [(change + timedelta(hours=hours)).astimezone(ZoneInfo(zone)) for hours in (-2, -1, 0, 1)]
    around = frozenset(wall.hour for wall in walls) | {(walls[1].hour + 1) % 24}
    near = st.frozensets(st.sampled_from(sorted(around)), min_size=1, max_size=3)
    hours = st.one_of(parts(24), *[near.map(lambda hours: Part(",".join(map(str, hours)), hours))] * 3)
    minutes = st.one_of(parts(60), st.sampled_from([0, 30]).map(lambda minute: Part(f"{minute}", frozenset({minute}))))
    return Case(Expression(draw(minutes), draw(hours), draw(weekdays)), zone, change)


def oracle(expression: Expression, rule: DstRule, zone: str, change: datetime) -> list[datetime]:
    """Return the instants around a change at which the expression is due: the rule, word for word."""
    return list(due(expression, rule, ZoneInfo(zone), change))


def due(expression: Expression, rule: DstRule, tz: ZoneInfo, change: datetime) -> Iterator[datetime]:
    """Walk through the minutes around a change; half minutes where the offset is no whole minute."""
    moment = start_of(change)
    step = MINUTE if moment.astimezone(tz).second == change.astimezone(tz).second == 0 else MINUTE / 2
    shown: set[datetime] = set()
    before = None
    while moment <= change + AROUND:
        wall = moment.astimezone(tz).replace(tzinfo=None, fold=0)
        if before is not None and wall - before > step:  # the clocks were put forward
            missing = [before + n * step for n in range(1, (wall - before) // step)]
            is_due = any(map(expression.matches, missing)) and not expression.is_wild and rule is not DstRule.SKIP
            if is_due and not expression.matches(wall):
                yield moment
        if expression.matches(wall) and (wall not in shown or expression.is_wild or rule is DstRule.BOTH):
            yield moment
        shown.add(wall)
        before = wall
        moment += step


def start_of(change: datetime) -> datetime:
    """Return where to begin to look, some time before a change: at a whole minute."""
    return (change - AROUND).replace(second=0)


def instants(cron: Cron, change: datetime) -> list[datetime]:
    """Return what the expression is due at around a change, asked again and again."""
    found: list[datetime] = []
    moment = start_of(change) - timedelta(microseconds=1)
    while (moment := cron.next_after(moment)) <= change + AROUND:
        found.append(moment)
    return found


@given(case=cases(), rule=rules)
def test_matches_the_wall_clock_of_the_zone_under_the_rule(case: Case, rule: DstRule) -> None:
    """On the days around a change of the clocks a recurrence is due when the rule says so, and at no other time."""
    expression, zone, change = case
    assert instants(Cron(expression.text, tz=zone, dst=rule), change) == oracle(expression, rule, zone, change)


@given(case=cases(), rule=rules, seed=st.integers(0, 2**32))
def test_is_the_first_time_strictly_after_any_moment(case: Case, rule: DstRule, seed: int) -> None:
    """From whatever moment it is asked, in either pass of a fold, to the microsecond, the next time is the first."""
    expression, zone, change = case
    cron = Cron(expression.text, tz=zone, dst=rule)
    times = oracle(expression, rule, zone, change)
    rng = random.Random(seed)
    near = [time + timedelta(microseconds=shift) for time in times[:50] for shift in (-1, 0, 1)]
    anywhere = [change + timedelta(seconds=rng.uniform(-3, 3) * 3600) for _ in range(20)]
    for moment in near + anywhere:
        following = next((time for time in times if time > moment), None)
        found = cron.next_after(moment)
        assert found > moment
        assert found == following or (following is None and found > change + AROUND)


@given(case=cases(), rule=rules)
def test_never_the_same_instant_twice_and_strictly_increasing(case: Case, rule: DstRule) -> None:
    """The times of a recurrence only ever grow, also on the days on which the clocks go back."""
    expression, zone, change = case
    cron = Cron(expression.text, tz=zone, dst=rule)
    times = [time.astimezone(UTC) for time in cron.preview(40, after=change - timedelta(hours=5))]
    assert all(first < second for first, second in pairwise(times))


@given(case=cases(), rule=rules)
def test_seconds_come_and_go_with_their_minute(case: Case, rule: DstRule) -> None:
    """With a field for the seconds, that is 0, an expression means what it means without."""
    expression, zone, change = case
    plain, precise = (Cron(text, tz=zone, dst=rule) for text in (expression.text, f"0 {expression.text}"))
    start = change - timedelta(hours=4)
    assert plain.preview(15, after=start) == precise.preview(15, after=start)


@given(case=cases(), rule=rules, days=st.integers(1, 3))
def test_a_preview_is_the_next_time_again_and_again(case: Case, rule: DstRule, days: int) -> None:
    """For each kind of recurrence a preview has the times that `next_after` finds one by one."""
    expression, zone, change = case
    cron = Cron(expression.text, tz=zone, dst=rule)
    local = CalendarInterval(
        days=days, first_day=(change - AROUND).date(), at=change.time().replace(second=0), tz=zone, dst=rule
    )
    every = Every(timedelta(hours=7, minutes=days), start_date=change - AROUND)
    for trigger in (cron, local, every, AnyOf(cron, local, every)):
        moment = start = change - timedelta(hours=5)
        for shown in trigger.preview(10, after=start):
            moment = trigger.next_after(moment)
            assert moment == shown.astimezone(UTC)


@given(case=cases(), rule=rules, seed=st.integers(0, 2**32))
def test_times_are_counted_as_they_are_found(case: Case, rule: DstRule, seed: int) -> None:
    """Between any two moments around a change of the clocks `count` is what `next_after` finds one by one."""
    expression, zone, change = case
    cron = Cron(expression.text, tz=zone, dst=rule)
    times = oracle(expression, rule, zone, change)
    rng = random.Random(seed)
    moments = sorted(change + timedelta(seconds=rng.uniform(-1, 1) * 26 * 3600) for _ in range(6))
    if times:
        moments = sorted([*moments, times[len(times) // 2], change])
    for after, until in pairwise(moments):
        assert cron.count(after=after, until=until) == sum(after < time <= until for time in times)


@given(case=cases(), rule=rules, minute=st.integers(0, 1439))
def test_a_calendar_day_is_a_fixed_time_of_day(case: Case, rule: DstRule, minute: int) -> None:
    """An interval of one calendar day follows the rule as the same time of day does as an expression."""
    _, zone, change = case
    hour, minute = divmod(minute, 60)
    start = change - timedelta(days=3)
    daily = CalendarInterval(
        days=1,
        first_day=start.date() - timedelta(days=3),
        at=change.time().replace(hour=hour, minute=minute, second=0),
        tz=zone,
        dst=rule,
    )
    assert daily.preview(6, after=start) == Cron(f"{minute} {hour} * * *", tz=zone, dst=rule).preview(6, after=start)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Dublin", "Australia/Lord_Howe", "Antarctica/Troll"])
def test_the_rules_of_a_zone_go_on_when_its_table_ends(zone: str) -> None:
    """Behind the last change that the tz database lists, its rule for the years to come is followed."""
    rng = random.Random(zone)
    changes = 0
    for year in rng.sample(range(2038, 2400), 4):
        for month in (3, 4, 9, 10, 11):
            start, end = datetime(year, month, 1, tzinfo=UTC), datetime(year, month + 1, 1, tzinfo=UTC)
            tz = ZoneInfo(zone)
            if start.astimezone(tz).utcoffset() != end.astimezone(tz).utcoffset():
                change = change_between(start, end, tz)
                changes += 1
                for minute, hour in ((30, 1), (30, 2), (45, 1), (15, 2)):
                    expression = Expression(
                        Part(str(minute), frozenset({minute})),
                        Part(str(hour), frozenset({hour})),
                        Part("*", frozenset(range(7))),
                    )
                    cron = Cron(expression.text, tz=zone)
                    assert instants(cron, change) == oracle(expression, DstRule.VIXIE, zone, change)
    assert changes == 8  # two in each year

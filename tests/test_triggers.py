"""Recurrences that are no expressions: intervals, calendar intervals, unions; and how all of them are stored."""

import json
import pickle
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobify import AnyOf, CalendarInterval, Cron, DstRule, Every, InvalidScheduleError, Jobify, JobStatus, Recurrence
from jobify._triggers import Trigger, trigger_from_text, trigger_to_text
from jobify_testing import TransitionLog, VirtualClock

PARIS = ZoneInfo("Europe/Paris")
START = datetime(2026, 1, 1, tzinfo=UTC)
FOREVER = datetime(2090, 1, 1, tzinfo=UTC)
NOT_A_RECURRENCE: Any = "* * * * *"
moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis takes the zone apart
intervals = st.timedeltas(timedelta(microseconds=1), timedelta(days=400))


@given(interval=intervals, last=moments, since=st.timedeltas(timedelta(), timedelta(days=4000)))
def test_interval_times_are_whole_intervals_after_the_last(
    interval: timedelta, last: datetime, since: timedelta
) -> None:
    """The next time is strictly after the moment, at most an interval away, and in phase."""
    moment = last + since
    following = Every(interval).next_after(moment, last=last)
    assert moment < following <= moment + interval
    assert (following - last) % interval == timedelta()


@given(interval=intervals, start=moments, moment=moments)
def test_interval_times_are_whole_intervals_after_the_start(
    interval: timedelta, start: datetime, moment: datetime
) -> None:
    """With a `start_date` the times are that and whole intervals after it, whatever else is known."""
    every = Every(interval, start_date=start)
    following = every.next_after(moment)
    assert following > moment
    assert following == start or (following - start) % interval == timedelta()
    assert following == start or following - interval <= moment
    assert following == every.next_after(moment, last=moment - timedelta(microseconds=7))


def test_an_interval_without_a_start_is_counted_from_the_moment() -> None:
    """Without `start_date` a preview begins one interval later, and goes on from there."""
    times = Every(90).preview(3, after=START, tz=PARIS)
    assert [time.isoformat() for time in times] == [
        "2026-01-01T01:01:30+01:00",
        "2026-01-01T01:03:00+01:00",
        "2026-01-01T01:04:30+01:00",
    ]


def test_an_interval_keeps_its_phase_over_a_change_of_the_clocks() -> None:
    """Six hours are six hours, whatever the clocks do."""
    every = Every(timedelta(hours=6), start_date=datetime(2026, 3, 28, 6, tzinfo=PARIS))
    times = every.preview(6, after=datetime(2026, 3, 28, 12, tzinfo=PARIS), tz=PARIS)
    assert [f"{time:%d %H}" for time in times] == ["28 18", "29 00", "29 07", "29 13", "29 19", "30 01"]


def test_an_interval_ends_with_its_end_date() -> None:
    """The last time is not after `end_date`, which is a time if the phase has it so."""
    every = Every(60, start_date=START, end_date=START + timedelta(minutes=2))
    before = START - timedelta(days=1)
    assert every.preview(9, after=before) == [START, START + timedelta(minutes=1), START + timedelta(minutes=2)]
    with pytest.raises(InvalidScheduleError, match="interval of 60 s has no time after 2026-01-01T00:02:00"):
        every.next_after(START + timedelta(minutes=2))
    with pytest.raises(InvalidScheduleError, match="no time after"):
        Every(60, end_date=START).next_after(START, last=START)


def test_an_interval_ends_with_the_calendar() -> None:
    """There is no time after the year 9999."""
    with pytest.raises(InvalidScheduleError, match="no time after"):
        Every(86400 * 365).next_after(datetime(9999, 6, 1, tzinfo=UTC), last=datetime(9999, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidScheduleError, match="no time after"):
        Every(timedelta(days=3_000_000)).preview(1, after=START)


def days(trigger: CalendarInterval, n: int, after: datetime = START) -> list[str]:
    """Return what a clock in Paris shows at the next n times."""
    return [f"{time:%Y-%m-%d %H:%M}" for time in trigger.preview(n, after=after, tz=PARIS)]


def test_every_second_month_on_its_last_day() -> None:
    """A day that a month does not have is its last one, and the 31st comes back."""
    trigger = CalendarInterval(months=2, first_day=date(2026, 1, 31), at=time(9), tz=PARIS)
    assert days(trigger, 5) == [
        "2026-01-31 09:00",
        "2026-03-31 09:00",
        "2026-05-31 09:00",
        "2026-07-31 09:00",
        "2026-09-30 09:00",
    ]
    monthly = CalendarInterval(months=1, first_day=date(2026, 1, 31), tz=PARIS)
    assert [day[5:10] for day in days(monthly, 5)] == ["01-31", "02-28", "03-31", "04-30", "05-31"]


def test_a_leap_day_every_year() -> None:
    """From 29 February every year is 28 February in between."""
    yearly = CalendarInterval(years=1, first_day=date(2024, 2, 29))
    assert [day[:10] for day in days(yearly, 4)] == ["2026-02-28", "2027-02-28", "2028-02-29", "2029-02-28"]


def test_every_third_week_and_every_ninety_days() -> None:
    """Days are those of the calendar: the time of day stays, whatever the clocks do."""
    assert days(CalendarInterval(weeks=3, first_day=date(2026, 3, 9), at=time(2, 30), tz=PARIS), 3) == [
        "2026-03-09 02:30",
        "2026-03-30 02:30",
        "2026-04-20 02:30",
    ]
    assert days(CalendarInterval(days=90, first_day=date(2026, 1, 1), at=time(7, 15, 30), tz=PARIS), 3) == [
        "2026-01-01 07:15",
        "2026-04-01 07:15",
        "2026-06-30 07:15",
    ]


def test_months_come_before_days() -> None:
    """The n-th day is n times the months, and n times the days after that."""
    trigger = CalendarInterval(months=1, days=1, first_day=date(2026, 1, 31), tz=PARIS)
    assert [day[5:10] for day in days(trigger, 4, START - timedelta(days=1))] == ["01-31", "03-01", "04-02", "05-03"]


@given(
    units=st.fixed_dictionaries(
        {}, optional={unit: st.integers(0, 40) for unit in ("years", "months", "weeks", "days")}
    ).filter(lambda units: any(units.values())),
    first_day=st.dates(date(1990, 1, 1), date(2040, 1, 1)),
    at=st.times(),
    moment=moments,
)
def test_a_calendar_interval_finds_the_first_of_its_days(
    units: dict[str, Any], first_day: date, at: time, moment: datetime
) -> None:
    """Counted one by one from the first day, the next time is the first that is after the moment."""
    found = CalendarInterval(first_day=first_day, at=at, **units).next_after(moment)
    months = 12 * units.get("years", 0) + units.get("months", 0)
    shift = 7 * units.get("weeks", 0) + units.get("days", 0)
    for n in count():
        year, month = divmod(12 * first_day.year + first_day.month - 1 + n * months, 12)
        dates = [_date(year, month + 1, number) for number in range(first_day.day, 0, -1)]
        day = next(candidate for candidate in dates if candidate is not None)
        due = datetime.combine(day + timedelta(days=n * shift), at, UTC)
        if due > moment:
            assert found == due
            return


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "no length"),
        ({"days": 0}, "no length"),
        ({"days": -1}, "-1 as days"),
        ({"days": 1.5}, "1.5 as days"),
        ({"months": True}, "True as months"),
        ({"days": 1, "first_day": START}, "as first_day: give a date"),
        ({"days": 1, "first_day": "2026-01-01"}, "as first_day: give a date"),
        ({"days": 1, "at": "09:00"}, "as the time of day"),
        ({"days": 1, "at": time(9, tzinfo=UTC)}, "as the time of day"),
        ({"days": 1, "tz": "Europe/Nowhere"}, "no such zone"),
        ({"days": 1, "dst": "shift"}, "the rules are"),
        ({"days": 1, "max_runs": 0}, "max_runs"),
    ],
)
def test_what_is_no_calendar_interval_is_refused(arguments: dict[str, Any], reason: str) -> None:
    """What cannot be used is refused when it is given."""
    with pytest.raises(InvalidScheduleError, match=reason):
        partial(CalendarInterval, first_day=date(2026, 1, 1))(**arguments)


def test_a_calendar_interval_ends_with_the_calendar() -> None:
    """There is no time after the year 9999, however long the interval."""
    intervals: list[dict[str, Any]] = [{"years": 10_000}, {"days": 4_000_000}, {"months": 10**30}]
    for units in intervals:
        trigger = CalendarInterval(first_day=date(2026, 1, 1), **units)
        assert len(trigger.preview(5, after=START - timedelta(days=1))) == 1
        with pytest.raises(InvalidScheduleError, match=r"interval of .* has no time after"):
            trigger.next_after(START + timedelta(days=1))


def test_a_union_is_due_whenever_one_of_its_members_is() -> None:
    """The times of several recurrences are merged, and what several share is one."""
    opening, closing = Cron("0 9 * * 1-5", tz=PARIS), Cron("30 17 * * 1-4", tz=PARIS)
    noon = CalendarInterval(weeks=2, first_day=date(2026, 1, 2), at=time(9), tz=PARIS)
    union = opening | closing | noon
    assert union == AnyOf(opening, closing, noon) == AnyOf(AnyOf(opening, closing), noon)
    assert [f"{time:%d %H:%M}" for time in union.preview(6, after=START)] == [
        "01 09:00",
        "01 17:30",
        "02 09:00",
        "05 09:00",
        "05 17:30",
        "06 09:00",
    ]


def test_a_union_goes_on_when_a_member_is_over() -> None:
    """A member that ends leaves the others; only the last of them ends the union."""
    short = Every(3600, start_date=START, end_date=START + timedelta(hours=1))
    union = short | Cron("0 3 1 1 *", end_date=START + timedelta(days=1))
    assert [time.hour for time in union.preview(9, after=START - timedelta(seconds=1))] == [0, 1, 3]
    with pytest.raises(InvalidScheduleError, match=r"union of interval of 3600 s, cron '0 3 1 1 .*' has no time after"):
        union.next_after(START + timedelta(hours=3))


def test_the_dates_of_a_union_bound_all_of_it() -> None:
    """A union has dates of its own besides those of its members."""
    hourly = Cron("@hourly")
    union = AnyOf(hourly, Cron("30 * * * *"), start_date=START, end_date=START + timedelta(hours=1))
    assert [f"{time:%H:%M}" for time in union.preview(9, after=datetime(2020, 1, 1, tzinfo=UTC))] == [
        "00:00",
        "00:30",
        "01:00",
    ]
    outer = union | Cron("15 2 * * *")
    assert [f"{time:%H:%M}" for time in outer.preview(4, after=START)] == ["00:30", "01:00", "02:15", "02:15"]


def test_a_union_is_bound_and_given_a_zone_as_a_whole() -> None:
    """The `H` of all members are drawn, and members without a zone get one."""
    tokyo = ZoneInfo("Asia/Tokyo")
    union = (Cron("H 3 * * *") | Cron("0 9 * * *", tz=tokyo)).in_zone(PARIS)
    with pytest.raises(InvalidScheduleError, match="bound_to"):
        union.next_after(START)
    bound = union.bound_to("nightly")
    assert bound.next_after(START) == min(
        Cron("H 3 * * *", tz=PARIS).bound_to("nightly").next_after(START), Cron("0 9 * * *", tz=tokyo).next_after(START)
    )
    assert {str(time.tzinfo) for time in bound.preview(2, after=START, tz=UTC)} == {"UTC"}
    common = Cron("0 3 * * *", tz=tokyo) | Cron("0 9 * * *", tz=tokyo)
    assert {str(time.tzinfo) for time in common.preview(2, after=START, tz=UTC)} == {"Asia/Tokyo"}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (AnyOf, "at least one"),
        (partial(AnyOf, NOT_A_RECURRENCE), "give a Cron, an Every or a CalendarInterval"),
        (lambda: AnyOf(Every(5)), "start_date"),
        (lambda: Cron("* * * * *") | Every(5), "where to count from"),
        (lambda: AnyOf(Cron("* * * * *", max_runs=3)), "has max_runs: give them to the union"),
        (lambda: AnyOf(Cron("* * * * *", args=(1,), max_failures=None)), "max_failures, args"),
    ],
)
def test_what_cannot_be_part_of_a_union_is_refused(make: Any, reason: str) -> None:
    """Members have no limits of a job, and know where they count from."""
    with pytest.raises(InvalidScheduleError, match=reason):
        make()


def test_only_recurrences_are_joined() -> None:
    """`|` with anything else is an error of Python."""
    with pytest.raises(TypeError):
        Cron("* * * * *") | "0 0 * * *"  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]  # on purpose


def test_a_recurrence_as_such_cannot_be_made() -> None:
    """`Recurrence` is what they have in common, for annotations and `isinstance`."""
    with pytest.raises(TypeError, match="abstract"):
        Recurrence()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]  # on purpose
    for trigger in (Cron("* * * * *"), Every(5), CalendarInterval(days=1, first_day=date(2026, 1, 1))):
        assert isinstance(trigger, Recurrence)


EXAMPLES: list[tuple[Trigger, str]] = [
    (Cron("*/5 * * * *"), '{"cron":"*/5 * * * *","max_failures":10,"max_runs":null,"tz":null}'),
    (
        Cron("  0  9 * *\tMON", tz="Europe/Paris", max_runs=3, max_failures=None),
        '{"cron":"0 9 * * MON","max_failures":null,"max_runs":3,"tz":"Europe/Paris"}',
    ),
    (
        Cron("H H * * *", tz="+02:00", dst="skip", start_date=datetime(2026, 1, 1, 1, tzinfo=PARIS), end_date=FOREVER),
        (
            '{"cron":"H H * * *","dst":"skip","end_date":"2090-01-01T00:00:00+00:00","max_failures":10,"max_runs":null,'
            '"start_date":"2026-01-01T00:00:00+00:00","tz":"+02:00"}'
        ),
    ),
    (Every(90), '{"every":90.0,"max_failures":10,"max_runs":null}'),
    (
        Every(timedelta(microseconds=1), start_date=START + timedelta(microseconds=7)),
        '{"every":1e-06,"max_failures":10,"max_runs":null,"start_date":"2026-01-01T00:00:00.000007+00:00"}',
    ),
    (
        CalendarInterval(
            years=1, months=2, weeks=3, days=4, first_day=date(2026, 1, 31), at=time(9), tz=UTC, dst="both"
        ),
        (
            '{"at":"09:00:00","calendar":"2026-01-31","days":4,"dst":"both","max_failures":10,"max_runs":null,'
            '"months":2,"tz":"UTC","weeks":3,"years":1}'
        ),
    ),
    (
        AnyOf(Cron("@daily"), Every(5, start_date=START), max_runs=7, end_date=FOREVER),
        (
            '{"any_of":[{"cron":"@daily","max_failures":10,"max_runs":null,"tz":null},{"every":5.0,"max_failures":10,'
            '"max_runs":null,"start_date":"2026-01-01T00:00:00+00:00"}],"end_date":"2090-01-01T00:00:00+00:00",'
            '"max_failures":10,"max_runs":7}'
        ),
    ),
]


@pytest.mark.parametrize(("trigger", "text"), EXAMPLES)
def test_the_stored_text_of_a_recurrence(trigger: Trigger, text: str) -> None:
    """Each recurrence has one text, which stays what it is in later versions, and comes back as it was."""
    assert trigger_to_text(trigger) == text
    again = trigger_from_text(text)
    assert again == trigger
    assert trigger_to_text(again) == text
    assert hash(again) == hash(trigger)


def test_what_is_drawn_is_not_stored() -> None:
    """The text of an expression with `H` is the same before and after it is bound to a job."""
    cron = Cron("H H * * *", tz="UTC")
    assert trigger_to_text(cron.bound_to("nightly")) == trigger_to_text(cron)


def test_texts_of_the_first_version_are_read() -> None:
    """What was stored before there were rules, dates and unions is read as it was meant."""
    cron = trigger_from_text('{"cron":"0 9 * * *","max_failures":10,"max_runs":null,"tz":"UTC"}')
    assert cron == Cron("0 9 * * *", tz="UTC", dst=DstRule.VIXIE)
    assert trigger_from_text('{"every":10.0,"max_failures":10,"max_runs":null}') == Every(10)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"color": "red", "size": 3}, "does not know its 'color', 'size'"),
        ({"every": 5}, "does not know its 'cron', 'tz'"),
        ({"tz": "Europe/Nowhere"}, "no such zone"),
        ({"dst": "shift"}, "the rules are"),
        ({"cron": "60 * * * *"}, "minute '60'"),
        ({"cron": None}, "not a str"),
        ({"start_date": "yesterday"}, "yesterday"),
        ({"start_date": 5}, "fromisoformat"),
        ({"max_runs": 0}, "max_runs"),
        ({"any_of": []}, "does not know its|at least one"),
        ({"any_of": 5}, "iterable"),
    ],
)
def test_a_stored_text_that_cannot_be_used_is_an_error_that_says_why(change: dict[str, Any], reason: str) -> None:
    """A text of a later version, or of another program, is an error that names what is wrong with it."""
    text = json.dumps({"cron": "0 9 * * *", "tz": "UTC", "max_runs": None, "max_failures": 10} | change)
    with pytest.raises(InvalidScheduleError, match=f"cannot read(?s:.*)as a recurrence: (?s:.*)({reason})"):
        trigger_from_text(text)


@pytest.mark.parametrize("text", ["", "[]", "5", "null", "{}", '{"max_runs":null,"max_failures":10}', "[" * 100_000])
def test_a_text_of_something_else_is_an_error(text: str) -> None:
    """What is no recurrence at all is an error of ours."""
    with pytest.raises(InvalidScheduleError, match="cannot read"):
        trigger_from_text(text)


@pytest.mark.parametrize(("trigger", "text"), EXAMPLES)
def test_recurrences_can_be_sent_to_other_processes(trigger: Trigger, text: str) -> None:
    """A recurrence is a value: it can be pickled."""
    again: Trigger = pickle.loads(pickle.dumps(trigger))  # noqa: S301  # our own
    assert again == trigger
    assert trigger_to_text(again) == text


async def test_an_interval_runs_from_its_start_to_its_end(
    app: Jobify, job_transitions: TransitionLog, virtual_clock: VirtualClock
) -> None:
    """A job by an interval with dates is due at `start_date` for the first time, and over after the last time."""
    start = virtual_clock.now() + timedelta(seconds=25)

    @app.task
    async def tick() -> None: ...

    async with app:
        every = Every(10, start_date=start, end_date=start + timedelta(seconds=29))
        job = await tick.schedule().every(every, job_id="tick")
        assert job.exec_at == start
        await virtual_clock.advance(100)
        assert job.is_done()
        with pytest.raises(InvalidScheduleError, match="no time after"):
            await tick.schedule().every(every, job_id="late")
    assert [at for at, status in job_transitions.timeline(job) if status is JobStatus.RUNNING] == [25, 35, 45]


async def test_missed_times_of_an_interval_end_with_it(app: Jobify, virtual_clock: VirtualClock) -> None:
    """After a time in which the app was down the last time that a run is meant for is not after `end_date`."""
    start = virtual_clock.now()

    @app.task
    async def tick() -> None: ...

    async with app:
        every = Every(10, start_date=start, end_date=start + timedelta(seconds=35))
        await tick.schedule().every(every, job_id="tick")
        await virtual_clock.advance(15)
    await virtual_clock.advance(1000)
    async with app:
        job = await app.get_job("tick")
        assert job is not None
        run = await job.wait()
        assert run is not None
        assert run.scheduled_for == start + timedelta(seconds=30)
        assert job.is_done()


async def test_h_is_drawn_by_the_id_of_the_job(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job with `H` is due when its id says, in this start of the app and in the next."""

    @app.task
    async def tick() -> None: ...

    async with app:
        jobs = [await tick.schedule().cron("H H * * *", job_id=job_id) for job_id in ("nightly", "other")]
        assert [f"{job.exec_at:%H:%M}" for job in jobs] == ["07:32", f"{jobs[1].exec_at:%H:%M}"]
        assert jobs[0].exec_at != jobs[1].exec_at
        assert jobs[0].cron_expression == "H H * * *"
        await virtual_clock.advance(days=1)
        expected = {job.id: job.exec_at for job in jobs}
    async with app:
        assert {job.id: job.exec_at for job in await app.jobs()} == expected
        await virtual_clock.advance(days=1)
        assert {job.id: job.exec_at - timedelta(days=1) for job in await app.jobs()} == expected


async def test_an_unchanged_declaration_with_h_is_recognised(
    app: Jobify, job_transitions: TransitionLog, virtual_clock: VirtualClock
) -> None:
    """A declared recurrence that is the same at the next start keeps its job."""

    @app.task(name="report", cron=Cron("H H(2-4) * * *", dst="skip", start_date=START))
    async def report() -> None: ...

    for _ in range(2):
        async with app:
            await virtual_clock.advance(hours=12)
    assert [event.reason for event in job_transitions.of("report") if event.reason == "restored"] == ["restored"]

"""Due times that passed while nothing could start the job: at a start of the app, and while it runs."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from jobify import (
    AnyOf,
    CalendarInterval,
    Cron,
    Every,
    InvalidScheduleError,
    JobCancelledError,
    Jobify,
    JobStatus,
    MisfirePolicy,
    Recurrence,
    Skipped,
)
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog, VirtualClock

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600


def starts(log: TransitionLog, job_id: str) -> list[tuple[float, float]]:
    """Return when each run started, and which time it was meant for, in seconds since the start of the test."""
    return [
        (transition.elapsed, (transition.due - NEW_YEAR).total_seconds())
        for transition in log.of(job_id)
        if transition.status is JobStatus.RUNNING
    ]


def skips(log: TransitionLog) -> list[tuple[float, float, int, str]]:
    """Return all records of skipped times."""
    return [
        ((event.first - NEW_YEAR).total_seconds(), (event.last - NEW_YEAR).total_seconds(), event.count, event.reason)
        for event in log
        if isinstance(event, Skipped)
    ]


def hourly(kind: str, policy: MisfirePolicy | str) -> Recurrence:
    """Return one time each hour, told in each of the ways."""
    kinds: dict[str, Recurrence] = {
        "cron": Cron("0 * * * *", misfire_policy=policy),
        "every": Every(HOUR, misfire_policy=policy),
        "union": AnyOf(Cron("0 */2 * * *"), Cron("0 1-23/2 * * *"), misfire_policy=policy),
    }
    return kinds[kind]


KINDS = ["cron", "every", "union"]
EXPECTED: list[tuple[MisfirePolicy | str, list[tuple[float, float]], list[tuple[int, int, int, str]]]] = [
    (MisfirePolicy.ONCE, [(5.5, 5), (6, 6)], [(1, 4, 4, "missed")]),
    ("once", [(5.5, 5), (6, 6)], [(1, 4, 4, "missed")]),
    (MisfirePolicy.SKIP, [(6, 6)], [(1, 5, 5, "missed")]),
    (MisfirePolicy.ALL, [(5.5, 1), (5.5, 2), (5.5, 3), (5.5, 4), (5.5, 5), (6, 6)], []),
    (MisfirePolicy.ALL.up_to(2), [(5.5, 4), (5.5, 5), (6, 6)], [(1, 3, 3, "dropped")]),
    (MisfirePolicy.ALL.up_to(5), [(5.5, 1), (5.5, 2), (5.5, 3), (5.5, 4), (5.5, 5), (6, 6)], []),
    (MisfirePolicy.GRACE(timedelta(minutes=30)), [(5.5, 5), (6, 6)], [(1, 4, 4, "missed")]),
    (MisfirePolicy.GRACE(timedelta(minutes=29)), [(6, 6)], [(1, 5, 5, "missed")]),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("policy", "runs", "skipped"), EXPECTED)
async def test_a_policy_decides_about_a_downtime(  # a table
    app: Jobify,
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    kind: str,
    policy: MisfirePolicy,
    runs: list[tuple[float, float]],
    skipped: list[tuple[int, int, int, str]],
) -> None:
    """Five times pass while the app is down; it starts half an hour after the last of them."""

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().recur(hourly(kind, policy), job_id="tick")
    await virtual_clock.advance(hours=5, minutes=30)
    async with app:
        await virtual_clock.advance_to(NEW_YEAR + timedelta(hours=6))
    assert starts(job_transitions, "tick") == [(at * HOUR, due * HOUR) for at, due in runs]
    assert skips(job_transitions) == [
        (first * HOUR, last * HOUR, count, reason) for first, last, count, reason in skipped
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("policy", "runs", "skipped"), EXPECTED)
async def test_a_policy_decides_about_a_blocked_loop(  # a table
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    kind: str,
    policy: MisfirePolicy,
    runs: list[tuple[float, float]],
    skipped: list[tuple[int, int, int, str]],
) -> None:
    """The same five times pass while the app runs, and its event loop does not."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().recur(hourly(kind, policy), job_id="tick")
        virtual_clock.block(timedelta(hours=5, minutes=30))
        await virtual_clock.advance_to(NEW_YEAR + timedelta(hours=6))
    assert starts(job_transitions, "tick") == [(at * HOUR, due * HOUR) for at, due in runs]
    assert skips(job_transitions) == [
        (first * HOUR, last * HOUR, count, reason) for first, last, count, reason in skipped
    ]


@pytest.mark.parametrize(("policy", "runs", "skipped"), EXPECTED)
@pytest.mark.parametrize("how", ["suspend", "step"])
async def test_a_policy_decides_about_a_wall_clock_that_leaps(  # a table
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    how: str,
    policy: MisfirePolicy,
    runs: list[tuple[float, float]],
    skipped: list[tuple[int, int, int, str]],
) -> None:
    """A machine that slept, and a step forward, start what is due by policy, not in a burst."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().cron(Cron("0 * * * *", misfire_policy=policy), job_id="tick")
        leap = timedelta(hours=5, minutes=30)
        virtual_clock.suspend(leap) if how == "suspend" else virtual_clock.step_wall(leap)
        await virtual_clock.advance(minutes=30)
    assert [due for _, due in starts(job_transitions, "tick")] == [due * HOUR for _, due in runs]
    assert skips(job_transitions) == [
        (first * HOUR, last * HOUR, count, reason) for first, last, count, reason in skipped
    ]


async def test_an_interval_does_not_see_a_step_of_the_wall_clock(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """An interval follows the monotonic clock: a step makes nothing late."""

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().every(Every(HOUR, misfire_policy=MisfirePolicy.SKIP), job_id="tick")
        virtual_clock.step_wall(timedelta(hours=5, minutes=30))
        await virtual_clock.advance(hours=2)
    assert [at for at, _ in starts(job_transitions, "tick")] == [HOUR, 2 * HOUR]
    assert skips(job_transitions) == []


async def test_a_start_at_most_a_second_late_is_on_time(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A loop that is busy for a moment does not lose the daily run of a job that skips what it missed."""

    @app.task
    async def tick() -> None: ...

    daily = Cron("0 9 * * *", misfire_policy=MisfirePolicy.SKIP)
    async with app:
        await tick.schedule().cron(daily, job_id="tick")
        await virtual_clock.advance_to(NEW_YEAR + timedelta(hours=8, minutes=59, seconds=59))
        virtual_clock.block(2)
        await virtual_clock.settle()
        assert starts(job_transitions, "tick") == [(9 * HOUR + 1, 9 * HOUR)]
        await virtual_clock.advance_to(NEW_YEAR + timedelta(days=1, hours=8, minutes=59, seconds=59))
        virtual_clock.block(2.5)
        await virtual_clock.settle()
        assert len(starts(job_transitions, "tick")) == 1
        job = await app.get_job("tick")
        assert job is not None
        assert job.exec_at == NEW_YEAR + timedelta(days=2, hours=9)


async def test_a_job_that_stood_in_line_for_a_slot_is_late_too(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """No slot was free for some minutes: a reminder that is useless by then is not sent."""
    app = Jobify(storage=MemoryStorage(), max_concurrency=1)

    @app.task
    async def work() -> None:
        await asyncio.sleep(600)

    @app.task
    async def remind() -> None: ...

    async with app:
        await work.push()
        job = await remind.schedule().delay(60, misfire_policy=MisfirePolicy.GRACE(300))
        punctual = await remind.schedule().delay(400, misfire_policy=MisfirePolicy.GRACE(300))
        await virtual_clock.advance(3600)
        assert (job.status, punctual.status) == (JobStatus.CANCELLED, JobStatus.SUCCESS)
        assert await job.wait() is None
        with pytest.raises(JobCancelledError):
            job.result()
    assert skips(job_transitions) == [(60, 60, 1, "missed")]
    assert job_transitions.of(job)[-1].reason == "missed"


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (MisfirePolicy.ONCE, JobStatus.SUCCESS),
        (MisfirePolicy.ALL, JobStatus.SUCCESS),
        (MisfirePolicy.SKIP, JobStatus.CANCELLED),
        (MisfirePolicy.GRACE(3599), JobStatus.CANCELLED),
        (MisfirePolicy.GRACE(3600), JobStatus.SUCCESS),
    ],
)
@pytest.mark.parametrize("how", ["delay", "at"])
async def test_a_one_time_job_has_a_policy_too(  # a table
    app: Jobify,
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    policy: MisfirePolicy,
    status: JobStatus,
    how: str,
) -> None:
    """After a downtime a job that is too late is cancelled, and gone from the storage."""

    @app.task
    async def remind() -> None: ...

    async with app:
        schedule = remind.schedule()
        if how == "delay":
            await schedule.delay(HOUR, job_id="it", misfire_policy=policy)
        else:
            await schedule.at(NEW_YEAR + timedelta(hours=1), job_id="it", misfire_policy=policy)
    await virtual_clock.advance(hours=2)
    async with app:
        await app.wait_all()
    assert job_transitions.of("it")[-1].status is status
    assert skips(job_transitions) == ([(HOUR, HOUR, 1, "missed")] if status is JobStatus.CANCELLED else [])
    async with app:
        assert await app.jobs() == []


async def test_a_recurrence_that_ended_while_the_app_was_down_is_over(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Under SKIP nothing is left of a recurrence whose last time has passed."""

    @app.task
    async def tick() -> None: ...

    end = NEW_YEAR + timedelta(hours=3)
    async with app:
        trigger = Cron("0 * * * *", end_date=end, misfire_policy=MisfirePolicy.SKIP)
        await tick.schedule().cron(trigger, job_id="tick")
    await virtual_clock.advance(hours=5)
    async with app:
        await virtual_clock.settle()
        assert await app.jobs() == []
    assert skips(job_transitions) == [(HOUR, 3 * HOUR, 3, "missed")]
    assert job_transitions.of("tick")[-1].status is JobStatus.CANCELLED
    async with app:
        assert await app.jobs() == []


async def test_all_that_was_missed_survives_a_stop_in_the_middle(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Runs that make up for missed times go on after a restart where they stopped."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(60)

    async with app:
        await tick.schedule().cron(Cron("0 * * * *", misfire_policy=MisfirePolicy.ALL), job_id="tick")
    await virtual_clock.advance(hours=4, minutes=30)
    async with app:
        await virtual_clock.advance(90)
    async with app:
        await virtual_clock.advance(minutes=5)
    due = [due // HOUR for _, due in starts(job_transitions, "tick")]
    assert due == [1, 2, 2, 3, 4]  # the stop cut the second short
    assert skips(job_transitions) == []


async def test_no_two_runs_that_make_up_for_missed_times_overlap(app: Jobify, virtual_clock: VirtualClock) -> None:
    """One job never has two runs at once, however many it makes up for."""
    running, most = 0, 0

    @app.task
    async def tick() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    async with app:
        job = await tick.schedule().cron(Cron("* * * * *", misfire_policy=MisfirePolicy.ALL), job_id="tick")
    await virtual_clock.advance(hours=1)
    async with app:
        found = await app.get_job("tick")
        assert found is not None
        await virtual_clock.advance(59)
        assert found.run_count == 59
    assert most == 1
    assert not job.is_done()


async def test_a_week_of_missed_seconds_is_one_record(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A week of downtime under a cron of every second is told as one stretch."""

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().cron("* * * * * *", job_id="tick")
    await virtual_clock.advance(timedelta(days=7))
    async with app:
        await virtual_clock.settle()
    assert skips(job_transitions) == [(1, 604_799, 604_799, "missed")]
    assert starts(job_transitions, "tick") == [(604_800, 604_800)]


async def test_a_step_back_runs_no_time_again(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A wall clock that is set back makes no nominal time due again."""

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().cron(Cron("0 * * * *", misfire_policy=MisfirePolicy.ALL), job_id="tick")
        await virtual_clock.advance(hours=3)
        virtual_clock.step_wall(timedelta(hours=-2))
        await virtual_clock.advance(hours=3)
    due = [due // HOUR for _, due in starts(job_transitions, "tick")]
    assert due == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", KINDS)
async def test_jitter_moves_the_start_and_not_the_time(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, kind: str
) -> None:
    """Each run starts up to the jitter later, drawn anew; its time stays, and so do the times that follow."""

    @app.task
    async def tick() -> None: ...

    plain = hourly(kind, "once")
    trigger = {
        "cron": Cron("0 * * * *", jitter=600),
        "every": Every(HOUR, jitter=timedelta(minutes=10)),
        "union": AnyOf(plain, jitter=600) if kind == "union" else plain,
    }[kind]
    async with app:
        job = await tick.schedule().recur(trigger, job_id="tick")
        assert NEW_YEAR + timedelta(hours=1) <= job.exec_at <= NEW_YEAR + timedelta(hours=1, minutes=10)
        await virtual_clock.advance(hours=10, minutes=30)
    async with app:
        await virtual_clock.advance(hours=10)
    found = starts(job_transitions, "tick")
    assert [due // HOUR for _, due in found] == list(range(1, 21))
    shifts = [at - due for at, due in found]
    assert all(0 <= shift <= 600 for shift in shifts)
    assert len(set(shifts)) == 20
    assert skips(job_transitions) == []


def test_a_policy_has_a_text_and_reads_well() -> None:
    """Policies are shown as they are written, and can be compared."""
    assert list(map(repr, (MisfirePolicy.ONCE, MisfirePolicy.SKIP, MisfirePolicy.ALL))) == [
        "MisfirePolicy.ONCE",
        "MisfirePolicy.SKIP",
        "MisfirePolicy.ALL",
    ]
    assert repr(MisfirePolicy.ALL.up_to(7)) == "MisfirePolicy.ALL.up_to(7)"
    assert repr(MisfirePolicy.GRACE(timedelta(minutes=5))) == "MisfirePolicy.GRACE(300)"
    assert MisfirePolicy.GRACE(300) == MisfirePolicy.GRACE(timedelta(minutes=5))
    assert Cron("* * * * *", misfire_policy="skip").misfire_policy is MisfirePolicy.SKIP


@pytest.mark.parametrize("policy", ["never", "grace", "grace:x", "all:0", "", None, 3, True])
def test_a_policy_that_is_none_is_refused(policy: str) -> None:
    """What is no policy is refused where it is given."""
    with pytest.raises(InvalidScheduleError, match=r"misfire_policy|bound"):
        Cron("* * * * *", misfire_policy=policy)


@pytest.mark.parametrize("most", [0, -1, 1.5, True, None, "3"])
def test_a_bound_is_a_whole_number(most: int) -> None:
    """ALL is bounded by a whole number from 1."""
    with pytest.raises(InvalidScheduleError, match="whole number"):
        MisfirePolicy.ALL.up_to(most)
    with pytest.raises(InvalidScheduleError, match=r"only MisfirePolicy\.ALL"):
        MisfirePolicy.ONCE.up_to(3)


@pytest.mark.parametrize("duration", [-1, float("nan"), float("inf"), "5", True])
def test_a_grace_is_a_duration(duration: float) -> None:
    """A grace is a duration as everywhere: finite, and not negative."""
    with pytest.raises(InvalidScheduleError, match="grace"):
        MisfirePolicy.GRACE(duration)


@pytest.mark.parametrize("jitter", [-1, float("nan"), float("inf"), "5", True, None])
def test_a_jitter_is_a_duration(jitter: float) -> None:
    """A jitter is a duration as everywhere: finite, and not negative."""
    with pytest.raises(InvalidScheduleError, match="jitter"):
        Every(5, jitter=jitter)


@pytest.mark.parametrize(
    ("trigger", "days"),
    [
        (Cron("*/7 1-3 * * *", tz="America/New_York"), 400),
        (Cron("30 2 * * *", tz="Australia/Lord_Howe", dst="both"), 800),
        (Cron("15 30 1 * * *", tz="Europe/Dublin", dst="skip"), 800),
        (Cron("0 0 * * fri", tz="Pacific/Apia"), 1200),
        (Every(977, start_date=NEW_YEAR), 30),
        (CalendarInterval(months=1, first_day=datetime(2020, 1, 31, tzinfo=UTC).date(), tz="Asia/Tokyo"), 4000),
        (AnyOf(Cron("0 2 * * *", tz="Europe/Paris"), Cron("0 3 * * *", tz="UTC")), 500),
    ],
)
def test_times_are_counted_as_they_would_be_found_one_by_one(trigger: Recurrence, days: int) -> None:
    """`count` agrees with `next_after`, both ends and all changes of the clocks included."""
    first = NEW_YEAR - timedelta(days=days // 2, seconds=4321)
    until = first + timedelta(days=days)
    found: list[datetime] = []
    moment = first
    while (moment := trigger.next_after(moment)) <= until:
        found.append(moment)
    assert len(found) > 20
    assert trigger.count(after=first, until=until) == len(found)
    for index in (0, 1, len(found) // 2, len(found) - 1):
        at = found[index]
        assert trigger.count(after=first, until=at) == index + 1
        assert trigger.count(after=at, until=until) == len(found) - index - 1
        assert trigger.count(after=first, until=at - timedelta(microseconds=1)) == index
    assert trigger.count(after=until, until=first) == 0


def test_a_count_keeps_within_the_dates_of_the_recurrence() -> None:
    """Times before `start_date` and after `end_date` are none."""
    hour = timedelta(hours=1)
    trigger = Cron("0 * * * *", start_date=NEW_YEAR, end_date=NEW_YEAR + 5 * hour)
    assert trigger.count(after=NEW_YEAR - 50 * hour, until=NEW_YEAR + 50 * hour) == 6
    assert trigger.count(after=NEW_YEAR, until=NEW_YEAR + 3 * hour) == 3
    with pytest.raises(InvalidScheduleError, match="naive"):
        trigger.count(after=datetime(2026, 1, 1), until=NEW_YEAR)  # noqa: DTZ001  # that is the point

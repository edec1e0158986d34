"""What is refused at the door, and in which words: options, parts of an app, arguments."""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from jobify import (
    ApplicationStateError,
    Cron,
    Every,
    InvalidArgumentsError,
    InvalidScheduleError,
    Jobify,
    SystemClock,
    TaskDefinitionError,
)
from jobify.serializers import JSONSerializer
from jobify.storage import MemoryStorage, SQLiteStorage, Storage
from jobify_testing import VirtualClock

EARLY, LATE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


async def nothing() -> None:
    """Do nothing."""


def bare_app() -> Jobify:
    """Return an app that nothing is asked of but to know tasks."""
    return Jobify(storage=MemoryStorage())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"foo": 1},
            "with foo: the options are cron, durable, every, metadata, name, on_crash, recur, retry, run_mode, timeout",
        ),
        ({"trigger": Every(5)}, "with trigger: the options are"),
        ({"retries": 3, "delay": 1}, "with delay, retries: the options are"),
        ({"metadata": 5}, "metadata is a mapping, such as a dict, not 5"),
        ({"metadata": [("a", 1)]}, "metadata is a mapping"),
        ({"metadata": ""}, "metadata is a mapping, such as a dict, not ''"),
        ({"durable": 1}, "durable is True or False, not 1"),
        ({"durable": None}, "durable is True or False, not None"),
        ({"durable": "no"}, "durable is True or False, not 'no'"),
    ],
)
def test_an_option_that_is_none_is_refused(options: dict[str, Any], message: str) -> None:
    """An unknown option is named beside the known ones, a bad value beside what is meant."""
    app = Jobify(storage=MemoryStorage())
    with pytest.raises(TaskDefinitionError, match=message):
        app.task(**options)(nothing)
    with pytest.raises(TaskDefinitionError, match=message):
        app.task(nothing, **options)


@pytest.mark.parametrize("limits", [{"args": "ab"}, {"args": 5}, {"args": None}, {"kwargs": 5}, {"kwargs": ()}])
def test_arguments_of_a_recurrence_are_a_tuple_and_a_mapping(limits: dict[str, Any]) -> None:
    """A text is no tuple of arguments, though it could be taken apart."""
    with pytest.raises(InvalidScheduleError, match="give a tuple and a dict"):
        Cron("@daily", **limits)
    with pytest.raises(InvalidScheduleError, match="give a tuple and a dict"):
        Every(5, **limits)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cron(5), r"cannot use the cron expression 5: it is not a str; give one, as in '0 9 \* \* 1-5'"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (
            lambda: Every(1, start_date=LATE, end_date=EARLY),
            "give one behind the start_date, 2030",
        ),
        (lambda: SQLiteStorage("x.db", synchronous="off"), "synchronous='off': give 'full' or 'normal'"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (lambda: bare_app().task(5), "it is not a function, nor anything else that can be called; give one"),  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ],
)
def test_a_refusal_says_what_would_do(make: Callable[[], object], message: str) -> None:
    """What cannot be used is named beside what can."""
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("timeout", ["5", -1, float("nan"), float("inf"), True, None])
def test_the_timeout_of_a_database_is_a_duration(timeout: Any) -> None:
    """What cannot be waited for is refused when the storage is made, not when the app starts."""
    with pytest.raises(ValueError, match="as the timeout of a database"):
        SQLiteStorage("x.db", timeout=timeout)


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0, timedelta(seconds=1), timedelta(days=365 * 1000)])
async def test_a_timeout_may_be_as_long_as_one_likes(tmp_path: Path, wait: float | timedelta) -> None:
    """The longest wait for a lock is longer than SQLite can count."""
    async with Jobify(storage=SQLiteStorage(tmp_path / "x.db", timeout=wait)) as app:
        assert app.health().ok


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"storage": 3}, "cannot use 3 as storage: it has no serialized, immediate, open, add, claim"),
        ({"storage": "jobs.db"}, r"it is a str; for a file give SQLiteStorage\('jobs.db'\)"),
        ({"storage": SQLiteStorage}, r"it is a class; give an object, as in storage=SQLiteStorage\(...\)"),
        (
            {"storage": SystemClock()},
            r"as storage: it has no .*, close; give a Storage, such as SQLiteStorage\('jobify.db'\)",
        ),
        ({"clock": 3}, "cannot use 3 as clock: it has no now, monotonic, call_at, call_at_wall"),
        ({"clock": SystemClock}, r"it is a class; give an object, as in clock=SystemClock\(...\)"),
        ({"clock": asyncio}, r"as clock: it has no .*; give a Clock, such as SystemClock\(\)"),
        ({"serializer": 3}, "as serializer: it has no is_json, dumps, loads; give a Serializer, such as JSONS"),
        ({"serializer": JSONSerializer}, "it is a class"),
    ],
)
def test_a_part_that_is_none_is_refused_when_the_app_is_made(parts: dict[str, Any], message: str) -> None:
    """What is no storage, clock or serializer is refused with what it lacks."""
    with pytest.raises(TypeError, match=message):
        Jobify(**parts)


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 1, 1),  # noqa: DTZ001  # naive on purpose
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        1_700_000_000.0,
    ],
)
async def test_a_clock_that_does_not_say_utc_is_refused_at_the_start(
    virtual_clock: VirtualClock, now: datetime
) -> None:
    """A clock of one's own says aware datetimes in UTC; that is looked at once."""

    class Sundial:
        monotonic = virtual_clock.monotonic
        call_at = virtual_clock.call_at
        call_at_wall = virtual_clock.call_at_wall

        def now(self) -> datetime:
            """Return something."""
            return now

    app = Jobify(storage=MemoryStorage(), clock=Sundial())
    with pytest.raises(ApplicationStateError, match="is not in UTC"):
        await app.start()
    assert app.health().state == "stopped"


@pytest.mark.parametrize("listener", [3, None, "print", nothing])
def test_a_listener_is_a_plain_function(listener: Any) -> None:
    """What cannot be called, or would have to be awaited, is no listener."""
    with pytest.raises(TypeError, match="give a plain function"):
        Jobify(storage=MemoryStorage()).subscribe(listener)


@pytest.mark.parametrize("steps", range(1, 8))
async def test_a_stop_of_an_app_that_starts_is_refused(
    storage: Storage, steps: int, virtual_clock: VirtualClock
) -> None:
    """Who stops an app that is starting is told so, and the app starts."""
    app = Jobify(storage=storage)

    @app.task(every=10)
    async def often() -> None: ...

    starter = asyncio.ensure_future(app.start())
    for _ in range(steps):
        await asyncio.sleep(0)
    if app.health().state == "starting":
        with pytest.raises(ApplicationStateError, match="it is starting; await start"):
            await app.stop()
    await starter
    assert app.health().ok
    await app.stop()
    assert app.health().state == "stopped"


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (None, math.nan, "cargo is nan, and JSON has no nan; use durable=False, or another type"),
        (float, math.inf, "cargo is inf, and JSON has no inf; use durable=False, or another type"),
        (list[float], [1.0, -math.inf], "cargo[1] is -inf, and JSON has no -inf"),
        (
            None,
            {"a": [(1, math.nan)]},
            "cargo['a'][0] is a tuple, which JSON alone does not bring back as one; annotate it",
        ),
        (None, {"a": [1, math.nan]}, "JSON has no nan"),
        (
            None,
            {1: 2},
            "cargo has a key that is an int: 1; JSON has only str keys, so annotate it with the types of its keys",
        ),
        (
            dict,
            {1: 2},
            "cargo has a key that is an int: 1; JSON has only str keys, so annotate it with the types of its keys",
        ),
        (None, {1: "a", "1": "b"}, "cargo has a key that is an int: 1"),
        (None, [{"a": {1.5: 1}}], "cargo[0]['a'] has a key that is a float: 1.5"),
        (None, (1, 2), "cargo is a tuple, which JSON alone does not bring back as one; annotate it with its type"),
        (
            None,
            [1, {"a": b"x"}],
            "cargo[1]['a'] is a bytes, which JSON alone does not bring back as one; annotate it with its type",
        ),
        (tuple[int, int], [1, 2], "cargo is a list, and not a tuple; pass a tuple, or annotate it with list"),
    ],
)
async def test_a_refusal_says_what_is_true(
    virtual_clock: VirtualClock, annotation: Any, value: Any, message: str
) -> None:
    """The error names the very part that cannot be kept, and a remedy that helps."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    async def take(cargo: Any) -> None: ...

    if annotation is None:
        del take.__annotations__["cargo"]
    else:
        take.__annotations__["cargo"] = annotation
    task = app.task(take)
    async with app:
        with pytest.raises(InvalidArgumentsError) as caught:
            await task.push(value)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(dict[int, int], {1: 2}), (tuple[int, int], (1, 2)), (dict[str, Any], {"a": [1]})],
)
async def test_the_remedies_help(virtual_clock: VirtualClock, annotation: Any, value: Any) -> None:
    """What is annotated as a refusal has advised is accepted."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    async def give_back(cargo: Any) -> Any:
        return cargo

    give_back.__annotations__["cargo"] = annotation
    task = app.task(give_back)
    async with app:
        assert await (await task.push(value)) == value


async def test_there_are_no_jobs_of_a_status_that_is_none(app: Jobify) -> None:
    """What is no status is refused, with all that are; a name of one will do."""
    async with app:
        await app.task(nothing).schedule().delay(60, job_id="it")
        assert [job.id for job in await app.jobs(status="scheduled")] == ["it"]
        with pytest.raises(InvalidScheduleError, match=r"of status 'ok': the statuses are 'scheduled', 'running', "):
            await app.jobs(status="ok")


async def test_a_sentence_about_time_says_which_time(app: Jobify) -> None:
    """A schedule that cannot be kept is repeated in the words of the user."""
    task = app.task(nothing)
    beyond = timedelta(days=365 * 8000)
    async with app:
        with pytest.raises(InvalidScheduleError, match=r"in 2\.5\d*e\+11 s"):
            await task.schedule().delay(beyond)
        with pytest.raises(InvalidScheduleError, match=r"interval of .* has no time after"):
            await task.schedule().every(beyond, job_id="it")
        with pytest.raises(InvalidScheduleError, match=r"at 9999-12-31T23:59:59.999999\+00:00"):
            await task.schedule().at(datetime.max.replace(tzinfo=UTC))

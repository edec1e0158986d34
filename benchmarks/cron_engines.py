"""What the engines of cron expressions do when clocks are changed, and how long they take: seven rivals and ours.

    python -m venv rivals
    rivals/bin/pip install . cronsim apscheduler celery pycron arq crontab
    rivals/bin/python benchmarks/cron_engines.py [--turns 20]

Each engine is asked for the next time again and again, with its own last answer, in America/New_York on the days in
2025 on which the clocks are changed there. What only tells whether a minute matches is asked at each minute that there
is, as its scheduler does; so is Celery, whose answer depends on the present. Right is what Debian's cron does: a fixed
time in the gap runs right after it, in the repeated hour once, and a rhythm is kept. In the other cells stands what the
engine answered, as it answered it. An engine that is not installed is left out.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from jobify import Cron

ZONE = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)
LONGEST = timedelta(days=3)
"""How long an engine that is asked minute by minute is asked."""

Times = Iterator[datetime]
Engine = Callable[[str, datetime], Times]


class Case(NamedTuple):
    """An expression, the moment from which on it is asked about, and the right answers."""

    title: str
    expression: str
    start: str
    right: tuple[str, ...]


CASES = (
    Case("02:30 daily, gap", "30 2 * * *", "2025-03-09T00:00-05:00", ("09 03:00-04", "10 02:30-04")),
    Case("01:30 daily, fold", "30 1 * * *", "2025-11-02T00:00-04:00", ("02 01:30-04", "03 01:30-05")),
    Case("hourly, gap", "0 * * * *", "2025-03-09T00:30-05:00", ("09 01:00-05", "09 03:00-04", "09 04:00-04")),
    Case("*/30, gap", "*/30 * * * *", "2025-03-09T01:00-05:00", ("09 01:30-05", "09 03:00-04", "09 03:30-04")),
    Case(
        "*/30, fold",
        "*/30 * * * *",
        "2025-11-02T00:30-04:00",
        ("02 01:00-04", "02 01:30-04", "02 01:00-05", "02 01:30-05", "02 02:00-05", "02 02:30-05"),
    ),
)
SPEED = ("* * * * *", "*/5 * * * *", "30 2 * * *", "0 9 * * 1-5", "0 0 * * 1#2", "0 0 29 2 *")
"""Expressions to be timed; not every engine can read all of them."""


def ours(expression: str, start: datetime) -> Times:
    """Ask jobify."""
    cron, moment = Cron(expression, tz=ZONE), start
    while True:
        moment = cron.next_after(moment)
        yield moment.astimezone(ZONE)


def ask_cronsim(expression: str, start: datetime) -> Times:
    """Ask cronsim (healthchecks)."""
    yield from import_module("cronsim").CronSim(expression, start)


def ask_croniter(expression: str, start: datetime) -> Times:
    """Ask croniter (SAQ, procrastinate, RQ, docket, DBOS, pgqueuer)."""
    engine: Any = import_module("croniter").croniter(expression, start)
    while True:
        yield engine.get_next(datetime)


def ask_apscheduler(expression: str, start: datetime) -> Times:
    """Ask the trigger of APScheduler, which is told the present: that of its own last answer."""
    trigger: Any = import_module("apscheduler.triggers.cron").CronTrigger.from_crontab(expression, timezone=ZONE)
    previous, now = None, start + timedelta(microseconds=1)
    while True:
        previous = trigger.get_next_fire_time(previous, now)
        yield previous
        now = previous.astimezone(UTC).astimezone(ZONE)


def ask_pycron(expression: str, start: datetime) -> Times:
    """Ask pycron at each minute, as taskiq does."""
    is_now: Any = import_module("pycron").is_now
    return (minute for minute in minutes_after(start) if is_now(expression, minute))


def ask_celery(expression: str, start: datetime) -> Times:
    """Ask the crontab of Celery at each minute whether it is due, as its beat does."""
    app: Any = import_module("celery").Celery(set_as_current=False)
    app.conf.timezone = ZONE.key
    now = last = start
    crontab: Any = import_module("celery.schedules").crontab
    schedule = crontab.from_string(expression)
    schedule.nowfun, schedule._app = lambda: now, app  # noqa: SLF001  # as the beat of an app sets it up
    for minute in minutes_after(start):
        now = minute
        if schedule.is_due(last).is_due:
            yield minute
            last = minute


def ask_arq(expression: str, start: datetime) -> Times:
    """Ask the cron of arq, which has no expressions but sets."""
    next_cron: Any = import_module("arq.cron").next_cron
    minute, hour, *_ = expression.split()
    if expression.split()[2:] != ["*", "*", "*"]:
        msg = "days are out of what is compared"
        raise ValueError(msg)
    fields = {"minute": values(minute, 60), "hour": values(hour, 24), "second": 0, "microsecond": 0}
    moment = start
    while True:
        moment = next_cron(moment, **{name: value for name, value in fields.items() if value is not None})
        yield moment


def ask_crontab(expression: str, start: datetime) -> Times:
    """Ask crontab (the namesake of jobify on PyPI)."""
    entry: Any = import_module("crontab").CronTab(expression)
    moment = start
    while True:
        moment = entry.next(now=moment, default_utc=True, return_datetime=True)
        yield moment


ENGINES: dict[str, tuple[str, Engine]] = {
    "jobify": ("jobify", ours),
    "cronsim": ("cronsim", ask_cronsim),
    "croniter": ("croniter", ask_croniter),
    "APScheduler": ("apscheduler", ask_apscheduler),
    "pycron (taskiq)": ("pycron", ask_pycron),
    "Celery": ("celery", ask_celery),
    "arq": ("arq", ask_arq),
    "crontab": ("crontab", ask_crontab),
}
BY_THE_MINUTE = ("pycron (taskiq)", "Celery")
"""Engines that have no next time; what they cost is the minute, not the answer."""


def minutes_after(start: datetime) -> Times:
    """Yield the minutes that there are after a moment, as the clock of the zone shows them."""
    moment = start.astimezone(UTC)
    while (moment := moment + MINUTE) <= start + LONGEST:
        yield moment.astimezone(ZONE)


def values(field: str, size: int) -> set[int] | None:
    """Return the values of `*`, `*/n` or a number."""
    if field.startswith("*"):
        return set(range(0, size, int(field[2:]))) if field != "*" else None
    return {int(field)}


def answers(engine: Engine, case: Case) -> tuple[str, ...]:
    """Return as many answers as there are right ones, the way in which the engine gives them."""
    start = datetime.fromisoformat(case.start).astimezone(ZONE)
    return tuple(
        f"{found:%d %H:%M}{found.isoformat()[19:22]}"
        for found in islice(engine(case.expression, start), len(case.right))
    )


def microseconds(engine: Engine, expression: str) -> float | None:
    """Return what a next time costs, over some of them; None if the engine cannot tell."""
    times = engine(expression, datetime(2026, 1, 1, tzinfo=ZONE))
    number = 20 if expression.endswith("29 2 *") else 200
    try:
        next(times)
        began = time.perf_counter()
        found = sum(1 for _ in islice(times, number))
        return (time.perf_counter() - began) / found * 1e6
    except Exception:  # noqa: BLE001  # whatever it raises for what it cannot read
        return None


def costs(engines: dict[str, Engine], expression: str, turns: int) -> dict[str, str]:
    """Return the least that a next time costs with each engine; they take turns, so that all have the same weather."""
    found: dict[str, float] = {}
    for _ in range(turns):
        for name, engine in engines.items():
            if name not in BY_THE_MINUTE and (cost := microseconds(engine, expression)) is not None:
                found[name] = min(cost, found.get(name, cost))
    return {name: f"{found[name]:.1f}" if name in found else "-" for name in engines}


def installed() -> dict[str, Engine]:
    """Return the engines that can be imported."""
    found: dict[str, Engine] = {}
    for name, (module, engine) in ENGINES.items():
        try:
            import_module(module)
        except ImportError:
            print(f"{name}: not installed")
        else:
            found[name] = engine
    return found


def table(rows: list[tuple[str, ...]]) -> None:
    """Print a table in Markdown."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        print("|", " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), "|")
        if not number:
            print("|", " | ".join("-" * width for width in widths), "|")


def cell(engine: Engine, case: Case) -> str:
    """Return what stands in the table for an engine and a case."""
    found = answers(engine, case)
    return "right" if found == case.right else ", ".join(found)


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20, help="how often each engine is timed; 0 for not at all")
    turns = parser.parse_args().turns
    engines = installed()
    table(
        [
            ("engine", *(case.title for case in CASES)),
            *((name, *map(partial(cell, engine), CASES)) for name, engine in engines.items()),
        ]
    )
    if turns:
        print("\nmicroseconds for each next time, the least of some turns:\n")
        columns = [costs(engines, expression, turns) for expression in SPEED]
        table([("engine", *SPEED), *((name, *(column[name] for column in columns)) for name in engines)])


if __name__ == "__main__":
    main()

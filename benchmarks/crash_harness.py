"""A program that is killed again and again: is what was accepted run, and is nothing run twice that nobody can explain?

    python benchmarks/crash_harness.py [--kills 300] [--seed 1] [--trigger delay]

A process schedules one-time jobs in a steady stream, some of which fail once and some of which it cancels, beside two
jobs that recur each second, in a SQLite file. It notes in a ledger what scheduling returned from, what is told to
start, and what bodies do: each line is one write, so a SIGKILL loses none. It is killed after a random time ("delay"),
or when it has said a random number of lines ("lines"), and begun anew on the same file. The last one lives on to the
end; then ledger, history and log are compared. It fails if a promise was broken. The processes are forked, which
Windows cannot.
"""

import argparse
import asyncio
import itertools
import json
import logging
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jobify import Jobify, JobStatus, Retention, Retry, RunRecord, Transition
from jobify.storage import SQLiteStorage, Storage

KEPT = Retention(success=timedelta(days=7), failure=timedelta(days=7), most=100_000_000)
LONGEST_LIFE = 0.25
"""Seconds that a program lives at most."""
MOST_LINES = 11
"""What a program says at most, as a power of two: a few lines as often as hundreds."""
RECURRING = ("tick", "again")


class Ledger:
    """A file of lines, each written at once, and if wanted told to the parent too."""

    def __init__(self, folder: Path, pipe: int | None) -> None:
        self._file = os.open(folder / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._pipe = pipe

    def note(self, *words: object) -> None:
        """Write a line."""
        line = (" ".join(map(str, words)) + "\n").encode()
        os.write(self._file, line)
        if self._pipe is not None:
            os.write(self._pipe, line)


class Program:
    """What is killed.

    Args:
        storage: where its jobs are.
        number: of its life.
        ledger: of all lives.
    """

    def __init__(self, storage: Storage, number: int, ledger: Ledger) -> None:
        self.ledger = ledger
        self.number = number
        self.app = Jobify(storage=storage, retention=KEPT, max_interruptions=None, catch_up_rate=None)
        self.attempts: dict[str, int] = {}
        self.app.subscribe(self._hear)

        @self.app.task(name="once", retry=Retry(1, delay=0.05, jitter=False))
        async def once(name: str, seconds: float, *, fails: bool) -> None:
            ledger.note("body", name)
            await asyncio.sleep(seconds)
            if fails and self.attempts[name] == 1:
                raise ValueError(name)
            ledger.note("ended", name)

        @self.app.task(name="tick", cron="* * * * * *")
        async def tick() -> None:
            await asyncio.sleep(0.1)

        @self.app.task(name="again", cron="* * * * * *", on_crash="rerun")
        async def again() -> None:
            await asyncio.sleep(0.1)

        self.once, self.tick, self.again = once, tick, again

    def _hear(self, event: object) -> None:
        if isinstance(event, Transition) and event.status is JobStatus.RUNNING:
            self.attempts[event.job_id] = event.attempt
            self.ledger.note("start", event.job_id, event.due.isoformat(), event.attempt)

    async def live(self, chance: random.Random, *, pause: float = 0.01) -> None:
        """Start, and schedule without an end."""
        self.ledger.note("life", self.number)
        await self.start()
        for number in itertools.count():
            names = [f"{self.number}.{number}.{nth}" for nth in range(chance.randint(1, 4))]
            await asyncio.gather(*(self.order(name, chance) for name in names))
            await asyncio.sleep(chance.uniform(0, pause))

    async def start(self) -> None:
        """Start."""
        await self.app.start()

    async def order(self, name: str, chance: random.Random) -> None:
        """Schedule a job, and perhaps cancel it."""
        delay, seconds = chance.choice((0, 0, chance.uniform(0, 0.1))), chance.choice((0, chance.uniform(0, 0.05)))
        order = self.once.schedule(name, seconds, fails=chance.random() < 0.15)
        job = await order.delay(delay, job_id=name)
        self.ledger.note("accepted", name)
        if chance.random() < 0.15:
            self.ledger.note("cancelling", name)
            if await job.cancel():
                self.ledger.note("cancelled", name)

    async def finish(self, problems: list[str]) -> list[RunRecord]:
        """Start, come to an end, and return the history."""
        async with self.app:
            await self.app.wait_all()
            problems += [f"{job} is left behind" for job in await self.app.jobs() if job.id not in RECURRING]
            if not self.app.health().ok:
                problems.append(f"the app is not well: {self.app.health()}")
            return await self.app.history(limit=2**31)


def storage_in(folder: Path) -> SQLiteStorage:
    """Return the storage; no power is lost here."""
    return SQLiteStorage(folder / "jobs.db", synchronous="normal")


def fork(folder: Path, number: int, seed: int, *, tells: bool) -> tuple[int, int | None]:
    """Begin a life; return its process, and what it tells if it `tells`."""
    reader, writer = os.pipe() if tells else (None, None)
    process = os.fork()
    if process:
        if writer is not None:
            os.close(writer)
        return process, reader
    try:
        log_to(folder)
        asyncio.run(Program(storage_in(folder), number, Ledger(folder, writer)).live(random.Random(f"{seed} {number}")))
    except BaseException:
        logging.getLogger("harness").exception("life %d has ended by itself", number)
    finally:
        os._exit(1)


def log_to(folder: Path) -> None:
    """Write what jobify warns of into a file."""
    logging.basicConfig(filename=folder / "log", level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # a slow machine is no trouble


def kill_after(process: int, pipe: int | None, chance: random.Random) -> int:
    """Kill a process when its time has come; return by what it ended."""
    if pipe is None:
        time.sleep(chance.uniform(0, LONGEST_LIFE))
    else:
        left, data = round(2 ** chance.uniform(0, MOST_LINES)), b"..."
        while left > 0 and (data := os.read(pipe, 32)):
            left -= data.count(b"\n")
        os.close(pipe)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1]


def judge(folder: Path, records: list[RunRecord], problems: list[str]) -> dict[str, int]:
    """Compare what was noted with the history; return what there was."""
    lines = [line.split() for line in (folder / "ledger").read_text().splitlines()]
    noted = {kind: [line[1:] for line in lines if line[0] == kind] for kind in {line[0] for line in lines}}
    accepted, doubtful = ({name for (name,) in noted.get(kind, [])} for kind in ("accepted", "cancelling"))
    ended = Counter(name for (name,) in noted["ended"])
    problems += [f"{name} is lost" for name in accepted - doubtful - set(ended)]
    problems += called_back(lines)
    cut = Counter((run.job_id, run.scheduled_for.isoformat(), str(run.attempts)) for run in records if is_cut(run))
    starts = Counter((name, due, attempt) for name, due, attempt in noted["start"])
    for (name, due, attempt), count in starts.items():
        if count > 1 + cut[name, due, attempt] or (name == "tick" and count > 1):
            problems.append(f"{name}, due {due}, has begun {count} times, with {cut[name, due, attempt]} interruptions")
    done = Counter(run.job_id for run in records if run.status == "success" and run.job_id not in RECURRING)
    problems += [f"{name} has {count} records of success" for name, count in done.items() if count > 1]
    for name in RECURRING:
        problems += times_lost(name, [run for run in records if run.job_id == name])
    log = folder / "log"
    problems += log.read_text().splitlines() if log.exists() else []
    return {
        "accepted": len(accepted),
        "bodies": len(noted["body"]),
        "interrupted": sum(cut.values()),
        "begun_again": sum(count - 1 for count in starts.values()),
        "cancelled": len(noted.get("cancelled", [])),
    }


def is_cut(run: RunRecord) -> bool:
    """Whether a crash has cut a run short."""
    return run.status == "interrupted"


def called_back(lines: list[list[str]]) -> list[str]:
    """Return the jobs that have begun behind the return of their cancellation."""
    gone = set[str]()
    problems: list[str] = []
    for kind, name, *_ in lines:
        if kind == "cancelled":
            gone.add(name)
        elif kind == "body" and name in gone:
            problems.append(f"{name} has run, although it was cancelled")
    return problems


def times_lost(name: str, records: list[RunRecord]) -> list[str]:
    """Return the seconds between the first and the last of a job that recurs of which no record knows, or two."""
    ends = Counter[datetime]()
    for run in records:
        for second in range(run.count):
            ends[run.scheduled_for + timedelta(seconds=second)] += not is_cut(run)
    first, last = min(ends, default=None), max(ends, default=None)
    if first is None or last is None:
        return []
    times = [first + timedelta(seconds=second) for second in range(round((last - first).total_seconds()) + 1)]
    return [f"{name} has {ends[time]} ends at {time}" for time in times if time not in ends or ends[time] > 1]


def run(folder: Path, kills: int, seed: int, trigger: str) -> tuple[dict[str, Any], list[str]]:
    """Kill a program so often, let it end, and return what there was, and what was wrong."""
    chance, problems = random.Random(seed), list[str]()
    start = time.perf_counter()
    for number in range(kills):
        status = kill_after(*fork(folder, number, seed, tells=trigger == "lines"), chance)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            problems.append(f"life {number} has ended by itself, with status {status}")
    log_to(folder)
    records = asyncio.run(Program(storage_in(folder), kills, Ledger(folder, None)).finish(problems))
    seen = judge(folder, records, problems)
    with sqlite3.connect(folder / "jobs.db") as connection:
        ((integrity,),) = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    if integrity != "ok":
        problems.append(f"the file is broken: {integrity}")
    took = round(time.perf_counter() - start, 1)
    return {"scenario": "crash_harness", "kills": kills, "seed": seed, "trigger": trigger, **seen, "s": took}, problems


def main() -> None:
    """Print one line of JSON, and what was wrong if anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--trigger", choices=("delay", "lines"), default="delay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen, problems = run(Path(folder), options.kills, options.seed, options.trigger)
    print(json.dumps(seen))
    if problems:
        sys.exit("\n".join([f"{len(problems)} promises were broken:", *problems[:50]]))


if __name__ == "__main__":
    main()

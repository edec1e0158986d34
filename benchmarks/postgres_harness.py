"""Three programs on one PostgreSQL database, killed and stopped at random: is all run, and nothing twice unexplained?

    python -m benchmarks.postgres_harness [--faults 300] [--seed 1] [--lease 2]

Each of three processes schedules one-time jobs in a steady stream, some of which fail once and some of which it
cancels; beside them are two jobs that recur each second. Any of the three runs any of the jobs. After a random time a
process is killed (SIGKILL), and begun anew, or it is stopped (SIGSTOP) for longer than its lease, and goes on (SIGCONT)
when others have its jobs. At the end all stop in good order, and one more runs what is left. Then ledger, history and
logs are compared: each second start must be explained by a row of the history, and that by a fault that befell the
process of the first. It fails if a promise was broken; where there is no PostgreSQL it says so.
"""

import argparse
import asyncio
import contextlib
import heapq
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.crash_harness import RECURRING, Ledger, Program, called_back, is_cut, log_to, times_lost
from jobify import ApplicationStateError, JobifyError, RunRecord, StorageError
from tests.postgres import Database, running_server

WORKERS = 3
LONGEST_LIFE = 1.5
"""Seconds from one fault of a process to the next, at most."""
PAUSE = 0.05
"""Seconds between two orders of a process, at most."""
PATIENCE = 60
"""Seconds in which all has to come to its end."""
OF_ALL = ("the jobs of a process that has not renewed its lease are taken over",)
"""What any process may log."""
OF_THE_STOPPED = (
    "was not heard of for too long, and has lost its claims",
    "is lost; it is made again",
    "comes too late: its lease was lost, others may run it",
    "the storage does not work; next try in",
    "of task 'once': failed",
    "it could not be seen what became of job",
    "jobs could not be claimed",
)
"""What one may log beside that which was stopped: the server has not heard of it, nor it of the server."""


class Fault(NamedTuple):
    """What has befallen a process.

    Attributes:
        process: its id.
        since: when, in seconds since 1970.
        until: when it went on; for ever, if it was killed.
    """

    process: int
    since: float
    until: float


class OneLine(logging.Formatter):
    """Has the process, and an exception in words: the traces of those that were stopped are long, and all alike."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        error = record.exc_info[1] if record.exc_info else None
        words = f"{record.process} {record.levelname} {record.name} {record.getMessage()} {error or ''}"
        return " ".join(words.split())


class DatedLedger(Ledger):
    """A ledger whose lines say of which process they are, and when they were written."""

    def note(self, *words: object) -> None:
        """Write a line."""
        super().note(*words, os.getpid(), time.time())


class Worker(Program):
    """One of the processes; what its storage refuses while it has lost its lease it does not order."""

    async def start(self) -> None:
        """Start; who is stopped in the middle of that tries again."""
        while True:
            try:
                return await self.app.start()
            except StorageError:
                self.ledger.note("not_started", self.number)

    async def order(self, name: str, chance: random.Random) -> None:
        """Schedule a job, and perhaps cancel it."""
        try:
            await super().order(name, chance)
        except JobifyError as error:
            self.ledger.note("refused", name, type(error).__name__)

    async def work(self, chance: random.Random) -> None:
        """Live until SIGTERM, and stop in good order."""
        life = asyncio.ensure_future(self.live(chance, pause=PAUSE))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, life.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await life
        while self.app.health().state != "stopped":
            with contextlib.suppress(ApplicationStateError):  # it is giving a start up
                await self.app.stop()
            await asyncio.sleep(0.01)

    async def wait_for_all(self, problems: list[str]) -> list[RunRecord]:
        """Run what all others have left behind, and return the history."""
        deadline = time.monotonic() + PATIENCE
        async with self.app:
            while left := [job.id for job in await self.app.jobs() if job.id not in RECURRING]:
                if time.monotonic() > deadline:
                    problems += [f"{name} is left behind" for name in left]
                    break
                await asyncio.sleep(0.1)
            if not self.app.health().ok:
                problems.append(f"the app is not well: {self.app.health()}")
            return await self.app.history(limit=2**31)


class Harness:
    """The three processes, and what befalls them.

    Args:
        folder: where ledger and logs are.
        database: where the jobs are.
        seed: of all chance.
        lease: of all processes, in seconds.
    """

    def __init__(self, folder: Path, database: Database, seed: int, lease: float) -> None:
        self.folder = folder
        self.faults: list[Fault] = []
        self.problems: list[str] = []
        self._database = database
        self._seed = seed
        self._lease = lease
        self._chance = random.Random(seed)
        self._lives = 0
        self._processes: dict[int, int] = {}  # by the place of a worker
        self._stopped: dict[int, float] = {}

    def worker(self, number: int) -> Worker:
        """Return a worker."""
        return Worker(self._database.storage(lease=self._lease), number, DatedLedger(self.folder, None))

    def log(self) -> None:
        """Write what jobify warns of into a file."""
        log_to(self.folder)
        for handler in logging.getLogger().handlers:
            handler.setFormatter(OneLine())

    def torment(self, faults: int) -> None:
        """Have so many faults befall the processes, then let them stop in good order."""
        events: list[tuple[float, int, str]] = []
        for place in range(WORKERS):
            self._begin(place)
            heapq.heappush(events, (time.monotonic() + self._life(), place, "fault"))
        while not (is_enough := len(self.faults) + len(self._stopped) >= faults) or self._stopped:
            when, place, what = heapq.heappop(events)
            time.sleep(max(when - time.monotonic(), 0))
            if is_enough and what != "continue":
                continue
            if what == "continue":
                self._continue(place)
                after, what = self._life(), "fault"
            elif what == "begin":
                self._begin(place)
                after, what = self._life(), "fault"
            elif self._chance.random() < 0.4:
                self._stop(place)
                after, what = self._lease * self._chance.uniform(1.1, 2.2), "continue"
            else:
                self._kill(place)
                after, what = self._chance.uniform(0, 0.3), "begin"
            heapq.heappush(events, (time.monotonic() + after, place, what))
        self._end()

    def _life(self) -> float:
        return self._chance.uniform(0, LONGEST_LIFE)

    def _begin(self, place: int) -> None:
        self._lives += 1
        number = self._lives
        process = os.fork()
        if process:
            self._processes[place] = process
            return
        try:
            self.log()
            asyncio.run(self.worker(number).work(random.Random(f"{self._seed} {number}")))
        except BaseException:
            logging.getLogger("harness").exception("life %d has ended by itself", number)
            os._exit(1)
        os._exit(0)

    def _kill(self, place: int) -> None:
        process = self._processes.pop(place)
        self.faults.append(Fault(process, time.time(), float("inf")))
        os.kill(process, signal.SIGKILL)
        self._wait_for(process, signal.SIGKILL)

    def _wait_for(self, process: int, *ends: int) -> None:
        _, status = os.waitpid(process, 0)
        if status not in ends:
            self.problems.append(f"process {process} has ended by itself, with status {status}")

    def _stop(self, place: int) -> None:
        self._stopped[place] = time.time()
        os.kill(self._processes[place], signal.SIGSTOP)

    def _continue(self, place: int) -> None:
        since = self._stopped.pop(place)
        self.faults.append(Fault(self._processes[place], since, time.time()))
        os.kill(self._processes[place], signal.SIGCONT)

    def _end(self) -> None:
        for process in self._processes.values():
            os.kill(process, signal.SIGTERM)
        for process in self._processes.values():
            self._wait_for(process, 0, signal.SIGTERM)  # by the signal itself, if it had not come to expect it

    def judge(self, records: list[RunRecord]) -> dict[str, int]:
        """Compare what was noted with the history; return what there was."""
        lines = [line.split() for line in (self.folder / "ledger").read_text().splitlines()]
        noted = {kind: [line[1:] for line in lines if line[0] == kind] for kind in {line[0] for line in lines}}
        doubtful = {name for name, *_ in noted.get("cancelling", [])}
        ended = {name for name, *_ in noted["ended"]}
        accepted = {name for name, *_ in noted["accepted"]}
        self.problems += [f"{name} is lost" for name in accepted - doubtful - ended]
        stopped = {str(fault.process) for fault in self.faults if fault.until != float("inf")}
        self.problems += called_back([line for line in lines if line[0] != "body" or line[2] not in stopped])
        known = [run for run in records if "lease lost" not in (run.reason or "")]
        again = self._judge_starts(noted["start"], known)
        done = Counter(run.job_id for run in known if run.status == "success" and run.job_id not in RECURRING)
        self.problems += [f"{name} has {count} records of success" for name, count in done.items() if count > 1]
        for name in RECURRING:
            self.problems += times_lost(name, [run for run in known if run.job_id == name])
        self._judge_log(stopped)
        return {
            "accepted": len(accepted),
            "refused": len(noted.get("refused", [])),
            "cancelled": len(noted.get("cancelled", [])),
            "bodies": len(noted["body"]),
            "interrupted": sum(map(is_cut, known)),
            "lease_lost": len(records) - len(known),
            "begun_again": again,
        }

    def _judge_starts(self, noted: list[list[str]], records: list[RunRecord]) -> int:
        """See to it that each second start is explained; return how many there were."""
        cut = {(run.job_id, run.scheduled_for.isoformat(), str(run.attempts)): run for run in records if is_cut(run)}
        cuts = Counter((run.job_id, run.scheduled_for.isoformat(), str(run.attempts)) for run in records if is_cut(run))
        starts: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
        for name, due, attempt, process, at in noted:
            starts.setdefault((name, due, attempt), []).append((int(process), float(at)))
        for (name, due, attempt), begun in starts.items():
            allowed = 1 + (cuts[name, due, attempt] if name != "tick" else 0)
            if len(begun) > allowed:
                self.problems.append(f"{name}, due {due}, has begun {len(begun)} times, and {allowed} are explained")
        for key, run in cut.items():
            # Where one is missing, it was killed between what it wrote into the database and into the ledger.
            if len(starts.get(key, ())) > cuts[key] and not any(
                self._is_explained(process, at, run.finished_at) for process, at in starts[key]
            ):
                self.problems.append(f"{key} was cut short, and no fault has befallen its process")
        return sum(len(begun) - 1 for begun in starts.values())

    def _is_explained(self, process: int, at: float, finished_at: datetime) -> bool:
        """Whether a fault befell a process between a start in it and the record of its end."""
        mine = [fault for fault in self.faults if fault.process == process]
        # Who was stopped between what it wrote into the database and into the ledger writes that when it goes on.
        return any(fault.since <= finished_at.timestamp() and at <= fault.until + 1 for fault in mine)

    def _judge_log(self, stopped: set[str]) -> None:
        log = self.folder / "log"
        for line in log.read_text().splitlines() if log.exists() else []:
            allowed = OF_ALL + (OF_THE_STOPPED if line.split()[0] in stopped else ())
            if not any(words in line for words in allowed):
                self.problems.append(line)


def run(folder: Path, database: Database, options: argparse.Namespace) -> tuple[dict[str, object], list[str]]:
    """Have the faults befall them, let all end, and return what there was, and what was wrong."""
    start = time.perf_counter()
    harness = Harness(folder, database, options.seed, options.lease)
    harness.torment(options.faults)
    harness.log()
    records = asyncio.run(harness.worker(0).wait_for_all(harness.problems))
    seen = harness.judge(records)
    kills = sum(fault.until == float("inf") for fault in harness.faults)
    what = {"scenario": "postgres_harness", "seed": options.seed, "lease": options.lease}
    counts = {"kills": kills, "stops": len(harness.faults) - kills, **seen}
    return {**what, **counts, "s": round(time.perf_counter() - start, 1)}, harness.problems


def main() -> None:
    """Print one line of JSON, and what was wrong if anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--lease", type=float, default=2.0)
    options = parser.parse_args()
    try:
        with running_server() as server, tempfile.TemporaryDirectory() as folder:
            seen, problems = run(Path(folder), server.new_database(), options)
    except (pytest.skip.Exception, ImportError) as reason:
        print(json.dumps({"scenario": "postgres_harness", "skipped": str(reason)}))
        return
    print(json.dumps(seen))
    if problems:
        sys.exit("\n".join([f"{len(problems)} promises were broken:", *problems[:50]]))


if __name__ == "__main__":
    main()

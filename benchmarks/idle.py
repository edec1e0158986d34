"""How often an idle scheduler wakes up, with a thousand jobs pending for days.

    python benchmarks/idle.py [--seconds 60] [--jobs 1000]

Each contender is a process of its own, all at the same time: half of its jobs wait for a time of the wall clock, half
for a delay, one with a timeout has just ended, and then nothing is to be done. Counted is what the kernel says of all
its threads, from outside: a process that wakes up, for whatever reason, has to go to sleep again, and that is a
voluntary context switch.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from jobify import Jobify, SystemClock
from jobify._alarm_book import AlarmBook
from jobify._timerfd import Kernel, find_kernel
from jobify.storage import MemoryStorage

SETTLE = 3.0
"""Seconds that a contender has after its start, before it is to be idle."""

WAYS: dict[str, Callable[[], Kernel | None]] = {
    "as in production": find_kernel,
    "without timer descriptors": lambda: None,
}


async def be_idle(way: str, jobs: int) -> None:
    """Have jobs pending, say so, and do nothing, for ever."""
    clock = SystemClock(_book=AlarmBook(WAYS[way]))
    app = Jobify(storage=MemoryStorage(), clock=clock)

    @app.task(timeout=10)
    async def nothing() -> None: ...

    async with app:
        for number in range(jobs // 2):
            await nothing.schedule().delay(86_400 + number)
            await nothing.schedule().at(clock.now() + timedelta(days=1, seconds=number))
        await (await nothing.push()).wait()
        print("ready", flush=True)
        await asyncio.Event().wait()


def switches(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep."""
    statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    lines = [line for status in statuses for line in status.splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def start(way: str, jobs: int) -> subprocess.Popen[str]:
    """Start a contender, and return it when its jobs are pending."""
    command = [sys.executable, __file__, "--jobs", str(jobs), "--way", way]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own interpreter
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def main() -> None:
    """Start all, let them be for a while, and print how often each woke up."""
    parser = argparse.ArgumentParser(description="Wake-ups of an idle scheduler.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.way:
        asyncio.run(be_idle(chosen.way, chosen.jobs))
        return
    processes = {way: start(way, chosen.jobs) for way in WAYS}
    try:
        time.sleep(SETTLE)
        before = {way: switches(process.pid) for way, process in processes.items()}
        time.sleep(chosen.seconds)
        print(f"Python {sys.version.split()[0]}, {chosen.jobs} jobs pending, {chosen.seconds:g} idle seconds")
        for way, process in processes.items():
            print(f"{way:30}{switches(process.pid) - before[way]:>5} voluntary context switches")
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


if __name__ == "__main__":
    main()

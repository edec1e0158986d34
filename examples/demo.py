"""The main job of jobify in ten seconds: schedule, run, fail, retry, stop in the middle, go on.

Run it with `make demo`, or with `python examples/demo.py [FILE]`. It keeps its jobs in a SQLite file.
"""

import asyncio
import itertools
import logging
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from jobify import Event, Jobify, JobStatus, Retry, RunMode, Transition
from jobify.storage import SQLiteStorage

FILE = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="jobify-demo-")) / "demo.db"
PARIS = ZoneInfo("Europe/Paris")
app = Jobify(storage=SQLiteStorage(FILE), tz=PARIS, shutdown_grace=0.3)
calls = itertools.count(1)


@app.task(name="heartbeat", every=2)
async def heartbeat() -> str:
    """Recur every two seconds."""
    return "still alive"


@app.task(name="remind")
async def remind(who: str, what: str) -> str:
    """Remind somebody of something."""
    return f"{who}, {what}!"


@app.task(name="fetch_rates", retry=Retry(3, delay=0.5, factor=2, jitter=False))
async def fetch_rates() -> str:
    """Fail twice, then succeed."""
    if (attempt := next(calls)) < 3:
        message = f"the server is busy (call {attempt})"
        raise ConnectionError(message)
    return "1 EUR = 1.09 USD"


@app.task(name="slow_report", timeout=1)
async def slow_report() -> None:
    """Take longer than the timeout allows."""
    await asyncio.Event().wait()


@app.task(name="resize_image")
def resize_image(name: str) -> str:
    """Block for a moment, in a thread."""
    time.sleep(0.2)
    return f"{name} is 800 x 600"


@app.task(name="count_primes", run_mode=RunMode.PROCESS)
def count_primes(limit: int) -> int:
    """Compute for a moment, in a process of its own."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit))


COLOURS = {
    JobStatus.SUCCESS: "\033[32m",
    JobStatus.FAILED: "\033[31m",
    JobStatus.TIMEOUT: "\033[31m",
    JobStatus.RUNNING: "\033[36m",
    JobStatus.CANCELLED: "\033[33m",
}


def clock(moment: datetime) -> str:
    """Return what a clock in Paris shows, to the tenth of a second."""
    return f"{moment.astimezone(PARIS):%H:%M:%S.%f}"[:-5]


def tell(event: Event) -> None:
    """Print what happens, as it happens."""
    if not isinstance(event, Transition):
        return
    colour, plain = (COLOURS.get(event.status, ""), "\033[0m") if sys.stdout.isatty() else ("", "")
    note = ""
    if event.status is JobStatus.SCHEDULED:
        why = f"{event.reason}, " if event.reason else ""
        note = f"{why}due at {clock(event.exec_at)}"
    elif event.error is not None:
        note = f"{event.error}"
    elif event.status is JobStatus.RUNNING and event.attempt > 1:
        note = f"attempt {event.attempt}"
    print(f"  {clock(event.at)}", f"{event.task:13}{colour}{event.status:10}{plain}", note)


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}")


async def first_half() -> None:
    """Schedule a day's work, and stop while some of it waits."""
    print(f"Jobs are kept in {FILE}. All times are those of Paris, the zone of the app.")
    say("The app starts. Its heartbeat is declared, the rest is scheduled now.")
    async with app:
        reminder = await remind.schedule("Ada", "the tea is ready").delay(1)
        await remind.schedule("Grace", "stand-up").delay(7, job_id="stand-up")
        await remind.schedule("Alan", "backup").delay(8, job_id="backup")
        rates = await fetch_rates.push()
        await slow_report.push()
        picture = await resize_image.push("cat.png")
        primes = await count_primes.push(100_000)

        say("What happens:")
        for job in (reminder, rates, picture, primes):
            print(f"  {'':10} {job.task:13}returned  ", repr(await job))
        waiting = [job.id for job in await app.jobs()]
        say(f"The app stops in the middle. Still pending: {', '.join(waiting)}")


async def second_half() -> None:
    """Start again, as after a deployment, and see the rest of the work done."""
    async with app:
        say("The app has started again, on another event loop, and found in its file:")
        for job in await app.jobs():
            print(f"  {job!r}")

        say("What happens:")
        for job_id in ("stand-up", "backup"):
            if (found := await app.get_job(job_id)) is not None:
                print(f"  {'':10} {found.task:13}returned  ", repr(await found))
    say(f"Done. The jobs were kept in {FILE}.")


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    app.subscribe(tell)
    asyncio.run(first_half())
    asyncio.run(second_half())

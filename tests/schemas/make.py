"""Write a database with a job and a record of every sort, by the jobify that is imported, and print it as SQL.

    python -m tests.schemas.make > tests/schemas/N.sql

Each schema has its file, made by the last commit that had it (`PYTHONPATH=` a checkout of that). The first schema had
less: its file was made by the part of `store` that it knew. What is in the files is tested in `tests/test_schemas.py`.
"""

import asyncio
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobify import Cron, Jobify, MisfirePolicy, OnCrash, Retry
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualLoop, VirtualOptions

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def store(path: Path) -> str:
    """Return the dump of a file while an app works with it: as it would be after a crash."""
    app = Jobify(storage=SQLiteStorage(path))

    @app.task(name="note")
    async def note(text: str, *, when: datetime | None = None, sizes: tuple[float, ...] = ()) -> str:
        return f"{text} {when} {sizes}"

    @app.task(name="fail", retry=Retry(1, delay=60, factor=1, jitter=False))
    async def fail() -> None:
        raise ValueError("as ever")

    @app.task(name="slow", on_crash=OnCrash.RERUN)
    async def slow() -> None:
        await asyncio.sleep(100)

    @app.task(name="declared", cron="30 4 * * *")
    async def declared() -> None: ...

    @app.task(name="unknown")
    async def unknown() -> None: ...

    async with app:
        await (await note.push("pushed"))
        await note.schedule("delayed", when=MIDNIGHT, sizes=(1.5, 2)).delay(2 * HOUR, job_id="delayed")
        await note.schedule("at").at(MIDNIGHT + 3 * HOUR, job_id="at", misfire_policy=MisfirePolicy.GRACE(HOUR))
        often = await note.schedule("every").every(20 * 60, job_id="every")
        await note.schedule("cron").cron(Cron("0 12 * * *", max_runs=9), job_id="cron")
        paused = await note.schedule("paused").cron("0 13 * * *", job_id="paused")
        await paused.pause()
        moved = await note.schedule("moved").every(HOUR, job_id="moved")
        await moved.reschedule(Cron("0 5 * * *"))
        await unknown.schedule().delay(4 * HOUR, job_id="unknown")
        await fail.schedule().delay(44 * 60 + 30, job_id="in backoff")
        await (await note.schedule("off").delay(HOUR, job_id="off")).cancel()
        await asyncio.sleep(45 * 60)
        await often.trigger(job_id="triggered")
        await often.backfill(MIDNIGHT, MIDNIGHT + timedelta(minutes=40), job_id="backfill")
        await slow.schedule().delay(0, job_id="running")
        await (await slow.schedule().every(20 * 60, job_id="slow")).backfill(
            MIDNIGHT, MIDNIGHT + HOUR / 2, job_id="slowly"
        )
        await asyncio.sleep(1)
        return dump(path)


def dump(path: Path) -> str:
    """Return a database as SQL."""
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    lines = [*connection.iterdump(), f"PRAGMA user_version = {version};", ""]
    connection.close()
    return "\n".join(lines)


def main() -> None:
    """Print the dump of a new file."""
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=lambda: VirtualLoop(VirtualOptions(storage="keep"))) as runner,
    ):
        sys.stdout.write(runner.run(store(Path(folder, "jobs.db"))))


if __name__ == "__main__":
    main()

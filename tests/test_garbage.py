"""What is left of a job when it is over: nothing that only the garbage collector could find."""

import asyncio
import gc
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from jobify import Jobify
from jobify.storage import MemoryStorage, SQLiteStorage, Storage


@pytest.fixture
def _no_collection() -> Generator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_jobs_leave_no_cycles(kind: str, tmp_path: Path) -> None:
    """Of those that return or are cancelled; on a real loop, as in production."""
    storage: Storage = MemoryStorage() if kind == "memory" else SQLiteStorage(tmp_path / "jobs.db")
    app = Jobify(storage=storage)

    @app.task(name="good")
    async def good() -> None:
        await asyncio.sleep(0)

    @app.task(name="sync")
    def sync() -> None: ...

    @app.task(name="in time", timeout=60)
    async def in_time() -> None: ...

    async with app:
        for turn in range(2):
            jobs = [await task.push() for task in (good, sync, in_time) for _ in range(20)]
            jobs += [await good.schedule().delay(3600) for _ in range(20)]
            await asyncio.gather(*[job.cancel() for job in jobs[-20:]])
            await asyncio.gather(*[job.wait() for job in jobs])
            del jobs
            await asyncio.sleep(0)
            if turn == 0:
                gc.collect()  # what the first of their kind have made
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = Counter(type(thing).__qualname__ for thing in gc.garbage)
    assert kinds == {}

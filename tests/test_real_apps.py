"""Apps on real event loops, while a test is on virtual time: they would run what is really stored, at virtual dates."""

import asyncio
import threading
from pathlib import Path

import pytest

from jobify import ApplicationStateError, Jobify, SystemRuntime
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock, run


def refusal_of(app: Jobify) -> str:
    """Return why an app does not start on a real loop of this thread."""

    async def main() -> str:
        with pytest.raises(ApplicationStateError) as refusal:
            await app.start()
        return str(refusal.value)

    return asyncio.run(main())


async def test_no_app_starts_on_a_real_loop_beside_virtual_time(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    """Neither in a call off the loop nor in a thread of its own; its database is not touched."""
    app = Jobify(storage=SQLiteStorage(tmp_path / "real.db"))
    refusals = [await asyncio.to_thread(refusal_of, app)]
    thread = threading.Thread(target=lambda: refusals.append(refusal_of(app)))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert [refusal.partition(":")[0] for refusal in refusals] == [
        "the app cannot start on a real event loop while the wall clock is virtual"
    ] * 2
    assert list(tmp_path.iterdir()) == []
    async with app:  # on the loop of the test it does
        pass


def test_behind_virtual_time_apps_start_on_real_loops(tmp_path: Path) -> None:
    """The refusal ends with the block that it is for, also where one is within another."""

    async def main() -> list[str]:
        inner = await asyncio.to_thread(run, noted())
        return [*inner, str(SystemRuntime.refused is None)]

    async def noted() -> list[str]:
        return [str(SystemRuntime.refused is None)]

    async def start() -> None:
        async with Jobify(storage=SQLiteStorage(tmp_path / "real.db")):
            pass

    assert run(main()) == ["False", "False"]
    asyncio.run(start())
    assert (tmp_path / "real.db").exists()

"""An app on PostgreSQL whose connections are cut, or whose server is shut down: nothing is lost, and it heals."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from jobify import Jobify, StorageError, Task
from tests.postgres import Database

pytestmark = pytest.mark.slow

END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jobify'"


class Program:
    """An app, and what it has run."""

    def __init__(self, database: Database) -> None:
        self.app = Jobify(storage=database.storage())
        self.ran: list[int] = []
        self.gate = asyncio.Event()

        @self.app.task(name="work")
        async def work(n: int) -> int:
            self.ran.append(n)
            if n < 0:
                await self.gate.wait()
            return n

        self.work: Task[[int], Any, int] = work


async def test_connections_that_are_cut_again_and_again_lose_nothing(database: Database) -> None:
    """Whatever is being written: each job is accepted once, and runs once."""
    program = Program(database)
    async with program.app, database.connected() as admin:
        for number in range(10):
            jobs = [asyncio.ensure_future(program.work.push(10 * number + nth)) for nth in range(10)]
            await asyncio.sleep(0)
            await admin.execute(END_OTHERS)
            for job in await asyncio.gather(*jobs):
                await job.wait()
        assert program.app.health().ok
        records = await program.app.history(limit=1000)
    assert sorted(program.ran) == list(range(100))
    assert Counter(str(run.status) for run in records) == {"success": 100}


async def test_a_server_that_is_shut_down_and_comes_back_loses_nothing(database: Database) -> None:
    """While it is gone scheduling fails, runs go on, and what is due waits; then all is written, and once."""
    program = Program(database)
    async with program.app:
        running = await program.work.push(-1)
        later = await program.work.schedule(1).delay(3600, job_id="later")
        recurring = await program.work.schedule(2).every(0.2, job_id="recurring")
        await recurring.wait()
        due = await program.work.schedule(3).delay(0.2)
        await asyncio.to_thread(database.server.stop)
        try:
            with pytest.raises(StorageError, match="cannot use PostgresStorage"):
                await program.work.push(4)
            assert program.app.health().storage_error is not None
            program.gate.set()
        finally:
            await asyncio.to_thread(database.server.start)
        assert (await running, await due) == (-1, 3)
        await recurring.wait()
        assert program.app.health().ok
        assert await recurring.cancel()
        assert [job.id for job in await program.app.jobs()] == ["later"]
        assert await later.cancel()
        records = await program.app.history(limit=1000)
    assert Counter(program.ran)[3] == 1
    once = [run for run in records if run.job_id in (running.id, due.id)]
    assert Counter((run.job_id, str(run.status)) for run in once) == {
        (running.id, "success"): 1,
        (due.id, "success"): 1,
    }
    times = Counter(run.scheduled_for for run in records if run.job_id == "recurring")
    assert set(times.values()) == {1}


async def test_an_app_that_starts_while_the_server_is_gone(database: Database) -> None:
    """The start says so, and the next one finds what was stored."""
    program = Program(database)
    async with program.app:
        await program.work.schedule(1).delay(0.1, job_id="it")
    await asyncio.to_thread(database.server.stop)
    try:
        with pytest.raises(StorageError, match="cannot use PostgresStorage"):
            await program.app.start()
        assert program.app.health().state == "stopped"
    finally:
        await asyncio.to_thread(database.server.start)
    async with program.app:
        await program.app.wait_all()
    assert program.ran == [1]

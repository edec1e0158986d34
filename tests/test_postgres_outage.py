"""The PostgreSQL storage when the connection is lost, the server is gone, or others are in the way."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from jobify import StorageError, SystemRuntime
from jobify.storage import Notice, PostgresStorage, RunQuery
from tests.postgres import Database
from tests.test_postgres import FOREVER, START, Ear, make_job, make_run, opened

pytestmark = pytest.mark.slow

END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"


class Proxy:
    """Stands between a storage and its server, and cuts connections.

    Attributes:
        cut: when the next connection is cut: "before" its commit reaches the server, or "after" it was made and before
            it is known; None for not at all.
        refuses: whether new connections are cut at once.
        stands_still: whether what the server says is kept back.
    """

    def __init__(self) -> None:
        self.cut: str | None = None
        self.refuses = False
        self.stands_still = False
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def serving(self, server: Path, folder: Path) -> AsyncGenerator[str]:
        """Serve at a socket in a folder in a `with` block, which has the address."""
        self._server = server
        async with await asyncio.start_unix_server(self._serve, folder / ".s.PGSQL.5432"):
            yield f"postgresql://jobify@/postgres?host={folder}"
            for writer in self._writers:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self.refuses:
            writer.close()
            return
        its_reader, its_writer = await asyncio.open_unix_connection(self._server)
        self._writers.append(its_writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forth(reader, its_writer))
                tasks.create_task(self._back(its_reader, writer))
        except* (ConnectionError, _Cut):
            pass
        writer.close()
        its_writer.close()

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if b"COMMIT" in data and self.cut == "before":
                raise _Cut
            writer.write(data)
        raise _Cut

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if b"COMMIT" in data and self.cut == "after":
                raise _Cut
            if not self.stands_still:
                writer.write(data)
        raise _Cut


class _Cut(Exception):  # noqa: N818  # it is none
    """The connection is cut."""


class CutOnce(Proxy):
    """Cuts one connection, and no other."""

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await super()._forth(reader, writer)
        finally:
            self.cut = None

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await super()._back(reader, writer)
        finally:
            self.cut = None


def named(database: Database, name: str, **options: Any) -> PostgresStorage:
    """Return a storage whose connections have a name."""
    return database.storage(f"{database.server.dsn}&application_name={name}", **options)


async def test_a_lost_connection_is_made_again(database: Database) -> None:
    """Who is cut off by the server comes back by itself, looks, and holds what it held."""
    storage = named(database, "lost")
    async with opened(storage), database.connected() as admin:
        number = await storage.add(make_job(), replace=False)
        ear = Ear(storage)
        await admin.execute(END_ALL, "lost")
        assert await ear.heard.get() == Notice("look")
        assert storage.is_mine(number)
        assert await storage.start(number, **START)
        await admin.execute("SELECT pg_notify($1, 'ended:7')", database.channel)
        assert await ear.heard.get() == Notice("ended", 7)


async def test_a_verb_survives_the_loss_of_its_connection(database: Database) -> None:
    """What was to be written when the connection went is written over the next one."""
    storage = named(database, "verb")
    async with opened(storage), database.connected() as admin:
        adds = [asyncio.ensure_future(storage.add(make_job(str(n)), replace=False)) for n in range(50)]
        await admin.execute(END_ALL, "verb")
        await asyncio.gather(*adds)
        await admin.execute(END_ALL, "verb")
        assert len(await storage.find()) == 50


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_that_was_not_answered_is_made_once(database: Database, tmp_path: Path, cut: str) -> None:
    """Cut off in the middle of a commit, it asks the server whether that was made, and repeats it only if not."""
    proxy = CutOnce()
    async with proxy.serving(database.server.socket, tmp_path) as dsn:
        storage = database.storage(dsn)
        async with opened(storage):
            proxy.cut = cut
            number = await storage.add(make_job(), replace=False)
            proxy.cut = cut
            await storage.finish(number, None, runs=[make_run(number)])
            assert len(await storage.runs(RunQuery())) == 1
            assert list(await storage.find()) == []


async def test_a_commit_of_which_nothing_is_known_is_an_error(database: Database, tmp_path: Path) -> None:
    """If the server does not come back in time, the error says what is not known."""
    proxy = Proxy()
    async with proxy.serving(database.server.socket, tmp_path) as dsn:
        storage = database.storage(dsn, timeout=0.2)
        async with opened(storage):
            proxy.cut, proxy.refuses = "after", True
            with pytest.raises(StorageError, match="in a commit, which may have been made"):
                await storage.add(make_job(), replace=False)
            proxy.cut, proxy.refuses = None, False
            assert [job.id for job in await storage.find()] == ["it"]


async def test_while_the_server_is_gone_verbs_fail(database: Database, tmp_path: Path) -> None:
    """Each verb fails at once, with the cause; when the server is back, all go on."""
    proxy = Proxy()
    async with proxy.serving(database.server.socket, tmp_path) as dsn:
        storage = database.storage(f"{dsn}&application_name=gone")
        async with opened(storage), database.connected() as admin:
            number = await storage.add(make_job(), replace=False)
            ear = Ear(storage)
            proxy.refuses = True
            await admin.execute(END_ALL, "gone")
            for verb in (storage.add(make_job("other"), replace=False), storage.start(number, **START)):
                with pytest.raises(StorageError, match="cannot use PostgresStorage") as caught:
                    await verb
                assert caught.value.__cause__ is not None
            proxy.refuses = False
            assert await ear.heard.get() == Notice("look")
            assert await storage.start(number, **START)


async def test_it_closes_while_the_server_is_gone(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A close does not wait for a server that is not there; the claims end with the lease."""
    proxy = Proxy()
    async with proxy.serving(database.server.socket, tmp_path) as dsn:
        storage = database.storage(f"{dsn}&application_name=closes")
        await storage.open(SystemRuntime())
        number = await storage.add(make_job(), replace=False)
        proxy.refuses = True
        async with database.connected() as admin:
            await admin.execute(END_ALL, "closes")
        await storage.close()
        assert "could not give up its claims" in caplog.text
        assert not storage.is_mine(number)


async def test_a_server_that_does_not_answer_counts_as_gone(database: Database, tmp_path: Path) -> None:
    """A verb that is not answered for as long as the lease is valid fails; the connection is made again."""
    proxy = Proxy()
    async with proxy.serving(database.server.socket, tmp_path) as dsn:
        storage = database.storage(dsn, lease=1)
        async with opened(storage):
            proxy.stands_still = True
            with pytest.raises(StorageError, match="has not answered for 1 s"):
                await storage.find()
            proxy.stands_still = False
            assert list(await storage.find()) == []


async def test_a_transaction_of_others_holds_up_no_run(database: Database) -> None:
    """While a user's transaction has an id, who wants it waits, and fails in the end; runs start meanwhile."""
    storage = database.storage(timeout=1)
    async with opened(storage), database.connected() as connection:
        number = await storage.add(make_job("runs"), replace=False)
        transaction = connection.transaction()
        await transaction.start()
        await storage.add_using(connection, make_job())
        add = asyncio.ensure_future(storage.add(make_job(), replace=False))
        for _ in range(3):
            await asyncio.sleep(0)  # it is under way then
        assert await storage.start(number, **START)
        assert not add.done()
        with pytest.raises(StorageError, match="lock timeout"):
            await add
        await transaction.rollback()
        await storage.add(make_job(), replace=False)


async def test_a_run_that_was_lost_is_not_claimed_before_its_end(database: Database) -> None:
    """Between the refusal of its backoff and the record of its end, the job is not taken for one of this process."""
    storage = database.storage()
    async with opened(storage), database.connected() as admin:
        number = await storage.add(make_job(), replace=False)
        await storage.start(number, **START)
        await admin.execute("DELETE FROM jobify_owners")
        await storage.finish(number, make_job(number=number, attempt=1))
        assert list(await storage.claim(FOREVER)) == []
        await storage.finish(number, None, runs=[make_run(number)])
        (run,) = await storage.runs(RunQuery())
        assert run.reason == "lease lost"
        (job,) = await storage.claim(FOREVER)
        assert (job.number, job.running) == (number, True)


FAIL_ONCE = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') = 2 THEN RAISE EXCEPTION USING ERRCODE = '%s'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail_once BEFORE INSERT ON jobify_jobs FOR EACH ROW EXECUTE FUNCTION fail_once()
"""


@pytest.mark.parametrize("code", ["40001", "40P01", "23503"])
async def test_what_others_were_in_the_way_of_is_done_again(database: Database, code: str) -> None:
    """A transaction that the server ends because of another, as in a deadlock, is repeated, and nobody hears of it."""
    storage = database.storage()
    async with opened(storage), database.connected() as admin:
        await admin.execute(FAIL_ONCE % code)
        numbers = [await storage.add(make_job(str(n)), replace=False) for n in range(3)]
        assert [job.number for job in await storage.find()] == numbers


async def test_an_abandoned_storage_is_let_go_at_once(database: Database) -> None:
    """Verbs in progress fail, and it can be opened again; the claims of before are not its own."""
    storage = database.storage()
    await storage.open(SystemRuntime())
    number = await storage.add(make_job(), replace=False)
    verbs = [asyncio.ensure_future(verb) for verb in (storage.find(), storage.start(number, **START))]
    await asyncio.sleep(0)
    storage.abandon()
    results = await asyncio.gather(*verbs, return_exceptions=True)
    assert [type(result) for result in results] == [StorageError, StorageError]
    async with opened(storage):
        assert not storage.is_mine(number)
        assert list(await storage.claim(make_job().exec_at)) == []


def test_a_loop_that_was_closed_is_let_go(database: Database) -> None:
    """A program that did not close the storage has let go of it with its event loop."""
    storage = database.storage()

    async def again() -> None:
        await storage.close()
        async with opened(storage):
            assert list(await storage.find()) == []

    def lose() -> None:
        asyncio.run(storage.open(SystemRuntime()))
        asyncio.run(again())
        gc.collect()

    with pytest.warns(ResourceWarning):
        lose()


STOPPED = """
import asyncio, sys
from datetime import UTC, datetime
from jobify import SystemRuntime
from jobify.storage import PostgresStorage, StoredJob, StoredRun

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


async def main():
    storage = PostgresStorage(sys.argv[1], schema=sys.argv[2], lease=1)
    await storage.open(SystemRuntime())
    job = StoredJob(id="it", task="task", arguments=b"{}", exec_at=NOON, scheduled_for=NOON)
    number = await storage.add(job, replace=False)
    await storage.start(number, attempt=1, started_at=NOON, scheduled_for=NOON)
    print(number, flush=True)
    sys.stdin.readline()
    run = StoredRun(job=number, job_id="it", task="task", status="success", scheduled_for=NOON, finished_at=NOON,
                    process="stopped", expires_at=FOREVER)
    await storage.finish(number, None, runs=[run])
    await storage.close()


asyncio.run(main())
"""


async def test_a_process_that_was_stopped_and_goes_on(database: Database) -> None:
    """Its job is taken over when its lease has run out; the end of its run changes nothing, and is in the history."""
    storage = database.storage(lease=3)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STOPPED,
        database.server.dsn,
        database.schema,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    number = int(await process.stdout.readline())
    async with opened(storage):
        ear = Ear(storage)
        process.send_signal(signal.SIGSTOP)
        assert await ear.heard.get() == Notice("look")
        (job,) = await storage.claim(FOREVER)
        assert (job.number, job.running) == (number, True)
        assert await storage.start(number, **START)
        process.send_signal(signal.SIGCONT)
        process.stdin.write(b"\n")
        assert await process.wait() == 0
        (run,) = await storage.runs(RunQuery())
        assert (run.process, run.reason) == ("stopped", "lease lost")
        assert storage.is_mine(number)
        await storage.finish(number, None)

"""The storage of several machines: a PostgreSQL database, whose jobs are claimed by those that run them.

What a verb asks of the database is in `_postgres_verbs`, the statements are in `_postgres_rows`, the connections in
`_postgres_session`, and the lease in `_postgres_lease`; here is what the app sees.
"""

import asyncio
import contextvars
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import jobify.storage._postgres_using as using
from jobify._steps import Step, hush
from jobify._zones import seconds_of
from jobify.exceptions import DuplicateJobError, StorageError
from jobify.storage._postgres_driver import Connection, driver
from jobify.storage._postgres_member import Member, Place
from jobify.storage._protocol import Host
from jobify.storage._stored import Notice, RunQuery, StoredJob, StoredRun
from jobify.storage._transactional import Added

_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,49}")


class PostgresStorage:
    """Keeps jobs in a PostgreSQL database, for any number of processes and machines.

    Args:
        dsn: the address, as "postgresql://user:password@host/database".
        schema: where its tables are; it is made if it is not there.
        lease: the seconds after which the jobs of a process that does not answer are taken over by others.
        horizon: how far ahead jobs are claimed; a later one waits in the database, for whoever looks first.
        timeout: the seconds to wait for a connection, or for a lock that others hold.

    Raises:
        ImportError: the driver is not there; the extra jobify[postgres] has it.
        ValueError: the address is none of PostgreSQL, the name of the schema is not of letters, digits and _, or a
            duration is none.
    """

    serialized = True
    immediate = False
    shared = True
    window = None

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "public",
        lease: float | timedelta = 30.0,
        horizon: float | timedelta = 60.0,
        timeout: float | timedelta = 5.0,
    ) -> None:
        parts = urlsplit(dsn)
        if parts.scheme not in ("postgresql", "postgres"):
            msg = f"cannot keep jobs in {parts.scheme or dsn!r}: give the address as 'postgresql://user@host/database'"
            raise ValueError(msg)
        self._shown = urlunsplit(parts._replace(netloc=re.sub(":[^@]*@", ":…@", parts.netloc), query=""))
        if not _NAME.fullmatch(schema):
            msg = f"cannot keep jobs in the schema {schema!r}: a name has up to 50 letters, digits and _"
            raise ValueError(msg)
        self.schema = schema
        self.horizon = timedelta(seconds=seconds_of(horizon, "the horizon of a database"))
        self._lease = seconds_of(lease, "the lease of a database")
        if self._lease < 1:
            msg = f"cannot hold jobs by a lease of {self._lease:g} s: give a second, or more"
            raise ValueError(msg)
        self._timeout = seconds_of(timeout, "the timeout of a database")
        self._driver = driver(self)
        self._place = Place(self, dsn, schema, f"jobify_{schema}", self._connect, self._timeout)
        self._listeners: list[tuple[Callable[[Notice], None], contextvars.Context]] = []
        self._member: Member | None = None
        self._closer: Step[None] | None = None

    def __repr__(self) -> str:
        return f"PostgresStorage({self._shown!r})"

    # Open and close

    async def open(self, host: Host, /) -> None:
        """Connect, and make or check the tables.

        Raises:
            StorageError: it is open already, the server cannot be reached or is too old, the database is not in UTF-8,
                or its tables were made by a newer jobify.
        """
        if self._member is not None:
            msg = f"cannot open {self!r}: this PostgresStorage is open already; give each app one of its own"
            raise StorageError(msg)
        self._member = member = Member(self._place, host, self._lease, self._listeners)
        try:
            await member.begin()
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> Connection:
        settings = {
            "search_path": f'"{self._place.schema}"',
            "lock_timeout": f"{self._timeout * 1000:.0f}",
            "default_transaction_isolation": "read committed",
        }
        if "application_name" not in self._place.dsn:
            settings["application_name"] = "jobify"
        connection: Connection = await self._driver.connect(
            self._place.dsn,
            timeout=self._timeout,
            server_settings=settings,
            max_cached_statement_lifetime=0,  # else it sets timers, which are jobs of nobody
        )
        return connection

    async def close(self) -> None:
        """Write what was submitted, give up all claims, and disconnect; harmless if repeated."""
        if self._closer is None:
            if self._member is None:
                return
            if self._member.loop is not asyncio.get_running_loop():  # its loop was closed under it
                self.abandon()
                return
            self._closer = Step(self._close(self._member), loop=self._member.loop)
            self._closer.add_done_callback(hush)  # its callers may be gone
        await asyncio.shield(self._closer)

    async def _close(self, member: Member) -> None:
        try:
            await member.end()
        finally:
            if self._member is member:  # else it was abandoned, and may have been opened again
                self._member = self._closer = None
                self._listeners.clear()

    def abandon(self) -> None:
        """Disconnect at once; what is claimed stays so until the lease has run out."""
        member, self._member, self._closer = self._member, None, None
        self._listeners.clear()
        if member is not None:
            member.abandon()

    def _opened(self) -> Member:
        if self._member is None or self._closer is not None or not self._member.is_ready:
            msg = f"cannot use {self!r}: the storage is not open; the app opens it when it starts"
            raise StorageError(msg)
        return self._member

    # What people order and ask

    async def add(self, job: StoredJob, /, *, replace: bool, runs: Sequence[StoredRun] = ()) -> int:
        """Keep a new job; see `Storage.add`. It is claimed if it is due within the horizon."""
        member = self._opened()
        self._check(job)
        is_near = job.exec_at < self._end_of_horizon(member)
        number: int | None = await member.orders.submit(member.verbs.add(job, runs, replace=replace, is_near=is_near))
        if number is None:
            raise DuplicateJobError(job.id)
        return number

    async def add_using(self, connection: Any, job: StoredJob, /) -> Added:
        """Keep a new job within the transaction that is in progress on a connection of asyncpg or psycopg.

        It is there if that is committed, and all processes are told then; whoever looks first claims it. The storage
        need not be open.

        Raises:
            TypeError: the connection is none of asyncpg, and no `AsyncConnection` of psycopg.
            DuplicateJobError: the id is taken; the transaction can go on.
            StorageError: the driver reports an error.
        """
        self._check(job)
        place = self._place
        return await using.add_using(self, connection, job, schema=place.schema, channel=place.channel)

    async def were_committed(self, added: Sequence[Added], /) -> Sequence[bool | None]:
        """Return of jobs that were added whether they are there, or were; None as long as a transaction goes on."""
        return await self._opened().life.call(partial(using.what_became_of, added=added))

    def _check(self, job: StoredJob) -> None:
        if "\0" in job.id + job.task:
            msg = f"cannot keep job {job.id!r} in {self!r}: PostgreSQL has no texts with the character 0"
            raise StorageError(msg)

    def _end_of_horizon(self, member: Member) -> datetime:
        try:
            return member.clock.now() + self.horizon
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)

    async def find(self, job_id: str | None = None, /) -> Sequence[StoredJob]:
        """Return the job of an id, or all, by number, without a claim."""
        member = self._opened()
        found: Sequence[StoredJob] = await member.orders.submit(member.verbs.find(job_id))
        return found

    async def runs(self, query: RunQuery, /) -> Sequence[StoredRun]:
        """Return rows of the history, the latest first."""
        member = self._opened()
        found: Sequence[StoredRun] = await member.orders.submit(member.verbs.runs(query))
        return found

    async def prune(self, now: datetime, /, *, most: int) -> None:
        """Forget the rows of the history that have expired, and the oldest beyond so many."""
        member = self._opened()
        await member.orders.submit(member.verbs.prune(now, most))

    # What runs need

    async def claim(
        self, before: datetime, /, *, limit: int | None = None, job_id: str | None = None
    ) -> Sequence[StoredJob]:
        """Claim the jobs due before a time that nobody has claimed, and return them, by number."""
        member = self._opened()
        found: Sequence[StoredJob] = await member.life.submit(member.verbs.claim(before, limit, job_id))
        return found

    async def start(
        self,
        number: int,
        /,
        *,
        attempt: int,
        started_at: datetime,
        scheduled_for: datetime,
        runs: Sequence[StoredRun] = (),
    ) -> bool:
        """Note that an attempt is in progress; return whether the job is there, and this process's still.

        A recurring job has one run for each time: it is not started for one for which a run has ended, by whomever.
        """
        member = self._opened()
        write = member.verbs.start(number, attempt, started_at, scheduled_for, runs)
        is_mine: bool = await member.life.submit(write)
        return is_mine

    async def amend(self, job: StoredJob, /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note what was changed of a job beside its runs, if it is this process's or nobody's."""
        member = self._opened()
        await member.life.submit(member.verbs.amend(job, runs))

    async def finish(self, number: int, /, following: StoredJob | None, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note that an attempt has ended, and what follows.

        If the claim was lost meanwhile nothing happens to the job, and the reason of the `runs` says "lease lost": the
        same time may have another run, in another process.
        """
        member = self._opened()
        await member.life.submit(member.verbs.finish(number, following, runs))

    async def release(self, jobs: Sequence[StoredJob], /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Put back what was claimed; it stays claimed until `close`."""
        member = self._opened()
        await member.life.submit(member.verbs.release(jobs, runs))

    async def remove(self, number: int, /, *, runs: Sequence[StoredRun] = (), idle_only: bool = False) -> bool:
        """Forget a job; see `Storage.remove`."""
        member = self._opened()
        is_gone: bool = await member.life.submit(member.verbs.remove(number, runs, idle_only=idle_only))
        return is_gone

    # What others do

    def watch(self, listener: Callable[[Notice], None], /) -> None:
        """Have a function called with each notice from now on, until `close`."""
        self._listeners.append((listener, contextvars.copy_context()))

    def is_mine(self, number: int, /) -> bool:
        """Whether this process holds the claim of a job."""
        return self._member is not None and number in self._member.lease.mine

"""Verbs that share a transaction in the PostgreSQL storage: what is sent, and in which order."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

from jobify.exceptions import StorageError
from jobify.storage._postgres_driver import Connection, Row
from jobify.storage._postgres_history import remember
from jobify.storage._stored import Notice, StoredRun

_LONGEST_PAYLOAD = 7900
"""Bytes: PostgreSQL takes less than 8000."""

_MOST_TRIES = 20


class Answer(NamedTuple):
    """What has become of a verb.

    Attributes:
        value: what it returns.
        runs: what is to be added to the history in the same transaction.
        notices: what others are to be told.
        row: what else was found.
    """

    value: Any = None
    runs: Sequence[StoredRun] = ()
    notices: Sequence[Notice] = ()
    row: Row = MappingProxyType({})


def _new_future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, kw_only=True, eq=False)
class Write:
    """A verb as one statement.

    Attributes:
        sql: the statement. Its first parameter is the tag of the verb in the batch, and its rows have that as `tag`, so
            that verbs with the same statement are sent in one go. What writes has the transaction's id as `xid`.
        values: its other parameters, asked for when the statement is sent.
        conclude: makes the answer of the rows.
        settle: is called when it is written, with the answer.
        disown: is called with the value if nobody has heard it: who asked for it was cancelled.
        reads: whether nothing is written.
        is_futile: whether the statement is to be sent again, in view of these rows: another has come in between.
        answer: gets the value.
    """

    sql: str
    values: Callable[[], tuple[Any, ...]]
    conclude: Callable[[Sequence[Row]], Answer]
    settle: Callable[[Answer], None] | None = None
    disown: Callable[[Any], None] | None = None
    reads: bool = False
    is_futile: Callable[[Sequence[Row]], bool] | None = None
    answer: asyncio.Future[Any] = field(default_factory=_new_future)

    def disown_value(self, value: Any) -> None:
        """Take note that nobody has heard the value."""
        if self.disown is not None:
            self.disown(value)


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """What is done with the connection alone, in no transaction."""

    call: Callable[[Connection], Awaitable[Any]]
    answer: asyncio.Future[Any] = field(default_factory=_new_future)


@dataclass(slots=True, eq=False)
class Batch:
    """Verbs that share a transaction.

    Attributes:
        writes: the verbs, in order.
        answers: of the verbs, when all of them are written.
        xid: the transaction's id, as text; None if nothing was written.
        commits: whether the commit was sent.
    """

    writes: Sequence[Write]
    answers: Sequence[Answer] = ()
    xid: str | None = None
    commits: bool = False

    def notices(self) -> list[Notice]:
        """Return what the others are to be told, each once."""
        return list(dict.fromkeys(notice for answer in self.answers for notice in answer.notices))

    async def carry_out(self, connection: Connection, channel: str) -> None:
        """Write all of it, or nothing; raises what the driver raises."""
        self.answers, self.xid, self.commits = (), None, False
        if all(write.reads for write in self.writes):
            self.answers = await self._send_all(connection)
            return
        await connection.execute("BEGIN")
        try:
            self.answers = await self._send_all(connection)
            await remember(connection, [run for answer in self.answers for run in answer.runs])
            for payload in payloads(self.notices()):
                await connection.execute("SELECT pg_notify($1, $2)", channel, payload)
            self.commits = True
            await connection.execute("COMMIT")
        except BaseException:
            if not connection.is_closed() and not self.commits:
                await connection.execute("ROLLBACK")
            raise

    async def _send_all(self, connection: Connection) -> list[Answer]:
        answers: list[Answer] = []
        for sql, group in groupby(self.writes, key=lambda write: write.sql):
            answers += await self._send(connection, sql, list(group))
        return answers

    async def _send(self, connection: Connection, sql: str, group: list[Write]) -> list[Answer]:
        rows: dict[int, list[Row]] = defaultdict(list)
        missing = list(range(len(group)))
        for _ in range(_MOST_TRIES):
            found = await connection.fetchmany(sql, [(tag, *group[tag].values()) for tag in missing])
            if found and self.xid is None:
                self.xid = found[0].get("xid")
            for row in found:
                rows[row["tag"]].append(row)
            missing = [tag for tag in missing if (futile := group[tag].is_futile) is not None and futile(rows[tag])]
            if not missing:
                return [write.conclude(rows[tag]) for tag, write in enumerate(group)]
        msg = "others write the same job again and again"
        raise StorageError(msg)


def payloads(notices: Sequence[Notice]) -> list[str]:
    """Return notices as texts that are short enough for the server."""
    texts: list[str] = []
    for kind, number in notices:
        word = f"{kind}:{number}"
        if texts and len(texts[-1]) + len(word) < _LONGEST_PAYLOAD:
            texts[-1] += f",{word}"
        else:
            texts.append(word)
    return texts


def notices_in(payload: str) -> list[Notice]:
    """Return the notices of a text; what is none, as from a newer version, is left out."""
    notices: list[Notice] = []
    for word in payload.split(","):
        kind, _, number = word.partition(":")
        if kind in ("look", "ended", "gone") and number.isdecimal():
            notices.append(Notice(kind, int(number)))  # type: ignore[arg-type]  # one of the kinds, as was just seen
    return notices

"""Which rows of a SQLite file the app has claimed: all that it has in memory, or had."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import jobify.storage._sqlite_rows as rows
from jobify.storage._sqlite_numbers import Connection
from jobify.storage._stored import StoredJob

Submit = Callable[[Callable[[Connection], Any]], Awaitable[Any]]
"""Has a verb carried out, and returns what it returns."""


class Claims:
    """What was claimed since the file was opened.

    Attributes:
        numbers: of the rows.
    """

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self._has_running = False  # nobody else starts jobs: once they are claimed, all that run are known

    async def claim(self, submit: Submit, before: datetime, limit: int | None, job_id: str | None) -> list[StoredJob]:
        """Claim and return the jobs due before a time that were not claimed yet; see `Storage.claim`."""
        claimed: list[StoredJob] = []
        while True:
            left = limit - len(claimed) if limit is not None else None
            found = await self._look(submit, before, left, job_id)
            new = [job for job in found if job.number not in self.numbers]
            self.numbers.update(job.number for job in new)
            claimed += new
            if limit is None or len(new) == len(found):  # else some were added, or claimed, meanwhile
                return sorted(claimed, key=lambda job: job.number)

    async def _look(self, submit: Submit, before: datetime, limit: int | None, job_id: str | None) -> list[StoredJob]:
        known, running = frozenset(self.numbers), not self._has_running

        def select(connection: Connection) -> list[StoredJob]:
            return rows.select(connection, before=before, limit=limit, job_id=job_id, besides=known, running=running)

        found: list[StoredJob] = await submit(select)
        if limit is None and job_id is None:
            self._has_running = True
        return found

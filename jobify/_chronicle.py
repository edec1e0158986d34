"""The history as it is written and read: runs and skipped times become rows, and rows become records."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from jobify._clock import Clock
from jobify._entry import Entry
from jobify._executor import Outcome
from jobify._history import Retention, RunRecord, RunStatus
from jobify._log import logger
from jobify._nominal import Passed
from jobify._settings import Settings
from jobify._spec import TaskSpec
from jobify._words import in_words
from jobify._zones import shown_in
from jobify.storage import StoredRun

_FOREVER = datetime.max.replace(tzinfo=UTC)
_PRUNED_EACH = 128
"""Records after which those that have expired are forgotten: on writes, and by no timer."""


class Chronicle:
    """Makes the rows of the history. A job that is not stored has none.

    Args:
        settings: of the app.
        clock: of the scheduler.
        process: the name of this process.
        serialized: whether the storage wants bytes.
    """

    def __init__(self, settings: Settings, clock: Clock, process: str, *, serialized: bool) -> None:
        self.retention: Retention | None = settings.retention
        self._clock = clock
        self._process = process
        self._serialized = serialized
        self._until_pruned = _PRUNED_EACH

    @property
    def most(self) -> int:
        """How many records are kept at most."""
        return self.retention.most if self.retention is not None else 0

    def is_due(self, runs: tuple[StoredRun, ...]) -> bool:
        """Whether so many records were made that the old ones are to be forgotten."""
        if self.retention is None:
            return False
        self._until_pruned -= len(runs)
        if self._until_pruned > 0:
            return False
        self._until_pruned = _PRUNED_EACH
        return True

    def ended(self, entry: Entry, outcome: Outcome, now: datetime) -> tuple[StoredRun, ...]:
        """Return the row of a run that has ended now; none if its job was replaced: the id is another's."""
        if entry.given_up == "replaced":
            return ()
        error = in_words(outcome.error) if outcome.error is not None else None
        value = reason = None
        if error is None and entry.kept and self.retention is not None:
            value, reason = self._stored(entry, outcome.value)
        return self._row(entry, str(outcome.status), error=error, value=value, reason=reason, now=now)

    def called_off(self, entry: Entry, reason: str) -> tuple[StoredRun, ...]:
        """Return the row of a run that is not to be, or not to go on."""
        return self._row(entry, RunStatus.CANCELLED, reason=reason)

    def interrupted(self, entry: Entry) -> tuple[StoredRun, ...]:
        """Return the row of a run that a crash has cut short."""
        return self._row(entry, RunStatus.INTERRUPTED, reason="crash")

    def skipped(self, entry: Entry, passed: tuple[Passed, ...], reason: str) -> tuple[StoredRun, ...]:
        """Return the rows of times at which no run happened; none if there are none."""
        rows: list[StoredRun] = []
        for stretch in passed:
            for row in self._row(entry, RunStatus.SKIPPED, reason=reason):
                row.scheduled_for, row.last, row.count = stretch.first.moment, stretch.last.moment, stretch.count
                row.started_at, row.attempts = None, 0
                rows.append(row)
        return tuple(rows)

    def _row(
        self,
        entry: Entry,
        status: str,
        *,
        error: str | None = None,
        value: Any = None,
        reason: str | None = None,
        now: datetime | None = None,
    ) -> tuple[StoredRun, ...]:
        if not entry.kept or self.retention is None:
            return ()
        now = now or self._clock.now()
        try:
            expires_at = now + self.retention.of(status)
        except OverflowError:
            expires_at = _FOREVER
        return (
            StoredRun(
                job=entry.kept,
                job_id=entry.id,
                task=entry.task,
                parent=entry.parent,
                status=str(status),
                scheduled_for=entry.scheduled_for,
                started_at=entry.started_at,
                finished_at=now,
                attempts=entry.attempt,
                error=error,
                value=value,
                reason=reason,
                process=self._process,
                expires_at=expires_at,
            ),
        )

    def _stored(self, entry: Entry, value: object) -> tuple[Any, str | None]:
        """Return a result as it is stored, and why it is not if it is not."""
        if not self._serialized or value is None or entry.spec is None:
            return value, None
        packed = entry.spec.results.pack_result(value)
        if packed.reason is None:
            return packed.data, None
        logger.warning("job %r of task %r: %s", entry.id, entry.task, packed.reason)
        return None, packed.reason


def record_of(row: StoredRun, specs: Mapping[str, TaskSpec], tz: tzinfo, *, serialized: bool) -> RunRecord:
    """Return a row of the history as people read it."""
    value, unread = row.value, row.reason if row.status == RunStatus.SUCCESS else None
    if serialized and value is not None:
        try:
            value = _read(value, specs.get(row.task))
        except Exception as error:  # noqa: BLE001  # the task may have changed since
            value, unread = None, f"its stored result cannot be read: {in_words(error)}"
    return RunRecord(
        job_id=row.job_id,
        task=row.task,
        parent=row.parent,
        status=RunStatus(row.status),
        scheduled_for=shown_in(row.scheduled_for, tz),
        last=shown_in(row.last, tz) if row.last is not None else None,
        count=row.count,
        started_at=shown_in(row.started_at, tz) if row.started_at is not None else None,
        finished_at=shown_in(row.finished_at, tz),
        attempts=row.attempts,
        error=row.error,
        reason=row.reason,
        process=row.process,
        value=value,
        unread=unread,
    )


def _read(value: bytes, spec: TaskSpec | None) -> Any:
    if spec is None:
        msg = "its task is not registered"
        raise LookupError(msg)
    return spec.results.unpack_result(value)

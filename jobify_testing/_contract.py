"""What all tests of a storage share: the storage of the test, and rows to keep in it."""

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any

from jobify import SystemRuntime
from jobify.storage import Host, Storage, StoredJob, StoredRun

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


class ContractBase(ABC):
    """What a subclass has to say, and what its tests use."""

    @abstractmethod
    def make_storage(self) -> Storage:
        """Return a storage of the current test: empty at first, the same data each time."""

    def make_host(self) -> Host:
        """Return what the storage may use of the world; real threads by default."""
        return SystemRuntime()

    async def opened(self) -> Storage:
        storage = self.make_storage()
        await storage.open(self.make_host())
        return storage

    def make_job(self, storage: Storage, job_id: str = "it", **fields: Any) -> StoredJob:
        arguments: Any = b'{"args":[1],"kwargs":{}}' if storage.serialized else ((1,), {})
        known: dict[str, Any] = {"task": "module:task", "exec_at": NOON, "scheduled_for": NOON}
        return StoredJob(id=job_id, arguments=arguments, **(known | fields))

    def make_run(self, storage: Storage, **fields: Any) -> StoredRun:
        value: Any = b"1" if storage.serialized else 1
        known: dict[str, Any] = {
            "job_id": "it",
            "task": "module:task",
            "status": "success",
            "scheduled_for": NOON,
            "finished_at": NOON,
            "value": value,
            "process": "here:1",
            "expires_at": FOREVER,
        }
        return StoredRun(**(known | fields))

    async def reopened(self, storage: Storage) -> list[StoredJob]:
        """Return what a later owner finds."""
        await storage.close()
        await storage.open(self.make_host())
        return list(await storage.claim(FOREVER))

"""Where jobs are kept that must outlive the process."""

from jobify.storage._memory import MemoryStorage
from jobify.storage._postgres import PostgresStorage
from jobify.storage._protocol import Host, Storage
from jobify.storage._sqlite import SQLiteStorage
from jobify.storage._stored import Notice, RunQuery, StoredJob, StoredRun
from jobify.storage._transactional import Added, TransactionalStorage

__all__ = [
    "Added",
    "Host",
    "MemoryStorage",
    "Notice",
    "PostgresStorage",
    "RunQuery",
    "SQLiteStorage",
    "Storage",
    "StoredJob",
    "StoredRun",
    "TransactionalStorage",
]

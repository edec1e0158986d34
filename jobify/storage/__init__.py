"""Where jobs are kept that must outlive the process."""

from jobify.storage._memory import MemoryStorage
from jobify.storage._protocol import Host, Storage, StoredJob
from jobify.storage._sqlite import SQLiteStorage

__all__ = ["Host", "MemoryStorage", "SQLiteStorage", "Storage", "StoredJob"]

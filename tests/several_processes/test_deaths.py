"""Real processes: what is left of one that dies, and who takes its place."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from jobify import StorageError, SystemClock
from jobify.storage._bus_peer import LOOK_AGAIN, Message
from jobify.storage._ownership import Ownership
from jobify.storage._standby import Standby

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60.0
"""Real seconds after which a test gives up."""

ACTIVE = """
import asyncio, os, signal, sys
from pathlib import Path
from jobify import SystemClock
from jobify.storage._standby import Standby

gate = os.dup(0)

def say(what):
    print(what, flush=True)

async def main():
    standby = Standby(sys.argv[1], SystemClock(), on_active=lambda: say("active"), on_message=id)
    await standby.start()
    after_start(standby)
    await asyncio.Event().wait()

def after_start(standby):
    pass
"""

FORKS = {
    "os.fork": """
def after_start(standby):
    if os.fork() == 0:
        child(standby)
""",
    "multiprocessing": """
def after_start(standby):
    import multiprocessing
    multiprocessing.get_context("fork").Process(target=child, args=(standby,)).start()
""",
    "later": """
def after_start(standby):
    asyncio.get_running_loop().add_reader(0, lambda: (os.read(0, 1), os.fork() or child(standby)))
""",
}

CHILD = """
def child(standby):
    say(f"child {standby.is_active()} {standby.ownership.is_held()}")
    standby.ownership.release()
    standby.abandon()
    os.read(gate, 1)
    say("child is still here")
    os._exit(0)
"""

RUN = "asyncio.run(main())\n"


class Here:
    """The process of the test, which waits to be active."""

    def __init__(self, database: Path) -> None:
        self.active = asyncio.Event()
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.standby = Standby(database, SystemClock(), on_active=self.active.set, on_message=self.heard.put_nowait)


@pytest.fixture
async def here(database: Path) -> AsyncGenerator[Here]:
    """The process of the test."""
    here = Here(database)
    async with asyncio.timeout(PATIENCE):
        yield here
        await here.standby.stop()


@contextlib.asynccontextmanager
async def running(*program: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a program; it and what it has forked is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await process.stdin.wait_closed()
        await process.stdout.read()
        await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def tell(process: asyncio.subprocess.Process) -> None:
    """Let a process go on."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()


async def test_the_death_of_the_active_process_ends_its_ownership(database: Path, here: Here) -> None:
    """Killed as hard as can be, it is followed at once; its file and its socket are no obstacle."""
    async with running("-c", ACTIVE + RUN, str(database)) as active:
        assert await line(active) == "active"
        assert not await here.standby.start()
        assert f"process {active.pid} " in Ownership.holder(database)
        assert await here.heard.get() == LOOK_AGAIN
        active.kill()
        await here.active.wait()
        assert here.standby.is_on_bus()
        assert f"process {os.getpid()} " in Ownership.holder(database)


async def test_the_kernel_frees_an_ownership_before_the_death_is_told(database: Path) -> None:
    """Who has waited for the end of a process need not try twice."""
    async with running("-c", ACTIVE + RUN, str(database)) as active:
        assert await line(active) == "active"
        assert Ownership.try_acquire(database) is None
        active.kill()
        await active.wait()
        ownership = Ownership.try_acquire(database)
        assert ownership is not None
        ownership.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.parametrize("how", FORKS)
async def test_a_forked_child_keeps_nothing_of_its_dead_parent(database: Path, here: Here, how: str) -> None:
    """A child that lives on has neither the lock nor the connections, and does not think that it is active."""
    async with running("-c", ACTIVE + CHILD + FORKS[how] + RUN, str(database)) as active:
        assert await line(active) == "active"
        assert not await here.standby.start()
        assert await here.heard.get() == LOOK_AGAIN
        if how == "later":  # when there is a connection
            await tell(active)
        assert await line(active) == "child False False"
        assert not here.active.is_set()
        assert Ownership.try_acquire(database) is None
        active.kill()
        await here.active.wait()
        await tell(active)
        assert await line(active) == "child is still here"


def run(program: str, *arguments: str) -> str:
    """Return what a program prints."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *arguments]
    return subprocess.run(  # noqa: S603  # our own program
        command, cwd=ROOT, text=True, check=True, capture_output=True, timeout=PATIENCE
    ).stdout


def test_a_release_counts_though_a_library_has_forked(database: Path) -> None:
    """A child of which Python does not know has a copy of the lock; the release of its parent is one all the same."""
    program = """
import ctypes, os, sys
from jobify.storage._ownership import Ownership
ours, theirs = os.pipe()
ownership = Ownership.try_acquire(sys.argv[1])
if ctypes.CDLL(None).fork() == 0:
    os.close(theirs)
    os.read(ours, 1)
    os._exit(0)
ownership.release()
print(Ownership.try_acquire(sys.argv[1]))
"""
    assert run(program, str(database)).startswith("<Ownership of ")


def test_other_programs_inherit_nothing(database: Path) -> None:
    """A program that is started with all descriptors has neither the lock nor a socket."""
    program = """
import asyncio, os, subprocess, sys
from jobify import SystemClock
from jobify.storage._standby import Standby

async def main():
    made = [Standby(sys.argv[1], SystemClock(), on_active=print, on_message=lambda m: None) for _ in "ab"]
    for standby in made:
        await standby.start()
    await asyncio.sleep(0)
    code = "import os; print(*sorted(os.readlink(f'/dev/fd/{fd}') for fd in os.listdir('/dev/fd')[:-1]))"
    print(subprocess.run([sys.executable, "-c", code], close_fds=False, stdout=subprocess.PIPE, text=True).stdout)
    for standby in made:
        await standby.stop()

asyncio.run(main())
"""
    said = run(program, str(database))
    assert "pipe:" in said
    assert "socket:" not in said
    assert "owner" not in said


def test_a_file_that_has_the_number_of_a_closed_one_is_left_to_children(database: Path) -> None:
    """Numbers are used again: what was closed without a word does not cost another file its place in a child."""
    program = """
import os, sys
from jobify.storage import _forks as forks
first = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
kept = os.open(sys.argv[1], os.O_RDWR)
forks.withhold(first)
forks.withhold(kept)
os.close(first)
second = os.open(sys.argv[1] + "2", os.O_CREAT | os.O_RDWR)
assert second == first
if os.fork() == 0:
    print(os.path.sameopenfile(second, os.open(sys.argv[1] + "2", os.O_RDONLY)), flush=True)
    print(os.path.sameopenfile(kept, os.open(os.devnull, os.O_RDONLY)), flush=True)
    os._exit(0)
os.wait()
print(os.path.sameopenfile(kept, os.open(sys.argv[1], os.O_RDONLY)))
"""
    assert run(program, str(database)).split() == ["True", "True", "True"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_cannot_be_written_to_is_an_error(database: Path, what: str) -> None:
    """A read-only folder, or the lock of another user, is named, with what is missing."""
    program = """
import os, sys
from jobify.storage._ownership import Ownership
os.seteuid(65534)
try:
    Ownership.try_acquire(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""
    database.parent.chmod(0o755)
    if what == "file":
        database.with_name("jobs.db-owner").touch(0o600)
    said = run(program, str(database))
    assert said.startswith(f"{StorageError.__name__} cannot lock '{database}-owner': Permission denied; this process ")


def test_a_full_disk_is_no_reason_not_to_be_the_owner(database: Path) -> None:
    """Who cannot be named holds the lock all the same."""
    program = """
import resource, sys
from jobify.storage._ownership import Ownership
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # as good as a full disk
ownership = Ownership.try_acquire(sys.argv[1])
print(ownership.is_intact(), Ownership.try_acquire(sys.argv[1]), Ownership.holder(sys.argv[1]), sep=", ")
"""
    assert run(program, str(database)) == "True, None, another process\n"


TITLE = """
import ctypes
start, end = map(int, open("/proc/self/stat").read().rpartition(")")[2].split()[45:47])
ctypes.memset(start, 0, end - start)
ctypes.memmove(start, b"gunicorn: worker [app]", 22)
"""
"""Sets the title of a process where Linux looks for it, as `setproctitle` does."""


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("", "worker.py"),
        pytest.param(
            TITLE,
            "gunicorn: worker [app]",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells of a title"),
        ),
    ],
)
def test_a_holder_has_the_name_that_it_goes_by(database: Path, title: str, name: str) -> None:
    """The title that a process has set, or else its program; its arguments, which may be secret, are not told."""
    script = database.with_name("worker.py")
    script.write_text(f"""{title}
import sys
from jobify.storage._ownership import Ownership
ownership = Ownership.try_acquire(sys.argv[1])
print(Ownership.holder(sys.argv[1]))
""")
    said = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, script, database, "--secret"], cwd=ROOT, text=True, check=True, capture_output=True
    ).stdout
    assert f"({name})" in said
    assert "secret" not in said


def owners(log: Path) -> Iterator[int]:
    """Yield the active processes of a race in their order.

    Raises:
        AssertionError: there were two at a time.
    """
    active = leaving = 0
    for number, entry in enumerate(log.read_text().splitlines()):
        what, process = entry.split()[0], int(entry.split()[1])
        if what == "enter":
            assert active == 0, f"line {number}: {process} became active while {active} was"
            active, leaving = process, 0
            yield process
        elif what == "work":
            assert process in (active, leaving), f"line {number}: {process} worked while {active} was active"
        else:
            assert what in ("leave", "kill"), entry
            assert process == active, f"line {number}: {entry}"
            active, leaving = 0, process


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.parametrize("seed", [1, 2])
async def test_one_of_five_is_active_at_any_time(database: Path, seed: int) -> None:
    """Whoever is killed or stopped, and whenever: there is a next one, and never two."""
    log = database.with_name("log")
    async with asyncio.timeout(PATIENCE):
        async with running("-m", "tests.several_processes.race", str(database), str(log), "50", str(seed)) as race:
            assert await race.wait() == 0
    assert len(list(owners(log))) == 51

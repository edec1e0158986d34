"""Subprocesses hold virtual time from their creation until they exit."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from subprocess import Popen
from typing import Any

import pytest

from jobify import Jobify
from jobify.storage import MemoryStorage
from jobify_testing import ForbiddenWorkError, VirtualClock, VirtualDeadlockError, VirtualLoop, VirtualOptions, crash

pytestmark = [
    pytest.mark.slow,
    pytest.mark.virtual_clock,
    pytest.mark.skipif(sys.platform == "win32", reason="loops on selectors start no processes on Windows"),
]

NEVER = pytest.mark.virtual_clock(patience=300.0, grace=300.0)
"""Whoever waits in real time, for what does not come, is noticed: the test does not end."""

WORK = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'real', b'work', 100_000)"


async def start(program: str, **options: Any) -> Process:
    """Start Python with a program."""
    return await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", program, **options)


@contextlib.asynccontextmanager
async def endless(**options: Any) -> AsyncGenerator[Process]:
    """Start a process that ends when it is killed, and no earlier."""
    process = await start("import sys; sys.stdin.read()", stdin=PIPE, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):  # it was killed earlier
            process.kill()
        await process.wait()


async def test_a_process_ends_before_time_moves(virtual_clock: VirtualClock) -> None:
    """E32: whoever waits for a process gets its status, and all it wrote, in no virtual time."""
    async with asyncio.timeout(5):
        process = await start(f"{WORK}; print('x' * 300_000); raise SystemExit(3)", stdout=PIPE)
        output, _ = await process.communicate()
        assert output == b"x" * 300_000 + b"\n"
        assert process.returncode == 3
    assert virtual_clock.monotonic() == 0
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60


async def test_a_process_for_which_nobody_waits_ends_before_time_moves(virtual_clock: VirtualClock) -> None:
    """E32: a sleep is over when all processes have exited, and their status is known."""
    processes = [await start(WORK) for _ in range(3)]
    await asyncio.sleep(1)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert virtual_clock.monotonic() == 1


async def test_a_line_for_the_shell_ends_before_time_moves(virtual_clock: VirtualClock) -> None:
    """E32: processes that a shell starts are waited for as long as it waits for them."""
    process = await asyncio.create_subprocess_shell(f'"{sys.executable}" -S -c "{WORK}" && echo done', stdout=PIPE)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.read(), 5) == b"done\n"
    assert await asyncio.wait_for(process.wait(), 5) == 0
    assert virtual_clock.monotonic() == 0


async def test_a_killed_process_holds_time_no_longer(virtual_clock: VirtualClock) -> None:
    """E32: who has killed a process sees its end before time moves."""
    async with endless() as process:
        process.kill()
        await asyncio.sleep(60)
        assert process.returncode == -9
    assert virtual_clock.monotonic() == 60


@NEVER
async def test_a_program_that_is_missing_holds_nothing(virtual_clock: VirtualClock) -> None:
    """E32: a process that could not be started is none."""
    with pytest.raises(FileNotFoundError):
        await asyncio.create_subprocess_exec("/nowhere/no-program")
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60


@NEVER
async def test_a_start_that_is_cancelled_holds_nothing(virtual_clock: VirtualClock) -> None:
    """E32: who gives up the start of a process has it killed, and lets time pass."""
    starting = asyncio.ensure_future(start("import sys; sys.stdin.read()", stdin=PIPE))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60


@NEVER
async def test_a_process_whose_output_nobody_reads_holds_nothing(virtual_clock: VirtualClock) -> None:
    """E32: a process that is stuck with its output lets time pass, and ends when it is read."""
    process = await start("print('x' * 1_000_000)", stdout=PIPE)
    assert process.stdout is not None
    assert await process.stdout.readexactly(1) == b"x"
    await asyncio.sleep(60)
    assert process.returncode is None
    assert len(await process.stdout.read()) == 1_000_000
    assert await asyncio.wait_for(process.wait(), 5) == 0
    assert virtual_clock.monotonic() == 60


async def test_a_process_that_asks_a_server_of_the_loop_is_answered(virtual_clock: VirtualClock) -> None:
    """E32, E34: a process may be the client of a server here; its end is awaited all the same."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = f"import socket; s = socket.create_connection(('127.0.0.1', {port})); s.sendall(b'hello\\n'); "
    async with server, asyncio.timeout(5):
        process = await start(f"{client}{WORK}; print(s.recv(100).decode())", stdout=PIPE)
        output, _ = await process.communicate()
    assert output == b"hello\n\n"
    assert virtual_clock.monotonic() == 0


async def test_a_protocol_of_ones_own_is_told_of_the_exit(virtual_clock: VirtualClock) -> None:
    """E32: below `create_subprocess_exec` the same goes, whatever the protocol looks like."""
    loop = asyncio.get_running_loop()
    heard: list[str] = []

    class Listener(asyncio.SubprocessProtocol):
        __slots__ = ()

        def process_exited(self) -> None:
            heard.append(f"exited at {loop.time()}")

        def connection_lost(self, exc: Exception | None) -> None:
            heard.append("lost")

    transport, protocol = await loop.subprocess_exec(
        Listener, sys.executable, "-S", "-c", WORK, stdin=None, stdout=None, stderr=None
    )
    await asyncio.sleep(60)
    assert isinstance(protocol, Listener)
    assert heard == ["exited at 0.0", "lost"]
    assert transport.get_returncode() == 0
    transport.close()


async def run_program() -> None:
    """Start a program."""
    await start("")


async def run_shell() -> None:
    """Start a shell."""
    await asyncio.create_subprocess_shell("exit")


@pytest.mark.parametrize("work", [run_program, run_shell])
@pytest.mark.virtual_clock(holds={"subprocess": "forbid"})
async def test_processes_that_are_forbidden_are_refused_at_the_door(work: Callable[[], Awaitable[None]]) -> None:
    """`forbid` raises where a process is asked for."""
    with pytest.raises(ForbiddenWorkError, match="this test forbids real work of the kind 'subprocess'"):
        await work()


@pytest.mark.virtual_clock(holds={"subprocess": "ignore"}, patience=300.0)
async def test_processes_that_are_ignored_hold_nothing(virtual_clock: VirtualClock) -> None:
    """`ignore` lets time pass beside a process, as a server of the test wants it."""
    async with endless() as process:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)
        assert virtual_clock.monotonic() == 5


def test_a_process_that_does_not_end_is_named() -> None:
    """E32: when patience is at its end, the error names the program; the clean-up waits for it no more."""
    cleaned: list[float] = []

    async def wait() -> None:
        async with endless(stdout=DEVNULL):
            try:
                await asyncio.sleep(5)
            finally:
                await asyncio.sleep(60)
                cleaned.append(asyncio.get_running_loop().time())

    loop = VirtualLoop(VirtualOptions(patience=0.05))
    with pytest.raises(VirtualDeadlockError, match=r"held time for more than 0\.05 real seconds: the process .*python"):
        loop.run_until_complete(wait())
    assert cleaned == [60]
    loop.close()


@NEVER
async def test_a_process_of_a_killed_program_holds_nothing(virtual_clock: VirtualClock) -> None:
    """After `crash` a process of the app lives on, as it would, and nobody waits for it."""
    app = Jobify(storage=MemoryStorage())
    started: asyncio.Future[asyncio.SubprocessTransport] = asyncio.get_running_loop().create_future()
    reading, writing = os.pipe()

    @app.task
    async def start_and_wait() -> None:
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            asyncio.SubprocessProtocol, sys.executable, "-c", "input()", stdin=reading, stdout=None, stderr=DEVNULL
        )
        started.set_result(transport)
        await asyncio.Event().wait()

    await app.__aenter__()
    await start_and_wait.push()
    transport = await started
    await crash(app)
    await asyncio.sleep(60)
    assert virtual_clock.monotonic() == 60
    assert transport.get_returncode() is None
    os.close(writing)
    os.close(reading)
    process: Popen[bytes] = transport.get_extra_info("subprocess")
    process.wait()
    transport.close()

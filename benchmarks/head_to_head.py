"""Virtual time by five libraries, on the same programs: who is right.

    python benchmarks/head_to_head.py [--only WORD] [--seconds 15]

Every cell is a program in a process of its own, with a limit in real seconds; one that does not end by then
is a hang, busy or idle. A cell says what the program returned or raised, and how many virtual seconds that
took. What is right stands in the table of programs, and is the same for all: mostly what the program would
do in real time on a machine that is fast enough.

looptime, async-solipsism, aiotools and trio are needed only for their own columns. The programs for trio are
the same in its words; where it has none for something, and where a library cannot start at a given instant,
the cell says "-".
"""

import argparse
import asyncio
import importlib.util
import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import jobify_testing
from jobify import Jobify
from jobify.storage import MemoryStorage
from jobify_testing import VirtualLoop, VirtualOptions

T = TypeVar("T")
Program = Callable[[], Awaitable[str]]

LIMIT = 5.0
"""Virtual seconds within which something real is to happen; none of them has to pass for it."""

TINY = (1e-3, 1e-6, 1e-7, 1e-9, 1e-12)
TIMED_SLEEPS = 20_000
DAY = 86_400.0
YEAR = 365 * DAY


# The programs, for asyncio


async def within_limit(future: Awaitable[object]) -> str:
    """Wait with a timeout, for what takes some real milliseconds."""
    await asyncio.wait_for(future, LIMIT)
    return "ok"


def after_real(seconds: float, call: Callable[[], object]) -> None:
    """Have a plain thread do something when so many real seconds have passed."""

    def wait_and_call() -> None:
        time.sleep(seconds)
        call()

    threading.Thread(target=wait_and_call, daemon=True).start()


async def socket_answered_by_thread() -> str:
    """Read from a socket that a thread writes to."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        after_real(0.02, lambda: theirs.send(b"!"))
        return await within_limit(asyncio.get_running_loop().sock_recv(ours, 1))


async def executor() -> str:
    """Wait for a call in the default executor."""
    return await within_limit(asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.05))


async def to_thread() -> str:
    """Wait for a call in a thread."""
    return await within_limit(asyncio.to_thread(time.sleep, 0.05))


def event_set_by_thread() -> asyncio.Event:
    """Return an event that a plain thread has set on the loop."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    after_real(0.02, lambda: loop.call_soon_threadsafe(event.set))
    return event


async def plain_thread() -> str:
    """Wait, with a timeout, for a thread that the loop knows nothing of."""
    return await within_limit(event_set_by_thread().wait())


async def plain_thread_without_timeout() -> str:
    """Wait for it with no timer at all."""
    await event_set_by_thread().wait()
    return "ok"


async def child_process() -> str:
    """Wait for a child to exit."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    return await within_limit(process.wait())


async def signal_from_thread() -> str:
    """Wait for a signal that a thread sends to this process."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, event.set)
    after_real(0.03, partial(os.kill, os.getpid(), signal.SIGUSR1))
    return await within_limit(event.wait())


async def echo_over_tcp() -> str:
    """Talk over the loopback to a handler that sleeps, with a timeout that is longer."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        await asyncio.sleep(1)
        writer.write(line)
        await writer.drain()
        writer.close()

    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        answer = await reader.readline()
        writer.close()
        return answer

    async with await asyncio.start_server(echo, "127.0.0.1", 7007) as server:
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.wait_for(talk(), LIMIT) == b"hello\n"
    return "ok"


async def timers_of_one_instant() -> str:
    """Set eight timers to one instant."""
    loop, order = asyncio.get_running_loop(), list[int]()
    when = loop.time() + 1
    for number in range(8):
        loop.call_at(when, order.append, number)
    await asyncio.sleep(2)
    return " ".join(map(str, order))


async def sleepers_of_one_duration() -> str:
    """Have eight tasks sleep equally long, as each of them begins in its turn."""
    order = list[int]()

    async def sleep(number: int) -> None:
        await asyncio.sleep(1)
        order.append(number)

    await asyncio.gather(*map(sleep, range(8)))
    return " ".join(map(str, order))


async def wait_for_nothing() -> str:
    """Wait for what never comes."""
    await asyncio.Event().wait()
    return "ok"


async def wait_beside_a_heartbeat() -> str:
    """Wait for what never comes, while something else recurs for ever."""

    async def beat() -> None:
        for _ in itertools.count():
            await asyncio.sleep(1)

    heart = asyncio.create_task(beat())
    await asyncio.Event().wait()
    heart.cancel()
    return "ok"


async def sleep_once(seconds: float) -> str:
    """Sleep."""
    await asyncio.sleep(seconds)
    return "ok"


async def sum_of_tiny_sleeps() -> str:
    """Add up sleeps down to the smallest, of which a nanosecond is the last that a clock knows."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for seconds in TINY:
        await asyncio.sleep(seconds)
    return f"{loop.time() - began:.12f}".rstrip("0")


async def sum_of_tenths() -> str:
    """Add up ten thousand sleeps of a tenth of a second."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(10_000):
        await asyncio.sleep(0.1)
    return repr(loop.time() - began)


async def time_sleeps() -> str:
    """Measure what a jump of time costs in real time."""
    began = time.perf_counter()
    for _ in range(TIMED_SLEEPS):
        await asyncio.sleep(1)
    return f"{(time.perf_counter() - began) / TIMED_SLEEPS * 1e6:.1f} µs"


async def year_of_a_job_a_minute() -> str:
    """Run a job of ours every minute of a year."""
    app, runs = Jobify(storage=MemoryStorage()), 0

    @app.task(cron="* * * * *")
    async def tick() -> None:
        nonlocal runs
        runs += 1

    began = time.perf_counter()
    async with app:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        await loop.jobify_runtime.clock.advance(days=365)
    return f"{runs} in {time.perf_counter() - began:.1f} real s"


# The same, for trio


async def trio_within_limit(wait: Callable[[], Awaitable[object]]) -> str:
    """Wait with a timeout."""
    with trio().fail_after(LIMIT):
        await wait()
    return "ok"


async def trio_socket() -> str:
    """Read from a socket that a thread writes to."""
    ours, theirs = trio().socket.socketpair()
    with ours, theirs:
        after_real(0.02, lambda: os.write(theirs.fileno(), b"!"))
        return await trio_within_limit(lambda: ours.recv(1))


async def trio_thread() -> str:
    """Wait for a call in a thread."""
    return await trio_within_limit(lambda: trio().to_thread.run_sync(time.sleep, 0.05))


def trio_event_set_by_thread() -> Any:
    """Return an event that a plain thread sets on the loop."""
    event, token = trio().Event(), trio().lowlevel.current_trio_token()
    after_real(0.02, lambda: token.run_sync_soon(event.set))
    return event


async def trio_plain_thread() -> str:
    """Wait, with a timeout, for a thread."""
    return await trio_within_limit(trio_event_set_by_thread().wait)


async def trio_plain_thread_without_timeout() -> str:
    """Wait for it without one."""
    await trio_event_set_by_thread().wait()
    return "ok"


async def trio_child_process() -> str:
    """Wait for a child to exit."""
    return await trio_within_limit(lambda: trio().run_process([sys.executable, "-c", ""]))


async def trio_signal() -> str:
    """Wait for a signal that a thread sends to this process."""
    with trio().open_signal_receiver(signal.SIGUSR1) as signals:
        after_real(0.03, partial(os.kill, os.getpid(), signal.SIGUSR1))
        return await trio_within_limit(signals.__anext__)


async def trio_echo() -> str:
    """Talk over the loopback to a handler that sleeps."""

    async def echo(stream: Any) -> None:
        line = await stream.receive_some()
        await trio().sleep(1)
        await stream.send_all(line)

    async with trio().open_nursery() as nursery:
        listeners = await nursery.start(partial(trio().serve_tcp, echo, 0, host="127.0.0.1"))
        with trio().fail_after(LIMIT):
            stream = await trio().testing.open_stream_to_socket_listener(listeners[0])
            await stream.send_all(b"hello\n")
            assert await stream.receive_some() == b"hello\n"
        nursery.cancel_scope.cancel()
    return "ok"


async def trio_sleepers() -> str:
    """Have eight tasks sleep equally long."""
    order = list[int]()

    async def sleep(number: int) -> None:
        await trio().sleep(1)
        order.append(number)

    async with trio().open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(sleep, number)
    return " ".join(map(str, order))


async def trio_wait_for_nothing() -> str:
    """Wait for what never comes."""
    await trio().Event().wait()
    return "ok"


async def trio_wait_beside_a_heartbeat() -> str:
    """Wait for what never comes, while something else recurs for ever."""

    async def beat() -> None:
        while True:
            await trio().sleep(1)

    async with trio().open_nursery() as nursery:
        nursery.start_soon(beat)
        await trio().Event().wait()
    return "ok"


async def trio_sleep_once(seconds: float) -> str:
    """Sleep."""
    await trio().sleep(seconds)
    return "ok"


async def trio_sum_of_tiny_sleeps() -> str:
    """Add up sleeps down to the smallest."""
    began = trio().current_time()
    for seconds in TINY:
        await trio().sleep(seconds)
    return f"{trio().current_time() - began:.12f}".rstrip("0")


async def trio_sum_of_tenths() -> str:
    """Add up ten thousand sleeps of a tenth of a second."""
    began = trio().current_time()
    for _ in range(10_000):
        await trio().sleep(0.1)
    return repr(trio().current_time() - began)


async def trio_time_sleeps() -> str:
    """Measure what a jump of time costs in real time."""
    began = time.perf_counter()
    for _ in range(TIMED_SLEEPS):
        await trio().sleep(1)
    return f"{(time.perf_counter() - began) / TIMED_SLEEPS * 1e6:.1f} µs"


def trio() -> Any:
    """Return the library, which need not be installed."""
    importlib.import_module("trio.testing")
    return importlib.import_module("trio")


# The table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One program.

    Attributes:
        title: what it does.
        right: the cells that are right; none, where there is nothing to be right about.
        program: for asyncio.
        on_trio: for trio; None if it has no such thing.
        from_now: whether virtual time starts at the present of the real one.
        ours_only: whether it needs a scheduler.
        seconds: a real limit of its own.
    """

    title: str
    right: tuple[str, ...]
    program: Program
    on_trio: Program | None = None
    from_now: bool = False
    ours_only: bool = False
    seconds: float | None = None


AT_ONCE = ("ok, 0 s",)
IN_A_THREAD = ("ok, 0 s", "ok, 0.05 s")  # a sleep in a thread is real work, or takes its virtual time
IN_ORDER = ("0 1 2 3 4 5 6 7",)
NOTICED = ("SleepForeverError", "VirtualDeadlockError", "VirtualRunawayError")

ROWS = (
    Row(
        title="a thread answers on a socket, within 5 s",
        right=AT_ONCE,
        program=socket_answered_by_thread,
        on_trio=trio_socket,
    ),
    Row(title="run_in_executor, within 5 s", right=IN_A_THREAD, program=executor, on_trio=trio_thread),
    Row(title="to_thread, within 5 s", right=IN_A_THREAD, program=to_thread),
    Row(title="a plain thread, within 5 s", right=AT_ONCE, program=plain_thread, on_trio=trio_plain_thread),
    Row(
        title="a plain thread, without a timeout",
        right=AT_ONCE,
        program=plain_thread_without_timeout,
        on_trio=trio_plain_thread_without_timeout,
    ),
    Row(title="a child process, within 5 s", right=AT_ONCE, program=child_process, on_trio=trio_child_process),
    Row(title="a signal, within 5 s", right=AT_ONCE, program=signal_from_thread, on_trio=trio_signal),
    Row(title="TCP echo that sleeps 1 s, within 5 s", right=("ok, 1 s",), program=echo_over_tcp, on_trio=trio_echo),
    Row(title="8 timers of one instant", right=IN_ORDER, program=timers_of_one_instant),
    Row(title="8 tasks that sleep 1 s", right=IN_ORDER, program=sleepers_of_one_duration, on_trio=trio_sleepers),
    Row(
        title="a wait for nothing",
        right=NOTICED,
        program=wait_for_nothing,
        on_trio=trio_wait_for_nothing,
    ),
    Row(
        title="the same beside a heartbeat",
        right=NOTICED,
        program=wait_beside_a_heartbeat,
        on_trio=trio_wait_beside_a_heartbeat,
    ),
    Row(
        title="sleep(a day)",
        right=("ok, 86400 s",),
        program=partial(sleep_once, DAY),
        on_trio=partial(trio_sleep_once, DAY),
    ),
    Row(
        title="sleep(a year)",
        right=("ok, 31536000 s",),
        program=partial(sleep_once, YEAR),
        on_trio=partial(trio_sleep_once, YEAR),
    ),
    Row(title="sleep(1), starting now", right=("ok, 1 s",), program=partial(sleep_once, 1), from_now=True),
    Row(
        title="sleeps of 1e-3, 1e-6, 1e-7, 1e-9, 1e-12 s",
        right=("0.001001101", "0.001001101001"),
        program=sum_of_tiny_sleeps,
        on_trio=trio_sum_of_tiny_sleeps,
    ),
    Row(
        title="10 000 sleeps of 0.1 s",
        right=("1000.0",),
        program=sum_of_tenths,
        on_trio=trio_sum_of_tenths,
    ),
    Row(title="a sleep of 1 s, in real time", right=(), program=time_sleeps, on_trio=trio_time_sleeps),
    Row(title="a year of one job a minute", right=(), program=year_of_a_job_a_minute, ours_only=True, seconds=300),
)


# The contenders


async def measured(program: Program, now: Callable[[], float]) -> str:
    """Return what a program returns, and the virtual seconds that it took."""
    began = now()
    text = await program()
    return f"{text}, {round(now() - began, 6):.9g} s" if text == "ok" else text


async def measured_on_loop(program: Program) -> str:
    """The same, on the running asyncio loop."""
    return await measured(program, asyncio.get_running_loop().time)


def on_looptime(row: Row) -> str | None:
    """Run on a loop of looptime."""
    library = importlib.import_module("looptime")
    start = time.time() if row.from_now else None
    with asyncio.Runner(loop_factory=partial(library.new_event_loop, start=start)) as runner:
        return runner.run(measured_on_loop(row.program))


def on_solipsism(row: Row) -> str | None:
    """Run on a loop of async-solipsism."""
    library = importlib.import_module("async_solipsism")
    if row.from_now:
        return None
    with asyncio.Runner(loop_factory=library.EventLoop) as runner:
        return runner.run(measured_on_loop(row.program))


def on_aiotools(row: Row) -> str | None:
    """Run on asyncio's loop, with the clock of aiotools in it."""
    clock = importlib.import_module("aiotools").VirtualClock()
    if row.from_now:
        clock.vtime = time.time()

    async def main() -> str:
        with clock.patch_loop():
            return await measured_on_loop(row.program)

    return asyncio.run(main())


def on_trio(row: Row) -> str | None:
    """Run on trio, with its clock that jumps when nothing can run."""
    library, program = trio(), row.on_trio
    if program is None:
        return None
    clock = library.testing.MockClock(autojump_threshold=0)
    text: str = library.run(measured, program, library.current_time, clock=clock)
    return text


def on_ours(row: Row) -> str | None:
    """Run on a virtual loop."""
    options = VirtualOptions(start=datetime.now(UTC)) if row.from_now else None
    return jobify_testing.run(measured_on_loop(row.program), options=options)


CONTENDERS = {
    "looptime": on_looptime,
    "async_solipsism": on_solipsism,
    "aiotools": on_aiotools,
    "trio": on_trio,
    "jobify_testing": on_ours,
}


def cell_of(row: Row, name: str) -> str:
    """Return one cell, from this process."""
    try:
        return CONTENDERS[name](row) or "-"
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is the result
        return type(error).__name__


def cell_from_process(row: Row, name: str, seconds: float) -> str:
    """Return one cell, from a process of its own."""
    if importlib.util.find_spec(name) is None:
        return "not installed"
    if row.ours_only and name != "jobify_testing":
        return "-"
    command = [sys.executable, "-W", "ignore", __file__, "--cell", row.title, name]
    limit = row.seconds or seconds
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)  # noqa: S603  # our own interpreter
    except subprocess.TimeoutExpired:
        busy = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before > limit / 4
        return "hang, busy" if busy else "hang, idle"
    try:
        return str(json.loads(process.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        return f"died, status {process.returncode}"


def main() -> None:
    """Fill the table, print it, and exit with 1 if ours is wrong anywhere."""
    parser = argparse.ArgumentParser(description="Virtual time by five libraries, on the same programs.")
    parser.add_argument("--only", default="", help="only the programs with this in their title")
    parser.add_argument("--seconds", type=float, default=15.0, help="real seconds that a program may take")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.cell:
        title, name = chosen.cell
        print(json.dumps(cell_of(next(row for row in ROWS if row.title == title), name)), flush=True)
        os._exit(0)  # some leave threads behind that do not end
    began, wrong = time.perf_counter(), list[str]()
    print(f"Python {sys.version.split()[0]}; + right, ! wrong")
    print(f"{'':44}" + "".join(f"{name:24}" for name in CONTENDERS))
    for row in ROWS:
        if chosen.only not in row.title:
            continue
        print(f"{row.title:44}", end="", flush=True)
        for name in CONTENDERS:
            cell = cell_from_process(row, name, chosen.seconds)
            verdict = " " if not row.right or cell in ("-", "not installed") else "+" if cell in row.right else "!"
            print(f"{verdict} {cell:22}", end="", flush=True)
            if verdict == "!" and name == "jobify_testing":
                wrong.append(row.title)
        print()
    print(f"{timedelta(seconds=round(time.perf_counter() - began))}; ours is wrong in: {', '.join(wrong) or 'nothing'}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

"""How long a start takes, and how much memory, with so many jobs pending in a SQLite file.

    python benchmarks/restore.py [--rows 1000 10000 100000] [--turns 3] [--folder FOLDER]

With the window that a SQLiteStorage has by default, and with none: then all rows become jobs at the start. Each start
is a process of its own, in turns. One without any rows is the floor: it imports, opens and starts too, and its memory
is taken off that of the others. Read the ratios: of a start with a window to one without, of the same file.

Two times are of interest beside that of the start: until a job that waits in the file is found by its id, and until all
that are pending are in memory, by a call of `jobs()`.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from jobify import Jobify
from jobify.storage import SQLiteStorage

WINDOWS = ("window", "no window")
MOMENTS = ("start", "get_job", "jobs")


def make_app(path: Path, way: str = "window") -> tuple[Jobify, Any]:
    """Return an app on a file, and its task."""
    storage = SQLiteStorage(path, synchronous="normal")
    if way == "no window":
        storage = SQLiteStorage(path, synchronous="normal", window=None)
    app = Jobify(storage=storage)

    @app.task(name="remind")
    async def remind(user: str, *, about: str) -> str:
        return f"{user}: {about}"

    return app, remind


async def fill(path: Path, rows: int) -> None:
    """Have so many jobs pending in a file, from an hour on, one each second."""
    app, remind = make_app(path)
    async with app:
        for first in range(0, rows, 10_000):
            numbers = range(first, min(first + 10_000, rows))
            orders = (remind.schedule(f"user {n}", about="tea").delay(3600 + n, job_id=f"{n}") for n in numbers)
            await asyncio.gather(*orders)


def memory() -> float:
    """Return how many megabytes the process has had in memory at most, as the kernel says."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


async def start(path: Path, way: str, rows: int) -> None:
    """Print the seconds and the megabytes up to each moment."""
    app, _ = make_app(path, way)
    began = time.perf_counter()
    await app.start()
    print(time.perf_counter() - began, memory())
    began = time.perf_counter()
    assert (await app.get_job(f"{rows - 1}") is None) is (rows == 0)
    print(time.perf_counter() - began, memory())
    began = time.perf_counter()
    assert len(await app.jobs()) == rows
    print(time.perf_counter() - began, memory(), flush=True)
    await app.stop()


def measure(path: Path, way: str, rows: int) -> list[tuple[float, float]]:
    """Return seconds and megabytes of each moment, of a start in a new process."""
    command = [sys.executable, __file__, "--start", str(path), "--way", way, "--rows", str(rows)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()  # noqa: S603  # our own interpreter
    seconds_and_megabytes = [tuple(map(float, line.split())) for line in lines]
    return [(seconds, megabytes) for seconds, megabytes in seconds_and_megabytes]


def medians(turns: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Return the median of each moment."""
    return [
        (statistics.median(seconds for seconds, _ in moment), statistics.median(megabytes for _, megabytes in moment))
        for moment in zip(*turns, strict=True)
    ]


def show(rows: int, found: dict[str, list[tuple[float, float]]], floor: float) -> None:
    """Print what was found for a file."""
    for index, name in enumerate(MOMENTS):
        cells = [found[way][index] for way in WINDOWS]
        times = "".join(f"{1e3 * seconds:>12,.1f}" for seconds, _ in cells)
        sizes = "".join(f"{megabytes - floor:>11,.1f}" for _, megabytes in cells)
        ratio = cells[0][0] / cells[1][0]
        share = (cells[0][1] - floor) / (cells[1][1] - floor)
        print(f"{rows:>9,} {name:9}{times}{ratio:>10.3f}{sizes}{share:>10.3f}")


def compare(folder: Path, sizes: list[int], turns: int) -> None:
    """Start with files of all sizes, in turns, and print what that takes."""
    print(
        f"{'rows':>9} {'until':9}{'ms: window':>12}{'none':>12}{'ratio':>10}{'MB: window':>11}{'none':>11}{'ratio':>10}"
    )
    asyncio.run(fill(folder / "0.db", 0))
    floor = statistics.median(measure(folder / "0.db", "window", 0)[0][1] for _ in range(turns))
    for rows in sizes:
        path = folder / f"{rows}.db"
        asyncio.run(fill(path, rows))
        found: dict[str, list[list[tuple[float, float]]]] = {way: [] for way in WINDOWS}
        for _ in range(turns):
            for way, turn in found.items():
                turn.append(measure(path, way, rows))
        show(rows, {way: medians(turn) for way, turn in found.items()}, floor)


def main() -> None:
    """Measure, and print medians and ratios."""
    parser = argparse.ArgumentParser(description="Time and memory of a start with many pending jobs.")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the SQLite files are made, and removed")
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WINDOWS, default="window", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.start is not None:
        asyncio.run(start(chosen.start, chosen.way, chosen.rows[0]))
        return
    with tempfile.TemporaryDirectory(prefix="jobify-restore-", dir=chosen.folder) as folder:
        compare(Path(folder), chosen.rows, chosen.turns)


if __name__ == "__main__":
    main()

"""How far one job walks through our code: scheduled with a timeout and a delay, run, its result read.

    python benchmarks/walk.py          the numbers, beside the budget
    python benchmarks/walk.py --list   the walk itself too, call by call

It counts what somebody has to read who follows the job: functions of ours, the files that they are
in, and how often the next call is in another file than the one before. A comprehension counts as a
part of the function that it stands in, and a coroutine that goes on after a wait is not a new call.
Nothing is timed.
"""

import argparse
import asyncio
import itertools
import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import jobify
from jobify import Jobify
from jobify.storage import MemoryStorage

OURS = Path(jobify.__file__).parent
BUDGET = ("budget", 30, None, 7, 18)
DELAY = 0.1
"""Seconds: long enough that the job still has to wait once it is accepted, for its alarm is a part of the walk."""


class Call(NamedTuple):
    """One call of a function of ours; `depth` counts the callers that are ours too."""

    depth: int
    file: str
    function: str


class Walk:
    """Takes down the calls of our functions between `begin` and `end`, in this thread."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._frames: dict[int, FrameType] = {}  # held, so that no id is used twice

    def begin(self) -> None:
        """Listen."""
        sys.setprofile(self._note)

    def end(self) -> None:
        """Listen no more, and let go of what was seen."""
        sys.setprofile(None)
        self._frames.clear()

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or id(frame) in self._frames or not _is_ours(frame):
            return
        self._frames[id(frame)] = frame
        code = frame.f_code
        file = Path(code.co_filename).relative_to(OURS).as_posix()
        self.calls.append(Call(_depth(frame), file, code.co_qualname.replace("<locals>.", "")))

    def figures(self) -> tuple[int, int, int, int]:
        """Return the numbers of distinct functions, of calls, of files, and of switches of file."""
        files = [call.file for call in self.calls]
        functions = {(call.file, call.function) for call in self.calls}
        switches = sum(before != after for before, after in itertools.pairwise(files))
        return len(functions), len(files), len(set(files)), switches


def _is_ours(frame: FrameType) -> bool:
    code = frame.f_code
    is_comprehension = code.co_name.startswith("<") and code.co_name != "<lambda>"
    return not is_comprehension and Path(code.co_filename).is_relative_to(OURS)


def _depth(frame: FrameType) -> int:
    depth, caller = 0, frame.f_back
    while caller is not None:
        depth += _is_ours(caller)
        caller = caller.f_back
    return depth


async def echo(word: str) -> str:
    """Do the least that a job can do."""
    return word


async def follow_one_job(*, durable: bool) -> Walk:
    """Return the walk of the second job of an app: the first one pays for what is done once."""
    app = Jobify(storage=MemoryStorage())
    task = app.task(echo, timeout=30, durable=durable)
    walk = Walk()
    async with app:
        await (await task.schedule("first").delay(0))
        walk.begin()
        job = await task.schedule("second").delay(DELAY)
        await job.wait()
        word = job.result()
        walk.end()
    assert word == "second"
    return walk


def show_list(walk: Walk) -> None:
    """Print one line for each call; a file is named where the walk enters it."""
    file = ""
    for call in walk.calls:
        print(f"  {call.file if call.file != file else '':22}{'  ' * call.depth}{call.function}")
        file = call.file


def show_figures(name: str, functions: int, calls: int | None, files: int, switches: int) -> None:
    """Print one line of the table."""
    print(f"{name:28}{functions:>10}{'' if calls is None else calls:>8}{files:>8}{switches:>10}")


def main() -> None:
    """Follow one job that is stored in memory, and one that is not stored."""
    parser = argparse.ArgumentParser(description="Measure the walk of one job through our code.")
    parser.add_argument("--list", action="store_true", help="print the walk, call by call")
    wants_list: bool = parser.parse_args().list
    walks = {
        "in a MemoryStorage": asyncio.run(follow_one_job(durable=True)),
        "durable=False": asyncio.run(follow_one_job(durable=False)),
    }
    if wants_list:
        for name, walk in walks.items():
            print(f"{name}:")
            show_list(walk)
            print()
    print(f"{'one job with a timeout':28}{'functions':>10}{'calls':>8}{'files':>8}{'switches':>10}")
    for name, walk in walks.items():
        show_figures(name, *walk.figures())
    show_figures(*BUDGET)


if __name__ == "__main__":
    main()

"""A program: five processes of one database, of which the active one is killed or stopped, again and again.

`python -m tests.several_processes.race DATABASE LOG ROUNDS SEED`
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from jobify import SystemClock
from jobify.storage._standby import Standby

PROCESSES = 5


class Race:
    """What the processes share: the database, a log to which all append, and a pipe to the one that made them."""

    def __init__(self, database: Path, log: Path) -> None:
        self.database = database
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._heard, self._told = os.pipe()
        self.waiting: list[int] = []

    def note(self, what: str, process: int) -> None:
        """Append a line."""
        os.write(self._log, f"{what} {process}\n".encode())

    def fork(self) -> None:
        """Make a process."""
        process = os.fork()
        if process == 0:
            self._run()
        self.waiting.append(process)

    def _run(self) -> NoReturn:
        try:
            asyncio.run(self._wait_for_turn())
        except BaseException:  # noqa: BLE001  # the log is what is looked at
            self.note("error", os.getpid())
        os._exit(0)

    async def _wait_for_turn(self) -> None:
        loop, clock, me = asyncio.get_running_loop(), SystemClock(), os.getpid()
        end = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, end.set)

        def work() -> None:
            if standby.is_active():
                self.note("work", me)
                clock.call_at(clock.monotonic() + 0.0005, work)

        def become_active() -> None:
            self.note("enter", me)
            loop.call_soon(work)
            os.write(self._told, me.to_bytes(8, "big"))

        standby = Standby(self.database, clock, on_active=become_active, on_message=lambda _: None)
        await standby.start()
        await end.wait()
        if standby.is_active():
            self.note("leave", me)
        await standby.stop()

    def next_active(self) -> int:
        """Wait until a process has become active, and return it."""
        return int.from_bytes(os.read(self._heard, 8), "big")

    def end(self, process: int, by: signal.Signals) -> None:
        """End a process."""
        self.waiting.remove(process)
        os.kill(process, by)
        os.waitpid(process, 0)


def main(database: str, log: str, rounds: str, seed: str) -> None:
    """Run the race."""
    chance = random.Random(int(seed))
    race = Race(Path(database), Path(log))
    for _ in range(PROCESSES):
        race.fork()
    for _ in range(int(rounds)):
        active = race.next_active()
        steps: list[Callable[[], object]] = [race.fork, partial(race.note, "work", active)]
        if chance.random() < 0.3:  # one that waits, or is about to
            steps.append(
                partial(race.end, chance.choice([each for each in race.waiting if each != active]), signal.SIGKILL)
            )
            steps.append(race.fork)
        chance.shuffle(steps)
        for step in steps:
            step()
        if chance.random() < 0.3:
            race.end(active, signal.SIGTERM)
        else:
            race.note("kill", active)
            race.end(active, signal.SIGKILL)
    active = race.next_active()
    for process in sorted(race.waiting, key=active.__eq__):  # it last, or others would be active
        race.end(process, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])

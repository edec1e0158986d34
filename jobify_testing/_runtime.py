"""The virtual world: what an app takes from the loop that it runs on."""

import asyncio
import contextlib
import contextvars
import itertools
import random
import tempfile
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, TypeVar, cast

from jobify import Job, JobStatus, StartedApp, SystemRuntime, Transition, Workers
from jobify_testing._clock import VirtualClock
from jobify_testing._engine import Engine
from jobify_testing._family import owner_of_task
from jobify_testing._options import VirtualOptions
from jobify_testing._owner import context_of
from jobify_testing._pending import Pending, describe_pending, foreground_timers, is_of_jobify
from jobify_testing._report import describe_task, describe_timer, wakes_no_task
from jobify_testing._transitions import TransitionLog
from jobify_testing._workers import RealWorkers, VirtualWorkers

T = TypeVar("T")

_MOST_TURNS = 3
"""How many turns of the loop a start or a storage call may be late, in a random order."""


class VirtualRuntime:
    """Seeded ids and randomness, private databases, workers that take their turn.

    Args:
        loop: the virtual loop.
        options: how virtual time behaves.
        folder: where databases live, or what makes it when one is needed; a temporary one by default.
    """

    def __init__(
        self,
        loop: Engine,
        options: VirtualOptions | None = None,
        *,
        folder: Path | Callable[[], Path] | None = None,
    ) -> None:
        self.options = options or VirtualOptions()
        seed = self.options.seed
        self.random = random.Random(seed)  # noqa: S311  # reproducible on purpose
        self.clock = VirtualClock(loop, start=self.options.start, jobs=self)
        self.transitions = TransitionLog(loop.nanoseconds, self.clock.now())
        self._loop = loop
        self._ids = random.Random(f"ids {seed}")  # noqa: S311  # reproducible on purpose
        self._chance = random.Random(f"turns {seed}")  # noqa: S311  # reproducible on purpose
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._paths: dict[Path, Path] = {}
        self._memories: dict[int, tuple[object, object]] = {}
        self._numbers = itertools.count(1)
        self._started: StartedApp | None = None
        self._owners: dict[StartedApp, list[object]] = {}
        self._tasks_before: frozenset[asyncio.Task[Any]] = frozenset()
        self.workers: Workers = self._make_workers()

    @property
    def process(self) -> str:
        """The same name in each test."""
        return "virtual:1"

    def _make_workers(self) -> Workers:
        if self.options.mode == "real":
            return SystemRuntime().workers
        if self.options.threads == "real":
            return RealWorkers(self._loop, self._turns)
        return VirtualWorkers(self._loop, self._turns)

    @contextlib.contextmanager
    def in_force(self) -> Generator[None, None, None]:
        """Be the world of the loop in a `with` block; the world before comes back behind it."""
        before: VirtualRuntime = self._loop.jobify_runtime
        self.succeed(before)
        self.enter()
        try:
            yield
        finally:
            before.enter()
            self.close()

    def enter(self) -> None:
        """Be the world of the loop from now on."""
        self._loop.jobify_runtime = self
        self._loop.configure(self.options)
        self._tasks_before = frozenset(self._loop.living_tasks())
        self._loop.describe_jobs = lambda: describe_pending(self._pending_jobs())
        self._loop.describe_alarm = self._describe_alarm

    def _pending_jobs(self) -> list[Pending]:
        return [pending for pending in self.clock.pending() if pending.job is not None]

    def _describe_alarm(self, timer: asyncio.TimerHandle) -> str:
        """Return whose a timer is; the alarm of a scheduler is that of the job that is due next."""
        if is_of_jobify(timer) and (jobs := self._pending_jobs()):
            return jobs[0].what
        return describe_timer(timer)

    def _turns(self) -> int:
        """Return by how many turns of the loop something is late now."""
        return self._chance.randint(0, _MOST_TURNS) if self.options.order == "random" else 0

    # What an app asks

    def new_id(self) -> str:
        """Return the next id of a reproducible sequence."""
        return f"{self._ids.getrandbits(128):032x}"

    def place(self, number: int) -> int:
        """Return the key that orders a job among those due at the same instant."""
        if self.options.order == "fifo":
            return number
        return -number if self.options.order == "lifo" else self._chance.getrandbits(32) << 48 | number

    def database_path(self, path: Path) -> Path:
        """Return a file of this test: the same for the same path, and not there at first."""
        if self.options.storage == "keep":
            return path
        path = path.resolve()
        if path not in self._paths:
            self._paths[path] = self._private_folder() / f"{next(self._numbers)}-{path.name}"
        return self._paths[path]

    def _private_folder(self) -> Path:
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="jobify-", ignore_cleanup_errors=True)
            self._folder = Path(self._temporary.name)
        elif callable(self._folder):
            self._folder = self._folder()
        return self._folder

    def memory_of(self, rows: T) -> T:
        """Return rows of this test in the place of a storage's own: empty at first."""
        if self.options.storage == "keep":
            return rows
        # The original is kept with its substitute: its id would else be free for another one.
        return cast("T", self._memories.setdefault(id(rows), (rows, type(rows)()))[1])

    def real_work(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Hold time in a `with` block, as a socket does that was written to and not yet read from."""
        return self._loop.hold(what, "socket")

    def before_start(self, job: Job[Any]) -> Awaitable[None] | None:  # noqa: ARG002
        """Have a job start some turns of the loop later, in a random order; else at once."""
        if self.options.order != "random":
            return None
        turns = self._turns()
        return _wait(turns) if turns else None

    def app_started(self, app: StartedApp) -> None:
        """Have the transitions of the app logged."""
        self.transitions.listen(app)
        self._started = app
        self._owners.setdefault(app, []).append(object())

    def run_context(self) -> contextvars.Context:
        """Return a context that says to which start of an app a run, and all that it makes, belongs."""
        owners = self.owners_of(self._started) if self._started is not None else []
        return context_of(owners[-1] if owners else None)

    def owners_of(self, app: StartedApp) -> list[object]:
        """Return what stands for the starts of an app, one after the other."""
        return self._owners.get(app, [])

    # What the hands of the test ask

    def unfinished(self) -> list[Job[Any]]:
        """Return the jobs of all apps that are not done."""
        return [job for app in self.transitions.apps for job in app.local_jobs()]

    def has_more(self) -> bool:
        """Whether jobs of a running app may wait in its storage alone."""
        return any(app.health().has_more for app in self.transitions.apps)

    def ended_runs(self, job_id: str) -> int:
        """Return how many runs of a job have ended."""
        ended = (JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.TIMEOUT)
        return sum(
            isinstance(event, Transition) and event.job_id == job_id and event.status in ended
            for event in self.transitions
        )

    def leftovers(self) -> str:
        """Return the tasks and timers that have come since the start of this world and are still there, a line each.

        What belongs to an app that still runs is background, and does not count.
        """
        tasks = [task for task in self._loop.living_tasks() if self._is_left(task)]
        timers = [describe_timer(timer) for _, timer in foreground_timers(self._loop) if wakes_no_task(timer)]
        return "\n".join([*map(describe_task, tasks), *(f"  a timer of {name}" for name in timers)])

    def _is_left(self, task: asyncio.Task[Any]) -> bool:
        return task not in self._tasks_before and not _is_jobify(task) and owner_of_task(task) is None

    def succeed(self, other: "VirtualRuntime") -> None:
        """Log, from now on, also the apps that were started in another world, as by a fixture of a wider scope."""
        for app in other.transitions.apps:
            self.transitions.listen(app)
        self._owners.update(other._owners)  # noqa: SLF001  # of its own kind

    def close(self) -> None:
        """Log nothing more, let go of abandoned tasks, and remove a temporary folder."""
        self.transitions.close()
        if not self._loop.is_closed():
            self._loop.clear_away()
        if self._temporary is not None:
            self._temporary.cleanup()


def _is_jobify(task: asyncio.Task[Any]) -> bool:
    coroutine: Any = task.get_coro()
    frame = getattr(coroutine, "cr_frame", None)
    return frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "jobify"


async def _wait(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)

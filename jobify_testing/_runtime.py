"""The virtual world: what an app takes from the loop that it runs on."""

import itertools
import random
import tempfile
from collections.abc import Awaitable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from jobify import Job, StartedApp, Workers
from jobify_testing._clock import EPOCH, VirtualClock
from jobify_testing._engine import Engine
from jobify_testing._threads import VirtualWorkers
from jobify_testing._transitions import TransitionLog

T = TypeVar("T")


class VirtualRuntime:
    """Seeded ids and randomness, private databases, workers that take their turn.

    Args:
        loop: the virtual loop.
        start: what the wall clock shows when the loop is at 0.
        seed: of ids and randomness.
        folder: where databases live; a temporary one by default.
        keep: whether storages are used as they are, instead of empty ones in their place.
    """

    def __init__(
        self,
        loop: Engine,
        *,
        start: datetime = EPOCH,
        seed: int = 0,
        folder: Path | None = None,
        keep: bool = False,
    ) -> None:
        self.clock = VirtualClock(loop, start=start)
        self.random = random.Random(seed)  # noqa: S311  # reproducible on purpose
        self.workers: Workers = VirtualWorkers(loop)
        self.transitions = TransitionLog(loop.nanoseconds)
        self._ids = random.Random(f"ids {seed}")  # noqa: S311  # reproducible on purpose
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._keep = keep
        self._paths: dict[Path, Path] = {}
        self._memories: dict[int, tuple[object, object]] = {}
        self._numbers = itertools.count(1)

    def new_id(self) -> str:
        """Return the next id of a reproducible sequence."""
        return f"{self._ids.getrandbits(128):032x}"

    def database_path(self, path: Path) -> Path:
        """Return a file of this test: the same for the same path, and not there at first."""
        if self._keep:
            return path
        path = path.resolve()
        if path not in self._paths:
            self._paths[path] = self._private_folder() / f"{next(self._numbers)}-{path.name}"
        return self._paths[path]

    def _private_folder(self) -> Path:
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="jobify-", ignore_cleanup_errors=True)
            self._folder = Path(self._temporary.name)
        return self._folder

    def memory_of(self, rows: T) -> T:
        """Return rows of this test in the place of a storage's own: empty at first."""
        if self._keep:
            return rows
        # The original is kept with its substitute: its id would else be free for another one.
        return cast("T", self._memories.setdefault(id(rows), (rows, type(rows)()))[1])

    def before_start(self, job: Job[Any]) -> Awaitable[None] | None:  # noqa: ARG002
        """Wait for nothing."""
        return None

    def app_started(self, app: StartedApp) -> None:
        """Have the transitions of the app logged."""
        self.transitions.listen(app)

    def succeed(self, other: "VirtualRuntime") -> None:
        """Log, from now on, also the apps that were started in another world, as by a fixture of a wider scope."""
        for app in other.transitions.apps:
            self.transitions.listen(app)

    def close(self) -> None:
        """Log nothing more, and remove a temporary folder."""
        self.transitions.close()
        if self._temporary is not None:
            self._temporary.cleanup()

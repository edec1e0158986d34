"""`--virtual-check`: whether a test does the same twice.

The second run is made by a twin: another process, with another order of the hashes of text, that has collected
the same tests and runs those on virtual time in the same order. So both runs find what a first run finds: fixtures
and globals that nobody has used. What the twin reports of a test is at hand before the test runs here.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from types import ModuleType, NoneType
from typing import Any, NamedTuple

import pytest

from jobify_testing._pytest_options import is_to_be_checked
from jobify_testing._pytest_reports import WORLD

Fields = dict[str, str]
"""An event as plain text."""

_NO_EVENT: Fields = {}
_SCALARS = (str, int, float, NoneType)  # of which bool is one


class Run(NamedTuple):
    """What was seen of one run of a test.

    Attributes:
        events: what happened to jobs, phase by phase.
        failures: what went wrong, phase by phase.
    """

    events: dict[str, list[Fields]]
    failures: dict[str, str]


class TwinCheck:
    """The plugin that compares each run on virtual time with that of the twin.

    Args:
        asks: whether a test asks for virtual time.
    """

    def __init__(self, asks: Callable[[pytest.Item], bool]) -> None:
        self._asks = asks
        self._twin: Twin | None = None
        self._other: Run | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, bool | None, bool | None]:
        """Have the twin run the test first."""
        if self._asks(item) and is_to_be_checked(item):
            same_examples(item)
            self._twin = self._twin or Twin(item.config)
            self._other = self._twin.run(item.nodeid, nextitem.nodeid if nextitem is not None else None)
        try:
            return (yield)
        finally:
            self._other = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Have a phase of a test that has not done what the twin did reported as failed.

        A wrapper of the phase itself would be seen in the tracebacks of all tests.
        """
        if call.excinfo is None and self._other is not None:
            try:
                self._compare(item, call.when, self._other)
            except pytest.fail.Exception:
                call.excinfo = pytest.ExceptionInfo.from_current()
        if call.excinfo is not None:
            self._other = None  # once is enough
        return (yield)

    def _compare(self, item: pytest.Item, phase: str, other: Run) -> None:
        failure = other.failures.get(phase)
        difference = f"in another process it failed\n{failure}" if failure is not None else None
        if difference is None and WORLD in item.stash:
            difference = first_difference(events_of(item), other.events.get(phase, []))
        if difference is not None:
            pytest.fail(
                f"the same test with the same seed, run twice, has not done the same twice: {difference}\n"
                "Look for time, randomness, ids or the order of a set that do not come from the virtual world.",
                pytrace=False,
            )

    def pytest_sessionfinish(self) -> None:
        """Let the twin end its session, too."""
        if self._twin is not None:
            self._twin.close()


class Twin:
    """The other process: pytest, as it was started here, with `_pytest_twin` as one more plugin.

    Args:
        config: of this process.
    """

    def __init__(self, config: pytest.Config) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, line = context.Pipe()
        arguments = ["-p", "jobify_testing._pytest_twin", *map(str, config.invocation_params.args)]
        # No function of ours: pytest is to import the plugin, and not to find it imported already.
        self._process = context.Process(target=pytest.main, args=(arguments, [line]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONHASHSEED", _other_hash_seed())
            patch.chdir(config.invocation_params.dir)
            # Else the process would import the main module of this one, which may be a script that runs pytest.
            patch.setitem(sys.modules, "__main__", ModuleType("__main__"))
            self._process.start()
        line.close()
        chosen = {name: value for name, value in vars(config.option).items() if isinstance(value, _SCALARS)}
        self._line.send((chosen, getattr(config, "workerinput", None)))

    def run(self, nodeid: str, next_nodeid: str | None) -> Run:
        """Have a test run, and torn down as far as the one that follows wants it; return what was seen."""
        try:
            self._line.send((nodeid, next_nodeid))
            run: Run = self._line.recv()
        except (EOFError, OSError):
            self._process.join()
            return Run({}, {"setup": f"that process has ended, with exit code {self._process.exitcode}"})
        return run

    def close(self) -> None:
        """Have the process end its session."""
        self._line.close()
        self._process.join()
        self._process.close()


def _other_hash_seed() -> str:
    own = os.environ.get("PYTHONHASHSEED", "")
    return str((int(own) + 1) % 1000) if own.isdigit() else "1"


def same_examples(item: pytest.Item) -> None:
    """Have hypothesis try the same examples in both processes."""
    function: Any = getattr(item, "function", None)
    if getattr(function, "is_hypothesis_test", False):
        import hypothesis  # noqa: PLC0415  # the test has imported it

        hypothesis.seed(0)(function)


def events_of(item: pytest.Item) -> list[Fields]:
    """Return what has happened to the jobs of a test, without what differs for no reason: the address in an error."""
    events: list[Fields] = []
    for event in item.stash[WORLD].transitions:
        fields = event._asdict() if isinstance(event, tuple) else asdict(event)
        if fields.get("error") is not None:
            fields["error"] = type(fields["error"])
        events.append({name: str(value) for name, value in fields.items()})
    return events


def first_difference(here: Sequence[Fields], there: Sequence[Fields]) -> str | None:
    """Return in words where two records differ; None if they are alike."""
    for number, (one, other) in enumerate(zip_longest(here, there, fillvalue=_NO_EVENT), 1):
        if one != other:
            name = f"event {number}, {' '.join((one or other).get(name, '') for name in ('task', 'status')).strip()}"
            if not one or not other:
                return f"{name}, happened only {'here' if one else 'in another process'}"
            different = [field for field in one | other if one.get(field) != other.get(field)]
            rows = [f"  {field}: {one.get(field)} here, {other.get(field)} in another process" for field in different]
            return "\n".join([f"{name}, has", *rows])
    return None

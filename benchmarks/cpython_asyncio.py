"""CPython's own tests of asyncio, on virtual time: the loops that they make are all a `VirtualLoop`.

    python benchmarks/cpython_asyncio.py [test_tasks test_server ...] [--verbose]

The tests are those of the Python that runs this, from its package `test`. Each module runs in a process of its
own, in which every way to a loop leads to ours before the module is imported: the default policy,
`asyncio.new_event_loop`, `asyncio.SelectorEventLoop` (also with a selector that the test has made),
`asyncio.EventLoop`, `asyncio.BaseEventLoop` with its mocked selector, and the `TestLoop` of the tests, whose
generator says which timers it expects and moves time by hand.

That ours was used is counted, not believed: the virtual loops and all others, the callbacks that were taken
from the queue of a virtual one, and how often time moved. A module without any of these fails; so does a test
that is not expected to fail, and one that is, and passes.
"""

import argparse
import asyncio
import asyncio.base_events
import contextlib
import fnmatch
import importlib
import importlib.util
import io
import json
import subprocess
import sys
import time
import unittest
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextvars import Context
from dataclasses import asdict, dataclass, field
from typing import Any
from unittest import mock

from jobify_testing import VirtualLoop, VirtualOptions

MODULES = (
    "test_futures", "test_futures2", "test_tasks", "test_eager_task_factory", "test_taskgroups", "test_timeouts",
    "test_waitfor", "test_staggered", "test_locks", "test_queues", "test_context", "test_pep492", "test_threads",
    "test_runners", "test_streams", "test_buffered_proto", "test_server", "test_sock_lowlevel", "test_sendfile",
    "test_ssl", "test_sslproto", "test_subprocess", "test_unix_events", "test_base_events", "test_events",
)  # fmt: skip

_SILENT_PEER = (
    "a real peer keeps silent in a TLS handshake until real time has passed; here time waits for the handshake"
)

EXPECTED = {
    "test_tasks.*.test_stop_while_run_in_complete": (
        "TestLoop moves time to the next timer once more when the loop was stopped already; ours stops at that instant"
    ),
    "test_tasks.*.test_issue46672": (
        "it patches call_exception_handler of BaseEventLoop, and asks the loop for the mock; ours has its own"
    ),
    "test_runners.*.test_interrupt_call_soon": (
        "the main task yields without end, and a timer is to interrupt it when real time has passed; here none passes"
    ),
    "test_ssl.*.test_create_connection_ssl_slow_handshake": _SILENT_PEER,
    "test_ssl.*.test_handshake_timeout_handler_leak": _SILENT_PEER,
    "test_ssl.*.test_ssl_handshake_timeout": _SILENT_PEER,
    "test_ssl.*.test_start_tls_slow_client_cancel": _SILENT_PEER,
    "test_sslproto.*.test_create_connection_ssl_slow_handshake": _SILENT_PEER,
    "test_sslproto.*.test_handshake_timeout": _SILENT_PEER,
    "test_sslproto.*.test_start_tls_slow_client_cancel": _SILENT_PEER,
    "test_subprocess.*.test_kill_issue43884": (
        "a sleep of 1 s is to end before the child, which takes two real seconds; here time waits for the child"
    ),
}
"""Which tests fail, and why that is right: they ask for private attributes, or for real time to pass."""

LEFT_OUT = {
    "test_events.*.test_signal_handling_*": (
        "an alarm of the system is to come before 60 s have passed; those pass at once, and the alarm kills the process"
    ),
}
"""Which tests are not run, and why."""

KEEP_TEST_LOOP = ("test_unix_events",)
"""Which modules keep `TestLoop`: they look into its table of readers, and time does not matter there."""

OPTIONS = VirtualOptions(patience=10)
"""Some expected failures take all of the patience, which is 30 s by default."""

MODULE_SECONDS = 300.0
"""Real seconds that the tests of one module may take."""


# In the process of one module


@dataclass
class Outcome:
    """What became of the tests of one module; a failure is the id of the test, and the traceback.

    Attributes:
        expected: the ids of the tests that ran and should fail.
    """

    run: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    errors: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    skipped: int = 0
    expected: list[str] = field(default_factory=list[str])
    all_loops: int = 0
    virtual_loops: int = 0
    callbacks: int = 0
    moves: int = 0


outcome = Outcome()


class Counted(deque[asyncio.Handle]):
    """The queue of a loop, which counts what is taken out of it to be run."""

    def popleft(self) -> asyncio.Handle:
        """Take the next callback."""
        outcome.callbacks += 1
        return super().popleft()


class Ours(VirtualLoop):
    """A virtual loop that counts, and can be made like a `SelectorEventLoop`."""

    def __init__(self, selector: object = None) -> None:
        with contextlib.ExitStack() as patches:
            if selector is not None:
                patches.enter_context(mock.patch("selectors.DefaultSelector", return_value=selector))
            super().__init__(OPTIONS)
        self._ready = Counted()
        self._mocked: dict[str, Any] = {}
        outcome.virtual_loops += 1

    def _move_to(self, when: int) -> None:
        outcome.moves += 1
        super()._move_to(when)


class Whole(Ours):
    """Stands for a `BaseEventLoop`, which tests complete with a mocked selector: it has a real one, and uses that."""

    _COMPLETIONS = ("_selector", "_process_events", "_write_to_self")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._COMPLETIONS and isinstance(value, mock.Mock):
            self._mocked[name] = self.__dict__.get(name)
        super().__setattr__(name, value)

    def _unmock(self) -> None:
        for name, own in self._mocked.items():
            if own is None:
                del self.__dict__[name]
            else:
                self.__dict__[name] = own
        self._mocked.clear()

    def run_forever(self) -> None:
        """Run, on the real selector."""
        self._unmock()
        super().run_forever()

    def close(self) -> None:
        """Close the real selector."""
        self._unmock()
        super().close()


class Expecting(Ours):
    """Stands for a `TestLoop`: its generator is told of the timers, as always, but does not move time."""

    def __init__(self, generator: Callable[[], Generator[object, float, None]] | None = None) -> None:
        super().__init__()
        self._set: list[float] = []
        self._expectation = generator() if generator else None
        if self._expectation:
            next(self._expectation)

    def call_at_nanoseconds(
        self, when: int, callback: Callable[..., object], args: tuple[Any, ...] = (), context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer, and remember it."""
        self._set.append(when / 1e9)
        return super().call_at_nanoseconds(when, callback, args, context)

    def advance_time(self, seconds: float) -> None:
        """Move time by hand, between two runs."""
        self.block(round(seconds * 1e9))

    def _run_once(self) -> None:
        super()._run_once()
        timers, self._set = self._set, []
        for when in timers:
            if self._expectation:
                self._expectation.send(when)

    def close(self) -> None:
        """Close, and fail if timers are missing."""
        super().close()
        if self._expectation:
            with contextlib.suppress(StopIteration):
                self._expectation.send(0)
                raise AssertionError("the generator of the test expects further timers")  # noqa: EM101, TRY003  # read by us alone


def make_ours_the_default() -> None:
    """Have every way to a loop lead to ours."""
    base: Any = asyncio.base_events.BaseEventLoop
    make_any = base.__init__

    def count_and_make(loop: object) -> None:
        outcome.all_loops += 1
        make_any(loop)

    base.__init__ = count_and_make
    platform = sys.modules[asyncio.SelectorEventLoop.__module__]
    for module in (asyncio, platform):
        for name in ("SelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, Ours)
    policies: list[Any] = list(vars(platform).values())
    for policy in policies:
        if isinstance(policy, type) and "_loop_factory" in vars(policy):
            setattr(policy, "_loop_factory", Ours)  # noqa: B010  # types have no such attribute, says a checker
    asyncio.BaseEventLoop = Whole  # type: ignore[misc]  # only the name that tests use


def run_tests(name: str) -> None:
    """Run the tests of one module, and print the outcome as the last line."""
    make_ours_the_default()
    if name not in KEEP_TEST_LOOP:
        utilities: Any = importlib.import_module("test.test_asyncio.utils")
        utilities.TestLoop = Expecting
    module = importlib.import_module(f"test.test_asyncio.{name}")
    suite = unittest.TestSuite(
        test
        for test in tests_in(unittest.defaultTestLoader.loadTestsFromModule(module))
        if reason_for(test.id(), LEFT_OUT) is None
    )
    ids = [test.id() for test in tests_in(suite)]
    result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    outcome.run = result.testsRun
    outcome.failures = [(id_of(test), traceback) for test, traceback in result.failures]
    outcome.errors = [(id_of(test), traceback) for test, traceback in result.errors]
    outcome.skipped = len(result.skipped)
    skipped = {id_of(test) for test, _ in result.skipped}
    outcome.expected = [test for test in ids if reason_for(test, EXPECTED) and test not in skipped]
    print(json.dumps(asdict(outcome)), flush=True)


def tests_in(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """Yield single tests, in their order, by which the fixtures of modules and classes still go."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_in(test)
        else:
            yield test


def id_of(test: Any) -> str:
    """Return the id of a test, also of one that failed in a subtest."""
    return str(getattr(test, "test_case", test).id())


def reason_for(test_id: str, reasons: dict[str, str]) -> str | None:
    """Return why a test is in a list; None if it is not."""
    short = test_id.removeprefix("test.test_asyncio.")
    return next((reason for pattern, reason in reasons.items() if fnmatch.fnmatchcase(short, pattern)), None)


# In the process that was asked for


def outcome_of(name: str) -> Outcome | str:
    """Run one module in a fresh interpreter, and return its outcome, or why there is none."""
    command = [sys.executable, __file__, "--run", name]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=MODULE_SECONDS, check=False)  # noqa: S603  # our own interpreter
    except subprocess.TimeoutExpired:
        return f"has not ended within {MODULE_SECONDS:g} real seconds"
    try:
        return Outcome(**json.loads(process.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        return f"has died with status {process.returncode}:\n{process.stderr[-2000:]}"


def complaints_about(name: str, outcome: Outcome) -> list[tuple[str, str]]:
    """Return what is not as it should be, each with a traceback, or nothing."""
    failed = dict(outcome.failures) | dict(outcome.errors)
    unexpected = [(test, text) for test, text in failed.items() if reason_for(test, EXPECTED) is None]
    others = [(f"{test} is expected to fail, and passes", "") for test in outcome.expected if test not in failed]
    if not (outcome.virtual_loops and outcome.callbacks):
        others.append((f"{name} has used no virtual loop", ""))
    return unexpected + others


def show(name: str, *columns: object) -> None:
    """Print one line of the table."""
    print(f"{name:26}" + "".join(f"{column!s:>10}" for column in columns), flush=True)


def check(name: str, *, verbose: bool) -> bool:
    """Run one module, print its line and what is wrong, and return whether nothing is."""
    began = time.perf_counter()
    result = outcome_of(name)
    if isinstance(result, str):
        show(name)
        print(f"  {result}")
        return False
    failed = [test for test, _ in result.failures + result.errors]
    expected = sum(test in result.expected for test in failed)
    others = result.all_loops - result.virtual_loops
    show(
        name, result.run, len(result.failures), len(result.errors), expected, result.skipped,
        result.virtual_loops, others, result.callbacks, result.moves, f"{time.perf_counter() - began:.1f}",
    )  # fmt: skip
    complaints = complaints_about(name, result)
    for what, traceback in complaints:
        last = traceback.strip().splitlines()[-1:] or [""]
        print(f"  {what.removeprefix('test.test_asyncio.')}: {last[0][:160]}")
        if verbose:
            print(traceback)
    return not complaints


def main() -> None:
    """Run all modules, or some, and exit with 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description="CPython's tests of asyncio, on virtual loops.")
    parser.add_argument("modules", nargs="*", default=MODULES)
    parser.add_argument("--verbose", action="store_true", help="print tracebacks")
    parser.add_argument("--run", metavar="MODULE", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        run_tests(chosen.run)
        return
    there = [name for name in chosen.modules if importlib.util.find_spec(f"test.test_asyncio.{name}")]
    print(f"Python {sys.version.split()[0]}, {sys.platform}")
    show("module", "run", "failures", "errors", "expected", "skipped", "virtual", "others", "callbacks", "moves", "s")
    good = [check(name, verbose=chosen.verbose) for name in there]
    print(f"{sum(good)} of {len(good)} modules are as they should be")
    for reasons, verb in ((EXPECTED, "expected to fail"), (LEFT_OUT, "left out")):
        for pattern, reason in reasons.items():
            if pattern.partition(".")[0] in there:
                print(f"{verb}: {pattern}: {reason}")
    sys.exit(not all(good))


if __name__ == "__main__":
    main()

"""Fresh projects to run pytest in, for the tests of the plugin."""

import pytest

CONFIGURATION = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

PROGRAM = """
import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from jobify import Jobify, JobStatus, Retry
from jobify.storage import MemoryStorage, SQLiteStorage
from jobify_testing import VirtualLoop

START = datetime(2026, 1, 1, tzinfo=UTC)


def clocks():
    return datetime.now(UTC), time.time(), asyncio.get_event_loop().time()


def at(seconds):
    return START + timedelta(seconds=seconds), START.timestamp() + seconds, seconds


async def hour_passes():
    assert type(asyncio.get_running_loop()) is VirtualLoop
    assert clocks() == at(0)
    await asyncio.sleep(3600)
    assert clocks() == at(3600)
"""


def make(pytester: pytest.Pytester, *source: str, **files: str) -> None:
    """Make a project of a program and its tests: of one file with a name of its own, and of files by name."""
    pytester.makeini(CONFIGURATION)
    pytester.makepyfile(program=PROGRAM)
    pytester.makepyfile(*source, **files)


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the tests of a project, as at a desk: in CI, pytest says more of what differs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "BUILD_NUMBER"):
            patch.delenv(name, raising=False)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def line_of(pytester: pytest.Pytester, text: str) -> int:
    """Return the number of the line of the tests of a project that has a text."""
    (tests,) = pytester.path.glob("test_*.py")
    return 1 + [text in line for line in tests.read_text().splitlines()].index(True)

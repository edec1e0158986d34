"""The real clock in each way that this Python has here."""

import gc
import sys
from collections.abc import Iterator

import pytest

from jobify import SystemClock
from jobify._alarm_book import AlarmBook
from tests.real_clock.axis import PRECISE, WAYS, Axis, descriptors


@pytest.fixture(params=WAYS)
def clock(request: pytest.FixtureRequest) -> SystemClock:
    """A clock, in each way that this Python has here."""
    return SystemClock(_book=AlarmBook(WAYS[request.param]))


@pytest.fixture(params=PRECISE)
def precise(request: pytest.FixtureRequest) -> SystemClock:
    """A clock with timer descriptors."""
    return SystemClock(_book=AlarmBook(PRECISE[request.param]))


@pytest.fixture(params=["monotonic", "wall"])
async def axis(request: pytest.FixtureRequest, clock: SystemClock) -> Axis:
    """Either axis, of each clock."""
    return Axis(clock, request.param)


@pytest.fixture(params=["monotonic", "wall"])
async def precise_axis(request: pytest.FixtureRequest, precise: SystemClock) -> Axis:
    """Either axis, of each clock with timer descriptors."""
    return Axis(precise, request.param)


@pytest.fixture
def before() -> Iterator[int]:
    """The descriptors that are open before the test; those of an earlier test are collected."""
    gc.collect()
    yield descriptors() if sys.platform == "linux" else 0
    gc.collect()

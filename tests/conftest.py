"""What the tests of jobify share: an app on virtual time, with each of the storages."""

import os

import pytest
from hypothesis import settings

from jobify import Jobify
from jobify.storage import MemoryStorage, SQLiteStorage, Storage
from jobify_testing import VirtualClock

settings.register_profile("default", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest) -> Storage:
    """A storage of each kind; under virtual time it is empty at the start of each test."""
    return MemoryStorage() if request.param == "memory" else SQLiteStorage("jobs.db")


@pytest.fixture
def app(storage: Storage, virtual_clock: VirtualClock) -> Jobify:
    """An app on virtual time."""
    return Jobify(storage=storage)

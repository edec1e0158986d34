"""What the tests of jobify share: an app on virtual time, with each of the storages."""

import gc
import importlib
import importlib.metadata
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.internal.conjecture import providers

from jobify import Jobify
from jobify.storage import MemoryStorage, SQLiteStorage, Storage
from jobify_testing import VirtualClock
from tests.interpreters import interpreter
from tests.postgres import database, postgres_server

__all__ = ["database", "interpreter", "postgres_server"]

settings.register_profile("default", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

if settings().derandomize:
    # No example is kept then, and what is read of Unicode is the same for all: it is kept outside of this folder.
    set_hypothesis_home_dir(Path(tempfile.gettempdir(), f"jobify-hypothesis-{os.getuid()}"))
    # The constants of all sources that are imported by then take part in the examples: these would else differ from one
    # process of tests to the other, and with the order of the tests. No setting turns that off.
    setattr(providers, "_get_local_constants", lambda: providers.GLOBAL_CONSTANTS)  # noqa: B010  # private


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Have one process of tests more than there are cores: while some wait for real processes, others compute."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the tests that are left to who has none: some files have all that take long."""
    scheduler = importlib.import_module("xdist.scheduler")
    return scheduler.WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over what stays to the end: two thousand tests, and their modules."""
    gc.collect()
    gc.freeze()


class _Installed:
    """A distribution whose metadata are read once: pytest reads those of all of them each time that it starts."""

    def __init__(self, distribution: importlib.metadata.Distribution) -> None:
        self._distribution = distribution

    def __getattr__(self, name: str) -> Any:
        vars(self)[name] = value = getattr(self._distribution, name)
        return value


_INSTALLED = [_Installed(distribution) for distribution in importlib.metadata.distributions()]


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A fresh project, whose modules are not compiled for later: they are gone then."""
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: _INSTALLED)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return pytester


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest) -> Storage:
    """A storage of each kind; under virtual time it is empty at the start of each test."""
    return MemoryStorage() if request.param == "memory" else SQLiteStorage("jobs.db")


@pytest.fixture
def app(storage: Storage, virtual_clock: VirtualClock) -> Jobify:
    """An app on virtual time."""
    return Jobify(storage=storage)

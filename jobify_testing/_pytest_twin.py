"""The other process of `--virtual-check`: runs the tests that it is asked for, and tells what it has seen.

A plugin for the pytest of that process. What it is asked comes over the connection that is among the plugins.
"""

import contextlib
import multiprocessing
import os
from collections.abc import Generator, Mapping
from typing import Any

import pytest

from jobify_testing._pytest_check import Run, events_of, same_examples
from jobify_testing._pytest_reports import WORLD

_RUN = pytest.StashKey[Run]()
"""What is seen of the run of a test."""

_OFF: Mapping[str, Any] = {
    # What the first process does for both.
    "virtual_check": False,
    "xmlpath": None,
    "log_file": None,
    "pastebin": None,
    "usepdb": False,
    "trace": False,
    # What would choose other tests, or end the session early.
    "lf": False,
    "failedfirst": False,
    "newfirst": False,
    "stepwise": False,
    "stepwise_skip": False,
    "maxfail": 0,
    # What would be deleted.
    "basetemp": None,
    "cacheclear": False,
    # What would spread the tests over further processes.
    "numprocesses": None,
    "dist": "no",
    "distload": False,
    "looponfail": False,
    "tx": [],
}
"""The options, of pytest and of xdist, that are not for this process."""


def pytest_addoption() -> None:
    """Say nothing on the terminal of the first process: as the first of all hooks, before pytest puts output aside."""
    for number in (1, 2) if multiprocessing.parent_process() is not None else ():
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a name, not a path
            os.dup2(nowhere.fileno(), number)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Have the options, and the place in xdist, of the first process."""
    chosen, inputs = _line_of(config).recv()
    known = vars(config.option)
    known.update({name: value for name, value in {**chosen, **_OFF}.items() if name in known})
    if inputs is not None:
        vars(config).update(workerinput=inputs, workeroutput={})
    return (yield)


def _line_of(config: pytest.Config) -> Any:
    return next(plugin for plugin in config.pluginmanager.get_plugins() if hasattr(plugin, "recv_bytes"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run what is asked for, until nothing is asked any more."""
    line = _line_of(session.config)
    for name in ("lfplugin", "nfplugin"):  # they would note what has failed here
        session.config.pluginmanager.unregister(name=name)
    items = {item.nodeid: item for item in session.items}
    while True:
        try:
            nodeid, next_nodeid = line.recv()
        except EOFError:
            return True
        line.send(_run(session, items.get(nodeid), items.get(next_nodeid)))


def _run(session: pytest.Session, item: pytest.Item | None, nextitem: pytest.Item | None) -> Run:
    if item is None:
        return Run({}, {"setup": "there is no test of that id: ids, or what is collected, are not always the same"})
    run = item.stash[_RUN] = Run({}, {})
    same_examples(item)
    # Behind the last one, tests that are not on virtual time may have run in the first process: it has the errors.
    with contextlib.suppress(Exception, pytest.fail.Exception):
        session._setupstate.teardown_exact(item)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as rerun plugins do
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    return run


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what was seen in a phase of a test, while its virtual world is at hand."""
    report = yield
    run = item.stash[_RUN]
    if report.failed:
        run.failures[str(report.when)] = report.longreprtext
    if WORLD in item.stash:
        run.events[str(report.when)] = events_of(item)
    return report

"""What a failed test on virtual time says more than others: the timeline, the instant, and how to see it again."""

import sys
from typing import TYPE_CHECKING, Any

import pytest

from jobify_testing._pytest_options import command_to_repeat

if TYPE_CHECKING:
    from jobify_testing._runtime import VirtualRuntime

WORLD = pytest.StashKey["VirtualRuntime"]()
"""The virtual world of a test that has one, until its last report is made."""

CALLED = pytest.StashKey[bool]()
"""Whether a test on virtual time is being called: what its fixtures do is their own business."""

_UNEXPECTED = pytest.StashKey[list[str]]()
"""The timelines that were compared in the current phase of a test, and were not as expected."""

_LAST_EVENTS = 20


def explain_comparison(config: pytest.Config, operator: str, left: object, right: object) -> list[str] | None:
    """Return how two timelines differ, if that is what was compared, and keep the actual one to be pasted."""
    timelines = sys.modules.get("jobify_testing._timeline")
    if timelines is None or operator != "==" or not isinstance(left, str) or not isinstance(right, str):
        return None
    if isinstance(left, timelines.Timeline):
        actual, expected = left, right
    elif isinstance(right, timelines.Timeline):
        actual, expected = right, left
    else:
        return None
    config.stash.setdefault(_UNEXPECTED, []).append(timelines.indent_as(expected, actual))
    lines: list[str] = timelines.explain_difference(actual, expected)
    return lines


def add_sections(item: pytest.Item, report: pytest.TestReport) -> None:
    """Add to the report of a failed test the timelines it did not expect, and what its virtual world knows."""
    texts = item.config.stash.setdefault(_UNEXPECTED, [])
    if report.failed:
        report.sections += [("timeline, to be pasted", text) for text in texts]
        if texts:
            vars(report)["virtual_timelines"] = list(texts)  # an attribute that a worker sends along
        if WORLD in item.stash:
            report.sections.append(("virtual time", _describe(item, item.stash[WORLD])))
    texts.clear()
    if report.when == "teardown" and WORLD in item.stash:
        del item.stash[WORLD]  # items live as long as the session


def _describe(item: pytest.Item, world: "VirtualRuntime") -> str:
    options, clock, log = world.options, world.clock, world.transitions
    instant = f"{clock.now().isoformat()}, {clock.monotonic():.15g} s of the loop"
    lines = [
        f"It was {instant}, in {options.mode} mode; order {options.order}, seed {options.seed}.",
        f"To see it again: {command_to_repeat(item, options)}",
    ]
    if log.began and options.mode != "real":
        lines.append(
            f"It began at {log.began:.15g} s of a loop that it shares: alone, it begins where its fixtures do."
        )
    if len(log):
        more = len(log) > _LAST_EVENTS
        lines.append(f"The last {_LAST_EVENTS} of {len(log)} events:" if more else "What happened:")
        lines += log.tail(_LAST_EVENTS).splitlines()
    return "\n".join(lines)


def print_timelines(terminal: Any) -> None:
    """Print the timelines that failed tests did not expect."""
    reports = [report for outcome in ("failed", "error") for report in terminal.stats.get(outcome, ())]
    texts = [(report.nodeid, text) for report in reports for text in getattr(report, "virtual_timelines", ())]
    if texts:
        terminal.write_sep("=", "timelines, to be pasted")
    for nodeid, text in texts:
        terminal.write_sep("_", nodeid)
        terminal.write_line(text)

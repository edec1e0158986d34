"""The rules of the house that no linter knows: who reads time, how large a room is, what is public."""

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import jobify
import jobify.serializers
import jobify.storage
import jobify_testing

ROOT = Path(__file__).parent.parent
MODULES = sorted([*(ROOT / "jobify").rglob("*.py"), *(ROOT / "jobify_testing").rglob("*.py")])
CLOCKWORK = {"_alarm_book.py", "_alarms.py", "_clock.py", "_timerfd.py"}
"""The modules of jobify that read time and set the timers of a loop."""

TIMERS = {"call_at", "call_later", "sleep", "wait_for", "timeout", "timeout_at"}


def calls_of(module: Path) -> list[tuple[int, str, str]]:
    """Return line, owner and name of each call of a method in a module."""
    return [
        (node.lineno, ast.unparse(node.func.value), node.func.attr)
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]


@pytest.mark.parametrize("module", [module for module in MODULES if module.parent.name != "jobify_testing"], ids=str)
def test_time_is_read_in_one_place(module: Path) -> None:
    """Outside of the clock no module of jobify asks a loop for the time, or for a timer; it asks the clock."""
    if module.name in CLOCKWORK:
        return
    strangers = [
        (line, f"{owner}.{name}()")
        for line, owner, name in calls_of(module)
        if (name in TIMERS and "clock" not in owner) or (name == "time" and "loop" in owner)
    ]
    assert strangers == []


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines the body of a function has, without its docstring."""
    body = [step for step in node.body if not (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))]
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_rooms_stay_small(module: Path) -> None:
    """A file of the packages stays under 320 lines, and a function under 40."""
    text = module.read_text()
    assert len(text.splitlines()) <= 320
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [node.name for node in functions if length_of(node) > 40] == []


@pytest.mark.parametrize(
    "package", [jobify, jobify.storage, jobify.serializers, jobify_testing], ids=lambda package: package.__name__
)
def test_what_is_public_is_sorted_and_explained(package: ModuleType) -> None:
    """Each public name exists, has a docstring of its own, and stands in `__all__` once and in order."""
    names: list[str] = package.__all__
    assert names == sorted(set(names))
    for name in names:
        value = getattr(package, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
            assert not value.__doc__.startswith(f"{name}("), name

"""Declaring tasks: functions, names, options, and what is refused."""

import asyncio
import functools
import inspect
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobify import (
    ApplicationStateError,
    Cron,
    DuplicateTaskError,
    InvalidArgumentsError,
    InvalidScheduleError,
    Jobify,
    RunMode,
    Task,
    TaskDefinitionError,
)
from jobify.storage import MemoryStorage
from jobify_testing import VirtualClock


def bare_app() -> Jobify:
    """Return an app that nothing is asked of but to know tasks."""
    return Jobify(storage=MemoryStorage())


def test_an_app_is_made_without_a_loop() -> None:
    """An app and its tasks can be made at import time, with no event loop running."""
    app = bare_app()

    @app.task
    async def nothing() -> None: ...

    assert isinstance(nothing, Task)
    assert "1 tasks" in repr(app)


def test_a_task_stays_callable_like_its_function() -> None:
    """A task is called like the function it was made of, and looks like it."""
    app = bare_app()

    @app.task
    async def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    @app.task(retry=3)
    def triple(n: int) -> int:
        return 3 * n

    assert asyncio.run(double(21)) == 42
    assert triple(14) == 42
    assert (getattr(double, "__name__", None), double.__doc__) == ("double", "Double a number.")
    assert getattr(double, "__wrapped__", None) is double.function
    assert repr(double) == f"<Task {double.name!r}>"


def test_a_name_is_module_and_qualname() -> None:
    """The name of a task says where its function is defined, also inside of another."""
    app = bare_app()

    @app.task
    async def inner() -> None: ...

    assert inner.name == f"{__name__}:test_a_name_is_module_and_qualname.<locals>.inner"


def test_a_name_can_be_given() -> None:
    """`name=` is the name."""
    assert bare_app().task(lambda: None, name="anonymous").name == "anonymous"


@pytest.mark.parametrize("name", ["", 5, b"x"])
def test_refuses_what_is_no_name(name: str) -> None:
    """A name is a non-empty str."""
    with pytest.raises(TaskDefinitionError, match="non-empty str"):
        bare_app().task(lambda: None, name=name)


def test_a_taken_name_is_refused() -> None:
    """Two tasks of one name are refused, by the given name and by the made one."""
    app = bare_app()

    def define() -> None:
        @app.task
        async def same() -> None: ...

    define()
    with pytest.raises(DuplicateTaskError, match="name="):
        define()
    app.task(lambda: None, name="x")
    with pytest.raises(DuplicateTaskError, match="'x'"):
        app.task(lambda: None, name="x")


PROGRAM = """
from jobify import Jobify
from jobify.storage import MemoryStorage

app = Jobify(storage=MemoryStorage())

@app.task
async def work() -> None: ...

print(work.name)
"""


@pytest.mark.slow
def test_a_name_is_the_same_however_the_module_is_run(tmp_path: Path) -> None:
    """A task has one name whether its module is imported, run with -m, or run as a script."""
    package = tmp_path / "bots" / "daily"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "reminders.py").write_text(PROGRAM)
    (tmp_path / "single.py").write_text(PROGRAM)

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S603  # ours
        return process.stdout.strip()

    assert {
        run("-c", "import bots.daily.reminders"),
        run("-m", "bots.daily.reminders"),
        run("bots/daily/reminders.py"),
        run(str(package / "reminders.py")),
    } == {"bots.daily.reminders:work"}
    assert {run("-c", "import single"), run("-m", "single"), run("single.py")} == {"single:work"}


def test_run_modes() -> None:
    """`async def` runs on the loop, `def` in a thread, unless it says otherwise."""
    app = bare_app()

    async def coroutine() -> None: ...

    def function() -> None: ...

    assert app.task(coroutine).run_mode is RunMode.MAIN
    assert app.task(function).run_mode is RunMode.THREAD
    assert app.task(function, name="main", run_mode=RunMode.MAIN).run_mode is RunMode.MAIN
    assert app.task(function, name="main by word", run_mode="main").run_mode is RunMode.MAIN  # type: ignore[call-overload]  # a word will do


@pytest.mark.parametrize("mode", [RunMode.THREAD, RunMode.PROCESS])
def test_a_coroutine_function_runs_on_the_loop_only(mode: RunMode) -> None:
    """`async def` in a thread or process is refused when it is registered."""

    async def coroutine() -> None: ...

    with pytest.raises(TaskDefinitionError, match="on the loop"):
        bare_app().task(coroutine, run_mode=mode)


def test_an_unknown_run_mode_is_refused() -> None:
    """A run mode is one of three words."""
    with pytest.raises(TaskDefinitionError, match="'fiber'"):
        bare_app().task(lambda: None, name="x", run_mode="fiber")  # type: ignore[call-overload]  # a user may pass anything


def test_what_no_process_can_import_is_refused() -> None:
    """A process task that cannot be found by its name is refused when it is registered."""
    app = bare_app()

    def inner() -> None: ...

    functions: list[tuple[Callable[[], None], str]] = [
        (inner, "inside a function"),
        (lambda: None, "lambda"),
        (functools.partial(print), "name of its own"),
    ]
    for function, reason in functions:
        with pytest.raises(TaskDefinitionError, match=reason):
            app.task(function, name="x", run_mode=RunMode.PROCESS)


def test_what_is_no_function_is_refused() -> None:
    """Only what can be called, returns, and has a signature can be a task."""
    app = bare_app()

    def generator() -> Iterator[None]:
        yield

    async def async_generator() -> AsyncIterator[None]:
        yield

    functions: list[tuple[Any, str]] = [
        (5, "not a function"),
        (generator, "generator"),
        (async_generator, "generator"),
        (functools.partial(print), "no name"),
        (dict, "signature"),
    ]
    for function, reason in functions:
        with pytest.raises(TaskDefinitionError, match=reason):
            app.task(function)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"timeout": 0}, TaskDefinitionError, "timeout of 0"),
        ({"timeout": -1}, InvalidScheduleError, "timeout"),
        ({"timeout": float("nan")}, InvalidScheduleError, "timeout"),
        ({"retry": -1}, InvalidScheduleError, "whole number"),
        ({"retry": True}, InvalidScheduleError, "whole number"),
        ({"retry": "3"}, InvalidScheduleError, "whole number"),
        ({"cron": "* * * * *", "every": 5}, TaskDefinitionError, "more than one"),
        ({"cron": "nonsense"}, InvalidScheduleError, "nonsense"),
        ({"every": 0}, InvalidScheduleError, "interval"),
        ({"cron": Cron("* * * * *", args=(1,))}, InvalidArgumentsError, "too many"),
        ({"every": 5, "nonsense": 1}, TypeError, "nonsense"),
    ],
)
def test_refuses_options_that_cannot_be_used(options: dict[str, Any], error: type[Exception], word: str) -> None:
    """An option that cannot be used is refused when the task is registered."""
    app = bare_app()

    async def nothing() -> None: ...

    with pytest.raises(error, match=word):
        app.task(nothing, **options)
    app.task(nothing)


def test_a_declaration_needs_the_arguments_of_its_function() -> None:
    """A declared recurrence that could not call its function is refused when it is registered."""

    async def greet(name: str) -> None: ...

    with pytest.raises(InvalidArgumentsError, match="name"):
        bare_app().task(greet, cron="* * * * *")


def test_metadata_is_the_users_own() -> None:
    """`metadata` is kept, and cannot be changed by accident."""
    task = bare_app().task(lambda: None, name="x", metadata={"team": "blue"})
    assert task.metadata == {"team": "blue"}
    with pytest.raises(TypeError):
        task.metadata["team"] = "red"  # type: ignore[index]  # its type forbids it too


async def test_arguments_that_do_not_bind_are_refused_at_once(app: Jobify) -> None:
    """`schedule` and `push` check the arguments against the signature before anything else."""

    @app.task
    async def greet(name: str, *, loud: bool = False) -> None: ...

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        (("a", "b"), {}),
        (("a",), {"quiet": True}),
        ((), {"loud": True}),
    ]
    for args, kwargs in calls:
        with pytest.raises(InvalidArgumentsError, match="greet"):
            greet.schedule(*args, **kwargs)
        with pytest.raises(TypeError, match="greet"):
            await greet.push(*args, **kwargs)


@pytest.mark.parametrize(
    "signature",
    ["", "a", "a, b=0", "a, /", "*a", "a, *b", "*, a", "a, *, b=0", "a, **b", "*a, b, **c", "*a, b=0, **c"],
)
@pytest.mark.parametrize("count", range(4))
async def test_arguments_are_taken_if_they_bind(signature: str, count: int) -> None:
    """A call by position is accepted if `inspect` can bind it, and else refused in the words of that."""
    function: Callable[..., Any] = eval(f"lambda {signature}: None")  # noqa: S307  # our own words
    app = bare_app()
    task: Task[..., Any, Any] = app.task(function, name="task", durable=False)
    args = tuple(range(count))
    async with app:
        try:
            inspect.signature(function).bind(*args)
        except TypeError as error:
            with pytest.raises(InvalidArgumentsError, match=re.escape(f"arguments: {error}; its signature is")):
                await task.push(*args)
        else:
            await (await task.push(*args))


async def test_a_task_may_be_registered_while_the_app_runs(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A function defined later can become a task later; a recurrence has to be declared before."""
    async with app:

        @app.task
        async def late() -> str:
            return "but fine"

        assert await (await late.push()) == "but fine"
        with pytest.raises(ApplicationStateError, match="before the start"):
            app.task(late.function, name="too late", every=timedelta(seconds=1))


async def test_a_function_on_the_loop(app: Jobify) -> None:
    """A plain function may run on the loop itself, if it says so."""

    @app.task(run_mode=RunMode.MAIN)
    def running_loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async with app:
        assert await (await running_loop.push()) is asyncio.get_running_loop()


async def test_a_function_that_returns_a_coroutine(app: Jobify) -> None:
    """A wrapper that hides that its function is async is awaited all the same."""

    async def hidden() -> int:
        return 42

    @app.task
    def wrapper() -> object:
        return hidden()

    async with app:
        assert await (await wrapper.push()) == 42


class Robot:
    """A class of a user whose methods are called on one of its objects."""

    steps = 0

    async def walk(self, n: int) -> int:
        """Walk."""
        self.steps += n
        return self.steps

    @staticmethod
    async def greet(name: str) -> str:
        """Greet."""
        return f"hello {name}"


def test_a_method_of_no_object_is_refused() -> None:
    """Nobody would fill in `self` or `cls`: a method is refused where it is declared, with what to do."""
    app = bare_app()
    with pytest.raises(
        TaskDefinitionError, match=r"a method of 'Robot', .*outside of the class, .*app.task\(robot.walk\)"
    ):
        app.task(Robot.walk)

    with pytest.raises(TaskDefinitionError, match="a method of 'Local'"):

        class Local:  # pyright: ignore[reportUnusedClass]  # it does not come into being
            @app.task
            async def work(self) -> None: ...

    with pytest.raises(TaskDefinitionError, match="a method of 'Inner'"):

        class Outer:  # pyright: ignore[reportUnusedClass]
            class Inner:
                @app.task
                def work(cls) -> None: ...  # noqa: N805  # a class method to be


async def test_what_only_looks_like_a_method_is_a_task(virtual_clock: VirtualClock) -> None:
    """The method of an object, a static one, a function with such a parameter, or in such a place, are fine."""
    app = bare_app()

    async def work(self: str) -> str:
        return self

    class Local:
        @app.task
        async def work(n: int) -> int:  # noqa: N805  # pyright: ignore[reportGeneralTypeIssues, reportSelfClsParameterName]  # no method
            return n

    class Thing:
        def __call__(self, n: int) -> int:
            return n

    robot = Robot()
    calls = [
        app.task(robot.walk).schedule(2),
        app.task(Robot.greet).schedule("Ada"),
        app.task(work).schedule("self"),
        Local.work.schedule(3),
        app.task(Thing(), name="thing").schedule(4),
    ]
    async with app:
        jobs = [await call.delay(1) for call in calls]
        assert [await job for job in jobs] == [2, "hello Ada", "self", 3, 4]


async def test_a_sentence_without_an_end_is_warned_of(virtual_clock: VirtualClock) -> None:
    """Who forgets the time schedules nothing, and is told where, and what to add."""
    app = bare_app()

    @app.task(name="greet")
    async def greet(name: str) -> str:
        return name

    async with app:
        with pytest.warns(RuntimeWarning, match=r"'greet' was never given a time.*add .delay\(seconds\)") as warnings:
            greet.schedule("Ada")
        assert warnings[0].filename == __file__
        with pytest.raises(InvalidScheduleError, match=r"cannot await .*'greet': it has no time; add .delay\(.*push"):
            await greet.schedule("Ada")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
        with pytest.raises(InvalidScheduleError, match="negative"):
            await greet.schedule("Ada").delay(-1)
        assert await app.jobs() == []


@pytest.mark.parametrize("end", ["delay", "at", "every", "cron"])
def test_a_sentence_with_an_end_is_warned_of_by_python_alone(end: str) -> None:
    """Who forgets the `await` has said when, and is told by Python, once."""
    app = bare_app()

    @app.task
    async def nothing() -> None: ...

    times: dict[str, Any] = {"delay": 1, "at": datetime(2030, 1, 1, tzinfo=UTC), "every": 1, "cron": "@daily"}
    with pytest.warns() as warnings:
        getattr(nothing.schedule(), end)(times[end], job_id="it")
    assert [str(warning.message) for warning in warnings] == ["coroutine 'Schedule._order' was never awaited"]

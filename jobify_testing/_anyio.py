"""What AnyIO's plugin does differently: its tests do not run in the task that waits for them."""

import asyncio
from typing import Any


def runner_task_of(main: "asyncio.Future[Any]") -> "asyncio.Future[Any] | None":
    """Return the task in which AnyIO's plugin runs a test that `main` waits for; None if that is not so.

    It ends with the test when it is cancelled, and its runner is told to make a new one for the fixtures that
    are still to be torn down. Both is private to AnyIO; where it has changed, the waiting alone is ended.
    """
    coroutine: Any = main.get_coro() if isinstance(main, asyncio.Task) else None
    if getattr(coroutine, "__qualname__", "") != "TestRunner._call_in_runner_task":
        return None
    runner: Any = coroutine.cr_frame.f_locals.get("self") if coroutine.cr_frame is not None else None
    task: Any = getattr(runner, "_runner_task", None)
    if not asyncio.isfuture(task) or task.done():
        return None

    def forget(_: object) -> None:
        runner._runner_task = None  # noqa: SLF001  # see above

    task.add_done_callback(forget)
    return task

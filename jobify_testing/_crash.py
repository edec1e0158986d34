"""The death of a program, as it is found by the next one."""

import asyncio

from jobify import Jobify
from jobify_testing._engine import Engine
from jobify_testing._errors import VirtualTimeError


async def crash(app: Jobify) -> None:
    """Leave behind what `kill -9` would: what was committed, and nothing else.

    Storage and listeners are cut off first, and locks are dropped. Then all that jobs of the app have begun gets
    no further step while the test runs, also what they have left behind at their end: attempts and tasks, timers,
    calls in threads, and what these have submitted. Behind the test its tasks are cancelled, and their clean-up runs
    by itself: it takes no time of others, reaches no app, and is told by no log. A `threading.Thread` that a job has
    started itself cannot be stopped.

    Who waits for a job of the app, or for a call of it, gets an `ApplicationStateError` or a `StorageError`. The
    app can be started again, at the same instant or a later one, as often as you like.

    Called by a job of the app itself, this never returns: the job has died, too.

    Raises:
        VirtualTimeError: the running loop is no virtual one.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, Engine):
        msg = f"cannot crash {app!r} on {loop!r}: only a virtual loop can stop its tasks from going on"
        raise VirtualTimeError(msg)
    attempts = app.abandon()
    loop.bury(loop.jobify_runtime.owners_of(app), attempts)
    await asyncio.sleep(0)

"""Whether the code that calls belongs to a program that is over: to a start of an app that was abandoned.

A run that goes on after `Jobify.abandon` belongs to the past. It is to reach neither the next start of its app nor
any other app, as it could not if its process had died.
"""

import contextvars

from jobify.exceptions import ApplicationStateError


class Life:
    """One start of an app, from the view of its runs.

    Attributes:
        is_over: whether it was abandoned.
    """

    is_over = False


_life: contextvars.ContextVar[Life | None] = contextvars.ContextVar("jobify life", default=None)


def begin_life(context: contextvars.Context) -> Life:
    """Return what all that runs in copies of a context belongs to."""
    life = Life()
    context.run(_life.set, life)
    return life


def refuse_the_dead(what: str) -> None:
    """See to it that the code that calls may still do what `what` says.

    Raises:
        ApplicationStateError: its app was abandoned.
    """
    life = _life.get()
    if life is not None and life.is_over:
        msg = f"cannot {what}: the run that asks is one of an app that was abandoned"
        raise ApplicationStateError(msg)

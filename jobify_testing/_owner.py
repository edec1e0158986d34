"""To which start of which app something belongs: known by the context in which it runs.

A run of a job gets a context that says so, and all that it makes inherits that: tasks, timers, calls in
threads, and coroutines that these submit.
"""

import contextvars

_owner: contextvars.ContextVar[object | None] = contextvars.ContextVar("jobify_testing owner", default=None)


def context_of(owner: object) -> contextvars.Context:
    """Return a copy of the current context for what belongs to `owner`."""
    context = contextvars.copy_context()
    context.run(_owner.set, owner)
    return context


def owner_in(context: contextvars.Context | None) -> object | None:
    """Return to whom what runs in a context belongs."""
    return context.get(_owner) if context is not None else _owner.get()

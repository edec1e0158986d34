"""What a stuck test is told."""

import asyncio


def describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Return who waits for what, a task a line."""
    lines: list[str] = []
    for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name()):
        frames = task.get_stack(limit=1)
        where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "not started"
        waits_for = getattr(task, "_fut_waiter", None)
        lines.append(f"  task {task.get_name()!r} at {where} waits for {waits_for!r}")
    return "\n".join(lines) or "  no task is left"

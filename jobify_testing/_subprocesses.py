"""Subprocesses: each that is started through the loop holds time until it has exited.

What it has written by then is in its pipes, which the loop looks at before it moves time. A process whose output
is not read at the moment, as `pause_reading` and full buffers have it, may be stuck with it, and holds nothing.

So a process that never ends by itself, such as a server, lets no time pass: start it outside of the loop, or use
`holds={"subprocess": "ignore"}`. Processes by `subprocess` or `multiprocessing` are not known here.
"""

import shlex
from collections.abc import Callable, Coroutine
from typing import Any

from jobify_testing._holds import Holds
from jobify_testing._owner import owner_in
from jobify_testing._work import WorkingLoop

_MOST_LETTERS = 60


class SubprocessLoop(WorkingLoop):
    """A loop that waits for the processes that it has started."""

    def __init__(self) -> None:
        super().__init__()
        self._processes: set[_Process] = set()

    async def subprocess_exec(self, protocol_factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        """Start a process from its arguments.

        Raises:
            ForbiddenWorkError: this test forbids subprocesses.
        """
        process = _Process(self.holds, args)
        return await self._start(process, super().subprocess_exec(protocol_factory, *args, **kwargs))

    async def subprocess_shell(self, protocol_factory: Callable[[], Any], cmd: Any, **kwargs: Any) -> Any:
        """Start a process from a line for the shell.

        Raises:
            ForbiddenWorkError: this test forbids subprocesses.
        """
        process = _Process(self.holds, [cmd])
        return await self._start(process, super().subprocess_shell(protocol_factory, cmd, **kwargs))

    async def _start(self, process: "_Process", start: Coroutine[Any, Any, Any]) -> Any:
        for other in [other for other in self._processes if other.has_exited()]:
            self._forget(other)
        self._processes.add(process)
        try:
            process.transport, protocol = await start
        except BaseException:
            self._forget(process)
            raise
        return process.transport, protocol

    def _forget(self, process: "_Process") -> None:
        self._processes.discard(process)
        process.let_go()

    def _judge_processes(self, *, may_move: bool) -> None:
        """Hold time for the processes that time has to wait for; for a loop that has nothing else to do.

        Args:
            may_move: whether anything is due; else all processes are waited for.
        """
        for process in list(self._processes):
            if process.has_exited():
                self._forget(process)
            elif may_move and process.is_stuck():
                process.let_go()
            else:
                process.hold()

    def cut_off(self, owner: object) -> None:
        """Wait no more for what `owner` has begun, which was killed: its processes live on, and nobody knows them."""
        for process in list(self._processes):
            if process.owner is owner:
                self._forget(process)


class _Process:
    """The hold of one process, from before its start to its exit."""

    def __init__(self, holds: Holds, command: Any) -> None:
        self.transport: Any = None
        self.owner = owner_in(None)
        self._holds = holds
        self._name = f"the process {_shorten(command)}"
        self._token: object = holds.take("subprocess", self._name)

    def hold(self) -> None:
        """Hold time, if it does not."""
        if self._token is None:
            self._token = self._holds.note("subprocess", self._name)

    def let_go(self) -> None:
        """Hold time no longer."""
        token, self._token = self._token, None
        self._holds.release(token)

    def has_exited(self) -> bool:
        """Whether it has exited, and the loop knows that."""
        return self.transport is not None and self.transport.get_returncode() is not None

    def is_stuck(self) -> bool:
        """Whether it may wait for somebody to read its output."""
        outputs = [self.transport.get_pipe_transport(number) for number in (1, 2)] if self.transport else []
        return any(pipe is not None and not pipe.is_reading() and not pipe.is_closing() for pipe in outputs)


def _shorten(command: Any) -> str:
    words = [word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in command]
    text = words[0] if len(words) == 1 else shlex.join(words)
    text = " ".join(text.split())
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"

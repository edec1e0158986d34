"""An interpreter that has imported the packages, and is forked for each program: starting one takes much longer."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import pytest

PATIENCE = 60.0
"""Real seconds after which programs count as ones that do not end."""

# A child leaves the loop, and ends as any program does: with its threads joined, and by its own exit code.
SERVER = """
import json, os, runpy, sys
import jobify.storage, jobify.serializers
from jobify_testing import VirtualLoop, run

def serve():
    for line in sys.stdin:
        children = []
        for program in json.loads(line):
            child = os.fork()
            if not child:
                return program
            children.append(child)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)

program = serve()
if program is not None:
    script, folder, output = program
    os.chdir(folder)
    for number, flags, path in ((0, os.O_RDONLY, os.devnull), (1, os.O_WRONLY | os.O_CREAT, output)):
        file = os.open(path, flags)
        os.dup2(file, number)
        os.close(file)
    os.dup2(1, 2)
    sys.argv[:] = [script]
    sys.path[0] = os.path.dirname(script)
    runpy.run_path(script, run_name="__main__")
"""


class Ended(NamedTuple):
    """What has become of a program: its exit code, and what it has written to either output."""

    code: int
    output: str


class Interpreter:
    """An interpreter that runs scripts: each in a process of its own, with warnings as errors."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-W", "error", "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *scripts: Path) -> list[Ended]:
        """Run scripts, all at once, and return what has become of each; the folder of each is that beside it."""
        programs: list[tuple[Path, Path, Path]] = []
        for script in scripts:
            folder = script.with_suffix("")
            folder.mkdir()
            programs.append((script, folder, script.with_suffix(".output")))
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(programs, default=str), file=self._server.stdin, flush=True)
        too_long = threading.Timer(PATIENCE, self._kill)
        too_long.start()
        codes: list[int] = json.loads(self._server.stdout.readline() or "[]")
        too_long.cancel()
        outputs = [output.read_text("utf-8") if output.exists() else "" for _, _, output in programs]
        assert len(codes) == len(programs), f"a program does not end: {outputs}"
        return [Ended(code, output) for code, output in zip(codes, outputs, strict=True)]

    def _kill(self) -> None:
        """Kill it, with all that it has forked."""
        os.killpg(self._server.pid, signal.SIGKILL)

    def close(self) -> None:
        """Have it end."""
        with self._server:
            assert self._server.stdin is not None
            self._server.stdin.close()


@pytest.fixture(scope="session")
def interpreter() -> Generator[Interpreter]:
    """The interpreter of this process of tests."""
    interpreter = Interpreter()
    yield interpreter
    interpreter.close()

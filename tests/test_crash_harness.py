"""Real processes that are killed: nothing that was accepted is lost, and nothing runs twice that nobody can explain."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent.parent / "benchmarks" / "crash_harness.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness forks")
def test_a_program_that_is_killed_again_and_again_breaks_no_promise() -> None:
    """Twenty SIGKILLs, each at a line that the program says; thousands come by `make crash-harness KILLS=5000`."""
    command = [sys.executable, str(HARNESS), "--kills", "20", "--seed", "1", "--trigger", "lines"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ours
    assert done.stderr == ""
    seen = json.loads(done.stdout)
    assert (done.returncode, seen["kills"]) == (0, 20)
    assert min(seen["accepted"], seen["bodies"], seen["interrupted"]) > 0

"""The interpreter that runs the programs of the documentation: it hides no failure of theirs."""

from pathlib import Path

import pytest

from tests.interpreters import Interpreter

LATE = """
import threading

def say_late():
    threading.main_thread().join()
    print("late")

threading.Thread(target=say_late).start()
print(__name__)
"""


@pytest.mark.slow
def test_each_program_has_a_process_and_a_folder_of_its_own(interpreter: Interpreter, tmp_path: Path) -> None:
    """A program ends as one that was started by itself: with its threads, by its exit code, and warned by errors."""
    sources = {
        "ends": LATE,
        "exits": "import sys; sys.exit(7)",
        "fails": "open('file', 'w').close(); 1 / 0",
        "lives": "import os, pathlib; print(pathlib.Path.cwd().name, os.listdir())",
        "warns": "import warnings; warnings.warn('old')",
    }
    scripts = [tmp_path / f"{name}.py" for name in sources]
    for script, source in zip(scripts, sources.values(), strict=True):
        script.write_text(source)
    ends, exits, fails, lives, warns = interpreter.run(*scripts)
    assert ends == (0, "__main__\nlate\n")
    assert exits == (7, "")
    assert (fails.code, fails.output.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")
    assert lives == (0, "lives []\n")
    assert (warns.code, "UserWarning: old" in warns.output) == (1, True)

"""How long `import jobify` takes, beside `import asyncio`, and which modules it is spent in.

    python benchmarks/import_time.py [--turns 15]

Every import happens in a fresh interpreter, in turns; the time to start the interpreter is not in it.
All modules are compiled beforehand, into a folder of their own that is removed again: what is measured
is the second start of a program, as nearly all of them are.

The modules are those that `import asyncio` has not brought already, each with the time of its own code,
without what it imports in turn. Python's own tracing of imports, which tells these, slows them down.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping

TIMED = ("asyncio", "jobify")
CLOCKED = "import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
LONGEST = 10


def run(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter."""
    return subprocess.run(  # noqa: S603  # our own interpreter, and our own words
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True
    )


def import_milliseconds(module: str, environment: Mapping[str, str]) -> float:
    """Return how long one import takes."""
    return 1e3 * float(run("-c", CLOCKED.format(module=module), environment=environment).stdout)


def own_milliseconds(module: str, environment: Mapping[str, str]) -> dict[str, float]:
    """Return the time in the code of each module that one import brings."""
    own: dict[str, float] = {}
    for line in run("-X", "importtime", "-c", f"import {module}", environment=environment).stderr.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if fields[0].strip().isdigit():  # else it is the head of the table
            own[fields[2].strip()] = int(fields[0]) / 1e3
    return own


def medians(turns: list[dict[str, float]]) -> dict[str, float]:
    """Return the median time of each module."""
    return {name: statistics.median(turn[name] for turn in turns if name in turn) for name in turns[0]}


def show_imports(turns: int, environment: Mapping[str, str]) -> None:
    """Time the imports in turns, and print them."""
    times: dict[str, list[float]] = {module: [] for module in TIMED}
    for _ in range(turns):
        for module, taken in times.items():
            taken.append(import_milliseconds(module, environment))
    print(f"{turns} turns{'ms: median':>26}{'lowest':>9}{'highest':>9}{'of asyncio':>12}")
    for module, taken in times.items():
        ratio = statistics.median(mine / base for mine, base in zip(taken, times["asyncio"], strict=True))
        median = statistics.median(taken)
        print(f"import {module:20}{median:>13.1f}{min(taken):>9.1f}{max(taken):>9.1f}{ratio:>12.2f}")


def show_modules(turns: int, environment: Mapping[str, str]) -> None:
    """Print where the time goes: by package, then the single modules that take longest."""
    known = own_milliseconds("asyncio", environment)
    own = medians([own_milliseconds("jobify", environment) for _ in range(turns)])
    added = {name: taken for name, taken in own.items() if name not in known}
    packages: defaultdict[str, float] = defaultdict(float)
    for name, taken in added.items():
        packages[name.partition(".")[0].lstrip("_")] += taken
    print(f"\nbeyond asyncio, {len(added)} modules of {len(packages)} packages, traced{'ms':>8}")
    for title, table in (("package", packages), ("module", added)):
        for name, taken in sorted(table.items(), key=lambda item: -item[1])[:LONGEST]:
            print(f"  {title:9}{name:36}{taken:>8.2f}")


def main() -> None:
    """Compile, time, trace."""
    parser = argparse.ArgumentParser(description="The time of `import jobify`, against `import asyncio`.")
    parser.add_argument("--turns", type=int, default=15)
    turns: int = parser.parse_args().turns
    with tempfile.TemporaryDirectory(prefix="jobify-import-") as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for module in TIMED:
            run("-c", f"import {module}", environment=environment)
        show_imports(turns, environment)
        show_modules(turns, environment)


if __name__ == "__main__":
    main()

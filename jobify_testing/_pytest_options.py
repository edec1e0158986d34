"""What can be said of virtual time on pytest's command line, in its configuration, and by the marker.

The command line wins over the marker, which wins over the configuration. Nothing heavy is imported here:
pytest loads this in every project.
"""

import os
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import pytest

if TYPE_CHECKING:
    from jobify_testing._options import VirtualOptions

_SEED = "_virtual_seed"
"""The parameter that a test has with `--virtual-runs`."""

_INI: Mapping[str, tuple[Literal["string", "int", "float"], str]] = {
    "order": ("string", "the order of things due at one instant: fifo, lifo or random"),
    "seed": ("int", "the seed of ids, randomness and random order"),
    "mode": ("string", "what moves time: auto, manual or real"),
    "threads": ("string", "how threads run: turns or real"),
    "patience": ("float", "real seconds for which work in flight may hold time"),
    "grace": ("float", "real seconds for which a loop with nothing to do listens to its sockets"),
    "max_jumps": ("int", "how often time may move while nobody has said how far"),
    "max_spins": ("int", "how many turns the loop may take at one instant"),
    "leaks": ("string", "whether a test fails that leaves a task or a timer behind: ignore or fail"),
}

_WORLDLY = ("-c", "--config-file", "-o", "--override-ini", "-p", "--rootdir", "--import-mode", "--asyncio-mode")
"""The options of pytest that decide how a test runs: not which ones do, nor what is told of them."""


def add_options(parser: pytest.Parser) -> None:
    """Add the options of the command line and of the configuration."""
    group = parser.getgroup("virtual time", "virtual time (jobify_testing)")
    orders = ("fifo", "lifo", "random")
    group.addoption("--virtual-order", choices=orders, help="the order of things due at one instant")
    group.addoption("--virtual-seed", type=int, metavar="N", help="the seed of ids, randomness and random order")
    group.addoption(
        "--virtual-runs",
        type=int,
        default=1,
        metavar="N",
        help="run each test on virtual time N times: as usual, and in the random orders of the seeds that follow "
        "--virtual-seed, or 0; not those whose marker names an order",
    )
    group.addoption(
        "--virtual-check",
        action="store_true",
        help="run each test on virtual time a second time, in another process with another PYTHONHASHSEED, and fail "
        "it where the two differ, unless it asks for real time, real threads or storages that are kept; that process "
        "runs these tests in the same order on fixtures of its own, those of modules and of the session too",
    )
    group.addoption(
        "--virtual-timelines",
        action="store_true",
        help="at the end, print each timeline that was not as expected, to be pasted into its test",
    )
    for name, (kind, text) in _INI.items():
        parser.addini(f"virtual_{name}", f"{text}; default of the marker's {name}=", type=kind, default=None)


def configure(config: pytest.Config) -> None:
    """Register the marker, and look at what the configuration and the command line say.

    Raises:
        pytest.UsageError: virtual time cannot be like that.
    """
    config.addinivalue_line(
        "markers",
        "virtual_clock(*, start=, mode=, order=, seed=, storage=, threads=, patience=, grace=, max_jumps=, max_spins=, "
        "leaks=, holds=): run the test on virtual time; the arguments are those of jobify_testing.VirtualOptions",
    )
    if _runs(config) < 1:
        msg = f"--virtual-runs={_runs(config)}: it must be a number of runs, from 1"
        raise pytest.UsageError(msg)
    for name, value in _configured(config).items():
        from jobify_testing._options import VirtualOptions  # noqa: PLC0415  # only for projects that say something

        try:
            VirtualOptions(**{name: value})
        except ValueError as error:
            raise _misconfigured(config, name, error) from None


def _runs(config: pytest.Config) -> int:
    runs: int = config.option.virtual_runs
    return runs


def _configured(config: pytest.Config) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name in _INI:
        try:
            value = config.getini(f"virtual_{name}")
        except (TypeError, ValueError, pytest.UsageError) as error:  # by the version of pytest
            raise _misconfigured(config, name, error) from None
        if value not in (None, ""):
            given[name] = value
    return given


def _misconfigured(config: pytest.Config, name: str, error: Exception) -> pytest.UsageError:
    place = config.inipath or "the command line"
    return pytest.UsageError(f"virtual_{name}, {_INI[name][1]}, cannot be what {place} says: {error}")


def give_seeds(metafunc: pytest.Metafunc) -> None:
    """Have a test run as often as `--virtual-runs` says: the usual way first, then in random orders.

    One whose marker names an order means that order: for one that has to come out by it, a search is none.
    """
    runs = _runs(metafunc.config)
    ordered = any("order" in marker.kwargs for marker in metafunc.definition.iter_markers("virtual_clock"))
    if runs > 1 and not ordered:
        first: int = metafunc.config.getoption("--virtual-seed") or 0
        seeds = range(first + 1, first + runs)
        metafunc.fixturenames.append(_SEED)
        # The usual run keeps the id of the test: what is known of it by its id stays true.
        ids = [pytest.HIDDEN_PARAM, *(f"seed={seed}" for seed in seeds)]
        metafunc.parametrize(_SEED, [None, *seeds], ids=ids, indirect=True)


def options_of(item: pytest.Item) -> "VirtualOptions":
    """Return how virtual time is to behave in a test."""
    from jobify_testing._options import VirtualOptions  # noqa: PLC0415  # only for tests that ask

    given = _configured(item.config)
    for marker in reversed(list(item.iter_markers("virtual_clock"))):  # the closest one last
        if marker.args:
            _refuse(item, "positional arguments")
        given |= marker.kwargs
    for name in ("order", "seed"):
        chosen = item.config.getoption(f"--virtual-{name}")
        if chosen is not None:
            given[name] = chosen
    seed = _seed_of(item)
    if seed is not None:
        given |= {"order": "random", "seed": seed}
    unknown = [name for name in given if name not in VirtualOptions.names()]
    if unknown:
        _refuse(item, f"{', '.join(unknown)}=: it knows {', '.join(f'{name}=' for name in VirtualOptions.names())}")
    try:
        return VirtualOptions(**given)
    except ValueError as error:
        problem = str(error)
    pytest.fail(f"{item.nodeid}: virtual time is not possible so: {problem}", pytrace=False)


def is_to_be_checked(item: pytest.Item) -> bool:
    """Return whether a test promises to do the same twice: not with real time or threads, nor on kept storages."""
    try:
        options = options_of(item)
    except pytest.fail.Exception:
        return False  # its setup says why
    return options.mode != "real" and options.threads != "real" and options.storage != "keep"


def _seed_of(item: pytest.Item) -> int | None:
    callspec = getattr(item, "callspec", None)
    seed: int | None = callspec.params.get(_SEED) if callspec is not None else None
    return seed


def _refuse(item: pytest.Item, what: str) -> NoReturn:
    pytest.fail(f"{item.nodeid}: the marker virtual_clock cannot be used with {what}", pytrace=False)


def command_to_repeat(item: pytest.Item, options: "VirtualOptions") -> str:
    """Return the command that runs a test again, from the same folder, in the same order and with the same seed."""
    config = item.config
    command = ["pytest", _address_of(item), f"--virtual-order={options.order}", f"--virtual-seed={options.seed}"]
    given = config.invocation_params.args
    if _runs(config) > 1 and not any(str(arg).startswith("--virtual-runs") for arg in given):
        command.append("--virtual-runs=1")  # against the addopts of the configuration
    if config.getoption("--virtual-check"):
        command.append("--virtual-check")
    return shlex.join([*command, *_worldly([str(arg) for arg in given])])


def _address_of(item: pytest.Item) -> str:
    """Return the id of a test as it is without `--virtual-runs`, below the folder where pytest was started."""
    path, _, name = item.nodeid.partition("::")
    if item.get_closest_marker("xdist_group") is not None and getattr(item.config.option, "loadgroup", False):
        name = name.rpartition("@")[0] or name  # xdist has added the group
    seed = _seed_of(item)
    if seed is not None:
        function, _, ids = name.removesuffix("]").partition("[")
        others = f"-{ids}-".replace(f"-seed={seed}-", "-", 1)[1:-1]
        name = f"{function}[{others}]" if others else function
    return f"{os.path.relpath(item.config.rootpath / path, item.config.invocation_params.dir)}::{name}"


def _worldly(arguments: list[str]) -> Iterator[str]:
    given = iter(arguments)
    for argument in given:
        name, equals, _ = argument.partition("=")
        if name in _WORLDLY:
            yield from [argument] if equals else [argument, next(given, "")]
        elif argument[:2] in _WORLDLY:
            yield argument

"""What is said of virtual time on the command line, by markers and in the configuration, and which of them wins."""

import pytest

from tests.projects import CONFIGURATION, make, run
from tests.test_plugin_untouched import BROKEN, STRICT, SUITE, observe


def test_closest_word_wins(pytester: pytest.Pytester) -> None:
    """The command line wins over markers, the closest of them over the others, and these over the configuration."""
    make(
        pytester,
        """
        from program import *

        pytestmark = pytest.mark.virtual_clock(start=datetime(2030, 1, 1, tzinfo=UTC))

        def said():
            options = asyncio.get_running_loop().jobify_runtime.options
            return [options.order, options.seed, options.patience, options.max_jumps, options.start.year]

        async def test_plain(record_property):
            record_property("said", said())

        @pytest.mark.virtual_clock(order="random", seed=5)
        class TestClass:
            async def test_method(self, record_property):
                record_property("said", said())

            @pytest.mark.virtual_clock(order="fifo", patience=3)
            async def test_marked(self, record_property):
                record_property("said", said())
        """,
    )

    def said(*arguments: str) -> list[list[object]]:
        seen = observe(pytester, *arguments)
        assert seen["failures"] == []
        return [dict(properties)["said"] for _, when, _, properties in seen["reports"] if when == "call"]

    assert said() == [
        ["fifo", 0, 30, 100_000, 2030],
        ["random", 5, 30, 100_000, 2030],
        ["fifo", 5, 3, 100_000, 2030],
    ]
    configuration = [f"-ovirtual_{text}" for text in ("order=lifo", "seed=-7", "patience=2.5", "max_jumps=9")]
    assert said(*configuration) == [
        ["lifo", -7, 2.5, 9, 2030],
        ["random", 5, 2.5, 9, 2030],
        ["fifo", 5, 3, 9, 2030],
    ]
    assert said(*configuration, "--virtual-seed=0") == [
        ["lifo", 0, 2.5, 9, 2030],
        ["random", 0, 2.5, 9, 2030],
        ["fifo", 0, 3, 9, 2030],
    ]
    assert said(*configuration, "--virtual-order=random", "--virtual-seed=1") == [
        ["random", 1, 2.5, 9, 2030],
        ["random", 1, 2.5, 9, 2030],
        ["random", 1, 3, 9, 2030],
    ]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tox.ini", f"{CONFIGURATION}\nvirtual_order = random\nvirtual_seed = 12\nvirtual_grace = 1\nvirtual_mode ="),
        (
            "pyproject.toml",
            """
            [tool.pytest.ini_options]
            asyncio_mode = "auto"
            asyncio_default_fixture_loop_scope = "function"
            virtual_order = "random"
            virtual_seed = 12
            virtual_grace = 1
            """,
        ),
        (
            "pytest.toml",
            """
            [pytest]
            asyncio_mode = "auto"
            asyncio_default_fixture_loop_scope = "function"
            virtual_order = "random"
            virtual_seed = 12
            virtual_grace = 1
            """,
        ),
    ],
)
def test_configuration_of_each_kind_is_read(pytester: pytest.Pytester, file: str, text: str) -> None:
    """Numbers are numbers, in files with types and in those without; what is left empty is not said."""
    if file == "pytest.toml" and pytest.version_tuple < (9, 0):
        pytest.skip("this pytest has no such file")
    pytester.path.joinpath(file).write_text("\n".join(line.strip() for line in text.splitlines()))
    pytester.makepyfile(
        """
        import asyncio

        async def test_it(virtual_clock):
            options = asyncio.get_running_loop().jobify_runtime.options
            assert (options.order, options.seed, options.grace, options.mode) == ("random", 12, 1, "auto")
        """
    )
    run(pytester).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        (
            "--virtual-order=up",
            "*argument --virtual-order: invalid choice: 'up' (choose from *fifo*, *lifo*, *random*)",
        ),
        ("--virtual-seed=x", "*argument --virtual-seed: invalid int value: 'x'"),
        ("--virtual-runs=many", "*argument --virtual-runs: invalid int value: 'many'"),
        ("--virtual-runs=0", "ERROR: --virtual-runs=0: it must be a number of runs, from 1"),
        (
            "-ovirtual_order=up",
            "ERROR: virtual_order, the order of * random, cannot be what * says: cannot use order='up': it must be *",
        ),
        ("-ovirtual_seed=x", "ERROR: virtual_seed, the seed of *, cannot be what *tox.ini says: * 'x'"),
        ("-ovirtual_seed=1.5", "ERROR: virtual_seed, * cannot be what *tox.ini says: * '1.5'"),
        ("-ovirtual_patience=long", "ERROR: virtual_patience, * cannot be what * says: * 'long'"),
        (
            "-ovirtual_patience=-1",
            "ERROR: virtual_patience, * cannot use patience=-1.0: it must be a number of real seconds, from 0",
        ),
        (
            "-ovirtual_max_spins=0",
            "ERROR: virtual_max_spins, * cannot use max_spins=0: it must be a whole number, from 1",
        ),
        ("-ovirtual_leaks=yes", "ERROR: virtual_leaks, * cannot use leaks='yes': it must be one of *"),
        ("-ovirtual_mode=fast", "ERROR: virtual_mode, * cannot use mode='fast': it must be one of *"),
    ],
)
def test_what_cannot_be_is_a_usage_error(pytester: pytest.Pytester, argument: str, told: str) -> None:
    """No test runs, and what is wrong is said where it is said wrongly."""
    make(pytester, "def test_it(): ...")
    result = run(pytester, argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([told])
    assert "Traceback" not in result.stderr.str()


def test_options_are_explained(pytester: pytest.Pytester) -> None:
    """`--help` and `--markers` say what can be said."""
    make(pytester, "")
    help_ = run(pytester, "--help").stdout
    help_.fnmatch_lines(["virtual time (jobify_testing):", "  --virtual-order=*", "  --virtual-seed=N *"])
    help_.fnmatch_lines(["  --virtual-runs=N *", "  --virtual-check *", "  --virtual-timelines *"])
    help_.fnmatch_lines([f"  virtual_{name} (*" for name in ("order", "seed", "mode", "threads", "patience", "leaks")])
    run(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.virtual_clock([*], start=, mode=, order=, seed=, *"])


ALL = ["--virtual-order=lifo", "--virtual-seed=5", "--virtual-runs=3", "--virtual-check", "--virtual-timelines"]


def test_suite_that_does_not_ask_is_as_it_was(pytester: pytest.Pytester) -> None:
    """Options of virtual time change nothing for tests without: neither ids nor order, outcomes or warnings."""
    pytester.makeini(STRICT)
    pytester.makeconftest(BROKEN)
    pytester.makepyfile(test_suite=SUITE)
    without = observe(pytester, "-p", "no:jobify_testing", "--doctest-modules")
    assert observe(pytester, *ALL, "-ovirtual_order=random", "--doctest-modules") == without

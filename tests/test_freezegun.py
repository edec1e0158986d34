"""freezegun beside virtual time: refused wherever it would be a second wall clock, and as ever everywhere else."""

import sys
from types import ModuleType

import pytest

import jobify_testing
from jobify_testing import VirtualTimeError
from tests.projects import make, run

TOLD = "cannot freeze time with freezegun: the wall clock is virtual; begin at another date by start="


def test_freezing_on_virtual_time_is_refused(pytester: pytest.Pytester) -> None:
    """E49: as a decorator, in a block, started by hand, imported late or in a thread; the virtual time goes on."""
    make(
        pytester,
        """
        from program import *
        import freezegun
        from jobify_testing import VirtualTimeError

        @freezegun.freeze_time("2040-01-01")
        async def test_decorated(virtual_clock): ...

        @freezegun.freeze_time("2040-01-01")
        def test_decorated_sync(virtual_clock): ...

        @freezegun.freeze_time("2040-01-01")
        class TestDecorated:
            async def test_method(self, virtual_clock): ...

        async def test_block(virtual_clock):
            with freezegun.freeze_time("2040-01-01", tick=True):
                raise AssertionError

        async def test_by_hand(job_transitions):
            freezegun.freeze_time().start()

        @pytest.fixture
        def frozen():
            with freezegun.freeze_time("2040-01-01"):
                yield

        async def test_fixture(frozen, virtual_clock): ...

        async def test_caught(virtual_clock):
            for _ in range(2):
                with pytest.raises(VirtualTimeError):
                    freezegun.freeze_time().start()
            await hour_passes()

        async def test_in_a_thread(virtual_clock):
            with pytest.raises(VirtualTimeError):
                await asyncio.to_thread(freezegun.freeze_time().start)

        async def test_virtual(virtual_clock):
            await hour_passes()
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=3, failed=5, errors=1)
    result.stdout.fnmatch_lines([f"E * jobify_testing._errors.VirtualTimeError: {TOLD}*"] * 6)


def test_freezing_by_a_late_import_is_refused() -> None:
    """A program that imports freezegun on virtual time gets the same one."""

    async def freeze() -> None:
        from freezegun import freeze_time  # noqa: PLC0415  # the point

        with freeze_time("2040-01-01"):
            raise AssertionError

    with pytest.raises(VirtualTimeError, match=TOLD):
        jobify_testing.run(freeze())


def test_virtual_time_in_frozen_time_is_refused(pytester: pytest.Pytester) -> None:
    """E49: where a wider fixture has frozen time, or the program around `run`; the coroutine is not left over."""
    make(
        pytester,
        """
        from program import *
        import freezegun
        import jobify_testing

        @pytest.fixture(scope="module", autouse=True)
        def frozen():
            with freezegun.freeze_time("2040-01-01"):
                yield

        async def test_virtual(virtual_clock): ...

        def test_run():
            jobify_testing.run(hour_passes())

        @pytest.mark.virtual_clock(mode="real")
        async def test_real():
            assert datetime.now(UTC).year == 2040

        async def test_not_asked():
            assert datetime.now(UTC).year == 2040
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=1, errors=1)
    told = "virtual time is not possible here: freezegun has frozen the wall clock already; begin at another date"
    result.stdout.fnmatch_lines([f"E * jobify_testing._errors.VirtualTimeError: {told}*"] * 2)


def test_freezing_beside_virtual_tests_is_as_ever(pytester: pytest.Pytester) -> None:
    """Before, between and behind them, and in real time."""
    make(
        pytester,
        """
        from program import *
        import freezegun

        @freezegun.freeze_time("2040-01-01")
        async def test_1():
            assert datetime.now(UTC).year == 2040

        async def test_2(virtual_clock):
            await hour_passes()

        @freezegun.freeze_time("2040-01-01")
        def test_3():
            assert datetime.now(UTC).year == 2040

        @pytest.mark.virtual_clock(mode="real")
        async def test_4():
            with freezegun.freeze_time("2040-01-01"):
                assert datetime.now(UTC).year == 2040

        async def test_5(virtual_clock):
            await hour_passes()
        """,
    )
    run(pytester).assert_outcomes(passed=5)


@pytest.mark.parametrize("other", [None, ModuleType("freezegun.api")], ids=["none", "another"])
def test_a_project_without_freezegun_has_virtual_time(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, other: ModuleType | None
) -> None:
    """It is no part of what virtual time needs; nor is a freezegun of another make in the way."""
    monkeypatch.setitem(sys.modules, "freezegun.api", other)
    make(
        pytester,
        """
        from program import *

        async def test_virtual(virtual_clock):
            await hour_passes()
        """,
    )
    run(pytester).assert_outcomes(passed=1)

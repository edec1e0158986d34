"""The bus on event loops of the real kind, one after the other."""

import asyncio
import gc
import warnings
from pathlib import Path

import pytest

from tests.several_processes.test_bus import Other, Owner, beside


@pytest.mark.slow
def test_two_loops_one_after_the_other(database: Path) -> None:
    """What was left on a loop that has ended can be closed on another."""

    async def leave() -> tuple[Owner, Other]:
        owner, other = Owner(database), Other()
        owner.start()
        assert await other.bus.connect(database)
        return owner, other

    async def close(owner: Owner, other: Other) -> None:
        await owner.close()
        await other.bus.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a loop that has ended closes nothing
        asyncio.run(close(*asyncio.run(leave())))
        gc.collect()
    assert not beside(database).exists()

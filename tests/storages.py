"""Storages in memory that do what a test wants before each of their verbs."""

from collections.abc import Sequence
from typing import Any

from jobify.storage import MemoryStorage, StoredJob, StoredRun


class HookedStorage(MemoryStorage):
    """A storage that suspends in its verbs, or fails, as its `before` has it."""

    immediate = False

    async def before(self, verb: str) -> None:
        """Do what the test wants before a verb."""
        raise NotImplementedError

    async def open(self, *args: Any, **options: Any) -> None:
        """Open."""
        await self.before("open")
        await super().open(*args, **options)

    async def add(self, *args: Any, **options: Any) -> int:
        """Keep a job."""
        await self.before("add")
        return await super().add(*args, **options)

    async def claim(self, *args: Any, **options: Any) -> Sequence[StoredJob]:
        """Return what is due before an instant."""
        await self.before("claim")
        return await super().claim(*args, **options)

    async def start(self, *args: Any, **options: Any) -> bool:
        """Note a start."""
        await self.before("start")
        return await super().start(*args, **options)

    async def finish(self, *args: Any, **options: Any) -> None:
        """Note an end."""
        await self.before("finish")
        await super().finish(*args, **options)

    async def amend(self, *args: Any, **options: Any) -> None:
        """Note a change."""
        await self.before("amend")
        await super().amend(*args, **options)

    async def release(self, *args: Any, **options: Any) -> None:
        """Put jobs back."""
        await self.before("release")
        await super().release(*args, **options)

    async def remove(self, *args: Any, **options: Any) -> bool:
        """Forget a job."""
        await self.before("remove")
        return await super().remove(*args, **options)

    async def find(self, *args: Any, **options: Any) -> Sequence[StoredJob]:
        """Return jobs without a claim."""
        await self.before("find")
        return await super().find(*args, **options)

    async def runs(self, *args: Any, **options: Any) -> Sequence[StoredRun]:
        """Return rows of the history."""
        await self.before("runs")
        return await super().runs(*args, **options)

    async def prune(self, *args: Any, **options: Any) -> None:
        """Forget rows of the history."""
        await self.before("prune")
        await super().prune(*args, **options)

    async def close(self) -> None:
        """Close, whatever comes before."""
        try:
            await self.before("close")
        finally:
            await super().close()

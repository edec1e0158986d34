"""How an app is, for those who watch over it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How an app is.

    Attributes:
        state: "stopped", "starting", "running" or "stopping".
        storage_error: why the storage does not work at present; None if it does.
        scheduled: how many jobs in memory wait for their time or for a slot.
        running: how many jobs have an attempt in progress.
        has_more: of a storage with a window: whether further jobs may wait in it alone, which are not counted here.
        held: the ids of the jobs in memory that will not start by themselves, each with the reason.
    """

    state: str
    storage_error: Exception | None
    scheduled: int
    running: int
    has_more: bool
    held: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the app runs and its storage works."""
        return self.state == "running" and self.storage_error is None

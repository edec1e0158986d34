"""The virtual loop that people make: the engine, and the virtual world that runs on it."""

from jobify_testing._engine import Engine
from jobify_testing._runtime import VirtualRuntime


class VirtualLoop(Engine):
    """An asyncio event loop on virtual time; an app that starts on it is in a virtual world.

    Attributes:
        jobify_runtime: that world; the plugin makes a new one for each test.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobify_runtime = VirtualRuntime(self)

    def close(self) -> None:
        """Close the loop, and clean up behind its world."""
        super().close()
        self.jobify_runtime.close()

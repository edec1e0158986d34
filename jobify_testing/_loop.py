"""The virtual loop that people make: the engine, and the virtual world that runs on it."""

from jobify_testing._engine import Engine
from jobify_testing._options import VirtualOptions
from jobify_testing._runtime import VirtualRuntime


class VirtualLoop(Engine):
    """An asyncio event loop on virtual time; an app that starts on it is in a virtual world.

    Args:
        options: how virtual time behaves.

    Attributes:
        jobify_runtime: that world; the plugin makes a new one for each test.
    """

    jobify_runtime: VirtualRuntime

    def __init__(self, options: VirtualOptions | None = None) -> None:
        super().__init__()
        self.jobify_runtime = VirtualRuntime(self, options)
        self.jobify_runtime.enter()

    def close(self) -> None:
        """Close the loop, and clean up behind its world."""
        super().close()
        self.jobify_runtime.close()

"""What goes wrong in virtual time, and is no fault of the scheduler."""


class VirtualTimeError(Exception):
    """The root of the errors of virtual time."""


class VirtualDeadlockError(VirtualTimeError):
    """A test waits, and nothing is left that could end its waiting, or real work held time for too long."""


class VirtualRunawayError(VirtualTimeError):
    """Time, or the loop at one instant, goes on and on, and the test waits for what does not come."""


class ForbiddenWorkError(VirtualTimeError):
    """Real work was begun of a kind that the test forbids."""


class VirtualTimeWarning(UserWarning):
    """A test is not reproducible, and this is why."""

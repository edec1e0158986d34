"""Sentences about what others have made, and which need not be fit to be shown."""

import traceback


def in_words(error: BaseException) -> str:
    """Return the type and the text of an exception; unlike `str`, also of one whose own `__str__` raises."""
    try:
        return "".join(traceback.format_exception_only(error)).strip()
    except BaseException:  # noqa: BLE001  # whatever the attributes of somebody's exception raise
        return f"{type(error).__name__}, which cannot be shown"


def is_a(error: BaseException, kind: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Whether an exception is of a kind; unlike `isinstance`, without a look at the `__class__` that it may claim."""
    return issubclass(type(error), kind)

"""Sentences about what others have made, and which need not be fit to be shown."""

import traceback


def in_words(error: BaseException) -> str:
    """Return the type and the text of an exception; unlike `str`, also of one whose own `__str__` raises."""
    return "".join(traceback.format_exception_only(error)).strip()

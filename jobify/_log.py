"""The log of the library."""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class _Log(_Adapter):
    """Tells what happens, and goes on if a handler raises: that is no reason for a job to stay where it is."""

    def log(self, level: int, msg: object, *args: object, stacklevel: int = 1, **options: Any) -> None:
        """Tell, as every logger does."""
        try:
            super().log(level, msg, *args, stacklevel=stacklevel + 1, **options)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001, S110  # there is nowhere left to tell it
            pass


logger = _Log(logging.getLogger("jobify"), {})

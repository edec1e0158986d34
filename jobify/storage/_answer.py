"""What a verb of a storage returns to who awaits it, and tells before that to who wants to know at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Answer(asyncio.Future[T]):
    """The answer of a storage to a verb, which is carried out whether anybody awaits that or not.

    To cancel it gives up the answer only. It is made by the one who writes: `reach` gives it what came of the verb.

    Attributes:
        verb: what is carried out.
        args: with these arguments.
        seen: called with `args` and with what the verb returned: it returns the answer. None if that is the answer.
        told: called instead of who awaits it, with this, the answer and None, or None and an error: it resolves this.
        about: what it is of interest for, for who is told.
    """

    __slots__ = ("about", "args", "seen", "told", "verb")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        verb: Callable[..., Any],
        args: tuple[Any, ...],
        seen: Callable[[tuple[Any, ...], Any], T] | None = None,
    ) -> None:
        super().__init__(loop=loop)
        self.verb = verb
        self.args = args
        self.seen = seen
        self.told: Callable[[Answer[T], T | None, BaseException | None], object] | None = None
        self.about: Any = None

    def reach(self, answer: Any, error: BaseException | None = None) -> None:
        """Tell what came of the verb: once, for an abandoned one fails before its writer knows."""
        seen, told, self.seen, self.told = self.seen, self.told, None, None
        if error is None and seen is not None:
            try:
                answer = seen(self.args, answer)
            except Exception as refusal:  # noqa: BLE001  # who awaits it gets it
                answer, error = None, refusal
        if told is not None:
            told(self, answer, error)
        elif not self.done():
            if error is None:
                self.set_result(answer)
            else:
                self.set_exception(error)
                self.exception()  # its caller may be gone


_prompt: set[Callable[..., Any]] = set()


def prompt(verb: Callable[P, Answer[T]]) -> Callable[P, Awaitable[T]]:
    """Mark a verb that can be called at once: it returns an `Answer`, and so needs no task that awaits it."""
    _prompt.add(verb)
    return verb


def is_prompt(verb: Callable[..., Any]) -> bool:
    """Whether a verb returns an `Answer`. One that overrides or wraps such a verb need not."""
    return getattr(verb, "__func__", verb) in _prompt

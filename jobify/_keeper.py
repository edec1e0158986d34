"""The way of the scheduler to its storage: nothing is cut in two, nothing is given up too early."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, ParamSpec, TypeVar

from jobify._clock import Alarm, Clock
from jobify._log import logger
from jobify._progress import Progress, behind
from jobify._steps import Step, is_hurried, pause
from jobify._words import in_words
from jobify.exceptions import DuplicateJobError, StorageError
from jobify.storage import Storage

P = ParamSpec("P")
T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Keeper(Progress):
    """Carries out what must be done whole, and repeats what must be written.

    Attributes:
        storage: the storage.
        error: why the storage does not work at present; None if it does, as far as is known.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        super().__init__()
        self.storage = storage
        self.error: StorageError | None = None
        self._of_read: StorageError | None = None
        self._clock = clock
        self._pauses: dict[asyncio.Future[None], Alarm] = {}
        self._closing = False
        self._abandoned = False

    def whole(
        self, step: Coroutine[Any, Any, T], *, stored: bool, about: Hashable = None, by: Step[Any] | None = None
    ) -> Awaitable[T]:
        """Return, to who awaits it, what `step` returns; a caller that is cancelled does not stop it half-way.

        A step that is not `stored`, or whose storage is immediate, never suspends: no cancellation can
        strike in it. With `about`, `others` waits for the step. A task of which nothing is left to do but this can
        be given as `by`: it carries the step out itself, and is not cut in two from here on.
        """
        if not stored or self.storage.immediate:
            return step
        if by is None or about in self._busy:
            return self.begin(step, about=about)
        by.is_whole = True
        self.enter(by, about)
        return self._carry(step, by, about)

    def begin(self, step: Coroutine[Any, Any, T], *, about: Hashable = None) -> asyncio.Future[T]:
        """Have a step carried out, whoever waits for the answer: to cancel that is harmless."""
        if about in self._busy:
            step = behind(self._end_of(about), step)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        # Not in the context of the caller: a step belongs to the app, whoever asked for it.
        task = Step(self._answer(answer, step, about), loop=loop, context=self._context.copy())
        self.enter(task, about)
        return answer

    def in_background(self, step: Coroutine[Any, Any, object], *, about: Hashable = None) -> None:
        """Have a step carried out that nobody waits for: the log has what it raises."""
        self.begin(self._logged(step), about=about)

    async def _logged(self, step: Coroutine[Any, Any, object]) -> None:
        try:
            await step
        except Exception:  # noqa: BLE001  # nobody else would hear of it
            if not self._abandoned:
                logger.exception("jobify itself failed")

    async def _answer(self, answer: asyncio.Future[T], step: Coroutine[Any, Any, T], about: Hashable) -> None:
        task = asyncio.current_task()
        assert isinstance(task, Step)  # noqa: S101  # made by `begin` alone
        try:
            try:
                result = await step
            finally:
                self.leave(task, about)
        except asyncio.CancelledError:
            answer.cancel()
            raise
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # it is raised where the step was asked for
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # its caller may be gone
            if not isinstance(error, Exception):
                raise
        else:
            if not answer.done():
                answer.set_result(result)

    async def _carry(self, step: Coroutine[Any, Any, T], task: Step[Any], about: Hashable) -> T:
        try:
            return await step
        finally:
            self.leave(task, about)

    async def ask(self, verb: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a verb of the storage returns, and take note of whether the storage works.

        Raises:
            DuplicateJobError: the verb says so.
            StorageError: the verb failed, whatever it has raised.
        """
        self.check()
        try:
            answer = await verb(*args, **kwargs)
        except DuplicateJobError:
            self.error = None
            raise
        except BaseException as error:
            if (failure := self.understood(error)) is not error:
                raise failure from error
            raise
        self.error = None
        return answer

    async def read(self, verb: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a verb returns that only reads: it may work where writes do not, and says nothing of those.

        Raises:
            StorageError: the verb failed, whatever it has raised.
        """
        self.check()
        try:
            answer = await verb(*args, **kwargs)
        except BaseException as error:
            before = self.error
            failure = self.understood(error)
            if before is None or before is self._of_read:
                self._of_read = self.error
            else:
                self.error = before
            if failure is not error:
                raise failure from error
            raise
        if self.error is self._of_read:
            self.error = self._of_read = None
        return answer

    def check(self) -> None:
        """See to it that the app was not abandoned.

        Raises:
            StorageError: it was.
        """
        if self._abandoned:  # the next start may have opened the storage again
            msg = "cannot use the storage: the app was abandoned"
            raise StorageError(msg)

    def understood(self, error: BaseException) -> BaseException:
        """Take note of what a verb has raised, and return what that means."""
        if isinstance(error, StorageError):
            self.error = error
        elif not isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit) and not (
            isinstance(error, asyncio.CancelledError) and _is_meant()
        ):
            self.error = StorageError(f"the storage has failed: {in_words(error)}")
            return self.error
        return error

    async def insist(self, verb: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Write, again and again while the storage is down; return whether it was written.

        It is given up only when the app stops, or the program ends: the storage then knows of a run that
        started, and nothing of its end, as after a crash.
        """
        self.check()
        try:
            await verb(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001  # what is not of the storage is raised again
            return await self.insist_behind(error, verb, *args, **kwargs)
        self.error = None
        return True

    async def insist_behind(
        self, error: BaseException, verb: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs
    ) -> bool:
        """Go on to insist behind an error that the write has raised; see `insist`."""
        seconds = _FIRST_PAUSE
        try:
            while self._may_repeat(error, seconds):
                await self._pause(seconds)
                seconds = min(2 * seconds, _LONGEST_PAUSE)
                self.check()
                try:
                    await verb(*args, **kwargs)
                except BaseException as again:  # noqa: BLE001  # the same
                    error = again
                else:
                    self.error = None
                    return True
        finally:
            del error  # its traceback holds this frame
        return False

    def _may_repeat(self, error: BaseException, seconds: float) -> bool:
        """Whether to write again, so many seconds later; what is not of the storage is raised."""
        failure = self.understood(error)
        if self._abandoned or not isinstance(failure, StorageError):
            raise failure from (error if failure is not error else error.__cause__)
        if self._closing or is_hurried():
            logger.error("the storage does not work, and the app stops: a write is given up", exc_info=error)
            return False
        logger.warning("the storage does not work; next try in %g s", seconds, exc_info=error)
        return True

    async def _pause(self, seconds: float) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        self._pauses[over] = self._clock.call_at(self._clock.monotonic() + seconds, end)
        try:
            await pause(over)
        finally:
            self._pauses.pop(over).cancel()

    def abandon(self) -> None:
        """Write nothing any more; a step that makes a pause goes on no more, and others end by an error."""
        self._abandoned = True
        for alarm in self._pauses.values():
            alarm.cancel()
        for step in self._steps:
            if step.pausing in self._pauses:
                step.abandon()

    async def settle(self) -> None:
        """Return when no step is in progress; pauses end at once, and each write has one more try."""
        self._closing = True
        for over in self._pauses:
            if not over.done():
                over.set_result(None)
        await self.all_over()


def _is_meant() -> bool:
    """Whether a cancellation was asked for, and is not just something that a storage has raised."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

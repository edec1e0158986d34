"""Who of the processes of a database is the active one, and what they tell each other.

One owns the database; the others are connected to it, and try to follow it at the moment in which it is gone. Nobody
polls, unless there can be no sockets.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from jobify._clock import Alarm, Clock
from jobify._log import logger
from jobify._steps import Step
from jobify.storage._bus import BusClient, BusServer
from jobify.storage._bus_peer import LOOK_AGAIN, Message
from jobify.storage._change_poll import ChangePoll
from jobify.storage._ownership import Ownership

SHORTEST = 0.01
"""Seconds between two tries to reach the active process, at first; then twice as long each time."""

LONGEST = 1.0
"""Seconds between two tries at the most."""


class Standby:
    """A process of a database, which is active or waits to be. It is of use once.

    Args:
        path: the database.
        clock: when to try again.
        on_active: is called once, on the event loop, when this process has become the active one: before `start`
            returns, or at any time later. If it raises, this process is active no longer.
        on_message: is called on the event loop with each message of another process, and with `LOOK_AGAIN` where
            messages may have been missed: by a new connection on either side of it, by a poll.
        read_version: see `ChangePoll`; without it, a process without a bus hears nothing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: Clock,
        *,
        on_active: Callable[[], object],
        on_message: Callable[[Message], object],
        read_version: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self._clock = clock
        self._on_active = on_active
        self._on_message = on_message
        self._poll = None if read_version is None else ChangePoll(clock, read_version, self._changed)
        self._server = BusServer(clock, self._heard)
        self._client = BusClient(self._heard, self._lost)
        self._ownership: Ownership | None = None
        self._served = self._greeted = self._stopped = False
        self._tried = self._delay = 0.0
        self._alarm: Alarm | None = None
        self._step: Step[None] | None = None
        self._told: str | None = None

    # To become active, or to wait for it

    async def start(self) -> bool:
        """Become the active process, or else connect to the one that is; return whether this is it.

        It may also return before either has succeeded: then it is tried again.

        Raises:
            StorageError: there can be no ownership here; see `Ownership.try_acquire`.
        """
        step = self._step = Step(self._try(), loop=asyncio.get_running_loop())
        try:
            await asyncio.shield(step)
        except BaseException:
            if (ownership := self.abandon()) is not None:
                ownership.release()
            raise
        return self.is_active()

    async def _try(self) -> None:
        if self._stopped:
            return
        self._tried = self._clock.monotonic()
        if self._take():
            return
        if not await self._client.connect(self.path):
            self._try_later()
        elif self._stopped:
            await self._client.close()

    def _take(self) -> bool:
        ownership = Ownership.try_acquire(self.path)
        if ownership is None:
            return False
        self._ownership = ownership
        try:
            self._on_active()
        except BaseException:
            self._ownership = None
            ownership.release()
            raise
        if not self._stopped:  # as it was, if it was abandoned in `on_active`
            self._served = self._server.start(ownership) is not None
            self._listen(to_bus=self._served)
        return True

    def _listen(self, *, to_bus: bool) -> None:
        """Hear of changes by the bus, or else by looking for them."""
        if to_bus:
            self._told = None
        if self._poll is not None and not self._stopped:
            if to_bus:
                self._poll.stop()
            else:
                self._poll.start()

    def _try_later(self) -> None:
        self._greeted = False
        if self._stopped or self._ownership is not None:
            return
        self._delay = min(max(2 * self._delay, SHORTEST), LONGEST)
        if self._delay >= LONGEST:
            self._listen(to_bus=False)
        when = max(self._tried + self._delay, self._clock.monotonic())
        self._alarm = self._clock.call_at(when, self._begin)

    def _begin(self) -> None:
        self._alarm = None
        self._step = Step(self._try_again(), loop=asyncio.get_running_loop())

    async def _try_again(self) -> None:
        try:
            await self._try()
        except Exception as error:  # noqa: BLE001  # nobody waits for it; the next try may succeed
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._told != str(error):
            self._told = str(error)
            logger.error("cannot take over %r, and will try again", str(self.path), exc_info=error)
        self._try_later()

    # What happens meanwhile

    def _lost(self) -> None:
        """Take the place of the active process, if it is gone and nobody was faster; else connect again."""
        if self._stopped:
            return
        try:
            if not self._take():
                self._try_later()
        except Exception as error:  # noqa: BLE001  # the same
            self._give_up(error)

    def _heard(self, message: Message) -> None:
        if self._stopped:
            return
        if self._ownership is None:
            # Only who says something is an active process, and no foreign one.
            self._greeted = True
            self._delay = 0.0
            self._listen(to_bus=True)
        self._on_message(message)

    def _changed(self) -> None:
        self._on_message(dict(LOOK_AGAIN))

    # What can be asked of it

    @property
    def ownership(self) -> Ownership | None:
        """The ownership of the database, if this is the active process."""
        return self._ownership

    def is_active(self) -> bool:
        """Whether this is the active process."""
        return self._ownership is not None and self._ownership.is_held()

    def is_on_bus(self) -> bool:
        """Whether there is a bus: that of this process, or a connection to the active one."""
        return self._served if self.is_active() else self._greeted

    def send(self, message: Message) -> bool:
        """Tell the active process something, or as the active process tell all others; return whether there is a bus.

        Raises:
            TypeError: the message has no form in JSON.
            ValueError: it is longer than `LONGEST_LINE`.
        """
        if self.is_active():
            self._server.broadcast(message)
            return self._served
        return self._client.send(message)

    # To end it

    async def stop(self) -> None:
        """Be active no longer, and wait no longer; harmless if repeated. Another process is active at once."""
        ownership = self._end()
        if ownership is not None:
            ownership.release()  # before the others see the end of their connections, and try
        await self._server.close()
        await self._client.close()
        step = self._step
        if step is not None and step.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([step])

    def abandon(self) -> Ownership | None:
        """Leave the bus at once, without an `await`, and wait no longer; harmless if repeated.

        Returns:
            The ownership of the active process, which is still held: release it when nothing more will be written.
        """
        ownership = self._end()
        self._server.cut()
        self._client.cut()
        return ownership

    def _end(self) -> Ownership | None:
        self._stopped = True
        self._served = self._greeted = False
        if self._alarm is not None:
            self._alarm.cancel()
        if self._poll is not None:
            self._poll.stop()
        self._server.vacate()
        ownership, self._ownership = self._ownership, None
        return ownership

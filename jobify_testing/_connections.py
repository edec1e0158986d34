"""The connections of one loop: what is under way on them, and whether time has to wait for it.

Everything is counted where it happens, and judged only when the loop has nothing else to do. Connections on
which nothing is under way are not even looked at.
"""

import contextlib
import enum
import os
import selectors
import socket
import time
import weakref
from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol

from jobify_testing._ends import Address, End, has_socket_at, is_stream, plain
from jobify_testing._holds import Holds


class _Verdict(enum.Enum):
    """What is under way on a connection, in words that go on from its name."""

    HANDSHAKE = "whose TLS handshake is in progress"
    AWAITED = "written to and not yet read from"
    FOLLOWED = "where more may follow on what just came"
    ARRIVING = "on which something is on its way"
    STANDING = "on which something stands that nobody reads at the moment"
    SETTLED = "on which nothing is under way"


_BRIEF = {_Verdict.ARRIVING, _Verdict.FOLLOWED}


class Host(Protocol):
    """What connections need of their loop."""

    def add_reader(self, fd: int, callback: Callable[[], object], /) -> object:
        """Watch a file."""
        ...

    def remove_reader(self, fd: int, /) -> object:
        """Watch it no more."""
        ...

    def listeners(self) -> list[Any]:
        """Return the sockets at which the loop accepts connections."""
        ...


class Connections:
    """The ledger of the connections of one loop.

    Args:
        loop: the loop.
        holds: where is noted what time has to wait for.
        files: what the loop watches.
    """

    def __init__(self, loop: Host, holds: Holds, files: Mapping[Any, selectors.SelectorKey]) -> None:
        self._loop = loop
        self._holds = holds
        self._files = files
        self._ends: weakref.WeakKeyDictionary[socket.socket, End] = weakref.WeakKeyDictionary()
        self._by_addresses: weakref.WeakValueDictionary[tuple[Any, Any], End] = weakref.WeakValueDictionary()
        self._under_way: dict[End, None] = {}
        self._holding: dict[object, tuple[End, _Verdict]] = {}
        self._written: dict[int, End] = {}

    def meet(self, sock: object, *, accepted: bool = False) -> End | None:
        """Return the end of a socket, known or new; None if it is no stream, or not connected."""
        if not is_stream(sock):
            return None
        end = self._ends.get(sock)
        if end is None:
            end = End(sock, self._under_way, accepted=accepted)
            if end.peer is None:
                return None
            self._ends[sock] = end
            if not end.is_unix:
                self._by_addresses[end.name, end.peer] = end
            end.is_made()
        return end

    def is_written_to(self, end: End) -> None:
        """Take note that `sock_sendall` or its like is about to write."""
        end.is_written_to()
        if end.is_raw and end.unanswered:
            self._written[end.file] = end

    def saw(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Take note of events: a raw socket that can be read from will be, by whatever means."""
        if self._written:
            for key, mask in events:
                if mask & selectors.EVENT_READ and (end := self._written.pop(key.fd, None)) is not None:
                    end.is_answered()

    @property
    def are_busy(self) -> bool:
        """Whether there is anything to judge."""
        return bool(self._under_way or self._holding)

    def forget(self) -> None:
        """Judge nothing: in real time nothing is waited for."""
        self._under_way.clear()

    def judge(self) -> None:
        """Hold time for what is under way, and no longer for what is not; for a loop that has nothing else to do."""
        for token in self._holding:
            self._holds.release(token)
        self._holding.clear()
        if not self._holds.waits_for("socket"):
            self._under_way.clear()
        for end in list(self._under_way):
            verdict = self._judge(end)
            if verdict is _Verdict.SETTLED:
                self._under_way.pop(end)
            elif verdict is not _Verdict.STANDING:
                self._holding[self._holds.take("socket", f"{end}, {verdict.value}")] = end, verdict

    def _judge(self, end: End) -> _Verdict:
        other = self._by_addresses.get((end.peer, end.name))
        if other is not None and other.file >= 0:
            return self._judge_pair(end, other)
        if end.file < 0:
            return _Verdict.SETTLED
        if end.is_new and self._is_served(end.peer):
            return _Verdict.ARRIVING
        end.is_new = False
        if end.shaking_hands:
            return _Verdict.HANDSHAKE
        if end.is_outside is None:
            end.is_outside = self._is_outside(end)
        return self._judge_outside(end) if end.is_outside and not end.ended else _Verdict.SETTLED

    def _judge_pair(self, end: End, other: End) -> _Verdict:
        """Judge what is on its way from one end to another that this loop has, too."""
        end.is_new = end.unanswered = False
        shut = (end.shut or end.file < 0) and not other.ended
        if end.sent <= other.received and not shut:
            return _Verdict.SETTLED
        is_read = self._watches(other.file) and (other.readers > 0 or not other.is_raw)
        return _Verdict.ARRIVING if is_read else _Verdict.STANDING

    def _judge_outside(self, end: End) -> _Verdict:
        # A transport that reads nothing, and has nothing left to write, gets no answer.
        if end.unanswered and (end.is_raw or end.file in self._files):
            return _Verdict.AWAITED
        if end.quiet_at > time.monotonic():
            return _Verdict.FOLLOWED
        return _Verdict.STANDING if end.unanswered else _Verdict.SETTLED

    def _watches(self, file: int) -> bool:
        key = self._files.get(file)
        return key is not None and bool(key.events & selectors.EVENT_READ)

    def _is_served(self, address: Address | None) -> bool:
        """Whether this loop accepts connections at an address."""
        for listener in self._loop.listeners():
            file = listener.fileno()
            own = plain(listener.getsockname()) if file >= 0 else None
            if isinstance(own, tuple) and isinstance(address, tuple) and own[0] in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
                own = (address[0], own[1])
            if own is not None and own == address:
                return self._watches(file)
        return False

    def _is_outside(self, end: End) -> bool:
        """Whether nothing but its answer tells what the other end does."""
        if not end.is_unix:
            # A client in this process holds as its thread does, and may well keep the connection when it is through.
            return not (end.accepted and end.is_local() and has_socket_at(end.peer))
        process = end.process_behind()
        if process is not None and process != os.getpid():
            return True
        if end.peer:
            return not self._is_served(end.peer)
        return bool(end.name) and process is None  # without names it is a pair, made in this process

    # While time is held

    def how_long(self, grace: float) -> float | None:
        """Return for how many real seconds to wait, if only for what must be there at once; None if for other work.

        Args:
            grace: for what is on its way between two sockets of this loop: enough, if the loop sees all of it.
        """
        verdicts = [verdict for _, verdict in self._holding.values()]
        if not verdicts or len(verdicts) < len(self._holds) or not _BRIEF.issuperset(verdicts):
            return None
        if _Verdict.ARRIVING in verdicts:
            return grace
        return max(0.0, *(end.quiet_at - time.monotonic() for end, _ in self._holding.values()))

    def have_settled(self) -> None:
        """Believe that what was on its way has arrived: it was read, or accepted, past the loop."""
        for end, verdict in self._holding.values():
            other = self._by_addresses.get((end.peer, end.name))
            if verdict is _Verdict.ARRIVING and other is not None:
                other.received = max(other.received, end.sent)
                other.ended = other.ended or end.shut or end.file < 0
            end.is_new = False

    def give_up(self) -> None:
        """Wait for no answer any more that has not come."""
        for end in self._under_way:
            end.unanswered = end.shaking_hands = False
        self._under_way.clear()

    def cut_off(self, owner: object) -> None:
        """Let the other ends of what belongs to `owner` see that it was killed."""
        for end in list(self._ends.values()):
            if end.owner is owner:
                end.cut_off()

    @contextlib.contextmanager
    def all_watched(self) -> Generator[None, None, None]:
        """Watch also the sockets of which an answer is awaited, and that nobody reads from at the moment."""
        silent = [file for file, end in self._written.items() if end.is_raw and end.unanswered and end.file == file]
        added = [file for file in silent if not self._watches(file)]
        for file in added:
            self._loop.add_reader(file, _wake)
        try:
            yield
        finally:
            for file in added:
                self._loop.remove_reader(file)


def _wake() -> None:
    """Do nothing: that there is something to do wakes the loop."""

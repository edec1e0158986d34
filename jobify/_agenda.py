"""What is due when: the waiting jobs in two heaps, one for each axis of time, with an alarm each.

The timers of asyncio do not keep the order of what is due at one instant; these heaps do. They are
keyed by (due, place), in whole nanoseconds; the place is the number of the job, unless the runtime says otherwise.
"""

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from jobify._clock import Alarm, Clock, to_nanoseconds, wall_datetime, wall_nanoseconds
from jobify._entry import Entry, Watch
from jobify._spec import RunMode

Waiting = Entry | Watch
Item = tuple[int, int, Waiting]


class _Axis(ABC):
    """Who waits on one axis of time, and the alarm for the first of them.

    Attributes:
        read: returns what its clock shows, in the unit that fits `has_come`.
    """

    def __init__(self, clock: Clock, read: Callable[[], float], wake: Callable[[], None]) -> None:
        self.read = read
        self.waiting: set[Waiting] = set()
        self._clock = clock
        self._wake = wake
        self._heap: list[Item] = []  # who was taken out stays in it as a ghost
        self._alarm: Alarm | None = None
        self._alarm_due: int | None = None

    @abstractmethod
    def has_come(self, due: int, reading: float, /) -> bool:
        """Whether an instant has come when the clock shows that."""

    @abstractmethod
    def _set_alarm(self, due: int) -> Alarm: ...

    def is_quiet(self, reading: float) -> bool:
        """Whether nobody who waits is due when the clock shows that: the alarm is set for the first of them."""
        due = self._alarm_due
        return not self.waiting if due is None else not self.has_come(due, reading)

    def add(self, entry: Waiting, reading: float) -> bool:
        """Let a job wait for its `due`; return whether that has come when the clock shows that."""
        due = entry.due
        self.waiting.add(entry)
        heapq.heappush(self._heap, (due, entry.place, entry))
        if self.has_come(due, reading):
            return True
        if self._alarm_due is None or due < self._alarm_due:
            self._arm(self._head())
        return False

    def discard(self, entry: Waiting) -> None:
        """Let a job wait no longer; harmless if it does not."""
        self.waiting.discard(entry)
        # Ghosts are dropped at the head; many of them in the middle would be a leak.
        if len(self._heap) > 2 * len(self.waiting) + 64:
            self._heap = [item for item in self._heap if item[2] in self.waiting and item[2].due == item[0]]
            heapq.heapify(self._heap)
        if self._alarm_due == entry.due:
            self._arm(self._head())

    def take(self, reading: float) -> list[Waiting]:
        """Take out all jobs that are due when the clock shows that, in order."""
        taken: list[Waiting] = []
        while (due := self._head()) is not None and self.has_come(due, reading):
            entry = heapq.heappop(self._heap)[2]
            self.waiting.discard(entry)
            taken.append(entry)
        return taken

    def arm(self) -> None:
        """Have the alarm ring when the first job is due."""
        self._arm(self._head())

    def close(self) -> None:
        """Wake nobody any more."""
        self._arm(None)
        self.waiting.clear()
        self._heap.clear()

    def _head(self) -> int | None:
        """Return when the first job is due; None if none waits."""
        heap = self._heap
        while heap:
            due, _, entry = heap[0]
            if entry in self.waiting and entry.due == due:
                return due
            heapq.heappop(heap)
        return None

    def _arm(self, due: int | None) -> None:
        """Have the alarm ring then; None for not at all."""
        if due == self._alarm_due:
            return
        alarm, self._alarm, self._alarm_due = self._alarm, None, None
        if alarm is not None:
            alarm.cancel()
        if due is not None:
            self._alarm = self._set_alarm(due)
            self._alarm_due = due

    def _ring(self) -> None:
        self._alarm = self._alarm_due = None
        self._wake()


class _MonotonicAxis(_Axis):
    def has_come(self, due: int, reading: float, /) -> bool:
        # The very expression that the alarm is set with: else a rounding could ring it for ever.
        return due / 1_000_000_000 <= reading

    def _set_alarm(self, due: int) -> Alarm:
        return self._clock.call_at(due / 1_000_000_000, self._ring)


class _WallAxis(_Axis):
    def has_come(self, due: int, reading: float, /) -> bool:
        return due <= reading

    def _set_alarm(self, due: int) -> Alarm:
        return self._clock.call_at_wall(wall_datetime(due), self._ring)


class Agenda:
    """Knows who waits for a time: jobs, and watches of jobs that run; and calls `wake` with those that are due.

    They come in order, with their due times on the monotonic axis.
    """

    def __init__(self, clock: Clock, wake: Callable[[list[tuple[int, Waiting]]], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._monotonic = _MonotonicAxis(clock, clock.monotonic, self._ring)
        self._wall = _WallAxis(clock, lambda: wall_nanoseconds(clock.now()), self._ring)
        self._closed = False

    def add(self, *entries: Waiting) -> None:
        """Let jobs wait for their `due`; `wake` is called at once if one of these is now, or has passed."""
        if self._closed:
            return
        is_due = False
        for entry in entries:
            axis = self._wall if entry.wall else self._monotonic
            reading = axis.read()
            if len(entries) == 1 and not entry.wall and axis.has_come(entry.due, reading) and self.is_quiet(reading):
                self._wake([(entry.due, entry)])
                return
            is_due |= axis.add(entry, reading)
        if is_due:
            self._ring()

    def is_quiet(self, monotonic: float) -> bool:
        """Whether nobody who waits is due when the monotonic clock shows that: so it is when most jobs are pushed."""
        return self._monotonic.is_quiet(monotonic) and (
            not self._wall.waiting or self._wall.is_quiet(self._wall.read())
        )

    def discard(self, entry: Waiting) -> None:
        """Let a job wait no longer; harmless if it does not."""
        (self._wall if entry.wall else self._monotonic).discard(entry)

    def _ring(self) -> None:
        """Take out all that are due, and tell who is to start them.

        A clock may be anybody's. If it fails nothing is taken out, or else all that was taken out is told: and the
        alarms are set anew.
        """
        try:
            self._tell(self._monotonic.read(), self._wall.read() if self._wall.waiting else None)
        finally:
            self._monotonic.arm()
            self._wall.arm()

    def _tell(self, monotonic: float, wall: float | None) -> None:
        due = [(entry.due, entry) for entry in self._monotonic.take(monotonic)]
        if wall is not None:
            offset = to_nanoseconds(monotonic) - int(wall)
            due += [(entry.due + offset, entry) for entry in self._wall.take(wall)]
            due.sort(key=lambda item: (item[0], item[1].place))
        self._wake(due)

    def close(self) -> None:
        """Wake nobody any more."""
        self._closed = True
        self._monotonic.close()
        self._wall.close()


class Lines:
    """The slots of all run modes, and the due jobs that stand in line for one."""

    def __init__(self, slots: Mapping[RunMode, int | None]) -> None:
        self._lines = {mode: _Line(math.inf if number is None else number) for mode, number in slots.items()}
        self._promised = _Line(math.inf)  # who has a slot already
        self._all = (*self._lines.values(), self._promised)
        self._waiting: set[Entry] = set()

    def join(self, due: int, entry: Entry) -> None:
        """Stand in line, behind what was due before, or was scheduled before for the same time."""
        if entry.spec is not None:
            self._waiting.add(entry)
            line = self._promised if entry.begun else self._lines[entry.spec.run_mode]
            heapq.heappush(line.heap, (due, entry.place, entry))

    def is_limited(self, mode: RunMode) -> bool:
        """Whether a run mode has a limited number of slots."""
        return self._lines[mode].free < math.inf

    def promise(self, mode: RunMode) -> bool:
        """Keep a slot for a job that is being accepted, if one is free; return whether it is. `leave` gives it back."""
        line = self._lines[mode]
        if self._waiting or line.free <= 0:
            return False
        line.free -= 1
        return True

    def discard(self, entry: Entry) -> None:
        """Stand in line no longer; harmless if it does not."""
        self._waiting.discard(entry)

    def admit(self) -> tuple[int, Entry] | None:
        """Give the next job that finds one a slot, and return it behind its due time; None if there is none.

        The lines of all run modes are one here: who was scheduled first starts first, whatever its mode.
        """
        if not self._waiting:
            return None
        first: _Line | None = None
        for line in self._all:
            while line.heap and line.heap[0][2] not in self._waiting:
                heapq.heappop(line.heap)
            if line.heap and line.free > 0 and (first is None or line.heap[0] < first.heap[0]):
                first = line
        if first is None:
            return None
        first.free -= 1
        due, _, entry = heapq.heappop(first.heap)
        self._waiting.discard(entry)
        return due, entry

    def leave(self, entry: Entry) -> bool:
        """Give a slot back; return whether anybody stands in line."""
        if entry.spec is not None:
            self._lines[entry.spec.run_mode].free += 1
        return bool(self._waiting)

    def close(self) -> None:
        """Send everybody home who stands in line."""
        self._waiting.clear()


class _Line:
    """The free slots of one run mode, and who stands in line for one, ghosts included."""

    def __init__(self, free: float) -> None:
        self.free = free
        self.heap: list[tuple[int, int, Entry]] = []

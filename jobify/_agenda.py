"""What is due when: the waiting jobs in two heaps, one for each axis of time, with an alarm each.

The timers of asyncio do not keep the order of what is due at one instant; these heaps do. They are
keyed by (due, number), in whole nanoseconds.
"""

import heapq
from collections.abc import Callable

from jobify._clock import Alarm, Clock, to_nanoseconds, wall_datetime, wall_nanoseconds
from jobify._records import Entry

Item = tuple[int, int, Entry]


class _Axis:
    """The jobs that wait on one axis of time; who was taken out stays in the heap as a ghost."""

    def __init__(self) -> None:
        self.waiting: set[Entry] = set()
        self.heap: list[Item] = []
        self.alarm: Alarm | None = None
        self.alarm_due: int | None = None

    def add(self, entry: Entry) -> None:
        self.waiting.add(entry)
        heapq.heappush(self.heap, (entry.due, entry.number, entry))

    def discard(self, entry: Entry) -> None:
        self.waiting.discard(entry)
        # Ghosts are dropped at the head; many of them in the middle would be a leak.
        if len(self.heap) > 2 * len(self.waiting) + 64:
            self.heap = [item for item in self.heap if self._is_real(item)]
            heapq.heapify(self.heap)

    def _is_real(self, item: Item) -> bool:
        due, _, entry = item
        return entry in self.waiting and entry.due == due

    def head(self) -> int | None:
        """Return when the first job is due; None if none waits."""
        while self.heap and not self._is_real(self.heap[0]):
            heapq.heappop(self.heap)
        return self.heap[0][0] if self.heap else None

    def pop(self) -> Entry:
        entry = heapq.heappop(self.heap)[2]
        self.waiting.discard(entry)
        return entry

    def disarm(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm = self.alarm_due = None


class Agenda:
    """Knows all jobs that wait for their time, and calls `wake` when one of them may be due."""

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._monotonic = _Axis()
        self._wall = _Axis()
        self._closed = False

    def __len__(self) -> int:
        return len(self._monotonic.waiting) + len(self._wall.waiting)

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._axis(entry).waiting

    def add(self, *entries: Entry) -> None:
        """Let jobs wait for their `due`; `wake` is called at once if one of these is now, or has passed."""
        if self._closed:
            return
        is_due = False
        for entry in entries:
            axis = self._axis(entry)
            axis.add(entry)
            if self._is_due(axis, entry.due):
                is_due = True
            elif axis.alarm_due is None or entry.due < axis.alarm_due:
                self._arm(axis)
        if is_due:
            self._wake()

    def discard(self, entry: Entry) -> None:
        """Let a job wait no longer; harmless if it does not."""
        axis = self._axis(entry)
        axis.discard(entry)
        if axis.alarm_due == entry.due:
            self._arm(axis)

    def take_due(self) -> list[tuple[int, Entry]]:
        """Take out all jobs that are due, with their due times on the monotonic axis, in order."""
        due = [(entry.due, entry) for entry in self._take(self._monotonic)]
        if self._wall.waiting:
            offset = to_nanoseconds(self._clock.monotonic()) - wall_nanoseconds(self._clock.now())
            late = [(entry.due + offset, entry) for entry in self._take(self._wall)]
            if late:
                due = sorted(due + late, key=lambda item: (item[0], item[1].number))
        return due

    def close(self) -> None:
        """Wake nobody any more."""
        self._closed = True
        for axis in (self._monotonic, self._wall):
            axis.disarm()
            axis.waiting.clear()
            axis.heap.clear()

    def _axis(self, entry: Entry) -> _Axis:
        return self._wall if entry.wall else self._monotonic

    def _is_due(self, axis: _Axis, due: int) -> bool:
        if axis is self._wall:
            return due <= wall_nanoseconds(self._clock.now())
        # The very expression that the alarm is set with: else a rounding could ring it for ever.
        return due / 1e9 <= self._clock.monotonic()

    def _take(self, axis: _Axis) -> list[Entry]:
        taken: list[Entry] = []
        while (due := axis.head()) is not None and self._is_due(axis, due):
            taken.append(axis.pop())
        if taken or axis.alarm is None:
            self._arm(axis)
        return taken

    def _arm(self, axis: _Axis) -> None:
        due = axis.head()
        if due == axis.alarm_due and axis.alarm is not None:
            return
        axis.disarm()
        if due is None:
            return

        def ring() -> None:
            axis.alarm = axis.alarm_due = None
            self._wake()

        axis.alarm_due = due
        if axis is self._wall:
            axis.alarm = self._clock.call_at_wall(wall_datetime(due), ring)
        else:
            axis.alarm = self._clock.call_at(due / 1e9, ring)


class Line:
    """The slots of one run mode, and the due jobs that stand in line for one.

    Attributes:
        slots: how many attempts may be in progress at once; None for any number.
        busy: how many are.
    """

    def __init__(self, slots: int | None) -> None:
        self.slots = slots
        self.busy = 0
        self._heap: list[Item] = []
        self._waiting: set[Entry] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._waiting

    def join(self, due: int, entry: Entry) -> None:
        """Stand in line, behind what was due before, or was scheduled before for the same time."""
        self._waiting.add(entry)
        heapq.heappush(self._heap, (due, entry.number, entry))

    def discard(self, entry: Entry) -> None:
        """Stand in line no longer; harmless if it does not."""
        self._waiting.discard(entry)

    def admit(self) -> Entry | None:
        """Give the next job in line a slot; None if there is no slot, or nobody in line."""
        while self._heap and (self.slots is None or self.busy < self.slots):
            entry = heapq.heappop(self._heap)[2]
            if entry in self._waiting:
                self._waiting.discard(entry)
                self.busy += 1
                return entry
        return None

    def leave(self) -> None:
        """Give a slot back."""
        self.busy -= 1

    def close(self) -> None:
        """Send everybody home who stands in line."""
        self._heap.clear()
        self._waiting.clear()

"""What is due when: the waiting jobs in two heaps, one for each axis of time, with an alarm each.

The timers of asyncio do not keep the order of what is due at one instant; these heaps do. They are
keyed by (due, place), in whole nanoseconds; the place is the number of the job, unless the runtime says otherwise.
"""

import heapq
import math
from collections.abc import Callable, Mapping

from jobify._clock import Alarm, Clock, to_nanoseconds, wall_datetime, wall_nanoseconds
from jobify._entry import Entry, Watch
from jobify._spec import RunMode

Waiting = Entry | Watch
Item = tuple[int, int, Waiting]


class _Axis:
    """Who waits on one axis of time; who was taken out stays in the heap as a ghost."""

    def __init__(self) -> None:
        self.waiting: set[Waiting] = set()
        self.heap: list[Item] = []
        self.alarm: Alarm | None = None
        self.alarm_due: int | None = None

    def add(self, entry: Waiting) -> None:
        self.waiting.add(entry)
        heapq.heappush(self.heap, (entry.due, entry.place, entry))

    def discard(self, entry: Waiting) -> None:
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

    def pop(self) -> Waiting:
        entry = heapq.heappop(self.heap)[2]
        self.waiting.discard(entry)
        return entry

    def disarm(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm = self.alarm_due = None


class Agenda:
    """Knows who waits for a time: jobs, and watches of jobs that run; and calls `wake` when one of them may be due."""

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._monotonic = _Axis()
        self._wall = _Axis()
        self._closed = False

    def __len__(self) -> int:
        return len(self._monotonic.waiting) + len(self._wall.waiting)

    def __contains__(self, entry: Waiting) -> bool:
        return entry in self._axis(entry).waiting

    def add(self, *entries: Waiting) -> None:
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

    def discard(self, entry: Waiting) -> None:
        """Let a job wait no longer; harmless if it does not."""
        axis = self._axis(entry)
        axis.discard(entry)
        if axis.alarm_due == entry.due:
            self._arm(axis)

    def take_due(self) -> list[tuple[int, Waiting]]:
        """Take out all jobs that are due, with their due times on the monotonic axis, in order."""
        due = [(entry.due, entry) for entry in self._take(self._monotonic)]
        if self._wall.waiting:
            offset = to_nanoseconds(self._clock.monotonic()) - wall_nanoseconds(self._clock.now())
            late = [(entry.due + offset, entry) for entry in self._take(self._wall)]
            if late:
                due = sorted(due + late, key=lambda item: (item[0], item[1].place))
        return due

    def close(self) -> None:
        """Wake nobody any more."""
        self._closed = True
        for axis in (self._monotonic, self._wall):
            axis.disarm()
            axis.waiting.clear()
            axis.heap.clear()

    def _axis(self, entry: Waiting) -> _Axis:
        return self._wall if entry.wall else self._monotonic

    def _is_due(self, axis: _Axis, due: int) -> bool:
        if axis is self._wall:
            return due <= wall_nanoseconds(self._clock.now())
        # The very expression that the alarm is set with: else a rounding could ring it for ever.
        return due / 1_000_000_000 <= self._clock.monotonic()

    def _take(self, axis: _Axis) -> list[Waiting]:
        taken: list[Waiting] = []
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

        if axis is self._wall:
            axis.alarm = self._clock.call_at_wall(wall_datetime(due), ring)
        else:
            axis.alarm = self._clock.call_at(due / 1_000_000_000, ring)
        axis.alarm_due = due


class Lines:
    """The slots of all run modes, and the due jobs that stand in line for one."""

    def __init__(self, slots: Mapping[RunMode, int | None]) -> None:
        self._lines = {mode: _Line(math.inf if number is None else number) for mode, number in slots.items()}
        self._waiting: set[Entry] = set()

    def join(self, due: int, entry: Entry) -> None:
        """Stand in line, behind what was due before, or was scheduled before for the same time."""
        if entry.spec is not None:
            self._waiting.add(entry)
            heapq.heappush(self._lines[entry.spec.run_mode].heap, (due, entry.place, entry))

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
        for line in self._lines.values():
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

    def leave(self, entry: Entry) -> None:
        """Give a slot back."""
        if entry.spec is not None:
            self._lines[entry.spec.run_mode].free += 1

    def close(self) -> None:
        """Send everybody home who stands in line."""
        self._waiting.clear()


class _Line:
    """The free slots of one run mode, and who stands in line for one, ghosts included."""

    def __init__(self, free: float) -> None:
        self.free = free
        self.heap: list[tuple[int, int, Entry]] = []

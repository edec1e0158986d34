"""The timeline text: what happened to jobs, one event a line, as expectation and as picture of a failure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import zip_longest
from textwrap import indent

from jobify import Event, JobStatus, Moved, Skipped, Transition, to_nanoseconds

_UNITS = (("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000))
_PLAIN_REASONS = frozenset({"cancelled", None})
_WIDEST = 60

# Of the lines and characters that pytest shows of an explanation, what the two lines of heading leave.
_SHOWN_LINES = 8
_SHOWN_CHARACTERS = 500


def tell_duration(nanoseconds: int) -> str:
    """Return a duration in words that are exact: "0s", "1h", "1h 30m", "2d 0.5s"."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number}{unit}")
    if rest or not parts:
        seconds, fraction = divmod(rest, 1_000_000_000)
        digits = f".{fraction:09}".rstrip("0") if fraction else ""
        parts.append(f"{seconds}{digits}s")
    return sign + " ".join(parts)


class Timeline(str):
    """A timeline as text. It equals every text of the same lines, however these are indented and spaced."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and lines_of(self) == lines_of(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(tuple(lines_of(self)))


def lines_of(text: str) -> list[str]:
    """Return the lines of a timeline, each with single spaces; empty ones do not count."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


class Teller:
    """Tells events as lines.

    Args:
        start: the monotonic instant, in nanoseconds, from which times are counted.
        wall: what the wall clock showed then.
    """

    def __init__(self, start: int, wall: datetime) -> None:
        self._start = start
        self._wall = wall
        self.labels: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def tell(self, events: Iterable[Event], *, labels: bool) -> Timeline:
        """Return a line for each event; with `labels`, each names its job: the task, and the how-manieth of it."""
        rows = [(self._instant(event), self._label(event), self._sentence(event)) for event in events]
        width = max((len(instant) for instant, _, _ in rows), default=0)
        names = max((len(label) for _, label, _ in rows), default=0) if labels else 0
        lines = [
            f"{instant:{width}}  {label:{names}}  {sentence}" if labels else f"{instant:{width}}  {sentence}"
            for instant, label, sentence in rows
        ]
        return Timeline("\n".join(lines))

    def learn(self, event: Event) -> None:
        """Take note of the job of an event that is not known yet: jobs are counted in the order in which they came."""
        name = event.task.rpartition(":")[2].rpartition(".")[2]
        self._counts[name] = self._counts.get(name, 0) + 1
        self.labels[event.job_id] = f"{name}#{self._counts[name]}"

    def _label(self, event: Event) -> str:
        return self.labels.get(event.job_id, event.job_id)

    def _instant(self, event: Event) -> str:
        return tell_duration(to_nanoseconds(event.elapsed) - self._start)

    def _since(self, moment: datetime) -> str:
        return tell_duration((moment - self._wall) // timedelta(microseconds=1) * 1000)

    def _sentence(self, event: Event) -> str:
        if isinstance(event, Skipped):
            return (
                f"skipped {event.count} from {self._since(event.first)} to {self._since(event.last)} ({event.reason})"
            )
        if isinstance(event, Moved):
            return event.reason + ("" if event.reason == "paused" else f", due at {self._since(event.exec_at)}")
        if event.status is JobStatus.SCHEDULED:
            return f"scheduled for {self._since(event.exec_at)}{_why(event)}"
        if event.status is JobStatus.RUNNING:
            attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
            late = event.at - event.due
            # Of a later attempt, the first one was on time or not.
            is_late = late > timedelta(0) and event.attempt <= 1
            return f"running{attempt}" + (f", {tell_duration(_nanoseconds(late))} late" if is_late else "")
        status = event.status.replace("_", " ")
        if event.error is not None and event.status is JobStatus.FAILED:
            return f"{status} with {type(event.error).__name__}{_why(event)}"
        return f"{status}{_why(event)}"


def _why(event: Transition) -> str:
    if event.reason in _PLAIN_REASONS:
        return ""
    error = f" after {type(event.error).__name__}" if event.error is not None else ""
    return f" ({event.reason}{error})"


def _nanoseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1) * 1000


def explain_difference(actual: Timeline, expected: str) -> list[str]:
    """Return two timelines that differ, side by side, with the first difference marked.

    What is around that comes first: pytest cuts an explanation, unless it is asked for more.
    """
    pairs = list(zip_longest(lines_of(expected), lines_of(actual), fillvalue="(nothing)"))
    first = next(i for i, (one, other) in enumerate(pairs) if one != other)
    width = min(max(len("expected"), *(len(one) for one, _ in pairs)), _WIDEST)
    head = f"   {'expected':{width}} | actual"
    rows = [f"{'->' if i == first else '  '} {one:{width}} | {other}" for i, (one, other) in enumerate(pairs)]
    near = _around(rows, first)
    lines = [f"timelines differ in line {first + 1}", head, *near]
    return lines if len(near) == len(rows) else [*lines, "", "all lines:", head, *rows]


def _around(rows: list[str], first: int) -> list[str]:
    """Return as many rows around one of them as pytest shows for sure."""
    for reach in (len(rows), 2, 1):
        near = rows[max(0, first - reach) : first + reach + 1]
        if len(near) <= _SHOWN_LINES and sum(map(len, near)) <= _SHOWN_CHARACTERS:
            return near
    return rows[first : first + 1]


def indent_as(model: str, text: str) -> str:
    """Return a text, indented as another one is."""
    first = next((line for line in model.splitlines() if line.strip()), "")
    return indent(text, first[: len(first) - len(first.lstrip())])

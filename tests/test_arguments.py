"""Arguments that are stored: what comes back as it went, and what is refused with the name of its parameter."""

import collections
import dataclasses
import enum
import inspect
import json
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypedDict
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobify import InvalidArgumentsError, Jobify
from jobify.serializers import ArgumentsCodec, JSONSerializer, Serializer
from jobify.storage import MemoryStorage, SQLiteStorage
from jobify_testing import VirtualClock


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


class Level(enum.IntEnum):
    """An enumeration whose members are numbers."""

    HIGH = 1


class Name(str):
    """A text that knows that it is a name."""

    __slots__ = ()


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    y: int = 0


@dataclasses.dataclass(eq=False)
class Identity:
    """A dataclass that does not say what equal means."""

    name: str


@dataclasses.dataclass(eq=False)
class Peculiar:
    """A dataclass that comes back as something else."""

    n: int

    def __post_init__(self) -> None:
        """Double the number, each time that one is made."""
        self.n *= 2


class Record(msgspec.Struct, eq=False):
    """A Struct that does not say what equal means."""

    name: str
    marks: list[float]


@dataclasses.dataclass
class Cached:
    """A dataclass with a field that is no part of what it is."""

    name: str
    seen: Any = dataclasses.field(default=None, compare=False)


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: str


class Movie(TypedDict):
    """A typed dictionary."""

    title: str
    year: int


class Opaque:
    """A class that nobody knows how to store."""


class Nowhere(tzinfo):
    """A zone that no text can name."""

    def utcoffset(self, when: datetime | None, /) -> timedelta:
        """Return an offset."""
        return timedelta(0)

    def dst(self, when: datetime | None, /) -> None:
        """Return nothing."""

    def tzname(self, when: datetime | None, /) -> None:
        """Return nothing."""


@dataclasses.dataclass(slots=True)
class Unmade:
    """A dataclass of which there is one without fields."""

    x: int


@dataclasses.dataclass
class Dangling:
    """A dataclass with an annotation that means nothing."""

    x: "Missing"  # type: ignore[name-defined]  # noqa: F821  # on purpose


class Hostile:
    """A class that raises when it is compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = object.__hash__


async def round_trip(task_function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what a task returns that was stored before a restart and run after it."""
    app = Jobify(storage=SQLiteStorage("arguments.db"))
    task = app.task(task_function, name="task")
    async with app:
        await task.schedule(*args, **kwargs).delay(10, job_id="it")
    async with app:
        job = await app.get_job("it")
        assert job is not None
        return await job


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 2**40),
        (float, 0.1),
        (float, 5),
        (str, "naïve \x00 🗝"),
        (bool, True),
        (bytes, b"\x00\xff"),
        (datetime, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (datetime, datetime(2026, 3, 1, 12)),  # noqa: DTZ001  # naive on purpose
        (datetime, datetime(2026, 3, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo"))),
        (date, date(2026, 3, 1)),
        (time, time(12, 30)),
        (timedelta, timedelta(days=3, microseconds=1)),
        (uuid.UUID, uuid.UUID(int=5)),
        (Decimal, Decimal("1.10")),
        (Colour, Colour.RED),
        (Point, Point(1, 2)),
        (Pair, Pair(1, "b")),
        (Movie, Movie(title="Metropolis", year=1927)),
        (list[Point], [Point(1), Point(2)]),
        (dict[int, date], {1: date(2026, 1, 1)}),
        (tuple[int, ...], (1, 2)),
        (set[int], {1, 2}),
        (int | None, None),
        (datetime | None, datetime(2026, 3, 1, tzinfo=UTC)),
        (set[date], {date(2026, 1, 1), date(2026, 1, 2)}),
        (Level, Level.HIGH),
        (dict[Level, list[Level]], {Level.HIGH: [Level.HIGH]}),
        (bytearray, bytearray(b"x")),
        (float | int, 5),
        (Cached, Cached("a", seen=(1, 2))),
        (Any, {"a": [1, 2.5, None, True, "x"]}),
        (list, [1, "a"]),
    ],
)
async def test_typed_arguments_come_back_as_they_went(
    annotation: Any, value: object, virtual_clock: VirtualClock
) -> None:
    """What is annotated comes back equal, with its type, after a restart."""

    async def give_back(value: object) -> object:
        return value

    give_back.__annotations__["value"] = annotation
    back = await round_trip(give_back, value)
    assert back == value
    assert type(back) is type(value)


async def test_a_class_without_equality_comes_back(virtual_clock: VirtualClock) -> None:
    """A dataclass or a Struct that compares by identity is judged by its fields, wherever it is."""

    async def give_back(people: list[Identity], group: set[Identity], record: Record) -> object:
        return [person.name for person in people], {person.name for person in group}, record.name, record.marks

    people = [Identity("Ada"), Identity("Grace")]
    back = await round_trip(give_back, people, set(people), Record("Alan", [1.0, 2]))
    assert back == (["Ada", "Grace"], {"Ada", "Grace"}, "Alan", [1.0, 2.0])


async def test_an_integer_for_a_float_stays_one(virtual_clock: VirtualClock) -> None:
    """A whole number is welcome where a float is annotated, however deep, and is the same after a restart."""

    async def give_back(number: float, more: dict[str, list[float]]) -> object:
        return repr((number, more))

    assert await round_trip(give_back, 2**53 + 1, {"a": [1, 2.5]}) == "(9007199254740993, {'a': [1, 2.5]})"


async def test_all_kinds_of_parameters(virtual_clock: VirtualClock) -> None:
    """Positional-only, variadic and keyword-only parameters are stored by their annotations."""

    async def give_back(first: date, /, second: date, *rest: date, key: date, **others: date) -> list[date]:
        return [first, second, *rest, key, *others.values()]

    days = [date(2026, 1, day) for day in range(1, 8)]
    assert await round_trip(give_back, *days[:4], key=days[4], other=days[5], another=days[6]) == days


async def test_an_annotation_may_name_what_is_defined_later(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Annotations in quotes are resolved when the first job is stored."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    async def give_back(point: "LaterPoint") -> "LaterPoint":
        return point

    with monkeypatch.context() as patch:
        patch.delitem(globals(), "LaterPoint")
        task = app.task(give_back)
    async with app:
        await task.schedule(LaterPoint(3)).delay(10, job_id="it")
    async with app:
        job = await app.get_job("it")
        assert job is not None
        assert await job == LaterPoint(3)


@dataclasses.dataclass
class LaterPoint:
    """A dataclass that is defined after the function that takes it."""

    x: int


@pytest.mark.parametrize(
    ("annotation", "value", "remedy"),
    [
        (None, (1, 2), r"is a tuple, .* annotate it with its type, as in tuple\[int, \.\.\.\]"),
        (None, datetime(2026, 1, 1, tzinfo=UTC), "annotate it with its type, as in datetime"),
        (None, {1: "a"}, r"cargo has a key that is an int: 1; .* dict\[int, ...\]"),
        (None, [Point(1)], r"cargo\[0\] is a Point, .* as in Point"),
        (None, b"x", "annotate"),
        (None, float("nan"), "cargo is nan, and JSON has no nan; use durable=False"),
        (None, [[{"deep": (1,)}]], r"cargo\[0\]\[0\]\['deep'\] is a tuple"),
        (None, Opaque(), "durable=False"),
        (None, threading.Lock(), "durable=False"),
        (None, lambda: None, "durable=False"),
        (int, "5", "is a str, and not an int; pass an int, or annotate it with str"),
        (int, True, "is a bool, and not an int"),
        (int, 1.5, "is a float, and not an int"),
        (float, True, "is a bool, and not a float"),
        (float, float("nan"), "cargo is nan, .* durable=False"),
        (dict[str, list[float]], {"a": [1.0, float("inf")]}, r"cargo\['a'\]\[1\] is inf"),
        (list[int], (1, 2), "is a tuple, and not a list; pass a list, or annotate it with tuple"),
        (Point, {"x": 1}, "is a dict, and not a Point"),
        (list[Any], [(1, 2)], r"cargo\[0\] is a tuple"),
        (int, Level.HIGH, "is a Level, and not an int; .* annotate it with Level"),
        (int, 5.0, "is a float, and not an int"),
        (list[int], [Level.HIGH], r"cargo\[0\] is a Level, and not an int"),
        (set[int], {Level.HIGH}, r"cargo\[0\] is a Level, and not an int"),
        (dict[int, str], {Level.HIGH: "a"}, "cargo has the key <Level.HIGH: 1>, which is a Level, and not an int"),
        (dict[tuple[int, int], str], {(1, "a"): "a"}, r"cargo.keys\(\)\[0\]\[1\] is a str, and not an int"),
        (Point, Point(Level.HIGH), "cargo.x is a Level, and not an int"),
        (list[Point], [Point(1), Point(1, 2.5)], r"cargo\[1\].y is a float, and not an int"),  # type: ignore[arg-type]  # users pass anything
        (str, Name("Ada"), "is a Name, and not a str"),
        (str, Colour.RED, "is a Colour, and not a str"),
        (bytes, bytearray(b"x"), "is a bytearray, and not a bytes"),
        (dict[str, int], collections.OrderedDict[str, int](a=1), "is an OrderedDict, and not a dict"),
        (Peculiar, Peculiar(1), "cargo.n is an int that would come back with other contents"),
        (Opaque, Opaque(), "no form in which Opaque is stored; .* durable=False"),
        (Opaque | None, Opaque(), "cargo is an Opaque"),
        (Callable[[], None], print, "durable=False"),
        (Any, Hostile(), "durable=False"),
        (str, "\ud800", "no text that can be written as UTF-8"),
        (dict[str, int], {"\ud800": 1}, "no text"),
        (date, datetime(2026, 1, 1, tzinfo=UTC), "is a datetime, and not a date"),
        (datetime, datetime(2026, 1, 1, tzinfo=Nowhere()), "is in a zone that is a Nowhere, .* use zoneinfo"),
        (str | date, 5, r"is an int, and not str \| date; pass one of these"),
        (Point | Pair, Point(Level.HIGH), "cargo.x is a Level, and not an int"),
        (tuple[int, str], (1, "a", 2), "cargo has 3 items, and not 2"),
        (tuple[int, date], (1, "a"), r"cargo\[1\] is a str, and not a date"),
        (tuple[()], (1,), "cargo has 1 items, and not 0"),
        (Movie, {"title": "Metropolis"}, "cargo has no 'year', which Movie needs"),
        (Movie, {"title": "Metropolis", "year": 1927, "by": "Lang"}, "cargo has a key that Movie has not: 'by'"),
        (Movie, {"title": "Metropolis", "year": "1927"}, r"cargo\['year'\] is a str"),
        (Literal["a", 1], "b", "cargo is none of 'a'(?s:.*)'b'"),
        (Literal["a", 1], True, "cargo is a bool, and not"),
        (re.Pattern[str], re.compile(b"a"), "is a Pattern"),
        (Unmade, Unmade.__new__(Unmade), "cargo has no x"),
        (Dangling, Dangling(1), "Dangling, whose annotations cannot be read: name 'Missing' is not defined"),
    ],
)
async def test_what_would_not_come_back_is_refused_when_scheduling(
    annotation: Any, value: object, remedy: str, virtual_clock: VirtualClock
) -> None:
    """An argument that cannot be stored is refused at the door, by the name of its parameter."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    async def take(cargo: Any) -> None: ...

    if annotation is None:
        del take.__annotations__["cargo"]
    else:
        take.__annotations__["cargo"] = annotation
    task = app.task(take)
    async with app:
        with pytest.raises(InvalidArgumentsError, match=f"'cargo'(?s:.*){remedy}"):
            await task.push(value)
        assert await app.jobs() == []


async def test_a_recursive_value_is_refused(virtual_clock: VirtualClock) -> None:
    """A value that contains itself is refused, and does not crash."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))
    endless: list[Any] = []
    endless.append(endless)

    @app.task
    async def take(cargo: list[Any]) -> None: ...

    async with app:
        with pytest.raises(InvalidArgumentsError, match="'cargo'"):
            await take.push(endless)


async def test_what_is_not_stored_can_be_anything(virtual_clock: VirtualClock) -> None:
    """Tasks that are not durable, and storages in memory, take any object as it is."""
    durable = Jobify(storage=MemoryStorage())
    fleeting = Jobify(storage=SQLiteStorage("jobs.db"))
    cargo = Opaque()

    async def give_back(cargo: object) -> object:
        return cargo

    for app, task in [(durable, durable.task(give_back)), (fleeting, fleeting.task(give_back, durable=False))]:
        async with app:
            assert await (await task.push(cargo)) is cargo


class ReverseSerializer:
    """A serializer of one's own, whose bytes are no JSON."""

    is_json = False

    def dumps(self, value: object, annotation: object, /) -> bytes:
        """Return a text backwards."""
        return str(value)[::-1].encode()

    def loads(self, data: bytes, annotation: object, /) -> object:
        """Return it forwards."""
        return data.decode()[::-1]


async def test_a_serializer_of_ones_own(virtual_clock: VirtualClock) -> None:
    """Another serializer can be plugged in; what it cannot give back is refused like anything else."""
    serializer: Serializer = ReverseSerializer()
    app = Jobify(storage=SQLiteStorage("jobs.db"), serializer=serializer)

    @app.task(name="shout")
    async def shout(text: str) -> str:
        return text.upper()

    async with app:
        with pytest.raises(InvalidArgumentsError, match="'text'"):
            await shout.push(5)  # type: ignore[arg-type]  # a user may pass anything
        await shout.schedule("hello").delay(10, job_id="it")
    async with app:
        job = await app.get_job("it")
        assert job is not None
        assert await job == "HELLO"


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=plain)
def test_plain_values_come_back_or_are_refused(value: object) -> None:
    """Whatever JSON is made of comes back as it went; only what JSON has no word for is refused."""

    def take(cargo: Any) -> None: ...

    del take.__annotations__["cargo"]
    codec = ArgumentsCodec(take, inspect.signature(take), JSONSerializer())
    try:
        data = codec.pack((value,), {})
    except InvalidArgumentsError:
        with pytest.raises(ValueError, match="not JSON compliant"):
            json.dumps(value, allow_nan=False)
        return
    assert codec.unpack(data) == ((value,), {})

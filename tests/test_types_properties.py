"""Whatever annotations are made of, and whatever is given for them: it comes back as it went, or is refused."""

import enum
import functools
import itertools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import field, make_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from inspect import signature
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from jobify import InvalidArgumentsError
from jobify.serializers import ArgumentsCodec, JSONSerializer, PickleSerializer, ResultCodec, Serializer
from tests.typed import identical

Typed = tuple[Any, "st.SearchStrategy[Any]"]
"""An annotation, and values of it."""


class Colour(enum.Enum):
    """Members whose values are texts."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    """Members that are numbers."""

    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    """Members that are texts, and look like the values of another enumeration."""

    RED = "red"


class Rights(enum.Flag):
    """Members that can be put together."""

    READ = 1
    WRITE = 2
    RUN = 4


class Odd(enum.Enum):
    """Members whose values are of several types."""

    NOTHING = None
    PAIR = (1, 2)
    ONE = 1


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: "str | None" = None


class Movie(TypedDict, total=False):
    """A typed dictionary without a key that must be there."""

    title: str
    seen: date


class Track(msgspec.Struct, frozen=True):
    """A Struct."""

    title: str
    length: timedelta


NUMBERS = itertools.count()
ZONES = st.sampled_from(
    [
        None,
        UTC,
        ZoneInfo("Europe/Berlin"),
        ZoneInfo("Asia/Tokyo"),
        ZoneInfo("UTC"),
        timezone(timedelta(hours=-3)),
        timezone(timedelta(hours=1), "C[E]T"),
        timezone(timedelta(seconds=1, microseconds=1)),
    ]
)
FOLDED = st.sampled_from([datetime(2026, 10, 25, 2, 30), datetime(2026, 3, 29, 2, 30)])  # noqa: DTZ001  # zones follow


@st.composite
def datetimes(draw: st.DrawFn) -> datetime:
    """Draw any datetime, in any zone, on either side of a fold; some at a change of the clocks."""
    naive = draw(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)) | FOLDED)  # noqa: DTZ001  # zones follow
    return naive.replace(tzinfo=draw(ZONES), fold=draw(st.sampled_from([0, 1])))


@st.composite
def times(draw: st.DrawFn) -> time:
    """Draw any time, in any zone, on either side of a fold."""
    return draw(st.times()).replace(tzinfo=draw(ZONES), fold=draw(st.sampled_from([0, 1])))


def either(one: Any, other: Any) -> Any:
    """Return a union of types, or of flags."""
    return one | other


def of_enum(kind: type[enum.Enum]) -> Typed:
    """Return an enumeration, and its members."""
    return kind, st.sampled_from([*kind])


HASHABLE: list[Typed] = [
    (type(None), st.none()),
    (bool, st.booleans()),
    (int, st.integers()),
    (float, st.floats(allow_nan=False, allow_infinity=False) | st.integers()),
    (str, st.text()),
    (bytes, st.binary()),
    (datetime, datetimes()),
    (date, st.dates()),
    (time, times()),
    (timedelta, st.timedeltas()),
    (uuid.UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False)),
    (Fraction, st.fractions()),
    (IPv4Address, st.ip_addresses(v=4)),
    (Path, st.sampled_from([Path(), Path("a/b"), Path("/ä")])),
    *(of_enum(kind) for kind in (Colour, Level, Word, Odd)),
    (
        Rights,
        st.builds(functools.partial(functools.reduce, either), st.lists(st.sampled_from(Rights), min_size=1)),
    ),
    (Literal["red", 1, True, Level.LOW] | None, st.sampled_from(["red", 1, True, None, Level.LOW])),
    (Pair, st.builds(Pair, st.integers(), st.none() | st.text())),
    (Track, st.builds(Track, st.text(), st.timedeltas())),
]
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
OTHERS: list[Typed] = [
    (Any, PLAIN),
    (bytearray, st.binary().map(bytearray)),
    (Movie, st.fixed_dictionaries({}, optional={"title": st.text(), "seen": st.dates()})),
]


def typed(leaves: list[Typed], depth: int) -> st.SearchStrategy[Typed]:
    """Return annotations that are nested so deep at most, with their values."""
    if not depth:
        return st.sampled_from(leaves)
    key = typed(HASHABLE, depth - 1)
    inner = typed(leaves, depth - 1)
    if leaves is HASHABLE:
        return (
            key | st.lists(key, max_size=3).map(tuple_of) | key.map(frozenset_of) | st.lists(key, min_size=2).map(union)
        )
    return (
        inner
        | inner.map(list_of)
        | key.map(set_of)
        | st.tuples(key, inner).map(dict_of)
        | st.lists(inner, max_size=3).map(tuple_of)
        | st.lists(inner, min_size=2, max_size=4).map(union)
        | st.lists(inner, min_size=1, max_size=3).map(dataclass_of)
    )


def of(kind: Any, hints: Any) -> Any:
    """Return a collection of a type, or of several."""
    return kind[hints]


def list_of(item: Typed) -> Typed:
    """Return a list, or any sequence."""
    hint, items = item
    values = st.lists(items, max_size=3)
    return (of(Sequence, hint), values | values.map(tuple)) if hint in (int, date) else (of(list, hint), values)


def set_of(item: Typed) -> Typed:
    """Return a set."""
    return of(set, item[0]), st.sets(item[1], max_size=3)


def frozenset_of(item: Typed) -> Typed:
    """Return a frozenset."""
    return of(frozenset, item[0]), st.frozensets(item[1], max_size=3)


def dict_of(both: tuple[Typed, Typed]) -> Typed:
    """Return a dict, or any mapping."""
    (key, keys), (item, items) = both
    return of(Mapping if key is int else dict, (key, item)), st.dictionaries(keys, items, max_size=3)


def tuple_of(items: list[Typed]) -> Typed:
    """Return a tuple with a type for each item."""
    return of(tuple, tuple(hint for hint, _ in items)), st.tuples(*(values for _, values in items))


def union(members: list[Typed]) -> Typed:
    """Return a union."""
    hints: Any = functools.reduce(either, (hint | None for hint, _ in members))
    return hints, st.one_of(*(each for _, each in members))


def dataclass_of(fields: list[Typed]) -> Typed:
    """Return a new dataclass, whose last field has a default."""
    named = {f"f{number}": each for number, each in enumerate(fields)}
    *first, last = named
    declared = [(name, named[name][0]) for name in first]
    default = field(default=None, kw_only=True)
    made = make_dataclass(
        f"Made{next(NUMBERS)}", [*declared, (last, named[last][0] | None, default)], frozen=len(fields) == 1
    )
    return made, st.builds(made, **{name: values for name, (_, values) in named.items()})


ANY_TYPE = typed(HASHABLE + OTHERS, 2)


def codecs(hint: Any, serializer: Serializer) -> tuple[ArgumentsCodec, ResultCodec]:
    """Return what stores arguments and results of this type."""

    def take(cargo: Any) -> Any: ...

    take.__annotations__ |= {"cargo": hint, "return": hint}
    return ArgumentsCodec(take, signature(take), serializer), ResultCodec(take, signature(take), serializer)


@settings(deadline=None)
@given(data=st.data())
def test_a_value_of_the_annotated_type_comes_back_as_it_went(data: st.DataObject) -> None:
    """Whatever an annotation is made of: its values are stored, and come back equal and of the same types."""
    hint, values = data.draw(ANY_TYPE)
    value = data.draw(values)
    arguments, results = codecs(hint, JSONSerializer())
    (back,), _ = arguments.unpack(arguments.pack((value,), {}))
    assert identical(value, back)
    packed = results.pack_result(value)
    assert packed.data is not None
    assert identical(value, results.unpack_result(packed.data))


@settings(deadline=None)
@given(data=st.data())
def test_a_value_of_another_type_comes_back_as_it_went_or_is_refused(data: st.DataObject) -> None:
    """What is given for another annotation never comes back as something else."""
    hint, _ = data.draw(ANY_TYPE)
    _, values = data.draw(ANY_TYPE)
    value = data.draw(values)
    arguments, results = codecs(hint, JSONSerializer())
    packed = results.pack_result(value)
    try:
        stored = arguments.pack((value,), {})
    except InvalidArgumentsError:
        assert packed.data is None
        assert packed.reason is not None
        return
    (back,), _ = arguments.unpack(stored)
    assert identical(value, back)


@settings(deadline=None)
@given(data=st.data())
def test_what_is_stored_is_read_by_another_annotation_as_something_stored_by_it_or_not_at_all(
    data: st.DataObject,
) -> None:
    """An annotation that was changed meanwhile gives values of its own type, or an error that says so."""
    hint, values = data.draw(ANY_TYPE)
    stored = codecs(hint, JSONSerializer())[0].pack((data.draw(values),), {})
    other, _ = codecs(data.draw(ANY_TYPE)[0], JSONSerializer())
    try:
        args, _ = other.unpack(stored)
    except InvalidArgumentsError:
        return
    again, _ = other.unpack(other.pack(args, {}))
    assert identical(args, again)


@settings(deadline=None)
@given(data=st.data())
def test_what_is_pickled_comes_back_as_it_went(data: st.DataObject) -> None:
    """A serializer that knows no annotations is held to the same promise."""
    _, values = data.draw(st.sampled_from(HASHABLE + OTHERS))
    value = data.draw(values)
    arguments, _ = codecs(int, PickleSerializer(trust_storage=True))
    (back,), _ = arguments.unpack(arguments.pack((value,), {}))
    assert identical(value, back)

"""How annotations are read, what becomes of stored values whose types have changed, and serializers of one's own."""

import contextlib
import dataclasses
import enum
import pickle
import sqlite3
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import date, datetime
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NamedTuple, NotRequired, Required, TypedDict, TypeVar, Unpack
from zoneinfo import ZoneInfo

import msgspec
import pytest

from jobify import InvalidArgumentsError, Jobify, ResultNotStoredError
from jobify.serializers import ArgumentsCodec, JSONSerializer, PackedResult, PickleSerializer, ResultCodec, Serializer
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock
from tests.typed import identical

T = TypeVar("T")
DAY = date(2026, 3, 1)
Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclasses.dataclass
class Box(Generic[T]):
    """A generic dataclass."""

    content: T


@dataclasses.dataclass
class Crate(Box[list[T]]):
    """One that says what its base holds, in words of its own."""

    label: T


class DayCrate(Crate[date]):
    """One that has nothing left to say."""


class Both(NamedTuple, Generic[T]):
    """A generic named tuple."""

    one: T
    other: T


class Base(TypedDict, Generic[T]):
    """A generic typed dictionary."""

    first: T


class Extended(Base[date], total=False):
    """One that says what its base holds; what it has itself may be left out, but for one key."""

    second: int
    third: "Required[int]"


class Options(TypedDict):
    """What keyword arguments can be."""

    since: date
    until: NotRequired[date]


@dataclasses.dataclass
class Counted:
    """A dataclass with a field that `__init__` does not take, and one that no `==` looks at."""

    name: str
    count: int = dataclasses.field(init=False, default=0)
    lock: Any = dataclasses.field(default=None, compare=False)


class Colour(enum.Enum):
    """A class of its own, which can be pickled by its name."""

    RED = "red"


class Plain:
    """A class that says neither what equal means nor what it has."""

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


class Undecided:
    """A class whose `==` gives no yes or no, as those of arrays do."""

    def __init__(self, *items: int) -> None:
        self.items = list(items)

    def __eq__(self, other: object) -> Any:
        return [] if isinstance(other, Undecided) else NotImplemented

    __hash__ = object.__hash__


def codec(function: Callable[..., Any], serializer: Serializer | None = None) -> ArgumentsCodec:
    """Return what stores the calls of a function."""
    return ArgumentsCodec(function, signature(function), serializer or JSONSerializer())


def of_type(hint: Any, serializer: Serializer | None = None) -> ArgumentsCodec:
    """Return what stores the calls of a function with one parameter."""

    def take(cargo: Any) -> None: ...

    take.__annotations__["cargo"] = hint
    return codec(take, serializer)


def read_as(hint: Any, stored: str) -> Any:
    """Return what is read from a stored value by an annotation."""
    (back,), _ = of_type(hint).unpack(f'{{"args":[{stored}],"kwargs":{{}}}}')
    return back


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Box[date], Box(DAY)),
        (Crate[date], Crate([DAY], DAY)),
        (DayCrate, DayCrate([DAY], DAY)),
        (Box[Box[date] | None], Box(Box(DAY))),
        (Both[date], Both(DAY, DAY)),
        (Extended, {"first": DAY, "third": 3}),
        (Box, Box("a")),
        (Any | None, {"a": [None, 1]}),
        (Any | str | date, DAY),
        (Any | str | date, {"$date": "2026-03-01"}),
    ],
)
def test_generic_classes_come_back_as_they_went(hint: Any, value: object) -> None:
    """The arguments of a generic class reach its fields, through whatever it inherits from."""
    one = of_type(hint)
    (back,), _ = one.unpack(one.pack((value,), {}))
    assert identical(value, back)


def test_generic_classes_refuse_what_their_arguments_do_not_say() -> None:
    """The arguments of a generic class count, and so does `Required` in quotes."""
    with pytest.raises(InvalidArgumentsError, match=r"cargo.content\[0\] is a str, and not a date"):
        of_type(DayCrate).pack((DayCrate(["soon"], DAY),), {})  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # users pass anything
    with pytest.raises(InvalidArgumentsError, match=r"cargo has no 'third', which Extended needs"):
        of_type(Extended).pack(({"first": DAY},), {})


def test_keyword_arguments_can_have_a_type_each() -> None:
    """`**kwargs: Unpack[Options]` and `*args: *tuple[...]` tell the types of what they take apart."""

    def take(*args: *tuple[date, int], **kwargs: Unpack[Options]) -> None: ...

    one = codec(take)
    call = ((DAY, 5), {"since": DAY, "until": DAY})
    assert one.unpack(one.pack(*call)) == call
    with pytest.raises(InvalidArgumentsError, match=r"'args'.*args is an int, and not a date"):
        one.pack((5, 5), {"since": DAY})
    with pytest.raises(InvalidArgumentsError, match=r"'until'.*until is a str, and not a date"):
        one.pack((DAY, 5), {"since": DAY, "until": "later"})

    def take_many(*args: *tuple[date, ...]) -> None: ...

    many = codec(take_many)
    assert many.unpack(many.pack((DAY, DAY), {})) == ((DAY, DAY), {})


def test_an_annotation_that_means_nothing_spoils_no_other() -> None:
    """What is imported for type checkers only is as good as no annotation, and a refusal says so."""

    def take(day: "date", order: Any, *rest: "int") -> None: ...

    take.__annotations__["order"] = "Missing"
    one = codec(take)
    call: Call = ((DAY, {"id": 5}, 1), {})
    assert one.unpack(one.pack(*call)) == call
    with pytest.raises(
        InvalidArgumentsError,
        match=r"'order'(?s:.*)a tuple(?s:.*)'Missing' means nothing(?s:.*)name 'Missing' is not defined; import that",
    ):
        one.pack((DAY, (1, 2)), {})


@pytest.fixture
def modern() -> Iterator[ModuleType]:
    """Return a module with the syntax of Python 3.12."""
    if sys.version_info < (3, 12):
        pytest.skip("the syntax is that of Python 3.12")
    source = """
from dataclasses import dataclass
from datetime import date
type Day = date
type Json = None | int | str | list[Json] | dict[str, Json]
type Many[T] = list[T]
type Twice[T] = tuple[T, T]
type Maybe[T] = T | None

@dataclass
class Box[T]:
    content: T

def take[D: date](day: "D", box: "Box[D]") -> None: ...
"""
    module = ModuleType("modern_module_of_a_test")
    sys.modules[module.__name__] = module
    exec(source, module.__dict__)  # noqa: S102  # a constant
    yield module
    del sys.modules[module.__name__]


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        ("Day", DAY),
        ("Day | None", DAY),
        ("Day | str", DAY),
        ("Json", {"a": [1, "b", None, {"c": [2]}]}),
        ("Many[date]", [DAY]),
        ("Twice[date]", (DAY, DAY)),
        ("Maybe[Day] | str", DAY),
        ("dict[Day, Many[Json]]", {DAY: [[1]]}),
    ],
)
def test_type_aliases_stand_for_what_they_mean(hint: str, value: object, modern: ModuleType) -> None:
    """`type X = ...` is looked through, also where it names itself or has parameters."""
    one = of_type(eval(hint, modern.__dict__))  # noqa: S307  # a constant
    (back,), _ = one.unpack(one.pack((value,), {}))
    assert identical(value, back)


def test_type_parameters_of_functions_stand_for_their_bounds(modern: ModuleType) -> None:
    """A parameter annotated with a type parameter takes what that is bound to."""
    one = codec(modern.take)
    call: Call = ((DAY, modern.Box(DAY)), {})
    assert one.unpack(one.pack(*call)) == call
    with pytest.raises(InvalidArgumentsError, match=r"'day'.*is an int, and not a date"):
        one.pack((1, modern.Box(DAY)), {})


def test_all_fields_come_back_that_can() -> None:
    """A field that `__init__` does not take is set; one that no `==` looks at is left to its default if it must be."""
    counted = Counted("Ada")
    counted.count = 3
    counted.lock = threading.Lock()
    one = of_type(Counted)
    (back,), _ = one.unpack(one.pack((counted,), {}))
    assert (back.name, back.count, back.lock) == ("Ada", 3, None)


@pytest.mark.parametrize(
    ("hint", "stored", "value"),
    [
        (Counted, '{"name":"Ada"}', Counted("Ada")),
        (Box[date] | Counted | None, '{"name":"Ada"}', Counted("Ada")),
        (Box[date] | Counted | None, '{"$Counted":{"name":"Ada"}}', Counted("Ada")),
        (str | date, '"2026-03-01"', None),
        (int | date, '"2026-03-01"', DAY),
        (float, "5", 5),
        (datetime, '"2026-03-01T12:00:00Z"', datetime.fromisoformat("2026-03-01T12:00:00+00:00")),
    ],
)
def test_what_was_stored_by_another_annotation_is_read_if_it_means_one_thing(
    hint: Any, stored: str, value: object
) -> None:
    """A new field with a default, or one more member of a union, leaves stored arguments readable."""
    if value is None:
        with pytest.raises(InvalidArgumentsError, match=r"cargo could be more than one of str \| date"):
            read_as(hint, stored)
    else:
        assert identical(read_as(hint, stored), value)


@pytest.mark.parametrize(
    ("hint", "stored", "reason"),
    [
        (int, '"5"', "cargo cannot be an int: a str is stored"),
        (int, "5.0", "cargo cannot be an int: a float is stored"),
        (float, "null", "cargo cannot be a float: null is stored"),
        (date, '"soon"', "cargo cannot be a date: Invalid isoformat"),
        (date, "5", "cargo cannot be a date: an int is stored"),
        (bytes, '"?"', "cargo cannot be a bytes"),
        (datetime, '"2026-03-01T12:00:00[Mars/Base]"', "in the zone 'Mars/Base', which this machine does not know"),
        (datetime, '"2026-03-01T12:00:00[a][b]"', "has a suffix that nobody knows"),
        (datetime, '"2026-03-01T12:00:00[_name=JST]"', "has the name of an offset, and no offset"),
        (Colour, '"green"', "cargo cannot be a Colour: 'green' is none of its members"),
        (Colour, "5", "cargo cannot be a Colour"),
        (list[int], '[1,"2"]', r"cargo\[1\] cannot be an int"),
        (list[int], "5", "cargo cannot be a list"),
        (tuple[int, int], "5", "cargo cannot be a tuple"),
        (tuple[int, int], "[1]", "cargo has 1 items, and not 2"),
        (dict[str, int], '{"a":"b"}', r"cargo\['a'\] cannot be an int"),
        (dict[str, int], "[]", "cargo cannot be a dict"),
        (dict[int, int], '{"a":1}', "has a key that is no int: 'a'"),
        (dict[tuple[int, int], int], "[[1]]", "cargo cannot be a dict"),
        (Box[date], '{"content":5}', "cargo.content cannot be a date"),
        (Box[date], "{}", r"cargo has no 'content', which Box\[date\] needs; give the field a default"),
        (Box[date], '{"content":"2026-03-01","more":1}', r"has a field that Box\[date\] has not: 'more'"),
        (Box[date], "5", "cargo cannot be a Box"),
        (Options, '{"since":5}', r"cargo\['since'\] cannot be a date"),
        (Options, "5", "cargo cannot be an Options"),
        (Box[date] | Counted, '{"$Counted":{"name":5}}', "cargo.name cannot be a str"),
        (Box[date] | Counted, "[]", r"is stored as nothing that Box\[date\] \| Counted can be"),
        (threading.Thread, "5", "cargo cannot be Thread"),
    ],
)
def test_what_does_not_fit_any_more_is_refused_where_it_does_not(hint: Any, stored: str, reason: str) -> None:
    """Stored arguments that are of another type, or that somebody has changed, are never read as something else."""
    with pytest.raises(InvalidArgumentsError, match=f"the stored argument 'cargo' does not fit(?s:.*){reason}"):
        read_as(hint, stored)


def test_a_number_that_is_too_long_is_refused() -> None:
    """A number that cannot be written as a text is refused with the reason of Python."""
    with pytest.raises(InvalidArgumentsError, match=r"'cargo'(?s:.*)durable=False"):
        of_type(int).pack((10**5000,), {})


async def give_back(day: date) -> date:
    """Return what was given."""
    return day


TAMPERED: list[tuple[Serializer, str]] = [
    (JSONSerializer(), '{"args":["tomorrow"],"kwargs":{}}'),
    (JSONSerializer(), '{"args":["2026-0'),
    (PickleSerializer(trust_storage=True), '{"args":["?"],"kwargs":{}}'),
    (PickleSerializer(trust_storage=True), '{"args":["gASVCgAAAAAA"],"kwargs":{}}'),
    (PickleSerializer(trust_storage=True), '{"args":[5],"kwargs":{}}'),
]


@pytest.mark.virtual_clock(storage="keep")
async def test_tampered_rows_hold_their_jobs(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    """A row that somebody has changed holds its own job, says why, and harms no other."""
    for number, (serializer, changed) in enumerate(TAMPERED):
        file = tmp_path / f"{number}.db"
        app = Jobify(storage=SQLiteStorage(file), serializer=serializer)
        note = app.task(give_back, name="note")
        async with app:
            await note.schedule(DAY).delay(10, job_id="bad")
            await note.schedule(DAY).delay(10, job_id="good")
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("UPDATE jobify_jobs SET arguments = ? WHERE id = 'bad'", (changed,))
        async with app:
            good, bad = await app.get_job("good"), await app.get_job("bad")
            assert good is not None
            assert bad is not None
            assert await good == DAY
            assert bad.held is not None
            assert "give_back(day: datetime.date)" in bad.held
            assert "argument" in bad.held


class Capitals:
    """A serializer that claims to make JSON."""

    is_json = True

    def dumps(self, value: object, annotation: object, /) -> bytes:
        """Return capitals."""
        return str(value).upper().encode()

    def loads(self, data: bytes, annotation: object, /) -> object:
        """Return small letters."""
        return data.decode().lower()


def test_a_serializer_that_makes_no_json_is_not_believed() -> None:
    """What would break the row for everybody is refused."""
    with pytest.raises(
        InvalidArgumentsError, match=r"'cargo'.*the serializer says that it makes JSON, and made b'HELLO'"
    ):
        of_type(str, Capitals()).pack(("hello",), {})
    with pytest.raises(InvalidArgumentsError, match=r"'cargo'.*is an int, and would come back as a str"):
        of_type(str, Capitals()).pack((5,), {})
    with pytest.raises(InvalidArgumentsError, match=r"'cargo'.*is a str that would come back with other contents"):
        of_type(str, Capitals()).pack(("Hello",), {})


def test_pickling_is_warned_of() -> None:
    """Whoever chooses pickle is told once what that means, and can say that it is known."""
    with pytest.warns(UserWarning, match=r"PickleSerializer runs the code that is in the storage") as warned:
        PickleSerializer()
    assert [warning.filename for warning in warned] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PickleSerializer(trust_storage=True)


def endless() -> list[Any]:
    """Return a list that contains itself."""
    items: list[Any] = [1]
    items.append(items)
    return items


@pytest.mark.parametrize(
    "value",
    [
        1j,
        range(3),
        float("nan"),
        Plain(a=1, b=[Plain(c=2)]),
        {"a": {1, 2, (3, None)}},
        {Plain(a=1)},
        Undecided(1, 2),
        endless(),
        Box(Colour.RED),
        dict.fromkeys([Plain(a=1)], 5),
        print,
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_can_be_pickled_comes_back(value: object) -> None:
    """Any object that pickle knows is stored, whatever the annotation, and whatever its `==` says."""
    one = of_type(int, PickleSerializer(trust_storage=True))
    (back,), _ = one.unpack(one.pack((value,), {}))
    assert type(back) is type(value)
    assert pickle.dumps(back) == pickle.dumps(value)


class Forgetful(Plain):
    """A class that does not give pickle all that it has."""

    def __getstate__(self) -> object:
        """Return what is left."""
        return {"kept": 1, "count": len(self.__dict__)}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda: None, "cargo is a function that cannot be pickled"),
        ({"a": [1, lambda: None]}, r"cargo\['a'\]\[1\] is a function that cannot be pickled"),
        (Plain(inner=Plain(lock=threading.Lock())), "cargo.inner.lock is a lock that cannot be pickled"),
        (Forgetful(a=1), "cargo.count is an int that would come back with other contents"),
    ],
)
def test_what_cannot_be_pickled_is_refused_with_the_culprit(value: object, reason: str) -> None:
    """The part that pickle cannot do is named, with the way to it."""
    with pytest.raises(InvalidArgumentsError, match=f"'cargo'(?s:.*){reason}"):
        of_type(Any, PickleSerializer(trust_storage=True)).pack((value,), {})


async def test_pickled_arguments_survive_a_restart(virtual_clock: VirtualClock) -> None:
    """An app that was given a PickleSerializer keeps what no JSON can be made of."""
    app = Jobify(storage=SQLiteStorage("pickled.db"), serializer=PickleSerializer(trust_storage=True))

    @app.task(name="length")
    async def length(steps: range) -> int:
        return len(steps)

    async with app:
        with pytest.raises(InvalidArgumentsError, match=r"'steps'.*cannot be pickled"):
            await length.push(lambda: None)  # type: ignore[arg-type]  # users pass anything
        await length.schedule(range(0, 10, 3)).delay(10, job_id="it")
    async with app:
        job = await app.get_job("it")
        assert job is not None
        assert await job == 4


async def test_results_keep_their_types_in_the_history(virtual_clock: VirtualClock) -> None:
    """A run tells its result after a restart, or which part of it could not be stored."""
    app = Jobify(storage=SQLiteStorage("results.db"))
    now = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))

    @app.task(name="when")
    async def when() -> dict[str, datetime | date]:
        return {"now": now, "day": DAY}

    @app.task(name="which")
    async def which() -> dict[str, date]:
        return {"day": DAY, "now": now}

    async with app:
        await when.schedule().delay(1, job_id="when")
        await which.schedule().delay(1, job_id="which")
        await app.wait_all()
    async with app:
        kept, lost = await app.get_run("when"), await app.get_run("which")
        assert kept is not None
        assert lost is not None
        assert identical(kept.result(), {"now": now, "day": DAY})
        with pytest.raises(ResultNotStoredError, match=r"the result\['now'\] is a datetime, and not a date"):
            lost.result()


def results(function: Callable[..., Any], serializer: Serializer | None = None) -> ResultCodec:
    """Return what stores the results of a function."""
    return ResultCodec(function, signature(function), serializer or JSONSerializer())


async def birthday() -> date:
    """Return a day."""
    return DAY


def soon() -> Awaitable[date]:
    """Return what is awaited for a day."""
    return birthday()


def later() -> Coroutine[Any, Any, date]:
    """Return what is awaited for a day."""
    return birthday()


def nothing() -> None:
    """Return nothing."""


class Vague:
    """An annotation that does not even let itself be looked at."""

    def __getattr__(self, name: str) -> object:
        """Raise what nobody expects."""
        raise RuntimeError(name)


def vague() -> None:
    """Return what cannot be told."""


vague.__annotations__["return"] = Vague()


def anything():  # type: ignore[no-untyped-def]
    """Return whatever."""


@pytest.mark.parametrize("function", [birthday, soon, later])
def test_results_come_back_as_they_went(function: Callable[..., Any]) -> None:
    """A result is stored by the annotation of what the caller gets."""
    codec = results(function)
    packed = codec.pack_result(DAY)
    assert packed == PackedResult(b'"2026-03-01"', None)
    assert packed.data is not None
    assert codec.unpack_result(packed.data) == DAY
    assert codec.unpack_result(packed.data.decode()) == DAY
    with pytest.raises(InvalidArgumentsError, match=r"the stored result does not fit .* the result cannot be a date"):
        codec.unpack_result(b"5")


@pytest.mark.parametrize(
    ("function", "value", "reason"),
    [
        (
            birthday,
            "soon",
            r"cannot store the result of birthday\(\) -> datetime.date: the result is a str, and not a date",
        ),
        (nothing, 5, "the result is an int, and not None"),
        (vague, 5, r"cannot store the result of vague.*RuntimeError: __"),
        (anything, {"a": (1,)}, r"the result\['a'\] is a tuple"),
        (anything, threading.Lock(), "the result is a lock"),
        (anything, endless(), "the result is nested too deep, or contains itself"),
    ],
)
def test_results_that_cannot_be_stored_say_why(function: Callable[..., Any], value: object, reason: str) -> None:
    """What cannot be stored is no error: the job has succeeded, only its result is not kept."""
    packed = results(function).pack_result(value)
    assert packed.data is None
    assert packed.reason is not None
    with pytest.raises(InvalidArgumentsError, match=reason):
        raise InvalidArgumentsError(packed.reason)


def test_results_can_be_pickled() -> None:
    """The serializer of the app stores results as it stores arguments."""
    codec = results(anything, PickleSerializer(trust_storage=True))
    packed = codec.pack_result({1j})
    assert packed.data is not None
    assert msgspec.json.decode(packed.data, type=str)
    assert codec.unpack_result(packed.data) == {1j}
    assert codec.pack_result(lambda: None).data is None

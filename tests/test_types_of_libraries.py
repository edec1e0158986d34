"""Classes of attrs and models of pydantic, where these are installed: jobify needs neither, and imports neither."""

import subprocess
import sys
from collections.abc import Iterator
from inspect import signature
from types import ModuleType
from typing import Any

import pytest

from jobify import InvalidArgumentsError
from jobify.serializers import ArgumentsCodec, JSONSerializer, PickleSerializer

MODELS = """
import uuid
from datetime import UTC, date, datetime, timezone
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo
import pydantic

T = TypeVar("T")


class Line(pydantic.BaseModel):
    price: "Price"
    at: datetime


class Price(pydantic.BaseModel):
    model_config = {"frozen": True}
    cents: int = pydantic.Field(gt=0)
    currency: str = "EUR"


class Order(pydantic.BaseModel):
    id: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)
    lines: list[Line] = []
    notes: dict[date, str] = pydantic.Field(default={}, alias="remarks")


class Free(pydantic.BaseModel):
    model_config = {"extra": "allow"}
    name: str


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Days(pydantic.RootModel[list[date]]):
    pass


class Secretive(pydantic.BaseModel):
    word: pydantic.SecretStr


class Linked(pydantic.BaseModel):
    url: pydantic.HttpUrl


class Private(pydantic.BaseModel):
    name: str
    _seen: int = 0


class Lossy(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def double(cls, n: int) -> int:
        return n * 2


@pydantic.dataclasses.dataclass
class Dot:
    x: int


class Special(Price):
    pass


def private():
    it = Private(name="Ada")
    it._seen = 1
    return it


def mutated():
    order = Order()
    order.lines.append(Line(price=Price(cents=1), at=datetime(2026, 3, 1, tzinfo=UTC)))
    return order


zoned = Line(price=Price(cents=5), at=datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")))
"""

CLASSES = """
import attrs
from datetime import date


@attrs.frozen
class Point:
    x: int
    y: "date | None" = None


@attrs.define(eq=False)
class Person:
    _name: str
    points: list[Point] = attrs.field(factory=list)
    length: int = attrs.field(init=False)

    def __attrs_post_init__(self):
        self.length = len(self._name)


@attrs.define
class Lossy:
    n: int = attrs.field(converter=lambda n: n * 2)
"""


def module_of(source: str, name: str) -> Iterator[ModuleType]:
    """Yield a module made of a source, in which annotations are looked up as in any other."""
    module = ModuleType(name)
    sys.modules[name] = module
    exec(source, module.__dict__)  # noqa: S102  # a constant above
    yield module
    del sys.modules[name]


@pytest.fixture(scope="module")
def models() -> Iterator[ModuleType]:
    """Return the models."""
    pytest.importorskip("pydantic", minversion="2")
    yield from module_of(MODELS, "models_of_a_test")


@pytest.fixture(scope="module")
def classes() -> Iterator[ModuleType]:
    """Return the classes of attrs."""
    pytest.importorskip("attrs")
    yield from module_of(CLASSES, "classes_of_a_test")


def codec(hint: Any) -> ArgumentsCodec:
    """Return what stores a parameter of this type."""

    def take(cargo: Any) -> None: ...

    take.__annotations__["cargo"] = hint
    return ArgumentsCodec(take, signature(take), JSONSerializer())


def round_trip(hint: Any, value: object) -> Any:
    """Return what comes back."""
    (back,), _ = codec(hint).unpack(codec(hint).pack((value,), {}))
    assert type(back) is type(value)
    return back


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        ("Order", "Order(id=uuid.UUID(int=5), remarks={date(2026, 3, 1): 'late'})"),
        ("Order", "mutated()"),
        ("Line | None", "zoned"),
        ("list[Price]", "[Price(cents=3), Price(cents=4, currency='JPY')]"),
        ("Page[date]", "Page[date](items=[date(2026, 3, 1)])"),
        ("Page[Price]", "Page[Price](items=[Price(cents=3)])"),
        ("Days", "Days([date(2026, 3, 1)])"),
        ("Free", "Free(name='Ada', more=[1, 2])"),
        ("Linked", "Linked(url='https://example.org/a?b=c')"),
        ("pydantic.HttpUrl", "pydantic.HttpUrl('https://example.org/')"),
        ("pydantic.PositiveInt", "5"),
        ("Dot", "Dot(x=5)"),
        ("Price | Special", "Special(cents=1)"),
        ("Private", "Private(name='Ada')"),
    ],
)
def test_models_come_back_as_they_went(hint: str, value: str, models: ModuleType) -> None:
    """A model comes back equal, with the fields that its user has set; so do the types that pydantic brings."""
    names = models.__dict__
    it = eval(value, names)  # noqa: S307  # a constant above
    back = round_trip(eval(hint, names), it)  # noqa: S307  # the same
    assert back == it
    assert repr(back) == repr(it)
    if isinstance(it, models.pydantic.BaseModel):
        assert back.model_fields_set == it.model_fields_set


@pytest.mark.parametrize(
    ("hint", "value", "reason"),
    [
        ("Secretive", "Secretive(word='x')", "cargo.word is a SecretStr that would come back with other contents"),
        ("Price", "Special(cents=1)", "cargo is a Special, and not a Price"),
        ("Order", "Price(cents=1)", "cargo is a Price, and not an Order"),
        (
            "Order",
            "Order(lines=[Line.model_construct(price=Price(cents=1), at='now')])",
            r"cargo.lines\[0\].at is a str",
        ),
        ("Free", "Free(name='Ada', more=date(2026, 3, 1))", r"cargo\['more'\] is a date"),
        ("Private", "private()", "cargo._seen is an int that would come back with other contents"),
        ("Lossy", "Lossy(n=1)", "cargo.n is an int that would come back with other contents"),
        ("Price", "Price.model_construct(cents=-1)", "greater than 0"),
        ("None", "Price(cents=1)", "annotate"),
    ],
)
def test_models_that_would_not_come_back_are_refused(hint: str, value: str, reason: str, models: ModuleType) -> None:
    """What validators, secrets and private attributes make of a model is noticed at the door."""
    names = models.__dict__
    annotation = eval(hint, names)  # noqa: S307  # a constant above
    it = eval(value, names)  # noqa: S307  # the same
    with pytest.raises(InvalidArgumentsError, match=reason):
        codec(annotation).pack((it,), {})


def test_a_stored_model_is_validated_when_it_is_read(models: ModuleType) -> None:
    """What somebody wrote into the storage has to pass the validators of the model."""
    with pytest.raises(InvalidArgumentsError, match=r"'cargo'(?s:.*)greater than 0"):
        codec(models.Price).unpack(b'{"args":[{"cents":-1,"currency":"EUR"}],"kwargs":{}}')
    with pytest.raises(InvalidArgumentsError, match=r"has a field that Price has not: 'centz'"):
        codec(models.Price).unpack(b'{"args":[{"centz":1}],"kwargs":{}}')


def test_models_can_be_pickled(models: ModuleType) -> None:
    """A model that is pickled is judged by all that its `==` looks at."""

    def take(cargo: Any) -> None: ...

    pickled = ArgumentsCodec(take, signature(take), PickleSerializer(trust_storage=True))
    for it in (models.private(), models.Secretive(word="x"), models.zoned):
        (back,), _ = pickled.unpack(pickled.pack((it,), {}))
        assert back == it


def test_classes_of_attrs_come_back_as_they_went(classes: ModuleType) -> None:
    """A class of attrs is stored by its fields, whatever `__init__` calls them."""
    ada = classes.Person("Ada", [classes.Point(1), classes.Point(2)])
    back = round_trip(classes.Person, ada)
    assert repr(back) == repr(ada)
    with pytest.raises(InvalidArgumentsError, match=r"cargo.n is an int that would come back with other contents"):
        codec(classes.Lossy).pack((classes.Lossy(1),), {})
    with pytest.raises(InvalidArgumentsError, match=r"cargo.points\[1\].x is a str, and not an int"):
        codec(classes.Person).pack((classes.Person("Ada", [classes.Point(1), classes.Point("2")]),), {})


@pytest.mark.slow
def test_nothing_is_imported_that_no_annotation_needs() -> None:
    """A program that stores arguments of its own types imports neither pydantic nor attrs."""
    program = (
        "import dataclasses, sys\n"
        "import jobify.serializers as s, inspect\n"
        "def take(cargo: 'list[int] | None', other): ...\n"
        "s.ArgumentsCodec(take, inspect.signature(take), s.JSONSerializer()).pack(([1], 2), {})\n"
        "print(sorted({'pydantic', 'attr', 'attrs'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603  # ours
    assert done.stdout == "[]\n"

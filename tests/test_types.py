"""The types of arguments and results: the table of the reference, and whatever can be made of its rows."""

import re
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from jobify.serializers import ArgumentsCodec, JSONSerializer, ResultCodec
from tests.test_docs import blocks
from tests.typed import identical

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "serialization.md"
ROW = re.compile(r"\| `(.+)` \| `(.+)` \| `(.+)` \|")


def names_of_the_page() -> dict[str, Any]:
    """Return what the program below the table defines."""
    block = next(block for block in blocks(PAGE) if block.language == "python")
    names: dict[str, Any] = {"__name__": __name__}
    exec("\n".join(block.lines), names)  # noqa: S102  # our own documentation
    globals().update({name: value for name, value in names.items() if name == "Node"})  # it names itself
    return names


NAMES = names_of_the_page()
TABLE = [tuple(cell.replace(r"\|", "|") for cell in found.groups()) for found in ROW.finditer(PAGE.read_text("utf-8"))]


@pytest.mark.parametrize(("annotation", "value", "stored"), TABLE)
def test_every_row_of_the_table_is_true(annotation: str, value: str, stored: str) -> None:
    """What the table promises of a type holds, for an argument and for a result."""
    hint = eval(annotation, NAMES)  # noqa: S307  # our own documentation
    given = eval(value, NAMES)  # noqa: S307  # the same

    def take(cargo: Any) -> Any: ...

    take.__annotations__ |= {"cargo": hint, "return": hint}
    codec = ArgumentsCodec(take, signature(take), JSONSerializer())
    data = codec.pack((given,), {})
    assert data.decode() == f'{{"args":[{stored}],"kwargs":{{}}}}'
    (back,), _ = codec.unpack(data)
    assert identical(given, back)

    results = ResultCodec(take, signature(take), JSONSerializer())
    packed = results.pack_result(given)
    assert packed.reason is None
    assert packed.data == stored.encode()
    assert identical(given, results.unpack_result(stored))


def test_the_table_is_there() -> None:
    """The test above has all the rows."""
    rows = [
        line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `") and line.count("` | `") == 2
    ]
    assert len(rows) == len(TABLE) > 50

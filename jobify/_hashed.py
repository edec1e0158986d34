"""`H` in a field of a cron expression: a value that is drawn once for a job, by its id. Pure."""

import hashlib
import re
from typing import NamedTuple

_FORM = re.compile(r"h(?:\((\d{1,4})-(\d{1,4})\))?(?:/(\d{1,4}))?")
_LAST_COMMON_DAY = 28


class Field(NamedTuple):
    """A field of an expression: what it is called, and its least and greatest value."""

    name: str
    first: int
    last: int

    @property
    def size(self) -> int:
        """How many values it has."""
        return self.last - self.first + 1


def is_hashed(text: str) -> bool:
    """Whether a field, or an item of its list, is an `H`; no name of a month or a day begins with it."""
    return any(item[:1] in ("h", "H") for item in text.split(","))


def draw(field: Field, text: str, job_id: str) -> str:
    """Replace each `H` of a field by what is drawn for a job.

    `H` is any value of the field (of day-of-month only 1 to 28, which every month has), `H(a-b)` one of the
    values from a to b, `H/n` every n-th value from one of the first n on, `H(a-b)/n` the same within a to b.
    All values are equally likely: they are a SHA-256 of the id of the job and the name of the field.

    Raises:
        ValueError: an `H` is not of one of these forms, or is out of the range of the field.
    """
    return ",".join(_drawn(field, item, job_id) if is_hashed(item) else item for item in text.split(","))


def _drawn(field: Field, item: str, job_id: str) -> str:
    form = _FORM.fullmatch(item.lower())
    if form is None:
        msg = f"{item!r} is none of the forms H, H(a-b), H/n, H(a-b)/n"
        raise ValueError(msg)
    first, last, step = _bounds(field, form)
    if not field.first <= first <= last <= field.last:
        msg = f"{item!r} is not within {field.first} to {field.last}"
        raise ValueError(msg)
    if step is None:
        return str(first + _number(field, job_id, last - first + 1))
    if not 1 <= step <= last - first + 1:
        msg = f"the step of {item!r} is not within 1 to {last - first + 1}"
        raise ValueError(msg)
    values = range(first + _number(field, job_id, step), last + 1, step)
    return ",".join(map(str, values))


def _bounds(field: Field, form: re.Match[str]) -> tuple[int, int, int | None]:
    step = int(form[3]) if form[3] is not None else None
    if form[1] is not None:
        return int(form[1]), int(form[2]), step
    return field.first, _LAST_COMMON_DAY if field.name == "day-of-month" and step is None else field.last, step


def _number(field: Field, job_id: str, size: int) -> int:
    digest = hashlib.sha256(f"{field.name}\0{job_id}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest, "big") % size

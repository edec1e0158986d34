"""The fields of a cron expression: which they are, and the values that each allows. Pure.

croniter reads the text of a field. What is refused, and in which words, is decided here.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from jobify._hashed import Field, draw, is_hashed

LONGEST = 256
"""Characters that an expression may have; what it costs to read one grows with them."""

ORDER = (
    "five fields are minute, hour, day-of-month, month, day-of-week; "
    "six are second and these five; seven are second, these five, and year"
)

SECOND = Field("second", 0, 59)
MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day-of-month", 1, 31)
MONTH = Field("month", 1, 12)
WEEKDAY = Field("day-of-week", 0, 6)
YEAR = Field("year", 1970, 2099)

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

CRONITER_ERRORS = (ValueError, OverflowError, TypeError, AttributeError, KeyError, IndexError, OSError)
"""What croniter raises for what it cannot read or find; its own errors are among the first."""

_FIVE = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)
_FIELDS: dict[int, tuple[Field, ...]] = {5: _FIVE, 6: (SECOND, *_FIVE), 7: (SECOND, *_FIVE, YEAR)}

_PROBES = {
    SECOND: ("{} * * * *", 0),
    MINUTE: ("{} * * * *", 0),
    HOUR: ("* {} * * *", 1),
    DAY: ("* * {} * *", 2),
    MONTH: ("* * * {} *", 3),
    WEEKDAY: ("* * * * {}", 4),
    YEAR: ("* * * * * 0 {}", 6),
}
"""For each field an expression of croniter with nothing but it, and where croniter puts it."""

_SPAN = re.compile(r"(\w+)(?:-(\w+))?(?:/(\d+))?", re.ASCII)
_STEP = re.compile(r".*/(\d+)", re.ASCII)
_GREATEST = {MONTH: "dec", WEEKDAY: "sat"}


class Fields(NamedTuple):
    """The texts of the fields, in lower case."""

    second: str
    minute: str
    hour: str
    day: str
    month: str
    weekday: str
    year: str

    @property
    def is_rhythm(self) -> bool:
        """Whether a field of the time of day begins with a wildcard, so that there is no fixed time."""
        return self.second[0] == "*" or self.minute[0] == "*" or self.hour[0] == "*"


def read_fields(expression: str, job_id: str | None) -> Fields:
    """Return the fields of an expression; of each `H` what is drawn for the job, if one is given.

    Raises:
        ValueError: the expression cannot be read; the message says why.
    """
    if len(expression) > LONGEST:
        msg = f"it is longer than {LONGEST} characters"
        raise ValueError(msg)
    if not expression.isascii():
        msg = f"it has characters that are not ASCII: {sorted({char for char in expression if not char.isascii()})}"
        raise ValueError(msg)
    text = expression.strip().lower()
    words = ALIASES.get(text, text).split()
    if len(words) == 1 and text.startswith("@"):
        msg = f"the aliases are {', '.join(sorted(ALIASES))}"
        raise ValueError(msg)
    if len(words) not in _FIELDS:
        msg = f"it has {len(words)} fields: {ORDER}"
        raise ValueError(msg)
    texts = {SECOND: "0", YEAR: "*"} | dict(zip(_FIELDS[len(words)], words, strict=True))
    if job_id is not None:
        texts = {field: _plain(field, _drawn(field, word, job_id)) for field, word in texts.items()}
    return Fields(
        second=texts[SECOND],
        minute=texts[MINUTE],
        hour=texts[HOUR],
        day=texts[DAY],
        month=texts[MONTH],
        weekday=texts[WEEKDAY],
        year=texts[YEAR],
    )


@lru_cache(maxsize=4096)
def has_hash(expression: str) -> bool:
    """Whether a field of an expression that can be read is drawn by the id of its job."""
    return any(is_hashed(word) for word in expression.split())


def _drawn(field: Field, text: str, job_id: str) -> str:
    if not is_hashed(text):
        return text
    if field is YEAR:
        raise _unreadable(field, text, "a year cannot be drawn")
    try:
        return draw(field, text, job_id)
    except ValueError as error:
        raise _unreadable(field, text, str(error)) from None


@lru_cache(maxsize=4096)
def values_of(field: Field, text: str) -> tuple[int, ...]:
    """Return the values that the text of a field stands for, in order; `L` of day-of-month is none.

    Raises:
        ValueError: the field cannot be read; the message names it.
    """
    from croniter import croniter  # noqa: PLC0415  # 70 ms, which a program without crons need not pay

    if any(item[:1] == "r" for item in text.split(",")):
        raise _unreadable(field, text, "R is drawn anew at each start; H is drawn once, by the id of the job")
    for item in text.split(","):
        step = _STEP.fullmatch(item)
        if step is not None and not 1 <= int(step[1]) <= field.size:
            reason = f"a step is within 1 to {field.size}; a longer interval is an Every or a CalendarInterval"
            raise _unreadable(field, text, reason)
    form, position = _PROBES[field]
    probe = form.format(text)
    try:
        values = croniter.expand(probe)[0][position]
    except CRONITER_ERRORS as error:
        reason = str(error).replace(f"[{probe}]", "it").replace(probe, "it")
        raise _unreadable(field, text, reason) from error
    if "*" in values:
        return tuple(range(field.first, field.last + 1))
    return tuple(sorted(value for value in values if isinstance(value, int)))


def _plain(field: Field, text: str) -> str:
    """Return the text of a field without what the versions of croniter read in different ways.

    `a-a` is `a`, as in Vixie cron, and so is a step that begins at the last value of the field.
    """
    return ",".join(_plain_item(field, item) for item in text.split(","))


def _plain_item(field: Field, item: str) -> str:
    span = _SPAN.fullmatch(item)
    if span is None:
        return item
    low, high, step = span.groups()
    if high == low or (high is None and step is not None and low in (str(field.last), _GREATEST.get(field))):
        return str(low)
    return item


def _unreadable(field: Field, text: str, reason: str) -> ValueError:
    return ValueError(f"its {field.name} {text!r} cannot be read: {reason}; {ORDER}")

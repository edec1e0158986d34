"""The forms of what is one of several: enumerations, literals, unions."""

import enum
from collections import Counter
from typing import Any

from jobify.serializers._form import Form, MisfitError, a, class_of, kind_of, misfit, name_of, text, unreadable

_TAG = "$"


class EnumForm:
    """The form of an enumeration: the value of a member if JSON has it, else the name; the number of a Flag."""

    is_exact = False  # the equality of members may be that of a user

    def __init__(self, kind: type[enum.Enum]) -> None:
        self._kind = kind
        values = {class_of(member.value) for member in kind.__members__.values()}
        self._by_value = issubclass(kind, enum.Flag) or values in ({str}, {int})
        self.kinds = frozenset({"int" if self._by_value and str not in values else "str"})

    def to_json(self, value: Any) -> Any:
        """Return the value or the name of a member."""
        if class_of(value) is not self._kind:
            raise misfit(value, name_of(self._kind))
        stored = value.value if self._by_value else value.name
        return text(stored) if isinstance(stored, str) else stored

    def from_json(self, data: Any) -> Any:
        """Return the member."""
        if kind_of(data) not in self.kinds:
            raise unreadable(data, name_of(self._kind))
        try:
            return self._kind(data) if self._by_value else self._kind[data]
        except (ValueError, LookupError) as error:
            msg = f"cannot be {a(name_of(self._kind))}: {data!r} is none of its members"
            raise MisfitError(msg) from error


class LiteralForm:
    """The form of a literal: that of the type of each of its values."""

    is_exact = False

    def __init__(self, values: list[tuple[Any, Form]]) -> None:
        self._choices = [(value, form.to_json(value)) for value, form in values]
        self.kinds = frozenset(kind_of(data) for _, data in self._choices)

    def to_json(self, value: Any) -> Any:
        """Return the form of a value that is one of those."""
        for one, data in self._choices:
            if _is_the_same(one, value):
                return data
        return self._refuse(value)

    def from_json(self, data: Any) -> Any:
        """Return the value that has this form."""
        for value, one in self._choices:
            if _is_the_same(one, data):
                return value
        return self._refuse(data)

    def _refuse(self, value: object) -> Any:
        msg = f"is none of {', '.join(repr(one) for one, _ in self._choices)}: {value!r}"
        raise MisfitError(
            msg, is_stranger=class_of(value) not in {class_of(one) for pair in self._choices for one in pair}
        )


class UnionForm:
    """The form of a union.

    A value is stored in the form of the first member that takes it. Where the kind of JSON does not tell which one
    that was, the form is `{"$Name": form}`.

    Args:
        members: the name and the form of each.
    """

    def __init__(self, members: dict[str, Form]) -> None:
        self._members = members
        counted = Counter(kind for form in members.values() for kind in form.kinds)
        ambiguous = {name for name, form in members.items() if any(counted[kind] > 1 for kind in form.kinds)}
        if ambiguous:  # what is tagged is an object, and no other object must look like it
            ambiguous |= {name for name, form in members.items() if "object" in form.kinds}
        self._tagged = {_TAG + name: form for name, form in members.items() if name in ambiguous}
        self._untagged = [form for name, form in members.items() if name not in ambiguous]
        self.kinds = frozenset(kind for form in self._untagged for kind in form.kinds)
        if self._tagged:
            self.kinds |= {"object"}

    @property
    def is_exact(self) -> bool:
        """Whether all members are."""
        return all(form.is_exact for form in self._members.values())

    def to_json(self, value: Any) -> Any:
        """Return the form of the first member that takes the value."""
        refusals: list[MisfitError] = []
        for name, form in self._members.items():
            try:
                data = form.to_json(value)
            except MisfitError as error:
                refusals.append(error)
            else:
                return {_TAG + name: data} if _TAG + name in self._tagged else data
        raise self._refusal(refusals, f"is {a(name_of(class_of(value)))}, and")

    def from_json(self, data: Any) -> Any:
        """Return the value, by its tag or by the kind of JSON that it is.

        What was stored before the union had a second member of its kind has no tag: it is read if it fits only one.
        """
        if class_of(data) is dict:
            entries: dict[Any, Any] = data
            if len(entries) == 1 and (form := self._tagged.get(next(iter(entries)))) is not None:
                return form.from_json(*entries.values())
        fitting: list[Any] = []
        refusals: list[MisfitError] = []
        for form in self._members.values():
            if kind_of(data) not in form.kinds:
                continue
            try:
                fitting.append(form.from_json(data))
            except MisfitError as error:
                refusals.append(error)
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            msg = f"could be more than one of {' | '.join(self._members)}"
            raise MisfitError(msg)
        raise self._refusal(refusals, "")

    def _refusal(self, refusals: list[MisfitError], what: str) -> MisfitError:
        """Return the error that says most: of a member that the value nearly is."""
        told = [error for error in refusals if not error.is_stranger]
        if told:
            return max(told, key=lambda error: len(error.path))
        members = " | ".join(self._members)
        if not what:
            return MisfitError(f"is stored as nothing that {members} can be")
        return MisfitError(f"{what} not {members}; pass one of these, or annotate it with its type too")


def _is_the_same(one: object, other: object) -> bool:
    return class_of(one) is class_of(other) and one == other

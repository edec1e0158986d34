"""The forms of models of pydantic, and of its types. Nothing here imports it: who annotates with it has done so."""

import sys
from functools import cached_property
from typing import Any

from jobify.serializers._annotations import spelled
from jobify.serializers._form import Form, MisfitError, PlainForm, class_of, misfit, unreadable, within
from jobify.serializers._records import FormOf

_UNSET = "$unset"
_MORE = "$more"


def is_model(kind: Any) -> bool:
    """Whether a class is a model."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def is_of_pydantic(annotation: Any) -> bool:
    """Whether pydantic is the one that knows what to do with an annotation."""
    return "pydantic" in sys.modules and hasattr(annotation, "__get_pydantic_core_schema__")


class ModelForm:
    """The form of a model: an object with its fields, those that were not set by the user named under `$unset`.

    It is made anew by `model_validate`, with values of the annotated types: so the validators have the last word.
    """

    kinds = frozenset({"object"})
    is_exact = False

    def __init__(self, kind: Any, form_of: FormOf) -> None:
        self._kind = kind
        self._form_of = form_of
        self._plain = PlainForm()

    @cached_property
    def _forms(self) -> dict[str, Form]:
        self._kind.model_rebuild()
        return {name: self._form_of(field.annotation) for name, field in self._kind.model_fields.items()}

    def to_json(self, value: Any) -> Any:
        """Return the fields."""
        if class_of(value) is not self._kind:
            raise misfit(value, spelled(self._kind))
        stored = {name: within(f".{name}", form.to_json, getattr(value, name)) for name, form in self._forms.items()}
        if unset := sorted(self._forms.keys() - value.model_fields_set):
            stored[_UNSET] = unset
        if value.model_extra:
            stored[_MORE] = self._plain.to_json(value.model_extra)
        return stored

    def from_json(self, data: Any) -> Any:
        """Return the model."""
        if class_of(data) is not dict:
            raise unreadable(data, spelled(self._kind))
        stored: dict[str, Any] = dict(data)
        unset, more = stored.pop(_UNSET, ()), stored.pop(_MORE, {})
        if unknown := stored.keys() - self._forms.keys():
            msg = f"has a field that {spelled(self._kind)} has not: {min(unknown)!r}"
            raise MisfitError(msg)
        values = {name: within(f".{name}", self._forms[name].from_json, item) for name, item in stored.items()}
        made = self._validated(values, more)
        made.model_fields_set.difference_update(unset)
        return made

    def _validated(self, values: dict[str, Any], more: dict[str, Any]) -> Any:
        if issubclass(self._kind, sys.modules["pydantic"].RootModel):
            return self._kind.model_validate(values["root"])
        fields = self._kind.model_fields
        return self._kind.model_validate({_key(name, fields[name]): item for name, item in values.items()} | more)


def _key(name: str, field: Any) -> str:
    """Return under which key a model takes a field: by its alias, if it has one."""
    alias = field.validation_alias
    choices = getattr(alias, "choices", [alias])
    return next((choice for choice in choices if isinstance(choice, str)), name)


class AdaptedForm:
    """The form of a type of pydantic that is no model, such as HttpUrl: pydantic writes and reads it.

    Args:
        annotation: the type.
    """

    kinds = frozenset({"null", "bool", "int", "float", "str", "array", "object"})
    is_exact = False

    def __init__(self, annotation: Any) -> None:
        self._adapter = sys.modules["pydantic"].TypeAdapter(annotation)

    def to_json(self, value: Any) -> Any:
        """Return what pydantic makes of the value."""
        return self._ask(self._adapter.dump_python, value, mode="json", round_trip=True, warnings="error")

    def from_json(self, data: Any) -> Any:
        """Return what pydantic makes of that."""
        return self._ask(self._adapter.validate_python, data)

    def _ask(self, convert: Any, value: object, **options: Any) -> Any:
        try:
            return convert(value, **options)
        except Exception as error:
            msg = f"is refused by pydantic: {error}"
            raise MisfitError(msg) from error

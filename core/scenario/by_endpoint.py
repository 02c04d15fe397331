"""Tables of a scenario whose fields are the endpoints of its table, or their cache types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from core.endpoints import CDP, EndpointTable
from core.scenario.table import Table

_CONTEXT = "endpoints"
_UNKNOWN = object()


def context_of(endpoints: EndpointTable) -> dict[str, Any]:
    """Return the context by which fields are validated for *endpoints*."""
    return {_CONTEXT: endpoints}


def endpoints_of(info: ValidationInfo) -> EndpointTable:
    """Return the endpoints that a value is validated for, the CDP's where nothing is said."""
    table: EndpointTable = (info.context or {}).get(_CONTEXT, CDP)
    return table


def listed(names: Sequence[str], word: str) -> str:
    """Return *names* with *word* before the last one ("a, b or c"), "" if there are none."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is_known(value: Any) -> Any:
    if value is _UNKNOWN:
        raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")
    return value


KNOWN = BeforeValidator(_is_known)
"""Refuses a field that is none; it stands in the type of the values of a `ByEndpoint`."""


class ByEndpoint(Table):
    """A table with a field for each endpoint, or each cache type, beside those it declares.

    A subclass types the values by `__pydantic_extra__`, and says how they are written in VALUES.
    A field that is left out has the value that the endpoint's description states.
    """

    VALUES: ClassVar[TypeAdapter[Any]]

    model_config = ConfigDict(extra="allow")

    @classmethod
    def stated(cls, endpoints: EndpointTable) -> dict[str, Any]:
        """Return what the descriptions state, as data."""
        raise NotImplementedError

    @classmethod
    def merged(cls, stated: Any, given: Any) -> Any:
        """Return the value of a field of which *given* is written."""
        return given

    @model_validator(mode="before")
    @classmethod
    def _fields_are_those_of_the_endpoints(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, Mapping):
            return data
        values = cls.stated(endpoints_of(info))
        for name, given in data.items():
            if name in values:
                values[name] = cls.merged(values[name], given)
            else:
                values[name] = given if name in cls.model_fields else _UNKNOWN
        return values

    @model_serializer(mode="wrap")
    def _in_their_order(
        self, write: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        extra = self.by_name
        data = write(self)
        mode: Literal["json", "python"] = "json" if info.mode_is_json() else "python"
        values = {name: self.VALUES.dump_python(value, mode=mode) for name, value in extra.items()}
        return values | {name: value for name, value in data.items() if name not in extra}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Return the schema with the fields of the CDP, for editors."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        values = schema.pop("additionalProperties")
        own = schema.pop("properties", {})
        instance = cls().model_dump(mode="json")
        stated = {
            name: {**values, "default": instance[name], "title": name.replace("_", " ").title()}
            for name in cls.stated(CDP)
        }
        result: dict[str, Any] = {**schema, "properties": stated | own}
        result["additionalProperties"] = False
        return result

    def changed(self, endpoints: EndpointTable) -> dict[str, Any]:
        """Return, as data, the fields that differ from what *endpoints* describe."""
        stated = self.model_validate({}, context=context_of(endpoints)).model_dump(mode="json")
        data = self.model_dump(mode="json")
        return {name: value for name, value in data.items() if value != stated.get(name, _UNKNOWN)}

    @property
    def by_name(self) -> Mapping[str, Any]:
        """The values of the endpoints, or cache types, in their order."""
        return self.__pydantic_extra__ or {}


def _has_a_key(name: str, info: ValidationInfo) -> str:
    keyed = endpoints_of(info).keyed
    if name in keyed:
        return name
    expected = listed([repr(each) for each in keyed], "or") or "none: no endpoint has a key"
    raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})


KeyedEndpoint = Annotated[
    str, AfterValidator(_has_a_key), WithJsonSchema({"type": "string", "enum": list(CDP.keyed)})
]
"""The name of an endpoint that asks for a user or a conversion."""

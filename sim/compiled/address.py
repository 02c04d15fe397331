"""The arrays of a run by one address, so that compiled functions hand on a word for all of them."""

from __future__ import annotations

from typing import Any

import numba.core.cgutils
import numba.core.imputils
import numba.core.typing.templates
import numba.extending
from numba import types

_code: Any = numba.core.cgutils  # numba has no types
_extending: Any = numba.extending
_lowering: Any = numba.core.imputils


class Address(types.Type):
    """The type of an address at which a named tuple of arrays stands."""

    def __init__(self, of: Any) -> None:
        self.of = of
        super().__init__(name=f"Address({of})")


class _AddressModel(numba.extending.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Address) -> None:
        begin: Any = super().__init__
        begin(manager, kind, manager.lookup(kind.of).get_value_type().as_pointer())


class _Attributes(numba.core.typing.templates.AttributeTemplate):
    key = Address

    def generic_resolve(  # type: ignore[override]  # numba's has no types
        self, value: Address, name: str
    ) -> Any:
        """Return the type of the array *name*."""
        of = value.of
        return of.types[of.fields.index(name)] if name in of.fields else None


def _load(_: Any, builder: Any, kind: Address, value: Any, name: str) -> Any:
    return builder.load(_code.gep_inbounds(builder, value, 0, kind.of.fields.index(name)))


_extending.register_model(Address)(_AddressModel)
_extending.infer_getattr(_Attributes)
_lowering.lower_getattr_generic(Address)(_load)


@_extending.intrinsic
def address_of(_: Any, arrays: Any) -> Any:
    """Return the address of a named tuple, which is there until the calling function returns."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        place = _code.alloca_once(builder, arguments[0].type)
        builder.store(arguments[0], place)
        return place

    return Address(arrays)(arrays), generate

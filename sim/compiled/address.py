"""The arrays of a run by one address, so that compiled functions hand on a word for all of them."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, models, register_model

_intrinsic: Any = intrinsic  # its type takes the compiler's context for an argument


class Address(types.Type):  # type: ignore[misc]  # numba has no types
    """The type of an address at which a named tuple of arrays stands."""

    def __init__(self, of: Any) -> None:
        self.of = of
        super().__init__(name=f"Address({of})")


@register_model(Address)
class _Model(models.PrimitiveModel):  # type: ignore[misc]  # numba has no types
    def __init__(self, manager: Any, kind: Address) -> None:
        super().__init__(manager, kind, manager.lookup(kind.of).get_value_type().as_pointer())


@infer_getattr
class _Attributes(AttributeTemplate):  # type: ignore[misc]  # numba has no types
    key = Address

    def generic_resolve(self, value: Address, name: str) -> Any:
        """Return the type of the array *name*."""
        of = value.of
        return of.types[of.fields.index(name)] if name in of.fields else None


@lower_getattr_generic(Address)  # type: ignore[untyped-decorator]  # numba has no types
def _load(_: Any, builder: Any, kind: Address, value: Any, name: str) -> Any:
    return builder.load(cgutils.gep_inbounds(builder, value, 0, kind.of.fields.index(name)))


@_intrinsic
def address_of(_: Any, arrays: Any) -> Any:
    """Return the address of a named tuple, which is there until the calling function returns."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        place = cgutils.alloca_once(builder, arguments[0].type)
        builder.store(arguments[0], place)
        return place

    return Address(arrays)(arrays), generate

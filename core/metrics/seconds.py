"""A long column of times that is kept as whole nanoseconds and read as seconds."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray


class Seconds(NDArrayOperatorsMixin):
    """The column *nanoseconds* in seconds: what is taken of it is computed then.

    Ten million requests would need 80 MB more for a copy. It stands where an array of seconds may
    stand that is read in parts.
    """

    __slots__ = ("_nanoseconds",)

    def __init__(self, nanoseconds: NDArray[np.int64]) -> None:
        self._nanoseconds = nanoseconds

    def __len__(self) -> int:
        return len(self._nanoseconds)

    @property
    def size(self) -> int:
        """How many times there are."""
        return len(self._nanoseconds)

    @overload
    def __getitem__(self, rows: int) -> float: ...

    @overload
    def __getitem__(self, rows: slice | NDArray[Any]) -> NDArray[np.float64]: ...

    def __getitem__(self, rows: Any) -> Any:
        """Return one time, or an array of those that a slice, places or a mask choose."""
        return self._nanoseconds[rows] / 1e9

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all as an array, for numpy; a copy always."""
        return np.asarray(self._nanoseconds / 1e9, dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute with an array of all, as numpy asks for it."""
        arrays = [np.asarray(each) if isinstance(each, Seconds) else each for each in inputs]
        return getattr(ufunc, method)(*arrays, **options)


Times = NDArray[np.float64] | Seconds
"""Times in seconds; a long column may be computed as it is read."""

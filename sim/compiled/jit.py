"""How the compiled engine is compiled: with no contraction, no relaxed arithmetic, and no GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numba.core.caching

from sim.compiled.parts import PartCompiler
from sim.compiled.store import writable_folder

_FOLDER = str(writable_folder())
_caching: Any = numba.core.caching  # numba has no types


class _Kept(_caching.FunctionCache):  # type: ignore[misc]
    """Machine code on the disk, which is loaded without all that numba compiles with.

    numba's own cache imports that first: 0.4 s of CPU and 25 MB, for code that needs none of it.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled for *sig*, None if nothing was."""
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def jit(function: Callable[..., Any]) -> Any:
    """Compile *function*, which Python calls, at its first call; keep the machine code for later.

    A division by 0 gives what numpy gives. Compiled code raises nothing: it returns a reason. It
    makes no array either, so that arrays need no counting of references, a sixth of the time.
    """
    compiled = _compiled(function)
    config: Any = numba.config
    before = config.CACHE_DIR  # other compiled code is kept where its user has it
    config.CACHE_DIR = _FOLDER
    try:
        compiled._cache = _Kept(function)  # as cache=True does
    finally:
        config.CACHE_DIR = before
    return compiled


def part(function: Callable[..., Any]) -> Any:
    """Compile *function* as `jit` does, for compiled functions alone."""
    return _compiled(function, no_cpython_wrapper=True, pipeline_class=PartCompiler)


def leaf(function: Callable[..., Any]) -> Any:
    """Compile *function* into those that call it: for what is short, or has one hot caller."""
    return _compiled(
        function, no_cpython_wrapper=True, forceinline=True, pipeline_class=PartCompiler
    )


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    compiler: Any = numba.njit
    return compiler(
        nogil=True,
        fastmath=False,
        error_model="numpy",
        _nrt=False,
        no_cfunc_wrapper=True,
        **options,
    )(function)

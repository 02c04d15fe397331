"""How the compiled engine is compiled: with no contraction, no relaxed arithmetic, and no GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numba.core.caching
import numba.core.codegen

from sim.compiled.parts import PartCompiler
from sim.compiled.store import writable_folder

_FOLDER = str(writable_folder())
_caching: Any = numba.core.caching  # numba has no types
_codegen: Any = numba.core.codegen


class _Kept(_caching.FunctionCache):  # type: ignore[misc]
    """Machine code on the disk, which is loaded without all that numba compiles with.

    numba's own cache imports that first: 0.4 s of CPU and 25 MB, for code that needs none of it.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled for *sig*, None if nothing was."""
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code alone, under the one name that Python asks for.

        numba adds what other functions could be compiled with: 18 MB once it is loaded. No compiled
        function calls one of these.
        """
        library = data.library
        whole = library._get_module_for_linking()
        name = data.fndesc.llvm_cpython_wrapper_name
        library._shared_module = _codegen.ll.parse_assembly(
            f'define void @"{name}"() {{ ret void }}'
        )
        try:
            super().save_overload(sig, data)
        finally:
            library._shared_module = whole


def jit(function: Callable[..., Any]) -> Any:
    """Compile *function*, which Python alone calls, at its first call; keep the machine code.

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

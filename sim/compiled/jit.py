"""How the compiled engine is compiled: with no contraction, no relaxed arithmetic, and no GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

from sim.compiled.store import writable_folder

_FOLDER = str(writable_folder())


def jit(function: Callable[..., Any]) -> Any:
    """Compile *function*, which Python calls, at its first call; keep the machine code for later.

    A division by 0 gives what numpy gives. Compiled code raises nothing: it returns a reason. It
    makes no array either, so that arrays need no counting of references, a sixth of the time.
    """
    return _compiled(function)


def part(function: Callable[..., Any]) -> Any:
    """Compile *function* as `jit` does, for compiled functions alone."""
    return _compiled(function, no_cpython_wrapper=True)


def leaf(function: Callable[..., Any]) -> Any:
    """Compile *function* into those that call it: for what is short, or has one hot caller."""
    return _compiled(function, no_cpython_wrapper=True, forceinline=True)


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    config: Any = numba.config
    compiler: Any = numba.njit
    before = config.CACHE_DIR  # other compiled code is kept where its user has it
    config.CACHE_DIR = _FOLDER
    try:
        return compiler(
            cache=True,
            nogil=True,
            fastmath=False,
            error_model="numpy",
            _nrt=False,
            no_cfunc_wrapper=True,
            **options,
        )(function)
    finally:
        config.CACHE_DIR = before

"""How the loops over a trace are compiled, and where their machine code is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import types
from numba.extending import intrinsic

from sim.compiled.store import writable_folder

_FOLDER = str(writable_folder(Path(__file__).parent))


def jit(function: Callable[..., Any]) -> Any:
    """Compile *function* when it is first called, without the GIL, and keep the machine code."""
    config: Any = numba.config
    compiler: Any = numba.njit
    before = config.CACHE_DIR  # other compiled code is kept where its user has it
    config.CACHE_DIR = _FOLDER
    try:
        return compiler(cache=True, nogil=True, error_model="numpy", _nrt=False)(function)
    finally:
        config.CACHE_DIR = before


def _popcount(context: Any, word: Any) -> Any:
    del context, word

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.ctpop(arguments[0])

    signature: Any = types.uint64(types.uint64)
    return signature, generate


popcount: Any = intrinsic(_popcount)
"""The number of ones of a uint64, as an instruction of the processor; for compiled code alone."""

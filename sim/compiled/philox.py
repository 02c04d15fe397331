"""Philox4x64-10 as numpy draws it, by address: bit-equal to `core.streams.Stream`."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]  # it has no types
from numba import types
from numba.extending import intrinsic

from sim.compiled.jit import leaf, part

_intrinsic: Any = intrinsic  # its type takes the compiler's context for an argument
_U = np.uint64
_M0, _M1 = _U(0xD2E7470EE14C6C93), _U(0xCA5A826395121157)
_W0, _W1 = _U(0x9E3779B97F4A7C15), _U(0xBB67AE8584CAA73B)
_11 = _U(11)
_SCALE = 2.0**-53


@_intrinsic
def _high(_: Any, a: Any, b: Any) -> Any:
    """Return the upper 64 bits of the product of two 64-bit numbers."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@_intrinsic
def bit_length(_: Any, a: Any) -> Any:
    """Return the bits of a whole number that is at least 0."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(ir.IntType(64), 64), zeros)

    return types.int64(types.int64), generate


@part
def words(seed: Any, stream: Any, block: Any) -> Any:
    """Return the four words of a block of the stream's numbers; numpy counts before it draws."""
    c0, c1, c2, c3 = _U(block) + _U(1), _U(0), _U(0), _U(0)
    k0, k1 = _U(seed), _U(stream)
    for _ in range(10):
        h0, l0 = _high(_M0, c0), _M0 * c0
        h1, l1 = _high(_M1, c2), _M1 * c2
        c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        k0 += _W0
        k1 += _W1
    return c0, c1, c2, c3


@leaf
def uniform(word: Any) -> Any:
    """Return the number in [0, 1) of a word."""
    return float(word >> _11) * _SCALE


@leaf
def at(seed: Any, stream: Any, place: Any) -> Any:
    """Return the number at *place* (row times width plus slot) of a stream."""
    a, b, c, d = words(seed, stream, place >> 2)
    which = place & 3
    if which == 1:
        a = b
    elif which == 2:
        a = c
    elif which == 3:
        a = d
    return uniform(a)


@leaf
def sampled(table: Any, u: Any) -> Any:
    """Return the value of a quantile table at *u*, as `Distribution.sample` does."""
    position = u * (table.size - 1)
    index = int(position)
    low = table[index]
    return low + (position - index) * (table[index + 1] - low)

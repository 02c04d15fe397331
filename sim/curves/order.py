"""A random order of a trace's accesses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.streams import Stream
from sim.curves.machine import jit


def shuffled(keys: NDArray[np.int32], *, seed: int, draw: int) -> NDArray[np.int32]:
    """Return *keys* in a random order, each as likely (Durstenfeld, CACM 7(7), 1964)."""
    mixed = keys.copy()
    _shuffle(mixed, Stream(seed, Purpose.SHUFFLES, replication=draw).rows(0, keys.size)[:, 0])
    return mixed


@jit
def _shuffle(keys, uniforms):  # type: ignore[no-untyped-def]
    for place in range(len(keys) - 1, 0, -1):
        other = np.int64(uniforms[place] * (place + 1))
        key = keys[place]
        keys[place] = keys[other]
        keys[other] = key

"""The pass over flat arrays that numba compiles: loaded only where it pays."""

from __future__ import annotations

import numpy as np
from numba import njit

from core.attribution.parameters import Parameters
from core.attribution.paths import Codes, Floats, Integers, Paths

_MODELS = 7
_NO_MARKS = np.empty(0, dtype=np.int32)
_NO_TIMES = np.empty(0, dtype=np.int64)


def seven_models(
    paths: Paths, parameters: Parameters, weights: Floats | None, *, keep: bool
) -> tuple[Floats, Floats | None]:
    """Return totals of shape (2, models, channels) and credits of shape (touches, models)."""
    lengths = paths.lengths
    channels = len(paths.channels)
    kept = np.zeros((len(paths.codes) if keep else 0, _MODELS))
    totals = np.zeros((channels, 2 * _MODELS))
    _pass(
        paths.codes, paths.offsets, paths.conversions, paths.values,
        _NO_TIMES if paths.times_ms is None else paths.times_ms,
        _NO_MARKS if paths.lead is None else paths.lead,
        _NO_MARKS if paths.opportunity is None else paths.opportunity,
        float(parameters.half_life_ms), np.array(parameters.u_shape), np.array(parameters.w_shape),
        np.zeros(channels) if weights is None else np.ascontiguousarray(weights, dtype=np.float64),
        np.empty(int(lengths.max()) if len(lengths) else 0), totals, kept, keep,
    )  # fmt: skip
    by_model = totals.reshape(channels, 2, _MODELS).transpose(1, 2, 0)
    return np.ascontiguousarray(by_model), kept if keep else None


# Touches are summed one after the other, without contraction of operations, so totals depend on
# the engine only through the rounding of exp2.
@njit(cache=True, nogil=True)
def _pass(
    codes: Codes,
    offsets: Integers,
    conversions: Floats,
    values: Floats,
    times: Integers,
    leads: Codes,
    opportunities: Codes,
    half_life: float,
    u_shape: Floats,
    w_shape: Floats,
    weights: Floats,
    decays: Floats,
    totals: Floats,
    kept: Floats,
    keep: bool,
) -> None:
    has_times = len(times) > 0
    pair = u_shape[0] + u_shape[2]
    for path in range(len(offsets) - 1):
        start, end = offsets[path], offsets[path + 1]
        count = end - start
        conversion, value = conversions[path], values[path]
        if count == 0 or (conversion == 0.0 and value == 0.0):
            continue

        decay_sum = weight_sum = 0.0
        if has_times:
            newest = times[end - 1]
            for i in range(count):
                decays[i] = np.exp2((times[start + i] - newest) / half_life)
                decay_sum += decays[i]
        for i in range(start, end):
            weight_sum += weights[codes[i]]
        has_weights = weight_sum > 0.0
        even = 1.0 / count

        u_first, u_middle, u_last = 1.0, 0.0, 1.0
        if count == 2:
            u_first = u_shape[0] / pair if pair > 0.0 else 0.5
            u_last = u_shape[2] / pair if pair > 0.0 else 0.5
        elif count > 2:
            u_first, u_last = u_shape[0], u_shape[2]
            u_middle = u_shape[1] / (count - 2)

        has_middle = count > 2
        at_middle, at_last = (count - 1) // 2, count - 1
        if len(leads) > 0 and leads[path] >= 0:
            has_middle = True
            at_middle = leads[path]
        if len(opportunities) > 0 and opportunities[path] >= 0:
            at_last = opportunities[path]
        rest = count - 1
        if at_last != 0:
            rest -= 1
        if has_middle and at_middle not in (0, at_last):
            rest -= 1
        w_other = w_shape[3] / rest if rest > 0 else 0.0
        w_first = w_shape[0]
        w_last = w_shape[2] if at_last != 0 else 0.0
        if at_last == 0:
            w_first += w_shape[2]
        w_middle = 0.0
        if has_middle:
            if at_middle == 0:
                w_first += w_shape[1]
            elif at_middle == at_last:
                w_last += w_shape[1]
            else:
                w_middle = w_shape[1]
        is_even = False
        if not (has_middle and rest > 0):
            # A part of the shape is missing: its share goes to the others in proportion.
            w_sum = 0.0
            for i in range(count):
                if i == 0:
                    w_sum += w_first
                elif i == at_last:
                    w_sum += w_last
                elif has_middle and i == at_middle:
                    w_sum += w_middle
                else:
                    w_sum += w_other
            if w_sum > 0.0:
                w_first, w_last = w_first / w_sum, w_last / w_sum
                w_middle, w_other = w_middle / w_sum, w_other / w_sum
            else:
                is_even = True

        for i in range(count):
            code = codes[start + i]
            decay = decays[i] / decay_sum if has_times else 0.0
            driven = weights[code] / weight_sum if has_weights else even
            u = u_middle
            if i == count - 1:
                u = u_last
            elif i == 0:
                u = u_first
            if is_even:
                w = even
            elif i == 0:
                w = w_first
            elif i == at_last:
                w = w_last
            elif has_middle and i == at_middle:
                w = w_middle
            else:
                w = w_other
            row = totals[code]
            row[2] += even * conversion
            row[3] += decay * conversion
            row[4] += u * conversion
            row[5] += w * conversion
            row[6] += driven * conversion
            row[9] += even * value
            row[10] += decay * value
            row[11] += u * value
            row[12] += w * value
            row[13] += driven * value
            if keep:
                credits = kept[start + i]
                credits[2] = even
                credits[3] = decay
                credits[4] = u
                credits[5] = w
                credits[6] = driven
        first, last = codes[start], codes[end - 1]
        totals[last, 0] += conversion
        totals[last, 7] += value
        totals[first, 1] += conversion
        totals[first, 8] += value
        if keep:
            kept[end - 1, 0] = 1.0
            kept[start, 1] = 1.0

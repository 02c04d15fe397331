"""The credit of channels from stored batches, added up in the order of the shipped code."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.jit import jit, part
from sim.compiled.journeys import channel_at, in_order
from sim.compiled.philox import uniform, words

MODELS = (
    "last_click", "first_click", "linear", "time_decay", "u_shape", "w_shape", "data_driven",
)  # fmt: skip
"""Those that `share_out` knows, in their order."""


@part
def in_proportion(weights: Any, count: Any) -> Any:
    """Turn *weights* into shares of their sum; equal ones where all are 0."""
    total, least, most = weights[0], weights[0], weights[0]
    for touch in range(1, count):
        total += weights[touch]
        least = min(least, weights[touch])
        most = max(most, weights[touch])
    even = total <= 0 or least == most
    for touch in range(count):
        weights[touch] = 1.0 / count if even else weights[touch] / total


@part
def credits_of(
    model: Any, count: Any, times: Any, channels: Any, cf: Any, shape: Any, driven: Any, out: Any
) -> Any:
    """Write the credits of a journey's touches under a model, as `core.attribution.models` has it.

    cf: a half-life in milliseconds, and 2.0: a constant base would be another function. shape: the
    shares of u_shape and of w_shape.
    """
    if count == 1:
        out[0] = 1.0
        return
    last = count - 1
    for touch in range(count):
        out[touch] = 0.0
    if model == 0:
        out[last] = 1.0
    elif model == 1:
        out[0] = 1.0
    elif model == 2:
        for touch in range(count):
            out[touch] = 1.0 / count
    elif model == 3:
        for touch in range(count):
            out[touch] = cf[1] ** ((times[touch] - times[last]) / cf[0])
        in_proportion(out, count)
    elif model == 4:
        if count > 2:
            for touch in range(count):
                out[touch] = shape[1] / (count - 2)
        out[0] = shape[0]
        out[last] = shape[2]
        if count == 2:
            in_proportion(out, count)
    elif model == 5:
        rest = count - 3 if count > 2 else 0
        if rest > 0:
            for touch in range(count):
                out[touch] = shape[6] / rest
        out[0] = shape[3]
        out[last] = shape[5]
        if count > 2:
            out[last // 2] = shape[4]
        if rest <= 0:
            in_proportion(out, count)
    else:
        for touch in range(count):
            out[touch] = driven[channels[touch]]
        in_proportion(out, count)


@jit
def share_out(
    ci: Any, seed: Any, stream: Any, first: Any, stored: Any, touch_from: Any, touch_count: Any,
    converted: Any, log: Any, intended: Any, seed_times: Any, happened: Any, order: Any,
    order_keys: Any, cf: Any, shape: Any, driven: Any, times: Any, channels: Any, out: Any,
    gained: Any, used: Any, batch_totals: Any, batch_counts: Any, totals: Any, counts: Any,
) -> Any:  # fmt: skip
    """Add the batches that were stored from number *first* to *stored* to *totals* and *counts*.

    totals: by channel and model the credit and the value; counts: conversions by channel.
    """
    seeded, models, number = ci[s.I_SEEDED], totals.shape[1], totals.shape[0]
    for which in range(first, stored):
        batch = touch_from[which, 2]
        begin, end = touch_from[batch, 0], touch_from[batch, 1]
        in_order(converted, begin, end, order, order_keys)
        for channel in range(number):
            batch_counts[channel] = 0
            for model in range(models):
                batch_totals[channel, model, 0] = 0.0
                batch_totals[channel, model, 1] = 0.0
        for at in range(end - begin):
            place = order[at]
            count = touch_count[place, 1]
            if count == 0:
                continue
            start = touch_count[place, 0]
            for touch in range(count):
                node = log[start + count - 1 - touch]
                channels[touch] = channel_at(happened, node)
                if node < seeded:
                    times[touch] = seed_times[node]
                else:
                    times[touch] = intended[node - seeded] // 1_000_000
            _, _, c, _ = words(seed, stream | s.P_EVENTS, converted[place])
            value = int(1_000 + uniform(c) * 19_000) / 100
            for channel in range(number):
                used[channel] = 0
            for model in range(models):
                credits_of(model, count, times, channels, cf, shape, driven, out)
                for touch in range(count):
                    channel = channels[touch]
                    if used[channel] <= model:
                        used[channel] = model + 1
                        gained[channel, model] = out[touch]
                    else:
                        gained[channel, model] += out[touch]
            for channel in range(number):
                if used[channel]:
                    batch_counts[channel] += 1
                    for model in range(models):
                        batch_totals[channel, model, 0] += gained[channel, model]
                        batch_totals[channel, model, 1] += gained[channel, model] * value
        for channel in range(number):
            if batch_counts[channel]:
                counts[channel] += batch_counts[channel]
                for model in range(models):
                    totals[channel, model, 0] += batch_totals[channel, model, 0]
                    totals[channel, model, 1] += batch_totals[channel, model, 1]


@jit
def share_out_seeded(
    order: Any, begins: Any, ends: Any, offsets: Any, times: Any, channels: Any, values: Any,
    cf: Any, shape: Any, driven: Any, out: Any, gained: Any, used: Any, totals: Any, counts: Any,
    own: Any,
) -> Any:  # fmt: skip
    """Add the conversions of the start to *totals* and *counts*, as one batch, in their *order*.

    own: the credits of each conversion's touches, from *offsets* on, under the model that requests
    for it ask for.
    """
    number, models = totals.shape[0], totals.shape[1]
    for conversion in order:
        begin, end = begins[conversion], ends[conversion]
        count = end - begin
        if count == 0:
            continue
        for channel in range(number):
            used[channel] = 0
        for model in range(models):
            credits_of(model, count, times[begin:end], channels[begin:end], cf, shape, driven, out)
            for touch in range(count):
                channel = channels[begin + touch]
                if used[channel] <= model:
                    used[channel] = model + 1
                    gained[channel, model] = out[touch]
                else:
                    gained[channel, model] += out[touch]
                if conversion % models == model:
                    own[offsets[conversion] + touch] = out[touch]
        for channel in range(number):
            if used[channel]:
                counts[channel] += 1
                for model in range(models):
                    totals[channel, model, 0] += gained[channel, model]
                    totals[channel, model, 1] += gained[channel, model] * values[conversion]

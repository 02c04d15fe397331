"""What the requests of each region found: their latencies, and who answered their reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from core.metrics.histogram import LatencyHistogram
from core.metrics.record import Requests, Samples
from core.scenario.distances import region_numbers
from core.scenario.scenario import Scenario
from core.units import format_duration, format_ratio
from core.wire import L1_HIT, L2_HIT, NEGATIVE


def region_samples(scenario: Scenario, requests: Requests) -> Samples:
    """Return by region when each of its requests was to be sent, and its latency in seconds."""
    return {
        name: (requests.intended[chosen], requests.latency[chosen])
        for name, chosen in _chosen(scenario, requests).items()
        if chosen.any()
    }


def region_latencies(
    scenario: Scenario, requests: Requests, *, after: float
) -> dict[str, LatencyHistogram]:
    """Return by region the latencies of the requests intended at *after* seconds or later."""
    found = {}
    for name, (intended, latency) in region_samples(scenario, requests).items():
        if (judged := latency[intended >= after]).size:
            found[name] = LatencyHistogram.of(judged)
    return found


def region_lines(scenario: Scenario, requests: Requests, *, after: float) -> tuple[str, ...]:
    """Return a line for each region: its requests, their latencies, and who answered its reads."""
    judged = requests.intended >= after
    total, lines = np.count_nonzero(judged), []
    for name, of_region in _chosen(scenario, requests).items():
        chosen = of_region & judged
        if not chosen.any():
            lines.append(f"Region {name}: no requests.")
            continue
        latencies = LatencyHistogram.of(requests.latency[chosen])
        told = [f"{format_ratio(np.count_nonzero(chosen) / total)} of the requests"]
        told += [
            f"p{quantile:g} {format_duration(latencies.quantile(quantile / 100))}"
            for quantile in (50, 95, 99)
        ]
        codes = requests.reads[chosen] & (NEGATIVE - 1)
        if reads := np.count_nonzero(codes):
            shares = [np.count_nonzero(codes == code) / reads for code in (L1_HIT, L2_HIT)]
            told.append(
                f"reads L1 {format_ratio(shares[0])}, L2 {format_ratio(shares[1])}, the origin "
                f"{format_ratio(1 - sum(shares))}"
            )
        lines.append(f"Region {name}: {'; '.join(told)}.")
    return tuple(lines)


def _chosen(scenario: Scenario, requests: Requests) -> Mapping[str, NDArray[np.bool_]]:
    if not scenario.regions:
        return {}
    numbers = region_numbers(scenario, requests.isolate)
    return {each.name: numbers == place for place, each in enumerate(scenario.regions)}

"""The pace of a run: its arrival rate, and the same scenario at another one."""

from __future__ import annotations

import math
import re

from core.errors import InputError
from core.scenario.scenario import Scenario
from core.scenario.trace_window import timed_window
from core.scenario.traffic import MAX_SPEED

MAX_RATE = 1e6
MAX_SECONDS = 1e9
"""Of a run; whole nanoseconds of a few hundred years are what an arrival can hold."""

_RATE_IS = f"an arrival rate is more than 0 and at most {MAX_RATE:.0f}"


def rate_of(scenario: Scenario) -> float:
    """Return the rate of *scenario* in requests/s: what `with_rate` changes.

    Of a trace with times that is the mean over the window of the run, warm-up included; of stages
    the highest. Raise InputError if the trace cannot be read.
    """
    window = timed_window(scenario)
    return _peak(scenario) if window is None else window.rate


def with_rate_text(scenario: Scenario, text: str) -> Scenario:
    """Return *scenario* at the rate of *text*: requests/s ("400") or a multiple of its own ("8x").

    Raise InputError if the text is no rate, or as `with_rate` does.
    """
    match = re.fullmatch(r"\s*([^\sx]+)\s*(x?)\s*", text)
    try:
        number = float(match[1]) if match else math.nan
    except ValueError:
        number = math.nan
    if not match or (match[2] and not 0 < number < math.inf):
        raise InputError(f"--rate is {text!r}; give requests/s, such as 400, or a multiple: 8x")
    if not match[2]:
        if math.isnan(number) and match[1].lower() != "nan":
            raise InputError(f"--rate is {text!r}; give requests/s, such as 400, or a multiple: 8x")
        return with_rate(scenario, number)
    own = rate_of(scenario)
    if own == 0:
        raise InputError(
            f"--rate {text}: {scenario.name} has the rate 0, and so has every multiple of it; "
            "give stages a rate, or take a window of the trace whose times differ"
        )
    rate = own * number
    if rate > MAX_RATE:
        raise InputError(f"--rate {text} is {rate:g} requests/s; {_RATE_IS}")
    return with_rate(scenario, rate)


def with_rate(scenario: Scenario, rate: float) -> Scenario:
    """Return *scenario* at *rate* requests/s, as `rate_of` counts them.

    Stages are scaled, so that the highest rate is *rate*. The times of a trace run faster or
    slower (trace.speed), and warm_up and duration with them: the run has the same accesses at
    every rate, and judges the same ones. Raise InputError for a rate that cannot be had.
    """
    if not 0 < rate <= MAX_RATE:
        raise InputError(f"--rate is {rate:g}; {_RATE_IS}")
    window = timed_window(scenario)
    if window is None:
        return _with_peak(scenario, rate)
    if not window.rate:
        raise InputError(
            f"--rate {rate:g}: the window of {window.trace.source} has no rate, for its accesses "
            f"({window.stop - window.offset:,}) lie at one time; raise the duration or "
            "--trace-limit"
        )
    faster = rate / window.rate
    least, most = scenario.total_time / MAX_SECONDS, MAX_SPEED / scenario.trace.speed
    if not least <= faster <= most:
        raise InputError(
            f"--rate {rate:g}: {window.trace.source} runs at {window.rate * least:.3g} to "
            f"{min(MAX_RATE, window.rate * most):.3g} requests/s; give a rate within these bounds"
        )
    scaled = _at_speed(scenario, scenario.trace.speed * faster)
    for position, fault in enumerate(scenario.faults):
        if scaled.total_time <= fault.at < scenario.total_time:
            raise InputError(
                f"{scenario.name}: at {rate:g} requests/s the trace's window ends at "
                f"{scaled.total_time:.3g} s, before faults[{position}] strikes at {fault.at:g} s; "
                "let it start earlier, or leave it out (--set faults=[])"
            )
    for position, deployment in enumerate(scenario.deployments):
        if scaled.total_time <= deployment.at < scenario.total_time:
            raise InputError(
                f"{scenario.name}: at {rate:g} requests/s the trace's window ends at "
                f"{scaled.total_time:.3g} s, before deployments[{position}] starts at "
                f"{deployment.at:g} s; let it start earlier, or leave it out (--set deployments=[])"
            )
    try:
        _ = scaled.parts
    except ValueError as error:
        raise InputError(f"{scenario.name}: at {rate:g} requests/s {error}") from None
    return scaled


def _peak(scenario: Scenario) -> float:
    return max(max(stage.rate, stage.ramp_to or 0.0) for stage in scenario.traffic.stages)


def _with_peak(scenario: Scenario, rate: float) -> Scenario:
    peak = _peak(scenario)
    if peak == 0:
        raise InputError(f"--rate {rate:g}: every stage of {scenario.name} has the rate 0")
    stages = tuple(
        stage.model_copy(
            update={
                "rate": stage.rate * rate / peak,
                "ramp_to": None if stage.ramp_to is None else stage.ramp_to * rate / peak,
            }
        )
        for stage in scenario.traffic.stages
    )
    traffic = scenario.traffic.model_copy(update={"stages": stages})
    return scenario.model_copy(update={"traffic": traffic})


def _at_speed(scenario: Scenario, speed: float) -> Scenario:
    faster = speed / scenario.trace.speed
    # Whole nanoseconds, as arrivals are, and rounded down: the access at its end stays judged.
    warm_up = math.floor(scenario.warm_up / faster * 1e9) / 1e9
    stages = tuple(
        stage.model_copy(
            update={"duration": None if stage.duration is None else stage.duration / faster}
        )
        for stage in scenario.traffic.stages
    )
    return scenario.model_copy(
        update={
            "warm_up": warm_up,
            "duration": scenario.total_time / faster - warm_up,
            "traffic": scenario.traffic.model_copy(update={"stages": stages}),
            "trace": scenario.trace.model_copy(update={"speed": speed}),
        }
    )

"""A scenario at another arrival rate, and the joint findings of its replications."""

from __future__ import annotations

from collections.abc import Sequence

from core.metrics.charge import Charge
from core.metrics.estimate import estimate_of
from core.metrics.kpi import Interval, Kpi
from core.scenario.pace import rate_of, with_rate
from core.scenario.scenario import Scenario
from core.scenario.trace_window import timed_window
from sim.replications import Found

SATURATION = 0.01
"""Seconds of work that a queue gains per second, on average, if its server cannot keep up."""


def at_rate(scenario: Scenario, rate: float) -> Scenario:
    """Return *scenario* at *rate* requests/s, as `core.scenario.pace.rate_of` counts them.

    The accesses of a trace stay the same at every rate: the times between them are stretched or
    compressed, and with them the duration, the warm-up, the stages and the times of faults.
    """
    if not is_trace(scenario):
        return with_rate(scenario, rate)
    factor = rate_of(scenario) / rate
    faults = tuple(
        fault.model_copy(update={"at": fault.at * factor, "for_": fault.for_ * factor})
        for fault in scenario.faults
    )
    events = {
        "faults": faults,
        "deployments": tuple(each.scaled(factor) for each in scenario.deployments),
    }
    bare = scenario.model_copy(update=dict.fromkeys(events, ()))
    scaled = with_rate(bare, rate)
    if timed_window(scenario) is not None:
        return scaled.model_copy(update=events)
    stages = tuple(
        stage
        if stage.duration is None
        else stage.model_copy(update={"duration": stage.duration * factor})
        for stage in scaled.traffic.stages
    )
    return scaled.model_copy(
        update={
            "duration": scaled.duration * factor,
            "warm_up": scaled.warm_up * factor,
            "traffic": scaled.traffic.model_copy(update={"stages": stages}),
            **events,
        }
    )


def is_trace(scenario: Scenario) -> bool:
    """Return whether the keys of *scenario* come from a trace."""
    return scenario.trace.file is not None


def mean(found: Sequence[Found], name: str) -> float | None:
    """Return the mean of the metric *name* over the replications that have it, None if none has."""
    values = [each.metrics[name] for each in found if name in each.metrics]
    return estimate_of(values).value if values else None


def interval(found: Sequence[Found], name: str) -> Interval | None:
    """Return the 95 % interval of that mean, None where fewer than two replications have it."""
    values = [each.metrics[name] for each in found if name in each.metrics]
    return estimate_of(values).interval if len(values) > 1 else None


def saturated(scenario: Scenario, found: Sequence[Found]) -> tuple[str, ...]:
    """Return the servers whose queues still grew at the end, by more than chance explains.

    Return none unless only the rate can be the cause: it was steady over the second half, which
    had no fault and no deployment.
    """
    if ended := dict.fromkeys(name for each in found for name in each.saturated):
        return tuple(ended)
    if not is_steady_late(scenario):
        return ()
    told = [each.loads for each in found if each.loads]
    names = told[0] if len(told) == len(found) else {}
    return tuple(n for n in names if _grows([loads[n].growth for loads in told]))


def is_steady_late(scenario: Scenario) -> bool:
    """Whether the rate is steady in the second half, which has no fault and no deployment."""
    middle = scenario.total_time - scenario.duration / 2
    *before, last = scenario.traffic.stages
    is_steady = sum(stage.duration or 0.0 for stage in before) <= middle and (
        last.ramp_to is None or last.ramp_to == last.rate
    )
    is_steady = is_steady and scenario.traffic.bursts is None
    ends = [fault.at + fault.for_ for fault in scenario.faults]
    ends += [deployment.end for deployment in scenario.deployments]
    return is_steady and all(end <= middle for end in ends)


def _grows(growth: Sequence[float]) -> bool:
    found = estimate_of(growth)
    return found.value > SATURATION and (found.interval is None or found.interval[0] > 0)


def why(scenario: Scenario, kpi: Kpi) -> str:
    """Return why *kpi* could not be measured."""
    series = kpi.metric.series
    if series in scenario.endpoints:
        if not scenario.traffic.mix.of(series) and not is_trace(scenario):
            return f"endpoints.{series}.weight is 0"
        if unknown := scenario.endpoints[series].unknown:
            return f"its {unknown} are not stated"
        return f"no {series} request arrived {_where(kpi)}"
    if isinstance(kpi.metric.what, Charge):
        return "what the requests use of the platform is not stated"
    if kpi.metric.function == "ratio":
        return "nothing was counted" if series == "error" else "no cache was read"
    return f"nothing of {series} took place {_where(kpi)}"


def _where(kpi: Kpi) -> str:
    part = kpi.metric.part
    return "after the warm-up" if part is None else f"in {part.name}"

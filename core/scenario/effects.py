"""What a scenario states without any effect in its run: faults, deployments, stages, settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from core.endpoint import PLACEHOLDERS
from core.endpoints import EndpointTable
from core.errors import InputError
from core.scenario.by_endpoint import ByEndpoint, listed
from core.scenario.faults import Fault
from core.scenario.places import Place, in_data, shown
from core.scenario.scenario import Scenario
from core.scenario.trace_window import timed_window
from core.texts import count_of

GRACE = 1e-9
"""Seconds: sums of decimal seconds are not exact."""


@lru_cache(maxsize=8)
def _defaults(endpoints: EndpointTable) -> Scenario:
    own = {e.subject: {"count": 1} for e in endpoints if e.subject not in PLACEHOLDERS}
    return Scenario(name="defaults", endpoints=endpoints, subjects=own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Something of a scenario that has no effect in this run.

    place: where it stands. text: why it has none, and the remedy. switch: the field that turns it
    off; where the command line set that, it was meant so. is_replaced: a trace stands in for it, or
    the file turns it off beside it, which is no fault of the file.
    """

    place: Place
    text: str
    switch: Place = ()
    is_replaced: bool = False


def check_effects(
    scenario: Scenario, *, source: str, asked: Mapping[Place, str]
) -> tuple[str, ...]:
    """Return a line for each thing of *scenario* without effect that was turned off on purpose.

    source: where the scenario stands. asked: what the command line set, with the option that did.
    A field counts as stated where the command line set it or the file has another value than the
    default. Raise InputError, with a line for each, if something else has no effect.
    """
    asked = in_data(asked)
    faults: list[str] = []
    notices: list[str] = []
    if timed_window(scenario) is not None:
        faults += [
            f"{source}: kpis: {kpi.name}: the times of the trace stand in for traffic.stages, so "
            "there is no stage to judge; name a window of time, such as 60s..120s"
            for kpi in scenario.judged()
            if kpi.metric.part is not None and kpi.metric.part.stage is not None
        ]
    for idle in _idle(scenario, asked):
        is_changed = _is_changed(scenario, idle.place)
        option = _stating(idle.place, asked, is_changed=is_changed)
        if option is None and (idle.is_replaced or not is_changed):
            continue
        is_meant = option is None and idle.switch and _covering(idle.switch, asked) is not None
        line = f"{option or source}: {shown(idle.place)} {idle.text}"
        (notices if is_meant else faults).append(line)
    if faults:
        raise InputError("\n".join(faults))
    return (*notices, *_notices(scenario))


def _stating(place: Place, asked: Mapping[Place, str], *, is_changed: bool) -> str | None:
    """Return the option that stated what stands at *place*.

    One that set a table around it may have left it out: only another value than the default tells.
    """
    for steps, option in asked.items():
        if place == steps[: len(place)] or (is_changed and steps == place[: len(steps)]):
            return option
    return None


def _covering(place: Place, asked: Mapping[Place, str]) -> str | None:
    """Return the option that set *place*, or what holds it, or something in it."""
    for steps, option in asked.items():
        if steps == place[: len(steps)] or place == steps[: len(place)]:
            return option
    return None


def _value(scenario: Scenario, place: Place) -> Any:
    value: Any = scenario
    for step in place:
        if isinstance(value, ByEndpoint) and step in value.by_name:
            value = value.by_name[str(step)]
        else:
            value = value[step] if isinstance(step, int) else getattr(value, step)
    return value


def _is_changed(scenario: Scenario, place: Place) -> bool:
    if any(isinstance(step, int) for step in place):
        return True  # an item of a list that was written
    return bool(_value(scenario, place) != _value(_defaults(scenario.endpoints), place))


def _idle(scenario: Scenario, asked: Mapping[Place, str]) -> Iterator[Idle]:
    yield from _faults(scenario)
    yield from _deployments(scenario)
    yield from _stages(scenario)
    yield from _settings(scenario)
    yield from _targets(scenario)
    yield from _of_traces(scenario)
    curves: list[Place] = [("traffic", name) for name in ("stages", "daily", "rates", "bursts")]
    for place in curves:
        if _covering(place, asked) and timed_window(scenario) is not None:
            yield Idle(
                place=place,
                text="has no effect: the trace has times of its own; scale them with --rate",
            )


def _faults(scenario: Scenario) -> Iterator[Idle]:
    end = scenario.total_time
    for position, fault in enumerate(scenario.faults):
        place: Place = ("faults", position)
        name = f"({fault.name}) cannot strike:"
        if fault.at >= end - GRACE:
            yield Idle(
                place=place,
                text=f"{name} it starts at {fault.at:g} s and the run ends at {end:g} s; let it "
                "start earlier, raise the duration, or leave it out (--set faults=[])",
            )
        elif (reason := _reason(scenario, fault)) is not None:
            yield Idle(place=place, text=f"{name} {reason}")


def _reason(scenario: Scenario, fault: Fault) -> str | None:
    """Return why *fault*, which is in time, changes nothing; None if it does."""
    if reason := fault.kind.idle(fault.value):
        return reason
    if scenario.trace.file is not None:
        return None
    mix = scenario.traffic.mix
    endpoint = fault.asked_of if fault.kind.is_of_traffic else None
    if endpoint is not None and not mix.of(endpoint):
        return f"endpoints.{endpoint}.weight is 0; ask for the endpoint, or leave the fault out"
    if fault.tier == "destination" and not _has_conversions(scenario):
        return "the traffic has no conversions; raise traffic.conversion_share, or leave it out"
    return None


def _deployments(scenario: Scenario) -> Iterator[Idle]:
    end, tiers = scenario.total_time, scenario.tiers
    for position, deployment in enumerate(scenario.deployments):
        place: Place = ("deployments", position)
        if deployment.at >= end - GRACE:
            yield Idle(
                place=place,
                text=f"has no effect: it starts at {deployment.at:g} s and the run ends at "
                f"{end:g} s; let it start earlier, raise the duration, or leave it out "
                "(--set deployments=[])",
            )
        elif tiers.l1.scope == "request" and not tiers.query_cache.ttl:
            yield Idle(
                place=place,
                text='has no effect: with tiers.l1.scope = "request" nothing outlives a request; '
                'set "isolate", or leave it out (--set deployments=[])',
                switch=("tiers", "l1", "scope"),
            )


def _has_conversions(scenario: Scenario) -> bool:
    traffic = scenario.traffic
    return traffic.conversion_share > 0 and (
        scenario.trace.file is not None or traffic.mix.asks(scenario.endpoints.writers)
    )


def _stages(scenario: Scenario) -> Iterator[Idle]:
    stages = scenario.traffic.stages
    before = sum(stage.duration or 0.0 for stage in stages[:-1])
    if len(stages) > 1 and stages[-1].duration is None and before >= scenario.total_time - GRACE:
        yield Idle(
            place=("traffic", "stages", len(stages) - 1),
            text=f"never begins: the stages before it last {before:g} s and the run "
            f"{scenario.total_time:g} s; raise the duration, or leave it out",
        )


_Switch = tuple[Place, Callable[[Scenario], bool], str, tuple[Place, ...]]
_SWITCHES: tuple[_Switch, ...] = (
    (
        ("destination", "url"),
        lambda s: s.destination.url is None,
        "there is no destination.url",
        tuple(
            ("destination", name)
            for name in ("timeout", "batch_size", "max_parallel", "max_attempts", "retry_delay",
                         "latency")
        ),
    ),
    (
        ("destination", "max_attempts"),
        lambda s: s.destination.url is not None and s.destination.max_attempts == 1,
        "destination.max_attempts is 1",
        (("destination", "retry_delay"),),
    ),
    (
        ("queue", "max_attempts"),
        lambda s: s.queue.max_attempts == 1,
        "queue.max_attempts is 1",
        (("queue", "retry_delay"), ("queue", "retry_backoff")),
    ),
    (
        ("traffic", "retries", "attempts"),
        lambda s: not s.traffic.retries.is_on,
        "traffic.retries.attempts is 1",
        tuple(("traffic", "retries", name) for name in ("delay", "backoff", "jitter", "budget")),
    ),
    (
        ("tiers", "query_cache", "ttl"),
        lambda s: not s.tiers.query_cache.ttl,
        "tiers.query_cache.ttl is 0s",
        (("tiers", "query_cache", "max_entries"), ("tiers", "query_cache", "max_bytes")),
    ),
    (
        ("tiers", "l2", "breaker", "failures"),
        lambda s: not s.tiers.l2.breaker.failures,
        "tiers.l2.breaker.failures is 0",
        (("tiers", "l2", "breaker", "open_for"),),
    ),
    (
        ("tiers", "stale_if_error"),
        lambda s: not s.tiers.stale_if_error,
        "tiers.stale_if_error is 0s, so that there is nothing to fall back on",
        (("tiers", "l2", "soft_timeout"),),
    ),
    (
        ("tiers", "stale_if_error"),
        lambda s: not (s.tiers.stale_bound or s.tiers.early_refresh),
        "tiers.stale_if_error, stale_while_revalidate and early_refresh are 0",
        (("tiers", "retry_pause"),),
    ),
    (
        ("tiers", "l3", "replicas", "count"),
        lambda s: not s.tiers.l3.replicas.count,
        "tiers.l3.replicas.count is 0",
        tuple(("tiers", "l3", "replicas", name) for name in ("lag", "sessions")),
    ),
    (
        ("tiers", "l3", "replicas", "sessions"),
        lambda s: s.tiers.l3.replicas.sessions != "primary",
        'tiers.l3.replicas.sessions is not "primary"',
        (("tiers", "l3", "replicas", "session"),),
    ),
    (
        ("kpis",),
        lambda s: all(kpi.name != "peak_memory" for kpi in s.judged()),
        "no KPI judges peak_memory",
        (("topology", "memory_limit"),),
    ),
    (
        ("topology", "eviction"),
        lambda s: not s.topology.eviction.evicts and not s.deployments,
        "nothing ends an isolate: topology.eviction.idle and lifetime are 0s, and there is no "
        "deployment",
        (("topology", "eviction", "cold_start"),),
    ),
    (
        ("traffic", "popularity", "law"),
        lambda s: s.traffic.popularity.law == "uniform",
        'traffic.popularity.law is "uniform"',
        (("traffic", "popularity", "exponent"),),
    ),
    (
        ("traffic", "mix", "track"),
        lambda s: s.trace.file is None and not s.traffic.mix.asks(s.endpoints.writers),
        "endpoints.track.weight is 0",
        (("traffic", "conversion_share"),),
    ),
)  # fmt: skip
"""Fields that others depend on: which, when they are off, in words, and what then does nothing."""


def _settings(scenario: Scenario) -> Iterator[Idle]:
    for switch, is_off, words, places in _SWITCHES:
        if is_off(scenario):
            # A URL of "none" in the file says so, too.
            is_said = switch == ("destination", "url") and (
                "url" in scenario.destination.model_fields_set
            )
            for place in places:
                yield Idle(
                    place=place,
                    text=f"has no effect: {words}; set that, or leave {place[-1]} out",
                    switch=switch,
                    is_replaced=is_said,
                )

    regions, replicas = len(scenario.regions), scenario.tiers.l3.replicas.count
    if 0 < regions < replicas:
        yield Idle(
            place=("tiers", "l3", "replicas", "count"),
            text=f"is {replicas} for {count_of(regions, 'region')}, with one replica each at most; "
            f"give {regions} or fewer",
        )
    yield Idle(
        place=("tiers", "l2", "ttl", "default"),
        text="has no effect: every cache type has a ttl of its own; set those, or leave it out",
    )


def _targets(scenario: Scenario) -> Iterator[Idle]:
    for endpoint in scenario.endpoints.names:
        if scenario.trace.file is None and not scenario.traffic.mix.of(endpoint):
            yield Idle(
                place=("targets", endpoint),
                text=f"has no effect: endpoints.{endpoint}.weight is 0; ask for the endpoint, or "
                "leave it out",
                switch=("traffic", "mix", endpoint),
                is_replaced=True,  # the weight stands in the same table of the file
            )


def _of_traces(scenario: Scenario) -> Iterator[Idle]:
    if scenario.trace.file is None:
        for name in (
            "offset",
            "limit",
            "speed",
            "time_unit",
            "format",
            "columns",
            "writes",
            "default",
            "types",
        ):
            # A file may say how traces are read that --trace names.
            yield Idle(
                place=("trace", name),
                text="needs a trace; give --trace FILE",
                switch=("trace", "file"),
                is_replaced=True,
            )
        return
    yield Idle(
        place=("traffic", "sessions"),
        text="has no effect: a trace has its own requests; leave it or the trace out",
    )
    weights: list[Place] = [("traffic", "mix", name) for name in scenario.endpoints.names]
    drawn: list[Place] = [("traffic", name) for name in ("popularity", "users", "conversions")]
    for place in (*weights, *drawn):
        yield Idle(
            place=place,
            text="has no effect: the trace's accesses stand in for it; leave it or the trace out",
            is_replaced=True,
        )
    keyed = scenario.endpoints.keyed
    for endpoint in scenario.endpoints.names:
        if endpoint not in keyed:
            yield Idle(
                place=("targets", endpoint),
                text=f"has no effect: a trace asks for {listed(keyed, 'and')} only; leave it out",
                is_replaced=True,
            )


def _notices(scenario: Scenario) -> Iterator[str]:
    """Yield what is no fault and has less effect than one may think."""
    for position, fault in enumerate(scenario.faults):
        if fault.at + fault.for_ <= scenario.warm_up + GRACE:
            yield (
                f"faults[{position}] ({fault.name}) ends within the warm-up of "
                f"{scenario.warm_up:g} s: only what it leaves behind is judged"
            )
    for position, deployment in enumerate(scenario.deployments):
        if deployment.end <= scenario.warm_up + GRACE:
            yield (
                f"deployments[{position}] ends within the warm-up of {scenario.warm_up:g} s: only "
                "what it leaves behind is judged"
            )
        elif deployment.at < scenario.total_time <= deployment.end:
            yield (
                f"deployments[{position}] goes on until {deployment.end:g} s and the run ends at "
                f"{scenario.total_time:g} s: the isolates behind that are not replaced"
            )
    if scenario.trace.file is not None:
        return
    for kpi in scenario.judged():
        series = kpi.metric.series
        if series in scenario.endpoints and not scenario.traffic.mix.of(series):
            yield f"{kpi.name} cannot be measured: endpoints.{series}.weight is 0"
        elif series == "queue" and not _has_conversions(scenario):
            yield f"{kpi.name} cannot be measured: the traffic has no conversions"

"""Random scenarios that both engines run, and what differs between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from core.distributions import Distribution, constant, exponential
from core.scenario.calibration import DEPTHS, Calibration
from core.scenario.file import parse_scenario
from core.scenario.idling import Idling
from core.scenario.outside import Learned
from core.scenario.replay import Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState, warm_state
from sim.compiled.replication import CompiledReplication
from sim.growth import Saturated
from sim.model import Played, Replication, ReplicationOutcome, SeededDatabase
from sim.replications import record_of

STEP_NS = 125_000_000
"""Arrivals on a coarse grid are multiples of 1/8 s, as are all times of such a scenario."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A scenario of a few seconds, and what it is simulated with.

    is_coarse: whether its times lie on the coarse grid. ahead: seconds for which it is played, by
    other requests, before the run.
    """

    scenario: Scenario
    is_coarse: bool
    calibration: Calibration | None = None
    ahead: float = 0.0


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a case."""
    is_coarse = draw(st.booleans())
    scenario = draw(scenarios(is_coarse))
    learned = draw(calibrations(is_coarse)) if draw(st.integers(0, 3)) == 0 else None
    ahead = draw(st.sampled_from((0.0, 0.0, 0.0, 8.0, 9.5)))
    return Case(scenario=scenario, is_coarse=is_coarse, calibration=learned, ahead=ahead)


@st.composite
def calibrations(draw: st.DrawFn, is_coarse: bool) -> Calibration:
    """Draw what was learned of a service."""
    often = st.sampled_from

    def times() -> Learned:
        eighths = draw(st.integers(0, 3)) / 8
        of: Distribution = constant(eighths)
        if not is_coarse:
            of = exponential(draw(st.floats(1e-3, 0.2)))
        return Learned(times=of, samples=1_000)

    def some(names: tuple[str, ...]) -> list[str]:
        return [name for name in names if draw(st.booleans())]

    endpoints = ("track", "attribution", "journey", "channels")
    return Calibration(
        cpu_scale=draw(often((1.0, 1.0, 2.0))),
        between={
            name: {depth: times() for depth in ("l1", *some(DEPTHS[1:]))}
            for name in some(endpoints)
        },
        idling=draw(often((Idling(), Idling(after=(0.125, 1.0), longer=(0.125, 0.5))))),
        tiers={name: times() for name in some(("l2.read", "l2.write", "l3.round_trip"))},
        concurrency=draw(often((None, None, 2))),
        ttls=dict.fromkeys(some(("lookup_data", "user_journeys")), 1.5),
        unread=draw(often(({}, {}, {"track": ("config", "lookup")}))),
        requests=1_000,
    )


def _stages(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw the arrival rate: constant, a ramp, or steps."""
    rate = st.sampled_from((3.0, 12.0, 24.0))
    kind = draw(st.sampled_from(("constant", "constant", "ramp", "steps")))
    first: dict[str, Any] = {"rate": draw(rate)}
    if kind == "constant":
        return [first]
    first["duration"] = draw(st.sampled_from(("2s", "8s")))
    if kind == "ramp":
        first["ramp_to"] = draw(st.sampled_from((0.0, 30.0)))
    return [first, {"rate": draw(rate)}]


def _curve(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the traffic's curve: stages, a sine or a table, and perhaps bursts."""
    kind = draw(st.sampled_from(("stages", "stages", "stages", "daily", "rates")))
    curve: dict[str, Any] = {"stages": _stages(draw)} if kind == "stages" else {}
    if kind == "daily":
        peak = draw(st.sampled_from(("0s", "5s")))
        curve["daily"] = {"mean": 12.0, "ratio": 4.0, "period": "7s", "peak": peak}
    if kind == "rates":
        rows = [(0.0, 24.0), (3.0, draw(st.sampled_from((0.0, 12.0)))), (60.0, 18.0)]
        curve["rates"] = {"rows": rows, "between": draw(st.sampled_from(("lines", "steps")))}
    if draw(st.integers(0, 3)) == 0:
        curve["bursts"] = {"rates": [0.2, 3.0, 1.0], "sojourns": ["2s", "500ms", "1s"]}
    return curve


@st.composite
def scenarios(draw: st.DrawFn, is_coarse: bool) -> Scenario:
    """Draw a scenario of a few seconds."""
    often = st.sampled_from

    def latency(low: int, high: int) -> Any:
        if is_coarse:
            first = draw(st.integers(low, high)) / 8
            return f"{first}s"
        kind = draw(st.integers(0, 2))
        middle = draw(st.floats(low / 64 + 1e-4, high / 32 + 1e-3))
        if kind == 0:
            return f"{middle}s"
        if kind == 1:
            return {"distribution": "exponential", "mean": f"{middle}s"}
        return {"p50": f"{middle}s", "p99": f"{3 * middle}s"}

    def time(low: int, high: int) -> str:
        if is_coarse:
            return f"{draw(st.integers(low, high)) / 8}s"
        return f"{draw(st.floats(low / 8, high / 8)) + 1e-3}s"

    cpu = f"{draw(often((0, 0, 1))) / 8}s" if is_coarse else f"{draw(often((0, 3e-4, 4e-3))):f}s"
    store_cpu = f"{draw(often((0, 0, 1))) / 8}s" if is_coarse else f"{draw(often((0, 2e-4))):f}s"
    names = ("track", "attribution", "journey", "channels")
    is_edge = draw(often((False, False, False, True)))
    keeps = draw(st.booleans())
    sie = time(1, 24) if keeps and draw(st.booleans()) else "0s"
    tiers: dict[str, Any] = {
        "single_flight": draw(often((True, True, False))),
        "query_cache": {
            "ttl": time(1, 32) if draw(often((False, False, True))) else "0s",
            "max_entries": draw(often((2, 20, 10_000))),
            "max_bytes": draw(often(("3kB", "8MB"))),
        },
        "tags": draw(often((False, False, True))),
        "ttl_jitter": draw(often((0.0, 0.0, 0.25))),
        "stale_while_revalidate": time(1, 24) if keeps and draw(st.booleans()) else "0s",
        "stale_if_error": sie,
        "early_refresh": draw(often((0.0, 0.5, 1.0))) if keeps else 0.0,
        "retry_pause": time(1, 8),
        "l1": {
            "scope": draw(often(("isolate", "isolate", "isolate", "request"))),
            "max_entries": draw(often((2, 5, 20, 10_000))),
            "max_bytes": draw(often(("16MB", "16MB", "6kB", "2kB"))),
            "ttl": time(1, 24),
        },
        "l2": {
            "read": latency(0, 2), "cold_read": latency(0, 4), "write": latency(0, 4),
            "cache_ttl": "30s" if is_edge else time(0, 24),
            "put": draw(often(("background", "background", "await"))),
            "consistency": "eventual" if is_edge else "strong",
            "min_ttl": "clamp",
            "timeout": time(2, 8),
            "soft_timeout": time(1, 2) if sie != "0s" and draw(st.booleans()) else "0s",
            "breaker": {"failures": draw(often((0, 1, 3))), "open_for": time(1, 8)},
            "ttl": {
                name: time(1, 40)
                for name in (
                    "attribution", "channel_metrics", "user_journeys", "security_config",
                    "lookup_data",
                )
            },
        },
        "l3": {
            "round_trip": latency(0, 3), "read_execution": latency(0, 1),
            "write_execution": latency(0, 1), "concurrency": draw(often((1, 1, 2))),
            "write_share": draw(often(("0s", "0.125s" if is_coarse else "30us"))),
            "timeout": draw(often(("1000s", "1000s", "0.75s"))),
        },
    }  # fmt: skip
    if tiers["l1"]["max_bytes"] != "16MB" or tiers["l1"]["max_entries"] == 2:
        tiers["l1"]["scope"] = "isolate"
    faults = []
    url = draw(often(("none", "local")))
    for tier in ("l2", "l3", *(("destination",) if url == "local" else ())):
        # Of deliveries, and of loads that an older value could answer, there are few: most
        # destinations fail for a while, and most databases behind such values.
        is_rare = tier == "destination" or (tier == "l3" and sie != "0s")
        if draw(often((False, is_rare, True))):
            kind = draw(often(("slow", "error", "dead")))
            value = {"slow": 3.0, "error": 0.5, "dead": 1.0}[kind]
            fault = {"at": time(0, 40), "for": time(4, 40), "tier": tier, "kind": kind}
            faults.append(fault | ({} if kind == "dead" else {"value": value}))
    if draw(often((False, False, False, True))):
        faults.append(
            {"at": "1s", "for": "4s", "kind": "hot_key", "endpoint": "attribution", "value": 0.8}
        )
    data = {
        "name": "twins",
        "seed": draw(st.integers(0, 2**32)),
        "duration": "8s",
        "warm_up": draw(often(("0s", "1s"))),
        "start": draw(often(("warm", "cold"))),
        "timeout": draw(often(("10s", "0.5s"))),
        "traffic": {
            **_curve(draw),
            "users": draw(often((1, 4, 30))), "conversions": draw(often((1, 7, 20))),
            "sites": draw(often((1, 3))), "channels": draw(often((1, 3, 8))),
            "touches_per_user": draw(often((1, 5))),
            "conversion_share": draw(often((0.06, 0.5, 1.0))),
        },
        "topology": {
            "points_of_presence": draw(often((1, 1, 2))), "processes": draw(often((1, 1, 2))),
            "isolates": draw(often((1, 2, 4))),
            "cpu": dict.fromkeys(names, cpu)
            | {"per_l2_operation": store_cpu, "per_l3_operation": store_cpu},
        },
        "tiers": tiers,
        "queue": {
            "batch_size": draw(often((1, 3, 50))), "max_parallel": draw(often((1, 2))),
            "wait": time(0, 16), "max_attempts": draw(often((1, 3))), "retry_delay": time(0, 8),
        },
        "destination": {
            "url": url, "latency": latency(0, 8),
            "timeout": draw(often(("200s", "0.5s"))),
            "batch_size": draw(often((1, 2, 5, 50))), "max_parallel": draw(often((1, 2))),
            "max_attempts": draw(often((1, 3, 12))), "retry_delay": time(0, 8),
        },
        "attribution": {
            "refresh": time(1, 24), "own_event": draw(often((False, False, True))),
            "fit_every": draw(often((0, 1000))),
        },
        "endpoints": {
            name: {"weight": draw(often((0.0, 0.2, 1.0))) if name != "journey" else 0.3}
            for name in names
        },
        "faults": faults,
    }  # fmt: skip
    if is_coarse and draw(st.booleans()):
        data["network"] = {"round_trip": "0.125s"}
    return parse_scenario(data, source="test")


def on_grid(prepared: Prepared) -> Prepared:
    """Return *prepared* with arrivals on the coarse grid, in their order."""
    workload = prepared.workload
    rounded = workload.intended_ns // STEP_NS * STEP_NS
    return replace(prepared, workload=replace(workload, intended_ns=rounded))


def both(
    scenario: Scenario,
    *,
    is_coarse: bool = False,
    replication: int = 0,
    calibration: Calibration | None = None,
    ahead: float = 0.0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what each engine finds: the record's data and what else an outcome has."""
    prepared = prepare(scenario, replication=replication)
    before = prepare(scenario, replication=replication + 1)
    if is_coarse:
        prepared, before = on_grid(prepared), on_grid(before)
    played = Played(workload=before.workload, ahead=ahead) if ahead else None
    if not len(prepared.workload):
        return {}, {}
    seeded = SeededDatabase(scenario, prepared, replication)
    warm = warm_state(scenario, prepared, replication=replication)
    expected, found = (
        _outcome(engine, scenario, prepared, warm, seeded, replication, calibration, played)
        for engine in (Replication, CompiledReplication)
    )
    return expected, found


def _outcome(
    engine: Any,
    scenario: Scenario,
    prepared: Prepared,
    warm: WarmState,
    seeded: SeededDatabase,
    replication: int,
    calibration: Calibration | None,
    played: Played | None,
) -> dict[str, Any]:
    # Half of them end early where a queue only grows.
    run = engine(
        scenario, prepared, warm, seeded,
        replication=replication, calibration=calibration, played=played,
        ends_early=scenario.seed % 2 == 0,
    )  # fmt: skip
    try:
        return told(scenario, prepared, run.run(), calibration)
    except Saturated as reason:
        return {"saturated": (reason.at, repr(reason.loads))}
    finally:
        if isinstance(run, Replication):
            run.loop.close()


def both_of(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what each engine finds of *case*."""
    return both(
        case.scenario, is_coarse=case.is_coarse, calibration=case.calibration, ahead=case.ahead
    )


def told(
    scenario: Scenario,
    prepared: Prepared,
    outcome: ReplicationOutcome,
    calibration: Calibration | None,
) -> dict[str, Any]:
    """Return everything of an outcome that can be compared, exactly."""
    requests = outcome.requests
    record = record_of(scenario, prepared, outcome, (), calibration).to_json()
    return {
        **{name: json.dumps(value) for name, value in record.items()},
        "latency of every request": [value.hex() for value in requests.latency.tolist()],
        "tier of every read": requests.reads.tolist(),
        "loads of the servers": repr(outcome.loads),
        "growth of memory": outcome.memory_growth.hex(),
    }


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs."""
    return [n for n in {**expected, **found} if expected.get(n) != found.get(n)]

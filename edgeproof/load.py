"""edgeproof load: measure every KPI of a deployed service."""

from __future__ import annotations

from time import monotonic

from core.errors import InputError
from core.scenario.replay import prepare_measured
from edgeproof.asked import asked
from edgeproof.ci import GithubOption, QualityOption
from edgeproof.finish import finish
from edgeproof.loading import bounds, check_allowed, check_load, drive, keep
from edgeproof.notices import tell_strict
from edgeproof.options import (
    AllowOption,
    ConnectionsOption,
    HostOption,
    JsonOption,
    MaxDurationOption,
    MaxRateOption,
    OutOption,
    PlainGateOption,
    PlainOption,
    RateOption,
    RequireOption,
    ScenarioArgument,
    SeedOption,
    SetOption,
    StrictOption,
    TimeUnitOption,
    TraceLimitOption,
    TraceOffsetOption,
    TraceOption,
    chosen_scenario,
    judging,
    tell_notes,
)
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, write_json
from scenarios.hosts import MAX_RATE, check_reachable, checked_hosts


def command(
    scenario: ScenarioArgument,
    host: HostOption = None,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    time_unit: TimeUnitOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
    allow: AllowOption = None,
    max_rate: MaxRateOption = MAX_RATE,
    max_duration: MaxDurationOption = "1h",
    connections: ConnectionsOption = None,
    out: OutOption = None,
    gate: PlainGateOption = "target",
    require: RequireOption = None,
    strict: StrictOption = False,
    plain: PlainOption = False,
    json: JsonOption = False,
    github: GithubOption = None,
    code_quality: QualityOption = None,
) -> int:
    """Send SCENARIO's requests to a running service and measure every KPI that it shows.

    Arrivals do not wait for answers, and latency counts from when a request should have been sent.
    A service that sends Cache-Status and Server-Timing is measured from inside, any other from
    outside. Set EDGEPROOF_TOKEN to the service's token for a clean start.

    Example: edgeproof load baseline --host http://127.0.0.1:8787
    """
    options = judging(
        gate, require, strict=strict, plain=plain, as_json=json,
        github=github, code_quality=code_quality,
    )  # fmt: skip
    tell_strict(strict=strict)
    limits = bounds(allow, max_rate, max_duration, connections)
    chosen = chosen_scenario(
        scenario, command="load", overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
    )  # fmt: skip
    if not host:
        raise InputError(
            "--host is missing; name the service, e.g. --host http://127.0.0.1:8787 "
            f"(`edgeproof serve {scenario}` starts one)"
        )
    check_allowed(allow, host)
    check_reachable(checked_hosts(host, allowed=limits.allowed))
    options.check(chosen)
    workload = prepare_measured(chosen).workload
    tell_notes(workload)
    check_load(chosen, workload, host, limits)
    told = asked(chosen, scenario, workload=workload, hosts=host)
    folder = new_folder(out, chosen.name)
    started = monotonic()
    display = Display(plain=plain, quiet=json)
    with display.open():
        result = drive(
            chosen, workload, host, folder / "load", phase="loading", limits=limits, display=display
        )
    record = keep(chosen, workload, result, folder, clean=False)
    facts = run_facts("load", {"load": monotonic() - started}, asked=told)
    write_json(folder / "run.json", facts)
    code = finish(
        folder,
        options,
        title=f"{chosen.name}: measured",
        kpis=chosen.judged(),
        measured=record,
        facts=facts,
    )
    return 130 if result.interrupted else code

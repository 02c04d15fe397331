"""edgeproof load: measure every KPI of a deployed service."""

from __future__ import annotations

from time import monotonic

import typer

from core.errors import InputError
from core.metrics.record import RunRecord, write_record
from core.scenario.replay import prepare, prepare_measured
from edgeproof.access import (
    CaOption,
    CertKeyOption,
    CertOption,
    InsecureOption,
    KeepGoingOption,
    PreflightOption,
    RefreshOption,
    ResolveOption,
    TokenOption,
    access_of,
    refresh_seconds,
)
from edgeproof.asked import asked
from edgeproof.ci import GithubOption, QualityOption
from edgeproof.finish import finish
from edgeproof.live_capacity import STEP, check_search, checked
from edgeproof.live_capacity import find_capacity as searched
from edgeproof.load_metrics import MetricsPortOption, check_metrics_port, told_at
from edgeproof.loading import (
    bounds,
    check_allowed,
    check_hosts,
    check_load,
    drive,
    keep,
    was_interrupted,
)
from edgeproof.notices import notice, tell_life, tell_strict
from edgeproof.options import (
    AllowOption,
    ColumnsOption,
    ConnectionsOption,
    FindCapacityOption,
    FormatOption,
    HostOption,
    JsonOption,
    KpiOption,
    MaxDurationOption,
    MaxRateOption,
    OptionalScenario,
    OutOption,
    PlainGateOption,
    PlainOption,
    PricesOption,
    RateOption,
    RepeatOption,
    RequireOption,
    SeedOption,
    SetOption,
    StepOption,
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
from edgeproof.repeats import check_repeats, combined, repeated, workload_note
from edgeproof.runs import new_folder, run_facts, write_json
from edgeproof.sharing import (
    BindOption,
    ExpectOption,
    MasterOption,
    PortOption,
    ProcessesOption,
    WorkerOption,
    fleet_of,
    take_part,
    tell_place,
)
from reports.words import side_title
from scenarios.hosts import MAX_RATE


def command(
    context: typer.Context,
    scenario: OptionalScenario = None,
    host: HostOption = None,
    trace: TraceOption = None,
    trace_offset: TraceOffsetOption = None,
    trace_limit: TraceLimitOption = None,
    time_unit: TimeUnitOption = None,
    format_: FormatOption = None,
    columns: ColumnsOption = None,
    seed: SeedOption = None,
    rate: RateOption = None,
    set_: SetOption = None,
    prices: PricesOption = None,
    kpi: KpiOption = None,
    allow: AllowOption = None,
    max_rate: MaxRateOption = MAX_RATE,
    max_duration: MaxDurationOption = "1h",
    repeat: RepeatOption = 1,
    find_capacity: FindCapacityOption = False,
    step: StepOption = None,
    ca: CaOption = None,
    insecure: InsecureOption = False,
    cert: CertOption = None,
    cert_key: CertKeyOption = None,
    resolve: ResolveOption = None,
    token_command: TokenOption = None,
    token_refresh: RefreshOption = None,
    no_preflight: PreflightOption = False,
    keep_going: KeepGoingOption = False,
    connections: ConnectionsOption = None,
    processes: ProcessesOption = None,
    master: MasterOption = False,
    bind: BindOption = None,
    port: PortOption = None,
    expect_workers: ExpectOption = None,
    worker: WorkerOption = None,
    metrics_port: MetricsPortOption = None,
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
    outside. Set EDGEPROOF_TOKEN to the service's token for a clean start. Ctrl-C keeps what was
    measured; with --repeat the runs that were finished.

    --find-capacity looks for the highest rate at which every KPI holds: it doubles the rate until
    one breaks or the requests in flight grow, bisects, and holds the highest with three loads.
    --rate is where it begins, --max-rate where it ends, --max-duration bounds all loads together.
    Its exit code is 0 if some rate holds, 1 if none does.

    --processes shares the load among processes of this machine. --master shares it among workers
    on other machines, each started with `edgeproof load --worker HOST`; headers take their secrets
    from each worker's own environment. A worker that is lost makes the run INVALID.

    Example: edgeproof load baseline --host http://127.0.0.1:8787
    """
    if worker is not None:
        return take_part(
            context, worker, processes=processes, token_command=token_command,
            every=refresh_seconds(token_refresh), plain=plain,
        )  # fmt: skip
    if scenario is None:
        raise InputError(
            "SCENARIO is missing; name a scenario file, or one that comes with edgeproof, such as "
            "baseline"
        )
    options = judging(
        gate, require, strict=strict, plain=plain, as_json=json,
        github=github, code_quality=code_quality,
    )  # fmt: skip
    check_search(
        find_capacity,
        {
            "--gate": gate != "target", "--require": bool(require), "--strict": strict,
            "--repeat": repeat > 1,
        },
        step,
    )  # fmt: skip
    fleet = fleet_of(
        processes=processes, master=master, bind=bind, port=port, expect_workers=expect_workers,
        connections=connections,
        several={"--repeat": repeat > 1, "--find-capacity": find_capacity},
    )  # fmt: skip
    tell_strict(strict=strict and repeat == 1)
    limits = bounds(allow, max_rate, max_duration, connections)
    chosen = chosen_scenario(
        scenario, command="load", overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
        format_=format_, columns=columns, kpis=kpi, prices=prices,
    )  # fmt: skip
    if find_capacity:
        checked(chosen, step or STEP)
    if not host:
        raise InputError(
            "--host is missing; name the service, e.g. --host http://127.0.0.1:8787 "
            f"(`edgeproof serve {scenario}` starts one)"
        )
    check_allowed(allow, host)
    access = access_of(
        chosen, host or (), ca=ca, insecure=insecure, cert=cert, cert_key=cert_key,
        resolve=resolve, token_command=token_command, token_refresh=token_refresh,
        no_preflight=no_preflight, keep_going=keep_going,
    )  # fmt: skip
    check_hosts(host, limits, access)
    check_metrics_port(metrics_port)
    tell_life(chosen)
    options = options.checked(chosen)
    if find_capacity:
        told = asked(chosen, scenario, hosts=host)
        with told_at(metrics_port, chosen.name) as metrics:
            return searched(
                chosen, host, step=step or STEP, out=out, limits=limits, options=options,
                told=told, access=access, fleet=fleet, metrics=metrics,
            )  # fmt: skip
    workloads = [prepare_measured(chosen).workload]
    workloads += [prepare(chosen, replication=number).workload for number in range(1, repeat)]
    tell_notes(workloads[0])
    if same := workload_note(workloads):
        notice(f"--repeat {repeat}: {same}")
    for workload in workloads:
        check_load(chosen, workload, host, limits, access)
    check_repeats(chosen, repeat, limits)
    told = asked(chosen, scenario, workload=workloads[0], hosts=host)
    if fleet is not None and not fleet.are_local:
        tell_place(fleet, host)
    folder = new_folder(out, chosen.name)
    started = monotonic()
    display = Display(plain=plain, quiet=json)
    run_ids: list[str] = []

    def load(position: int) -> tuple[RunRecord, bool]:
        place, phase = folder, "loading"
        if repeat > 1:
            place = folder / f"run-{position + 1}"
            phase = f"run {position + 1} of {repeat}"
        result = drive(
            chosen, workloads[position], host, place / "load", phase=phase, limits=limits,
            display=display, access=access.of_load(position), replication=position,
            fleet=fleet, metrics=metrics,
        )  # fmt: skip
        run_ids.append(str(result.audit["run_id"]))
        record = keep(chosen, workloads[position], result, place, clean=False)
        return record, was_interrupted(result)

    with told_at(metrics_port, chosen.name) as metrics, display.open():
        repeats = repeated(repeat, load, folder=folder)
    record = repeats.records[0]
    if repeat > 1:
        record = combined(chosen, repeats, number=repeat)
        write_record(record, folder / "record.json")
    facts = run_facts("load", {"load": monotonic() - started}, asked=told, run_ids=run_ids)
    write_json(folder / "run.json", facts)
    code = finish(
        folder,
        options,
        title=f"{chosen.name}: {side_title(record)}",
        kpis=chosen.judged(),
        measured=record,
        facts=facts,
    )
    return 130 if repeats.interrupted is not None else code

"""edgeproof prove: predict and measure the same requests, and show how far apart the two are."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from core.endpoints import CDP
from core.errors import EdgeproofError, InputError, InvalidRun
from core.metrics.closeness import relative_error, side, side_within
from core.metrics.kpi import Metric, parse_metric
from core.metrics.record import Requests, RunRecord
from core.metrics.run_ends import run_ends
from core.metrics.verdict import incomparable
from core.scenario.calibration import Calibration
from core.scenario.replay import Prepared, prepare_measured, reads_only
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from core.service.fake_redis import STATED_LIMIT
from core.service.launcher import check_served, running_service
from core.units import format_duration
from core.wire import TOKEN_VARIABLE
from edgeproof.access import (
    Access,
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
)
from edgeproof.asked import asked
from edgeproof.ci import GithubOption, QualityOption
from edgeproof.finish import finish
from edgeproof.learning import (
    CALIBRATION_FILE,
    CalibrationOption,
    Taught,
    calibration_bounds,
    chosen_calibration,
    lines,
    teach,
    write_calibration,
)
from edgeproof.loading import (
    Bounds,
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
    FormatOption,
    GateOption,
    HostOption,
    JsonOption,
    KpiOption,
    MaxDurationOption,
    MaxRateOption,
    OnOption,
    OutOption,
    PlainOption,
    PricesOption,
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
from edgeproof.runs import new_folder, run_facts, write_json, write_run
from edgeproof.told_reads import with_told_reads
from edgeproof.workerd.adapted import check_runtime, on_workerd, ran_on, to_learn
from edgeproof.workerd.launcher import running_on_workerd
from scenarios.calibrate import RATE, NotCalibrated, calibrate, calibration_workload
from scenarios.hosts import MAX_RATE, peak_rate
from scenarios.lateness import lag_of
from scenarios.learning import FEWEST
from scenarios.node import find_node
from scenarios.result import LoadResult
from scenarios.sent_ahead import PREFLIGHT_SECONDS, preflight_requests, with_preflight
from sim.model import Played
from sim.replications import not_stated
from sim.simulate import simulate

SPEED_TOLERANCE = 0.05
BUSY_LAG, BUSIER = 1e-3, 1.5
"""Seconds of lag, and how many times the other's, from which a machine was busier."""

_PREPARING = 1.5
"""Seconds that a load generator takes to start, by which a run begins after it was asked for."""

_SAME_PAUSE = 0.5
_MODEL_ENDPOINTS = ("track", "attribution")
"""Of the CDP's endpoints those that the verdict on the model looks at; the others are rare."""


PAIRED = 5
MOST_PAIRED = 300_000
"""Further predicted runs of the measured requests, for the interval of the error; and how many
requests they have together at most."""


def command(
    scenario: ScenarioArgument,
    host: HostOption = None,
    on: OnOption = None,
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
    calibration: CalibrationOption = None,
    calibrates: Annotated[
        bool,
        typer.Option(
            "--calibrate/--no-calibrate",
            rich_help_panel="Load",
            help="Learn the service first, at a fifth of the rate for a minute at most.",
        ),
    ] = True,
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
    out: OutOption = None,
    gate: GateOption = "target",
    require: RequireOption = None,
    strict: StrictOption = False,
    plain: PlainOption = False,
    json: JsonOption = False,
    github: GithubOption = None,
    code_quality: QualityOption = None,
) -> int:
    """Predict SCENARIO, measure it, and show side by side how far apart the two are.

    It calibrates at a low rate, predicts, and then replays the same arrivals, endpoints, subjects
    and isolates: without --host at a reference service in processes of its own (calibrated at 120
    requests/s for 12 s at most). With --host, or --on workerd, it learns the service's times first,
    at 20 % of the scenario's rate for 60 s at most. The exit code is that of the measurement;
    --gate model makes the prediction's error count too.

    Example: edgeproof prove baseline
    """
    options = judging(
        gate, require, strict=strict, plain=plain, as_json=json, has_model=True,
        github=github, code_quality=code_quality,
    )  # fmt: skip
    tell_strict(strict=strict)
    is_worker = check_runtime(on)
    if is_worker and host:
        raise InputError("--host and --on contradict each other: give one")
    limits = bounds(allow, max_rate, max_duration, connections)
    check_allowed(allow, host or [])
    chosen = chosen_scenario(
        scenario, command="prove", overrides=set_, seed=seed, rate=rate, trace=trace,
        trace_offset=trace_offset, trace_limit=trace_limit, time_unit=time_unit,
        format_=format_, columns=columns, kpis=kpi, prices=prices,
    )  # fmt: skip
    access = access_of(
        chosen, host or (), ca=ca, insecure=insecure, cert=cert, cert_key=cert_key,
        resolve=resolve, token_command=token_command, token_refresh=token_refresh,
        no_preflight=no_preflight, keep_going=keep_going,
    )  # fmt: skip
    if host:
        check_hosts(host, limits, access)
        tell_life(chosen)
    else:
        check_served(chosen)
    notes = []
    if is_worker:
        notes = [ran_on(find_node())]
        chosen = on_workerd(chosen)
    options = options.checked(chosen)
    if calibration is not None and not calibrates:
        raise InputError("--no-calibrate and --calibration contradict each other; give one")
    known = chosen_calibration(calibration, chosen)
    if not (host or is_worker) or known is not None or not calibrates:
        not_stated(chosen, known)
    prepared = prepare_measured(chosen)
    if prepared.has_effects:
        chosen = reads_only(chosen)
        prepared = prepare_measured(chosen)
        notice("the sets, deletes and TTLs of the trace are left out: a load cannot send them")
    tell_notes(prepared.workload)
    check_load(chosen, prepared.workload, host or [], limits, access)
    told = asked(chosen, scenario, workload=prepared.workload, hosts=host or ())
    folder = new_folder(out, chosen.name)
    display = Display(plain=plain, quiet=json)
    proof = Proof(
        scenario=chosen, prepared=prepared, hosts=host or [], folder=folder, limits=limits,
        display=display, access=access, calibration=known,
        calibrates=calibrates and known is None, on_workerd=is_worker, notes=notes,
    )  # fmt: skip
    with display.open():
        predicted, measured = proof.run()
    facts = run_facts("prove", proof.seconds, asked=told, notes=proof.notes, run_ids=proof.run_ids)
    write_json(folder / "run.json", facts)
    if measured is None:
        code = finish(
            folder, options, title=f"{chosen.name}: predicted, not measured",
            kpis=chosen.judged(), predicted=predicted, facts=facts,
            notes=("The measurement was interrupted before it began.",),
        )  # fmt: skip
        return 130 if proof.interrupted else code
    verdict, holds = model_verdict(predicted, measured)
    code = finish(
        folder,
        options,
        title=f"{chosen.name}: predicted and measured",
        kpis=chosen.judged(),
        predicted=predicted,
        measured=measured,
        model_verdict=verdict,
        model_holds=holds,
        facts=facts,
        notes=proof.notes,
        lines=[*not_stated(chosen, proof.calibration), *proof.notes, *request_lines(measured)],
    )
    return 130 if proof.interrupted else code


@dataclass(slots=True, kw_only=True)
class Proof:
    """The phases of one proof and what they leave behind."""

    scenario: Scenario
    prepared: Prepared
    hosts: list[str]
    folder: Path
    limits: Bounds
    display: Display
    access: Access
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    calibration: Calibration | None = None
    calibrates: bool = True
    taught: Taught | None = None
    taught_at: float = 0.0
    is_cold: bool = False
    on_workerd: bool = False
    played: Played | None = None
    requests: Requests | None = None
    interrupted: bool = False
    run_ids: list[str] = field(default_factory=list)

    @property
    def _is_ours(self) -> bool:
        """Whether it is the reference service, of which nothing but the CPU has to be learned."""
        return not self.hosts and not self.on_workerd

    @property
    def _access(self) -> Access:
        return self.access.of_load(len(self.run_ids))

    def run(self) -> tuple[RunRecord, RunRecord | None]:
        """Calibrate, predict and measure; return the two records."""
        self._calibrate()
        predicted = self._predict()
        workload = self.prepared.workload
        try:
            begun = monotonic()
            with self._timed("measure"), self._service() as urls:
                result = drive(
                    self.scenario, workload, urls, self.folder / "load", phase="measuring",
                    limits=self.limits, display=self.display, access=self._access,
                )  # fmt: skip
        except KeyboardInterrupt:  # before the load began: the prediction is done
            self.interrupted = True
            return predicted, None
        self.interrupted = was_interrupted(result)
        self.run_ids.append(str(result.audit["run_id"]))
        measured = keep(
            self.scenario, workload, result, self.folder / "measured", clean=self._is_ours
        )
        self._note_the_load_on_the_shared_l2(measured)
        if not result.interrupted:
            self._note_another_machine(result)
            predicted = self._follow_the_machine(predicted, measured)
            if not self._is_ours and not _is_clean(result):
                predicted = self._follow_the_start(predicted, result, begun)
        return self._with_the_reads_of(measured, predicted), measured

    def _with_the_reads_of(self, measured: RunRecord, predicted: RunRecord) -> RunRecord:
        """Return *predicted* with the cache reads that the service tells of, and say which not."""
        if self.requests is None:
            return predicted
        found = with_told_reads(predicted, self.requests, measured)
        self.notes += found.notes
        if found.record is not predicted:
            write_run(self.folder / "predicted", found.record, found.requests)
        return found.record

    def _note_the_load_on_the_shared_l2(self, measured: RunRecord) -> None:
        """Note a load beyond what the fake Redis that several processes share is meant for."""
        if not self._is_ours or self.scenario.topology.process_count == 1:
            return
        rate = measured.counters.get("l2_operations", 0) / self.scenario.duration
        if rate > STATED_LIMIT:
            self.notes.append(
                f"The processes shared a fake Redis at {rate:,.0f} operations/s; it is meant for "
                f"{STATED_LIMIT:,}, so its own delay may show."
            )

    def _note_another_machine(self, result: LoadResult) -> None:
        """Note a generator that was far busier at one time than at the other."""
        if self.calibration is None or self.calibration.lag is None:
            return
        learned, now = self.calibration.lag, lag_of(result.rows)
        if max(learned, now) < max(BUSY_LAG, BUSIER * min(learned, now)):
            return
        word = "shorter" if now < learned else "longer"
        self.notes.append(
            f"5 % of the requests were sent {format_duration(learned)} late or more while the "
            f"service was learned, and {format_duration(now)} in the measurement: the machine was "
            f"not equally busy. Expect {word} times than predicted, or calibrate again."
        )

    def _follow_the_machine(self, predicted: RunRecord, measured: RunRecord) -> RunRecord:
        """Predict again at the speed that the machine had, where that was another one."""
        during = None if measured.audit is None else measured.audit.service_speed
        if self.calibration is None or self.calibration.speed is None or not during:
            return predicted
        ratio = during / self.calibration.speed
        if abs(ratio - 1) <= SPEED_TOLERANCE:
            return predicted
        self.calibration = self.calibration.at_speed(during)
        self._write_calibration()
        self.notes.append(
            f"The machine took {ratio:.2f} times as long for a fixed piece of work during the "
            "measurement as during the calibration; the prediction uses costs scaled by that."
        )
        return self._predict()

    def _calibrate(self) -> None:
        """Learn the service, unless it is known; where it is ours, fit its CPU costs."""
        if not self.calibrates:
            if self.calibration is None:
                self.notes.append(
                    "Not calibrated: the scenario's own times and CPU costs are used, and nothing "
                    "lies between client and service."
                )
            return
        if not self._is_ours:
            self._learn()
            return
        rate = min(RATE, peak_rate(self.scenario, self.prepared.workload), self.limits.max_rate)
        workload = calibration_workload_for(self.scenario, self.prepared, rate)
        with self._timed("calibrate"), self._service() as urls:
            result: LoadResult = drive(
                self.scenario, workload, urls, self.folder / "calibration", phase="calibrating",
                limits=self.limits, display=self.display, access=self._access,
            )  # fmt: skip
        self.run_ids.append(str(result.audit["run_id"]))
        if was_interrupted(result):
            raise KeyboardInterrupt
        if result.interrupted:
            raise InvalidRun(f"the calibration {result.audit['ended_early']}")
        try:
            self.calibration = calibrate(self.scenario, result)
        except NotCalibrated as error:
            self.notes.append(f"Not calibrated: {error}; the committed CPU costs are used.")
            return
        self._write_calibration()

    def _learn(self) -> None:
        workload = self.prepared.workload
        bounds = calibration_bounds(self.scenario, workload, self.limits)
        if bounds.rate * bounds.seconds < FEWEST:
            self.notes.append(
                f"Not calibrated: {bounds.rate:.3g} requests/s for {bounds.seconds:.3g} s teach "
                "nothing; `edgeproof calibrate --calibration-rate` may send more."
            )
            return
        scenario = to_learn(self.scenario) if self.on_workerd else self.scenario
        with self._timed("calibrate"), self._service(scenario) as urls:
            taught = teach(
                scenario, workload, urls, self.folder / "calibration", bounds=bounds,
                limits=self.limits, display=self.display, access=self._access,
            )  # fmt: skip
        self.run_ids.append(str(taught.result.audit["run_id"]))
        self.taught_at = monotonic()
        if not _is_clean(taught.result):
            self.taught, self.is_cold = taught, True
            self.played = self._asked_before(self.taught_at + _PREPARING)
        self.calibration = taught.calibration
        if taught.calibration is None:
            self.notes.append(f"Not calibrated: {taught.why}; the scenario's own times are used.")
            return
        self._write_calibration()
        self.notes += lines(taught.calibration)

    def _write_calibration(self) -> None:
        assert self.calibration is not None
        write_calibration(
            self.folder / CALIBRATION_FILE, self.calibration, source=f"prove {self.scenario.name}"
        )

    def _asked_before(self, begins: float) -> Played | None:
        """Return what the service was asked before a run that begins at *begins*."""
        preflighted = self.access.preflight
        if self.taught is None:
            if not preflighted:
                return None
            ahead = preflight_requests(self.scenario, self.prepared.workload, self.hosts)
            return Played(workload=ahead, ahead=PREFLIGHT_SECONDS)
        workload, pause = self.taught.workload, max(0.0, begins - self.taught_at)
        pause += float(self.taught.result.audit["wall_seconds"])
        if preflighted:
            workload = with_preflight(self.scenario, workload, self.hosts)
            pause += PREFLIGHT_SECONDS
        return Played(workload=workload, ahead=pause)

    def _follow_the_start(
        self, predicted: RunRecord, result: LoadResult, begun: float
    ) -> RunRecord:
        """Predict again where the run began with other caches, or later, than was thought."""
        told = result.audit["clean_start"]
        before, was_cold = self.played, self.is_cold
        self.played, self.is_cold = self._asked_before(begun + _PREPARING), True
        if self.taught is None:
            self.notes.append(
                f"No clean start ({told}): the service is measured as it was, and predicted with "
                "empty caches."
            )
        else:
            self.notes.append(
                f"No clean start ({told}): the prediction plays the "
                f"{len(self.taught.workload):,} requests of the calibration, too, so that its "
                "caches stand where the service's do."
            )
        if before is not None and self.played is not None:
            is_same = abs(before.ahead - self.played.ahead) < _SAME_PAUSE
        else:
            is_same = self.played is None and (was_cold or self.scenario.start == "cold")
        return predicted if is_same else self._predict()

    def _predict(self) -> RunRecord:
        with self._timed("predict"):
            found = simulate(
                self.scenario,
                prepared=self.prepared,
                calibration=self.calibration,
                played=self.played,
                is_cold=self.is_cold,
                replications=0,  # the measured requests are those of one run
                ends_early=False,
                paired=min(PAIRED, MOST_PAIRED // max(1, len(self.prepared.workload))),
                on_progress=lambda _, share: self.display.update("predicting", share),
            )
        write_run(self.folder / "predicted", found.record, found.requests)
        self.requests = found.requests
        return found.record

    @contextmanager
    def _service(self, scenario: Scenario | None = None) -> Iterator[list[str]]:
        """Return the URLs of a service that starts clean for one phase.

        scenario: that it runs, instead of the one that is proved.
        """
        if self.hosts:
            yield self.hosts
            return
        token = secrets.token_urlsafe(24)
        before = os.environ.get(TOKEN_VARIABLE)
        os.environ[TOKEN_VARIABLE] = token  # for the load generator, which asks for a clean start
        try:
            runs = running_on_workerd if self.on_workerd else running_service
            with runs(scenario or self.scenario, token=token) as service:
                yield service.urls
                if ended := service.ended():
                    raise EdgeproofError(f"during the load {ended}")
        finally:
            if before is None:
                del os.environ[TOKEN_VARIABLE]
            else:
                os.environ[TOKEN_VARIABLE] = before

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + monotonic() - started


def _is_clean(result: LoadResult) -> bool:
    return bool(result.audit["clean_start"] == "clean")


def calibration_workload_for(scenario: Scenario, prepared: Prepared, rate: float) -> Workload:
    """Return the calibration's requests about the subjects that *prepared* has."""
    traffic = scenario.traffic.model_copy(
        update={
            "users": prepared.workload.users,
            "conversions": prepared.workload.conversions,
        }
    )
    return calibration_workload(scenario.model_copy(update={"traffic": traffic}), rate=rate)


def _model_metrics(measured: RunRecord) -> list[Metric]:
    """Return what the verdict on the model looks at: hit ratio, p50 and p95 of each series."""
    names = measured.endpoints.names
    own = [name for name in names if name not in CDP.names]
    known = [name for name in _MODEL_ENDPOINTS if name in names]
    series = [*known, *own, "query"]
    return [parse_metric("hit_ratio"), *(Metric(f, s) for s in series for f in ("p50", "p95"))]


def model_verdict(predicted: RunRecord, measured: RunRecord) -> tuple[str, bool]:
    """Return a sentence on how far the prediction was off, and whether it may be believed.

    A figure that is infinite on one side only is off without bound; one that a side could not see
    is named, and so is one of which a flawed measurement leaves open whether it is near enough.
    """
    within: list[str] = []
    beyond: list[str] = []
    unmeasured: list[str] = []
    unpredicted: list[str] = []
    different: list[str] = []
    in_doubt: list[str] = []
    for metric in _model_metrics(measured):
        p, m = predicted.metric(metric), measured.metric(metric)
        if p is None or m is None:
            if p is not None:
                unmeasured.append(metric.name)
            elif m is not None:
                unpredicted.append(metric.name)
            continue
        if incomparable(metric, predicted, measured) is not None:
            different.append(metric.name)
            continue
        found = _side(metric, p, m, measured)
        if found is None:
            in_doubt.append(metric.name)
            continue
        error = relative_error(metric, p, m)
        unit = "points" if metric.unit == "ratio" else "%"
        (beyond if found else within).append(
            f"{metric.name} predicted {metric.format(p)}, measured {metric.format(m)}"
            if error is None
            else f"{metric.name} {100 * error:+.1f} {unit}".replace(" -", " \N{MINUS SIGN}")
        )
    aside = f"; not measured: {', '.join(unmeasured)}" if unmeasured else ""
    aside += f"; not predicted: {', '.join(unpredicted)}" if unpredicted else ""
    aside += f"; not compared: {', '.join(different)}" if different else ""
    aside += f"; not judged: in doubt: {', '.join(in_doubt)}" if in_doubt else ""
    if beyond:
        return (
            f"Model: off by more than 20 % (2 points for ratios): {', '.join(beyond)}{aside}.",
            False,
        )
    if not within:
        why = (
            "nothing was predicted of what was measured"
            if unpredicted and not unmeasured
            else "nothing was measured to hold the prediction against"
        )
        if in_doubt:
            why = "the requests in doubt decide on every figure"
        return f"Model: INCONCLUSIVE, {why}{aside}.", False
    return f"Model: within 20 % (2 points for ratios): {', '.join(within)}{aside}.", True


def _side(metric: Metric, predicted: float, value: float, measured: RunRecord) -> int | None:
    """Return 0 where *predicted* is near enough, None where the requests in doubt decide."""
    if measured.audit is None or not measured.audit.invalid:
        return side(metric, predicted, value)
    ends = run_ends(measured, metric)
    if ends is None:
        return None
    low, high = ends[0][0], ends[1][0]  # of the run whose requests were predicted
    return None if low is None or high is None else side_within(metric, predicted, (low, high))


def request_lines(measured: RunRecord) -> list[str]:
    """Return what is said of the requests: whether they were the same, and in which order."""
    audit = measured.audit
    if audit is None:
        return []
    is_same = audit.rendered_hash == measured.workload_hash
    word = "equal to" if is_same else "different from"
    return [
        f"Requests: {audit.sent:,} of {audit.planned:,} sent, {len(audit.dropped)} dropped; the "
        f"hash of those rendered is {word} the plan's ({measured.workload_hash[:12]}); on the wire "
        f"{audit.inversions} inversions, largest displacement {audit.largest_displacement}.",
    ]

"""The workload: which request arrives when, for whom and where; equal for simulation and load."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.scenario.distances import isolate_shares
from core.scenario.popularity import Popularity
from core.scenario.scenario import Scenario
from core.scenario.sessions import SessionRows, session_rows
from core.scenario.shapes import modulated
from core.scenario.subjects import ids_of
from core.scenario.traffic import RateStage
from core.streams import Stream

MAX_REQUESTS = 20_000_000
_BLOCK = 1_000_000
_HASHED = 100_000
_MANY, _CELLS = 200_000, 1 << 16

ROW = np.dtype([("intended_ns", "<i8"), ("endpoint", "u1"), ("subject", "<u4")])
"""What the identity of a workload is computed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One row per request, in order of arrival; all columns have shape (n,).

    intended_ns: when it arrives, nanoseconds from the start of the run (i8); endpoint: position
    in the scenario's endpoints (u1); subject: a user, a conversion or a model, as the endpoint has
    it (u4);
    isolate: which isolate answers, 0 to isolate_count - 1 (u2). users and conversions: how many
    the database must hold. profile_bytes: size of each user's profile where a trace gives sizes.
    ids: of the subjects whose ids a file or a trace has, by the subject's name.
    follows: the place of the request after whose end each is sent, -1 where it comes at its time
    (i8); None where all do. What follows comes later than *intended_ns* by what its session has
    waited for answers.
    is_timed: whether the arrivals are a trace's own times and no stage's.
    notes: what a reader of the report has to know.
    """

    intended_ns: NDArray[np.int64]
    endpoint: NDArray[np.uint8]
    subject: NDArray[np.uint32]
    isolate: NDArray[np.uint16]
    users: int
    conversions: int
    profile_bytes: NDArray[np.int64] | None = None
    ids: Mapping[str, Sequence[str]] = field(default_factory=dict)
    follows: NDArray[np.int64] | None = None
    is_timed: bool = False
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return int(self.intended_ns.size)

    @property
    def intended(self) -> NDArray[np.float64]:
        """When each request arrives, in seconds from the start of the run."""
        return self.intended_ns / 1e9

    def identity(self) -> str:
        """Return the SHA-256 over (intended_ns, endpoint, subject) of all rows in order."""
        return rows_hash(self.intended_ns, self.endpoint, self.subject)


def without_requests(workload: Workload) -> Workload:
    """Return the subjects of *workload* alone, which is all that a population needs of it."""
    columns = ("intended_ns", "endpoint", "subject", "isolate")
    none = {name: getattr(workload, name)[:0].copy() for name in columns}
    return replace(workload, **none, follows=None)


def after(workload: Workload, before: Workload, ahead: float) -> Workload:
    """Return *workload*, and behind its rows those of *before*, which began *ahead* s earlier.

    Its rows keep their places, which address random numbers; the times of the others are negative.
    """
    shift = round(ahead * 1e9)
    return replace(
        workload,
        intended_ns=np.concatenate((workload.intended_ns, before.intended_ns - shift)),
        endpoint=np.concatenate((workload.endpoint, before.endpoint)),
        subject=np.concatenate((workload.subject, before.subject)),
        isolate=np.concatenate((workload.isolate, before.isolate)),
        follows=_followed(workload, before),
    )


def _followed(workload: Workload, before: Workload) -> NDArray[np.int64] | None:
    if workload.follows is None and before.follows is None:
        return None
    columns = [
        np.full(len(each), -1) if each.follows is None else each.follows
        for each in (workload, before)
    ]
    columns[1] = np.where(columns[1] < 0, -1, columns[1] + len(workload))
    return np.concatenate(columns)


def rows_hash(
    intended_ns: NDArray[np.int64], endpoint: NDArray[np.uint8], subject: NDArray[np.uint32]
) -> str:
    """Return the SHA-256 over packed little-endian rows (intended_ns, endpoint, subject)."""
    digest = hashlib.sha256()
    for part in _blocks(intended_ns.size, _HASHED):
        rows = np.empty(part.stop - part.start, dtype=ROW)
        rows["intended_ns"], rows["endpoint"] = intended_ns[part], endpoint[part]
        rows["subject"] = subject[part]
        digest.update(rows.tobytes())
    return digest.hexdigest()


def generate_workload(scenario: Scenario, *, replication: int = 0) -> Workload:
    """Return the requests of *scenario* drawn from its seed, without a trace.

    Raise ValueError if the stages ask for more than MAX_REQUESTS requests, or for conversions
    where there are none.
    """
    seed, traffic = scenario.seed, scenario.traffic
    rows = _session_rows(scenario, replication)
    intended_ns = arrivals(scenario, replication=replication) if rows is None else rows.intended_ns
    n = intended_ns.size

    def uniforms(purpose: Purpose, part: slice) -> NDArray[np.float64]:
        stream = Stream(seed, purpose, replication=replication)
        return stream.rows(part.start, part.stop - part.start)[:, 0]

    endpoint = np.empty(n, dtype=np.uint8)
    subject = np.empty(n, dtype=np.uint32)
    mix = traffic.mix.weights()
    for part in _blocks(n):
        endpoint[part] = choose(mix, uniforms(Purpose.ENDPOINTS, part))
    of_subjects = subject_weights(scenario)
    for code, weights in enumerate(of_subjects):
        name = scenario.endpoints.names[code]
        if not weights.size and traffic.mix.of(name):
            raise ValueError(
                f"traffic.conversions is 0, and endpoints.{name}.weight is "
                f"{traffic.mix.of(name):g}: no conversion can be asked for; set "
                f"endpoints.{name}.weight to 0, or traffic.conversions to 1 or more"
            )
    for part in _blocks(n):
        u, codes, drawn = uniforms(Purpose.SUBJECTS, part), endpoint[part], subject[part]
        for code, weights in enumerate(of_subjects):
            chosen = codes == code
            drawn[chosen] = choose(weights, u[chosen]) if weights.size else 0
    if rows is not None:
        _give_visitors(scenario, endpoint, subject, rows, of_subjects, replication)
    return Workload(
        intended_ns=intended_ns,
        endpoint=endpoint,
        subject=subject,
        isolate=isolates(scenario, n, replication=replication),
        users=traffic.users,
        conversions=traffic.conversions,
        ids=ids_of(scenario.subjects, scenario.name),
        follows=None if rows is None else rows.follows,
    )


def _session_rows(scenario: Scenario, replication: int) -> SessionRows | None:
    sessions = scenario.traffic.sessions
    if sessions is None:
        return None
    segments = _segments(scenario, replication)
    # As many requests on average as the stages ask for; some sessions are under way at the start.
    start, rate, _, _ = segments[0]
    before = [(start - sessions.lead, rate, 0.0, rate * sessions.lead)] if sessions.lead else []
    segments = [
        (start, rate / sessions.requests, slope / sessions.requests, area / sessions.requests)
        for start, rate, slope, area in (*before, *segments)
    ]
    starts = _poisson(segments, scenario, replication, each=sessions.requests)
    return session_rows(
        sessions, starts, total=scenario.total_time, seed=scenario.seed, replication=replication
    )


def _give_visitors(
    scenario: Scenario,
    endpoint: NDArray[np.uint8],
    subject: NDArray[np.uint32],
    rows: SessionRows,
    weights: Sequence[NDArray[np.float64]],
    replication: int,
) -> None:
    """Let all requests of a session that are about a user be about the same one."""
    of_users = [code for code, each in enumerate(scenario.endpoints) if each.subject == "user"]
    if not of_users:
        return
    stream = Stream(scenario.seed, Purpose.SUBJECTS, replication=replication)
    visitors = choose(weights[of_users[0]], stream.rows(0, subject.size)[:, 0])
    mine = np.isin(endpoint, of_users)
    subject[mine] = visitors[rows.first[mine]]


def isolates(scenario: Scenario, n: int, *, replication: int = 0) -> NDArray[np.uint16]:
    """Return the isolate of each of *n* requests, see `isolates_at`; shape (n,)."""
    stream = Stream(scenario.seed, Purpose.ISOLATES, replication=replication)
    drawn = np.empty(n, dtype=np.uint16)
    for part in _blocks(n):
        u = stream.rows(part.start, part.stop - part.start)[:, 0]
        drawn[part] = isolates_at(scenario, u)
    return drawn


def isolates_at(scenario: Scenario, u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the isolate that each uniform of *u* draws: all alike, or by their region's share."""
    if scenario.regions:
        return choose(isolate_shares(scenario), u)
    return np.floor(u * scenario.topology.isolate_count).astype(np.int64)


def _blocks(n: int, size: int = _BLOCK) -> Iterator[slice]:
    """Yield the parts of *n* rows that are worked on at a time, which bounds the memory."""
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))


def subject_weights(scenario: Scenario) -> tuple[NDArray[np.float64], ...]:
    """Return the popularity of every subject, one array that sums to 1 per endpoint."""
    weights = {
        **{
            name: popularity(subject.popularity, subject.count or 1)
            for name, subject in scenario.subjects.items()
        },
        "user": popularity(scenario.traffic.popularity, scenario.traffic.users),
        "conversion": popularity(scenario.traffic.popularity, scenario.traffic.conversions),
        "model": np.full(MODEL_COUNT, 1 / MODEL_COUNT),
        "none": np.ones(1),
    }
    return tuple(weights[endpoint.subject] for endpoint in scenario.endpoints)


MODEL_COUNT = 7
"""Attribution models that can be asked for; a request whose subject is a model names one."""


def popularity(law: Popularity, count: int) -> NDArray[np.float64]:
    """Return the probability of each of *count* subjects: Zipf (rank^-exponent) or uniform."""
    exponent = law.exponent if law.law == "zipf" else 0.0
    # math.pow on whole ranks, rounded: numpy's vector units may differ in the last bit.
    weights = np.array([round(math.pow(rank, -exponent), 12) for rank in range(1, count + 1)])
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def choose(
    weights: NDArray[np.float64] | tuple[float, ...], u: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return for each uniform of *u* the position drawn with *weights*, by inversion."""
    cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))

    def positions(u: NDArray[np.float64]) -> NDArray[np.int64]:
        drawn = np.searchsorted(cumulative, u * cumulative[-1], side="right")
        inside: NDArray[np.int64] = np.minimum(drawn, cumulative.size - 1).astype(np.int64)
        return inside

    if u.size < _MANY:
        return positions(u)
    # A third of the time: where both ends of a uniform's cell lie at one position, so does it,
    # because rounding keeps the order. Cells are a power of 2, so that a uniform's is exact.
    ends = positions(np.arange(_CELLS + 1) / _CELLS)
    cell = (u * _CELLS).astype(np.int32)
    found: NDArray[np.int64] = ends[cell]
    open_ = np.flatnonzero((ends[1:] > ends[:-1])[cell])
    found[open_] = positions(u[open_])
    return found


def arrivals(scenario: Scenario, *, replication: int = 0) -> NDArray[np.int64]:
    """Return the Poisson arrivals of the scenario's stages in nanoseconds; shape (n,).

    The inverse cumulative rate of a unit-rate Poisson process (Cinlar, "Introduction to
    Stochastic Processes", 1975), so that another rate moves every arrival and draws none anew.
    """
    times = _poisson(_segments(scenario, replication), scenario, replication)
    # In blocks, for a run may have millions.
    arrives = np.empty(times.size, dtype=np.int64)
    for part in _blocks(times.size):
        arrives[part] = np.round(times[part] * 1e9)
    return arrives


def _poisson(
    segments: Sequence[tuple[float, float, float, float]],
    scenario: Scenario,
    replication: int,
    *,
    each: float = 1.0,
) -> NDArray[np.float64]:
    """Return the seconds of Poisson arrivals in *segments*, as `_segments` has them; shape (n,).

    each: requests of an arrival. Raise ValueError for more than MAX_REQUESTS requests.
    """
    expected = sum(area for *_, area in segments)
    if expected * each > MAX_REQUESTS:
        raise ValueError(
            f"traffic.stages ask for {expected * each:,.0f} requests; a run holds at most "
            f"{MAX_REQUESTS:,}"
        )
    stream = Stream(scenario.seed, Purpose.ARRIVALS, replication=replication)
    block = 65_536
    blocks: list[NDArray[np.float64]] = []
    while not blocks or blocks[-1][-1] < expected:
        u = stream.rows(len(blocks) * block, block)[:, 0]
        # Rounded to 2^-32, so that no platform's log shows in the result.
        gaps = np.round(-np.log1p(-u) * 2.0**32) * 2.0**-32
        blocks.append((blocks[-1][-1] if blocks else 0.0) + np.cumsum(gaps))
    unit = np.concatenate(blocks)
    blocks.clear()
    times = unit[: np.searchsorted(unit, expected)]  # turned into seconds in place
    before = 0.0
    first = 0
    for start, rate, slope, area in segments:
        end = first + int(np.searchsorted(times[first:], before + area))
        for part in _blocks(end - first):
            here = slice(first + part.start, first + part.stop)
            times[here] = start + _time_within(times[here] - before, rate, slope)
        first = end
        before += area
    return times


def _segments(scenario: Scenario, replication: int) -> list[tuple[float, float, float, float]]:
    """Return (start, rate at the start, slope, expected arrivals) of each stage.

    Bursts cut stages into pieces.
    """
    segments, start = [], 0.0
    bursts = scenario.traffic.bursts
    stages: tuple[RateStage, ...] = scenario.traffic.stages
    for position, stage in enumerate(stages):
        is_last = position == len(stages) - 1
        duration = scenario.total_time - start if is_last else stage.duration or 0.0
        end_rate = stage.rate if stage.ramp_to is None else stage.ramp_to
        slope = (end_rate - stage.rate) / duration if duration else 0.0
        expected = (stage.rate + end_rate) / 2 * duration
        segments.append((start, stage.rate, slope, expected if bursts is None else duration))
        start += duration
    if bursts is not None:
        path = bursts.path(scenario.total_time, seed=scenario.seed, replication=replication)
        return modulated(segments, path)
    return segments


def _time_within(area: NDArray[np.float64], rate: float, slope: float) -> NDArray[np.float64]:
    """Return t with rate t + slope t^2 / 2 = area."""
    if slope == 0:
        return area / rate if rate else area
    root = np.sqrt(np.maximum(rate * rate + 2 * slope * area, 0.0))
    result: NDArray[np.float64] = 2 * area / (rate + root)  # stable for a slope near 0
    return result

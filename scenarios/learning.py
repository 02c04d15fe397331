"""What the rows of a load teach about a service: the times of its tiers, and what lies before it.

Each answer's stages are laid out over its time, back from the answer: its reads in order, each one
L2 and then the database, and its write at last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.distributions import constant
from core.endpoint import Endpoint
from core.scenario.calibration import Calibration
from core.scenario.calibration_file import learned
from core.scenario.idling import Idling, pauses_of
from core.scenario.outside import Learned, Mixture, ages_of
from core.scenario.scenario import Scenario
from core.scenario.topology import Cpu
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS, NEGATIVE
from scenarios.calibrate import NotCalibrated, charged_cpu, fitted_cpu, service_speed
from scenarios.coarse_clock import is_coarse, refined
from scenarios.database_split import LEAST, Queries, Split, split
from scenarios.idleness import idling_of, is_later
from scenarios.lateness import alone, lag_of, unhurried
from scenarios.layouts import Layout, layouts_of
from scenarios.lives import lives_of
from scenarios.outside import learn_outside
from scenarios.result import Kind, LoadResult, Rows

WANTED = 1000
"""Samples of a stage that a calibration asks for."""

FEWEST = 20
"""Samples without which nothing is learned."""

_FASTEST = 0.05
_EARLIER = 0.02
_TURNS = 10


def learn(scenario: Scenario, result: LoadResult) -> Calibration:
    """Return what *result*, a load of a service at a low rate, teaches.

    Raise NotCalibrated if hardly a request was answered.
    """
    rows = result.rows
    answered = (rows.kind == Kind.ANSWERED) & np.isfinite(rows.latency)
    number = int(np.count_nonzero(answered))
    if number < FEWEST:
        raise NotCalibrated(
            f"{number} of {len(rows)} requests were answered; at least {FEWEST} are needed"
        )
    return _Lesson(scenario, result, answered).calibration()


class _Lesson:
    """The steps from rows to a calibration; every column has a row for each request sent."""

    def __init__(self, scenario: Scenario, result: LoadResult, answered: NDArray[np.bool_]) -> None:
        self.scenario, self.result, self.rows = scenario, result, result.rows
        self.answered = answered
        self.latency = unhurried(self.rows, answered)
        self.table = scenario.endpoints
        self.codes = (self.rows.reads & (NEGATIVE - 1)).astype(int)
        self.samples = {stage: _by_row(self.rows, stage) for stage in ("l2", "l3", "l3wait")}
        self.notes: list[str] = []
        self.few: dict[str, str] = {}
        self.coarse_idling: Idling | None = None
        if is_coarse(self.samples):
            # The parts of a step would take up what a pause costs, so that is learned first.
            self.coarse_idling = self._idling(self.latency, self._untimed())
            waited = self.coarse_idling.seconds(pauses_of(self.rows.intended_ns))
            self.samples = refined(self.samples, self.latency - waited, self.rows.endpoint)
            self.notes.append(
                "the service's clock moves in whole milliseconds: parts of one are told by what "
                "the client saw"
            )

    def calibration(self) -> Calibration:
        """Return all that was learned."""
        rows = self.rows
        outside = self._outside()
        inside = self.answered & ~np.isin(
            rows.endpoint, [self.table.index(name) for name in outside]
        )
        unread = self._unread(inside)
        cpu, scale = self._cpu(inside)
        places, charged = inside.nonzero()[0], self._charged(cpu, scale)
        layouts = layouts_of(self.scenario, rows, places, self.codes, self.samples)
        self._note_earlier_entries(places)
        tiers: dict[str, Learned] = {}
        for place in ("l2.read", "l2.cold_read"):
            self._keep(
                tiers, place, [s for each in layouts.values() for p, s in each.l2 if p == place]
            )
        self.few["l2.write"] = "Server-Timing does not tell writes"
        found = self._split(layouts, charged)
        concurrency, longer = self._database(tiers, found)
        self._zero_untold(tiers, inside)
        ttls = lives_of(self.scenario, rows, self.codes, places)
        for name, seconds in ttls.items():
            self.notes.append(
                f"entries of {name} live {seconds:g} s in any cache, not "
                f"{self.scenario.tiers.l2.ttl.of(name):g} s"
            )
        between, idling = self._between(layouts, charged, longer)
        if not places.size:  # no tier plays a part in what is predicted
            self.few = {name: why for name, why in self.few.items() if name.startswith("outside")}
        return Calibration(
            cpu=cpu,
            cpu_scale=scale,
            between=between,
            idling=idling,
            tiers=tiers,
            concurrency=concurrency,
            ttls=ttls,
            unread=unread,
            outside=outside,
            speed=service_speed(self.result),
            lag=lag_of(self.rows),
            requests=int(np.count_nonzero(self.answered)),
            few=self.few,
            notes=tuple(self.notes),
        )

    # What is seen at all

    def _of(self, name: str) -> NDArray[np.bool_]:
        mine: NDArray[np.bool_] = self.answered & (self.rows.endpoint == self.table.index(name))
        return mine

    def _outside(self) -> dict[str, Mixture]:
        """Return the endpoints of which only the latency is seen, with what that teaches."""
        outside = {}
        tells_times = any(self.samples.values())
        for name in self.table.names:
            mine = self._of(name)
            if not mine.any():
                continue
            here = set(mine.nonzero()[0].tolist())
            is_timed = any(here & by_row.keys() for by_row in self.samples.values())
            is_hit = bool((self.codes[mine] == L1_HIT).any()) and not bool(
                np.isin(self.codes[mine], (L2_HIT, MISS, BYPASS)).any()
            )
            # Where no answer of any endpoint tells times, the depth of its reads tells them apart.
            is_read = bool(self.codes[mine].any()) and not tells_times
            if (is_timed or is_hit or is_read) and not self.table[name].unknown:
                continue
            mixture = learn_outside(self.rows, mine, self.latency)
            if mixture is None:
                self.few[f"outside.{name}"] = f"{len(here)} answers; at least {FEWEST} are needed"
            else:
                outside[name] = mixture
                self._note_reach(name, mine, mixture)
        if outside:
            self.notes.append(
                f"tiers are unknown of {', '.join(outside)}: no Server-Timing tells the stages, or "
                "the scenario does not say what the service does; "
                "fast and slow answers are told apart from outside, and waiting at a higher rate "
                "is not predicted"
            )
        return outside

    def _note_reach(self, name: str, mine: NDArray[np.bool_], mixture: Mixture) -> None:
        if mixture.fast is None:
            self.notes.append(f"{name}: answers are of one kind")
            return
        order = np.argsort(self.rows.intended_ns[mine], kind="stable")
        times = self.rows.intended_ns[mine][order] / 1e9
        ages = ages_of(times, self.rows.subject[mine][order])
        again = np.isfinite(ages.seconds)
        text = (
            f"{name}: {mixture.fast_first:.1%} of first requests for an id were fast, and "
            f"{mixture.fast_repeat:.1%} of repeats"
        )
        if mixture.most_others is not None:
            text += f" after fewer than {mixture.most_others:,} other ids"
        elif mixture.most_age is not None:
            text += f" within {mixture.most_age:g} s"
        elif again.any():
            text += (
                f"; none came after more than {int(ages.others[again].max()):,} other ids or "
                f"{ages.seconds[again].max():.0f} s: a cache that forgets later is not seen"
            )
        self.notes.append(text)

    def _unread(self, inside: NDArray[np.bool_]) -> dict[str, tuple[str, ...]]:
        unread = {}
        for endpoint in self.table:
            mine = self._of(endpoint.name) & inside
            if np.count_nonzero(mine) < FEWEST:
                continue
            names = tuple(
                read.name
                for slot, read in enumerate(endpoint.reads)
                if not self.codes[mine, slot].any()
            )
            if names:
                unread[endpoint.name] = names
        return unread

    def _note_earlier_entries(self, places: NDArray[np.int64]) -> None:
        """Note where the first request for an entry was a hit: others had filled the caches.

        After a clean start they hold what the prediction's hold.
        """
        if self.result.audit.get("clean_start") == "clean":
            return
        asked: set[tuple[str, int]] = set()
        found = 0
        sites = self.scenario.traffic.sites
        for row in places[np.argsort(self.rows.intended_ns[places], kind="stable")].tolist():
            endpoint = self.table.endpoints[self.rows.endpoint[row]]
            for read, code in zip(endpoint.reads, self.codes[row].tolist(), strict=False):
                key = (read.cache_type, read.number(int(self.rows.subject[row]), sites))
                if code and key not in asked:
                    asked.add(key)
                    found += code in (L1_HIT, L2_HIT)
        if found > _EARLIER * len(asked):
            self.notes.append(
                f"{found:,} of {len(asked):,} entries were cached before they were first asked "
                "for, and nobody knows since when: hit ratios may be off; run it again when what "
                "earlier requests left in the caches has expired"
            )

    # CPU

    def _cpu(self, inside: NDArray[np.bool_]) -> tuple[Cpu | None, float]:
        untold = "the service does not tell the CPU time of its process"
        try:
            return fitted_cpu(self.scenario, self.result), 1.0
        except NotCalibrated:
            pass
        charged = charged_cpu(
            self.scenario.topology.cpu, self.table, self.rows.endpoint, self.rows.reads
        )
        rest = self.latency - self._told()
        scale = 1.0
        for name in self.table.names:
            mine = self._of(name) & inside
            if np.count_nonzero(mine) >= FEWEST:
                fastest = float(np.quantile(rest[mine] / np.maximum(charged[mine], 1e-9), _FASTEST))
                scale = min(scale, max(0.0, fastest / 2))
        if scale < 1:
            scale = float(f"{scale:.2g}")
            self.notes.append(
                f"CPU costs are {scale:.0%} of those stated: {untold}, and answers came faster "
                "than the stated ones allow"
            )
        else:
            self.few["cpu"] = untold
        return None, scale

    def _charged(self, cpu: Cpu | None, scale: float) -> NDArray[np.float64]:
        costs = cpu or self.scenario.topology.cpu
        return scale * charged_cpu(costs, self.table, self.rows.endpoint, self.rows.reads)

    # Tiers

    def _told(self) -> NDArray[np.float64]:
        """Return the seconds of each answer that its stages tell."""
        told = np.zeros(len(self.rows))
        for by_row in self.samples.values():
            for row, seconds in by_row.items():
                told[row] += sum(seconds)
        return told

    def _keep(self, tiers: dict[str, Learned], place: str, seconds: Sequence[float]) -> None:
        if len(seconds) < FEWEST:
            self.few[place] = f"{len(seconds)} samples; at least {FEWEST} are needed"
        else:
            tiers[place] = learned(seconds)
            if len(seconds) < WANTED:
                self.notes.append(f"{place} has {len(seconds):,} of {WANTED:,} samples")

    def _split(
        self, layouts: Mapping[int, Layout], charged: NDArray[np.float64]
    ) -> tuple[Queries, Split, NDArray[np.int64]] | None:
        rows = self.rows
        inside = np.where(np.isnan(rows.total), self._told() + charged, rows.total)
        outside = (rows.latency - rows.lag - inside)[list(layouts)]
        # A busy client reads answers late, so they lie by when their requests were sent.
        way = max(0.0, float(np.quantile(outside, _FASTEST))) / 2 if layouts else 0.0
        leaves = rows.intended_ns / 1e9 + rows.lag + way + inside
        found = []
        for row, layout in layouts.items():
            found += [
                (leaves[row] - before, taken, wait, is_write, row)
                for is_write, before, taken, wait in layout.queries
            ]
        if not found:
            return None
        found.sort()
        middle, taken, wait, is_write, of_row = (
            np.array(column) for column in zip(*found, strict=True)
        )
        queries = Queries(
            middle=middle,
            taken=taken,
            is_write=is_write.astype(np.bool_),
            wait=None if np.isnan(wait).any() else wait,
        )
        return queries, split(queries), of_row.astype(np.int64)

    def _database(
        self,
        tiers: dict[str, Learned],
        found: tuple[Queries, Split, NDArray[np.int64]] | None,
    ) -> tuple[int | None, Mapping[int, float]]:
        """Put the database's times into *tiers*.

        Return its concurrency, and for rows whose queries have a longer round trip than is kept
        how much longer theirs are.
        """
        longer: dict[int, float] = defaultdict(float)
        if found is None:
            for place in ("l3.round_trip", "l3.read_execution", "l3.write_execution"):
                self.few[place] = "no l3 in Server-Timing"
            return None, longer
        queries, parted, row = found
        waits = queries.wait if queries.wait is not None else parted.waits
        rest = np.maximum(queries.taken - waits, 0.0)
        names = ("l3.read_execution", "l3.write_execution")
        trips: dict[int, NDArray[np.float64]] = {}
        for kind, place in enumerate(names):
            mine = queries.is_write == bool(kind)
            count = int(np.count_nonzero(mine))
            if count < FEWEST:
                self.few[place] = f"{count} samples; at least {FEWEST} are needed"
                continue
            mine &= self._undisturbed(mine, rest, row)
            trips[kind] = np.maximum(rest[mine] - parted.execution[kind], 0.0)
            tiers[place] = Learned(times=constant(parted.execution[kind]), samples=count)
            if count < WANTED:
                self.notes.append(f"{place} has {count:,} of {WANTED:,} samples")
            if not parted.is_told[kind]:
                self.notes.append(
                    f"{place} cannot be told from the round trip, which holds all of it: "
                    + (
                        "too few queries"
                        if queries.middle.size < LEAST
                        else "no waiting on it was seen"
                    )
                )
        if not trips:
            self.few["l3.round_trip"] = "too few queries"
            return None, longer
        means = {kind: float(np.median(trip)) for kind, trip in trips.items()}
        base = min(means.values())
        for kind, mean in means.items():
            if mean > base:
                mine = queries.is_write == bool(kind)
                trips[kind] = np.maximum(trips[kind] - (mean - base), 0.0)
                for place in row[mine].tolist():
                    longer[place] += mean - base
        self._keep(tiers, "l3.round_trip", np.concatenate(list(trips.values())).tolist())
        is_told = any(parted.is_told)
        return (parted.servers if is_told else None), longer

    def _undisturbed(
        self, mine: NDArray[np.bool_], rest: NDArray[np.float64], row: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return the queries that tell how long one takes, of those *mine*; shape (queries,).

        Where the queue does not explain why queries of bursts took longer, only those that came
        alone do: a burst is rare in what is predicted.
        """
        lone = alone(self.rows.intended_ns)[row]
        quiet, burst = rest[mine & lone], rest[mine & ~lone]
        if min(quiet.size, burst.size) < FEWEST or not is_later(quiet, burst):
            return np.ones(mine.size, dtype=np.bool_)
        return lone

    def _zero_untold(self, tiers: dict[str, Learned], inside: NDArray[np.bool_]) -> None:
        """Let a tier that is asked but never timed take no time: it is in what lies between."""
        codes = self.codes[inside]
        places = {
            "l2": (("l2.read", "l2.cold_read"), (L2_HIT, MISS)),
            "l3": (("l3.round_trip", "l3.read_execution", "l3.write_execution"), (MISS, BYPASS)),
        }
        for tier, (names, outcomes) in places.items():
            if not self.samples[tier] and np.isin(codes, outcomes).any():
                for name in names:
                    tiers[name] = Learned(times=constant(0.0), samples=0)
                    self.few.pop(name, None)
                self.notes.append(
                    f"no Server-Timing tells {tier}: what it takes stands in what lies between"
                )

    # What lies between

    def _between(
        self,
        layouts: Mapping[int, Layout],
        charged: NDArray[np.float64],
        longer: Mapping[int, float],
    ) -> tuple[dict[str, dict[str, Learned]], Idling]:
        rows, told = self.rows, self._told()
        rest = self.latency - told - charged
        for row, seconds in longer.items():
            rest[row] += seconds
        rest = np.maximum(rest, 0.0)
        came_alone = alone(rows.intended_ns)
        seen: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row in layouts:
            depth = _depth(self.table.endpoints[rows.endpoint[row]], self.codes[row].tolist())
            if depth is not None:
                seen[self.table.names[rows.endpoint[row]], depth].append(row)
        idling = self.coarse_idling
        if idling is None:
            idling = self._idling(rest, [rows_there for _, rows_there in sorted(seen.items())])
        rest = np.maximum(rest - idling.seconds(pauses_of(rows.intended_ns)), 0.0)
        between: dict[str, dict[str, Learned]] = {}
        for (name, depth), found in sorted(seen.items()):
            lone = [row for row in found if came_alone[row]]
            chosen = lone if len(lone) >= FEWEST else found
            if len(chosen) < FEWEST and not any(self.samples.values()):
                # Others' whole latencies would hold the times of other queries.
                self.notes.append(f"between.{name}.{depth} has only {len(chosen)} samples")
            elif len(chosen) < FEWEST:
                writes = _writes(self.table[name])
                chosen = [
                    row
                    for (other, at), rows_there in seen.items()
                    if at == depth and _writes(self.table[other]) == writes
                    for row in rows_there
                ]
                if len(chosen) < FEWEST:
                    self.few[f"between.{name}.{depth}"] = f"{len(found)} samples"
                    continue
                self.notes.append(
                    f"between.{name}.{depth} has {len(found)} samples; that of all endpoints is "
                    "used"
                )
            between.setdefault(name, {})[depth] = learned(rest[chosen].tolist())
        return between, idling

    def _untimed(self) -> list[list[int]]:
        """Return the rows that tell no time of a store, by endpoint: no clock blurs these."""
        timed = {row for stage in ("l2", "l3") for row in self.samples[stage]}
        return [
            [row for row in self._of(name).nonzero()[0].tolist() if row not in timed]
            for name in self.table.names
        ]

    def _idling(self, rest: NDArray[np.float64], kinds: list[list[int]]) -> Idling:
        """Return what requests that came alone wait longer after a pause.

        Some kinds come mostly after pauses of one length, so kinds and pauses take turns in
        explaining what the other leaves (median polish, Tukey 1977).
        """
        lone, pauses = alone(self.rows.intended_ns), pauses_of(self.rows.intended_ns)
        places = [np.array([row for row in kind if lone[row]], dtype=np.int64) for kind in kinds]
        places = [mine for mine in places if mine.size >= FEWEST]
        idling = Idling()
        for _ in range(_TURNS):
            left = rest - idling.seconds(pauses)
            beyond = np.full(rest.size, np.nan)
            for mine in places:
                beyond[mine] = rest[mine] - np.median(left[mine])
            idling = idling_of(pauses, beyond)
        return idling


def _writes(endpoint: Endpoint) -> bool:
    return endpoint.writes is not None or bool(endpoint.stores)


def _depth(endpoint: Endpoint, codes: Sequence[int]) -> str | None:
    """Return how far a request went; None for one that waited for another's load."""
    if endpoint.asks_database or MISS in codes or BYPASS in codes:
        return "l3"
    if COLLAPSED in codes:
        return None
    return "l2" if L2_HIT in codes else "l1"


def _by_row(rows: Rows, stage: str) -> dict[int, list[float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for position, seconds in zip(*(c.tolist() for c in rows.samples[stage]), strict=True):
        found[position].append(seconds)
    return found


def samples_told(known: Calibration) -> str:
    """Return how many samples each stage has, as a line."""
    parts = [f"{place} {each.samples:,}" for place, each in known.tiers.items()]
    return ", ".join(parts) or "none"

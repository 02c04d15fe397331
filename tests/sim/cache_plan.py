"""What happens in a small world of caches, drawn from a seed before anything happens."""

from __future__ import annotations

from dataclasses import dataclass

from core.caching.invalidation_log import Selector
from core.caching.policy import CachePolicy
from core.context import Purpose
from core.distributions import Distribution
from core.scenario.fault_kinds import BUILT_IN
from core.scenario.faults import Fault
from core.scenario.tiers import L2
from core.streams import Stream

KEYS = ("a:0", "a:1", "a:2", "a:3", "b:0", "b:1")
TAGS: dict[str, tuple[str, ...]] = {
    "a:0": ("even",), "a:1": (), "a:2": ("even",), "a:3": (), "b:0": ("x",), "b:1": ("even", "x"),
}  # fmt: skip
"""Keys that are asked for together have the same ones."""

EDGE_TTL = 32.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that somebody does; keys of a request are read one after the other.

    cancel_after: seconds after which its task is cancelled; None: it is a flow, as the requests
    of a simulation are. is_early: it comes before everything else that was due at its time.
    """

    row: int
    at: float
    what: str
    isolate: int
    keys: tuple[str, ...]
    target: Selector | None
    commit: float
    cancel_after: float | None
    is_early: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A world; times in seconds, step is the grid on which all of them lie (0: none)."""

    seed: int
    step: float
    processes: int
    isolates: int
    is_eventual: bool
    has_channel: bool
    channel_delay: float
    cut: tuple[float, float] | None
    is_scoped: bool
    has_tags: bool
    ttls: dict[str, float]
    policy: CachePolicy
    max_entries: int
    max_bytes: int
    breaker: tuple[int, float]
    tier: L2
    faults: tuple[Fault, ...]
    load_time: tuple[float, float]
    load_fails: float
    no_loads: tuple[float, float] | None
    slowest_delete: float
    delete_fails: float
    acts: tuple[Act, ...]

    def snap(self, seconds: float) -> float:
        """Return *seconds* on the grid."""
        return round(seconds / self.step) * self.step if self.step else seconds


class OnGrid(Distribution):
    """A distribution, even between two ends, whose samples lie on a grid."""

    __slots__ = ("_step",)

    def __init__(self, low: float, high: float, step: float) -> None:
        super().__init__((low, high), None)
        self._step = step

    def sample(self, uniform: float) -> float:
        """Return the value at *uniform*."""
        seconds = super().sample(uniform)
        return round(seconds / self._step) * self._step if self._step else seconds


def draw_plan(seed: int) -> Plan:
    """Return the world of *seed*."""
    tape = iter(Stream(seed, Purpose.DATA).rows(0, 100)[:, 0].tolist())
    is_eventual = next(tape) < 0.15
    unit = EDGE_TTL if is_eventual else 1.0
    step = unit / 8 if next(tape) < 0.5 else 0.0

    def chance(share: float) -> bool:
        return bool(next(tape) < share)

    def seconds(low: float, high: float) -> float:
        drawn = float(low + (high - low) * next(tape)) * unit
        return round(drawn / step) * step if step else drawn

    def switch(share: float, low: float, high: float) -> float:
        is_on, drawn = chance(share), seconds(low, high)
        return drawn if is_on else 0.0

    end = 14.0
    processes = 1 if chance(0.3) else 2
    timeout = seconds(0.3, 0.8)
    slowest = seconds(0.1, 0.5)
    policy = CachePolicy(
        l1_ttl=seconds(0.5, 2.0) if chance(0.6) else 100.0 * unit,
        negative_ttl=switch(0.8, 0.3, 3.0),
        single_flight=chance(0.85),
        await_put=chance(0.3),
        ttl_jitter=0.25 if chance(0.3) else 0.0,
        stale_while_revalidate=switch(0.4, 0.3, 2.0),
        stale_if_error=switch(0.4, 0.3, 3.0),
        retry_pause=switch(0.7, 0.2, 1.0),
        early_refresh=0.5 if chance(0.3) else 0.0,
        l2_soft_timeout=min(switch(0.4, 0.1, 0.3), timeout),
        edge_store=is_eventual,
    )
    faults = []
    for kind in ("slow", "error", "dead"):
        at, lasts, is_there = seconds(0, end), seconds(0.5, 3), chance(0.3)
        if is_there and lasts:
            value = 4.0 if kind == "slow" else 0.5
            faults.append(
                Fault.model_construct(
                    at=at, for_=lasts, tier="l2", kind=BUILT_IN.find(kind), value=value
                )
            )
    cut_at, cut_for = seconds(1, 10), seconds(0.5, 3)
    cut = (cut_at, cut_at + cut_for) if chance(0.4) else None
    plan = Plan(
        seed=seed,
        step=step,
        processes=processes,
        isolates=1 + int(3 * next(tape)),
        is_eventual=is_eventual,
        has_channel=chance(0.6),
        channel_delay=switch(0.5, 0.0, 0.5),
        cut=cut,
        is_scoped=chance(0.1),
        has_tags=chance(0.6),
        ttls={"a": seconds(1.0, 3.0), "b": seconds(2.0, 5.0)},
        policy=policy,
        max_entries=2 if chance(0.3) else 100,
        max_bytes=1000 if chance(0.3) else 10**6,
        breaker=(2 if chance(0.5) else 0, max(seconds(0.5, 2.0), 0.125)),
        tier=L2().model_copy(
            update={
                "read": OnGrid(0.0, slowest / 2, step),
                "cold_read": OnGrid(0.0, slowest, step),
                "write": OnGrid(0.0, slowest, step),
                "cache_ttl": unit,
                "timeout": timeout,
                "consistency": "eventual" if is_eventual else "strong",
            }
        ),
        faults=tuple(faults),
        load_time=(0.0, seconds(0.1, 1.2)),
        load_fails=0.3 if chance(0.3) else 0.0,
        no_loads=(seconds(2, 6), seconds(6, 9)) if chance(0.2) else None,
        slowest_delete=switch(0.5, 0.0, 0.6),
        delete_fails=0.3 if chance(0.2) else 0.0,
        acts=(),
    )
    return _with_acts(plan, end * unit, 60 + int(60 * next(tape)))


_SHARES = (
    ("request", 0.66), ("many", 0.08), ("set", 0.05), ("change", 0.09), ("write", 0.03),
    ("prefix", 0.03), ("tag", 0.04), ("all", 0.01), ("delete_many", 0.01),
)  # fmt: skip


def _with_acts(plan: Plan, end: float, number: int) -> Plan:
    rows = Stream(plan.seed, Purpose.EVENTS, width=10).rows(0, number).tolist()
    acts = []
    for row, (when, which, where, first, second, many, late, cancels, wait, early) in enumerate(
        rows
    ):
        what, left = "request", which
        for name, share in _SHARES:
            if left < share:
                what = name
                break
            left -= share
        # Some keys are hot, so that reads meet each other.
        chosen = [KEYS[int(len(KEYS) * u * u)] for u in (first, second)]
        if what == "request" and many < 0.6:
            del chosen[1:]
        if what in ("many", "set", "delete_many"):
            start = int(len(KEYS) * first)
            chosen = [KEYS[(start + 2 * i) % len(KEYS)] for i in range(1 + int(3 * many))]
            chosen = [key for key in chosen if key[0] == chosen[0][0]]  # one cache type
        target = {
            "change": Selector(keys=tuple(chosen)),
            "delete_many": Selector(keys=tuple(chosen)),
            "set": Selector(keys=tuple(chosen)),
            "prefix": Selector(prefix="a:" if many < 0.5 else "b:"),
            "tag": Selector(tag="even" if many < 0.5 else "x"),
            "all": Selector(prefix=""),
        }.get(what)
        acts.append(
            Act(
                row=row,
                at=plan.snap(end * when),
                what=what,
                isolate=int(plan.processes * plan.isolates * where),
                keys=tuple(dict.fromkeys(chosen)) if what != "request" else tuple(chosen),
                target=target,
                commit=plan.snap(late * end / 40) if late < 0.5 else 0.0,
                cancel_after=plan.snap(wait * end / 14) if cancels < 0.1 else None,
                is_early=early < 0.2,
            )
        )
    acts.sort(key=lambda act: act.at)
    return _replaced(plan, tuple(acts))


def _replaced(plan: Plan, acts: tuple[Act, ...]) -> Plan:
    fields = {name: getattr(plan, name) for name in Plan.__slots__}
    return Plan(**{**fields, "acts": acts})

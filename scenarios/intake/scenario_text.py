"""The scenario file that is written from a log, with what the log does not tell marked as such."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.metrics.histogram import LatencyHistogram
from scenarios.intake.figures import EndpointFigures
from scenarios.intake.rules import LEFT_OUT, KeyFrom, Rule

_READS = ("GET", "HEAD", "*")
_MOST_KPIS = 5
_CPU = 0.001
"""Seconds of CPU of a request, which no log tells."""

_BUSY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFigures:
    """What requests are about: how many different keys, and the exponent of their popularity."""

    count: int
    exponent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a scenario file says of a log.

    stages: seconds and requests/s of the run; counts: accesses by rule; offset: of the trace.
    """

    name: str
    description: str
    trace: str
    rules_file: str
    rules: Sequence[Rule]
    counts: Sequence[int]
    figures: Sequence[EndpointFigures]
    subjects: Mapping[str, SubjectFigures]
    stages: Sequence[tuple[float, float]]
    seconds: float
    offset: int
    is_whole: bool
    profile: Sequence[str]


def endpoint_path(rule: Rule) -> str:
    """Return the path of a request of *rule*, as a scenario writes it: with one placeholder."""
    route, mark, _ = rule.path.partition("?")
    if rule.key is KeyFrom.QUERY:
        return f"{route}{mark}{rule.parameter.decode()}={{{rule.subject}}}"
    route = route.replace("{}", "-")
    if len(rule.placeholders) <= 1:
        return re.sub(r"\{\w+\}", f"{{{rule.subject}}}", route)
    first, last = route.index("{"), route.rindex("}")
    return f"{route[:first]}{{{rule.subject}}}{route[last + 1 :]}"


def scenario_text(written: Written) -> str:
    """Return the text of the scenario file."""
    return "\n".join(_lines(written)) + "\n"


def _lines(w: Written) -> Iterator[str]:
    yield f"# {w.name}: {w.description}"
    yield "#"
    yield f"#   edgeproof simulate {w.name}.toml --trace {w.trace}     as it was"
    yield f"#   edgeproof simulate {w.name}.toml --trace {w.trace} --rate 8x"
    yield f"#   edgeproof plan {w.name}.toml --trace {w.trace}         up to which rate?"
    yield f"#   edgeproof load {w.name}.toml --host URL     does it hold?"
    yield "#"
    yield "# Without --trace, arrivals and keys are drawn: the stages and the popularity below."
    yield "# ASSUMED marks what no log tells. Change it before you believe a prediction."
    for line in w.profile:
        yield f"# {line}" if line else "#"
    yield ""
    yield f"name = {json.dumps(w.name)}"
    yield f"description = {json.dumps(w.description)}"
    warm_up = _warm_up(w.seconds) if w.is_whole else min(5.0, w.seconds / 10)
    yield f'warm_up = "{_seconds(warm_up)}"'
    yield f'duration = "{_seconds(w.seconds - warm_up)}"'
    yield f'start = "{"cold" if w.is_whole else "warm"}"' + (
        "                  # the log begins with it; \"warm\" for a service that has run"
        if w.is_whole else "                  # the trace has accesses before the run"
    )  # fmt: skip
    yield ""
    yield "[traffic]"
    yield "stages = [                      # requests/s, as the log has them"
    for seconds, rate in w.stages[:-1]:
        yield f'  {{ rate = {rate:.4g}, duration = "{_seconds(seconds)}" }},'
    yield f"  {{ rate = {max(w.stages[-1][1], 1e-6):.4g} }},"
    yield "]"
    yield ""
    yield "[trace]"
    yield f"# file = {json.dumps(w.trace)}"
    yield 'time_unit = "s"'
    if w.offset:
        yield f"offset = {w.offset}                 # accesses before the run; they warm the caches"
    used = next(r for r, n in zip(w.rules, w.counts, strict=True) if r.name != LEFT_OUT and n)
    yield f'default = {{ endpoint = "{used.name}" }}'
    yield ""
    for name, subject in w.subjects.items():
        yield f"[subjects.{name}]"
        yield f"count = {subject.count}"
        if subject.count > 1:
            yield _popularity(subject.exponent)
        yield ""
    yield "[endpoints]"
    yield 'preset = "none"'
    yield ""
    for rule, count, figures in zip(w.rules, w.counts, w.figures, strict=True):
        if rule.name != LEFT_OUT and count:
            yield from _endpoint(rule, count, figures)
            yield ""
    busiest = max(rate for _, rate in w.stages)
    processes = max(1, math.ceil(busiest * _CPU / _BUSY))
    yield from (line.format(processes=processes) for line in _SERVICE)
    yield from _kpis(w)


def _warm_up(seconds: float) -> float:
    return min(60.0, math.floor(seconds * 100) / 1000)


def _popularity(exponent: float) -> str:
    if exponent < 0.05:
        return 'popularity = { law = "uniform" }'
    return f'popularity = {{ law = "zipf", exponent = {exponent:g} }}   # fitted to the log'


def _seconds(seconds: float) -> str:
    return f"{round(seconds, 3):g}s" if seconds < 1e6 else f"{round(seconds)}s"


def _endpoint(rule: Rule, count: int, figures: EndpointFigures) -> Iterator[str]:
    yield f"[endpoints.{rule.name}]"
    if figures.latency.count:
        yield f"# The log: {quantiles(figures.latency)}."
    if (ratio := figures.hit_ratio) is not None:
        yield f"# The log: {100 * ratio:.1f} % of cache reads are hits."
    if rule.method not in ("GET", "*"):
        yield f'method = "{rule.method}"'
    yield f"path = {json.dumps(endpoint_path(rule))}"
    if len(rule.placeholders) > 1:
        yield "# Several ids make its key; a load sends them as one segment, percent-encoded."
    if "{}" in rule.path:
        yield "# {} of the rule is sent as -: write what the service knows."
    if rule.key in (KeyFrom.NOTHING, KeyFrom.ADDRESS, KeyFrom.USER):
        yield f'subject = "{rule.subject}"'
    if figures.redirects:
        yield 'status = ["2xx", "3xx"]'
    yield f"weight = {count}"
    if rule.method in _READS:
        yield f'reads = [{{ type = "{rule.name}", ttl = "60s", queries = 1 }}]    # ASSUMED'
    else:
        yield "writes = 1                      # ASSUMED; a log has no bodies: add body for a load"
    yield f'cpu = "{1000 * _CPU:g}ms"                     # ASSUMED: CPU time of a request'


def quantiles(latency: LatencyHistogram) -> str:
    """Return median and tail of *latency* as text."""
    p50, p95, p99 = latency.quantiles((0.5, 0.95, 0.99))
    return f"p50 {_ms(p50)}, p95 {_ms(p95)}, p99 {_ms(p99)}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


_SERVICE = (
    "# ASSUMED: the machines, the shared cache (L2) and the database (L3). edgeproof calibrate",
    "# learns their times from a service. As many processes as are half busy at the peak.",
    "[topology]",
    "processes = {processes}",
    "isolates = 2",
    "",
    "[tiers.l2]",
    'read = {{ p50 = "1ms", p99 = "4ms" }}',
    'cold_read = {{ p50 = "1ms", p99 = "4ms" }}',
    'write = {{ p50 = "1ms", p99 = "4ms" }}',
    "",
    "[tiers.l3]",
    'round_trip = {{ p50 = "2ms", p99 = "8ms" }}',
    'read_execution = {{ p50 = "0.5ms", p99 = "1ms" }}',
    'write_execution = {{ p50 = "1ms", p99 = "5ms" }}',
    "concurrency = 4                 # queries at a time",
    "",
)


def _kpis(w: Written) -> Iterator[str]:
    yield "# ASSUMED: the promises. Where the log tells times, twice its p95; else 200 ms."
    order = sorted(
        (at for at, rule in enumerate(w.rules) if rule.name != LEFT_OUT and w.counts[at]),
        key=lambda at: -w.counts[at],
    )
    for at in order[:_MOST_KPIS]:
        latency = w.figures[at].latency
        limit = 0.2
        if latency.count:
            limit = max(0.01, _rounded(2 * latency.quantile(0.95)))
        yield "[[kpis]]"
        yield f'metric = "p95({w.rules[at].name})"'
        yield f'target = "< {1000 * limit:.6g}ms"'
        yield f'alert = "> {2000 * limit:.6g}ms"'
        yield ""
    yield "[[kpis]]"
    yield 'metric = "error_ratio"'
    yield 'target = "< 0.1%"'
    yield 'alert = "> 1%"'


def _rounded(seconds: float) -> float:
    """Return *seconds* rounded up to two digits."""
    if seconds <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return math.ceil(seconds / step - 1e-9) * step

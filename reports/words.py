"""How figures, bounds and outcomes are put into words that need no glossary."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence

from core.endpoints import CDP, EndpointTable
from core.metrics.charge import Charge
from core.metrics.kpi import Interval, Kpi, Metric, Outcome, Verdict, parse_metric
from core.metrics.ratio import Ratio
from core.metrics.record import RunRecord
from core.metrics.stage import Stage
from core.metrics.verdict import ComparisonRow, outcome
from core.texts import count_of
from core.units import format_duration, format_size

_TEN_MINUTES, _NOTABLE = 600.0, 0.02
"""Growth of memory is told if it is more than this share of the peak in so many seconds."""

SYMBOLS = {
    Outcome.PASS: "✓",
    Outcome.WARN: "▲",
    Outcome.FAIL: "✗",
    Outcome.INCONCLUSIVE: "?",
    Outcome.NOT_MEASURED: "–",
    Outcome.INVALID: "∅",
}
MEANINGS = {
    Outcome.PASS: "meets its target",
    Outcome.WARN: "misses its target, but not its alert line",
    Outcome.FAIL: "crosses its alert line",
    Outcome.INCONCLUSIVE: "cannot be told: its interval lies on both sides of a line",
    Outcome.NOT_MEASURED: "could not be seen in this run",
    Outcome.INVALID: "cannot be told: a flaw of the run could change it",
}
DASH = "—"
_CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def said(outcome: Outcome) -> str:
    """Return *outcome* as symbol and word, so that no colour is needed to tell it."""
    return f"{SYMBOLS[outcome]} {word(outcome)}"


def word(outcome: Outcome) -> str:
    """Return *outcome* as people read it."""
    return outcome.value.replace("_", " ")


def printable(text: str) -> str:
    """Return *text*, which may be anyone's, with control characters as Python escapes them.

    They would move a terminal's cursor, turn the direction of writing, or be no XML.
    """
    return _CONTROL.sub(lambda c: c[0].encode("unicode_escape").decode("ascii"), text)


def describe(metric: Metric, endpoints: EndpointTable = CDP) -> str:
    """Return what *metric* counts, in one phrase; *endpoints*: those of its scenario."""
    if metric.part is not None:
        stage = metric.part.stage
        where = f"stage {stage} of the traffic" if stage else f"the window {metric.part.name}"
        return f"{describe(metric.whole, endpoints)}, in {where}"
    if isinstance(metric.what, Ratio):
        return f"share of {metric.what.title}"
    if isinstance(metric.what, Charge):
        return metric.what.title
    if metric.function == "peak":
        return "most memory held at any time"
    series = endpoints[metric.series].title if metric.what is None else metric.what.title
    if metric.quantile is None:
        return f"{'longest' if metric.function == 'max' else 'mean'} time of {series}"
    return f"{100 * metric.quantile:g} % of {series} take at most this"


def waiting_left_out(metrics: Sequence[Metric]) -> list[str]:
    """Return a line that names those of *metrics* in which no wait shows, nothing without any."""
    stages = [(m.name, m.what) for m in metrics if isinstance(m.what, Stage)]
    named = [f"{name} ({stage.waits})" for name, stage in stages if stage.waits]
    if not named:
        return []
    return [f"Waiting is left out of {listed(named)}: a longer queue does not show there."]


def number(metric: Metric, value: float) -> str:
    """Return *value* with its unit; the sign for infinity alone where there is none."""
    return "∞" if math.isinf(value) else metric.format(value)


def number_of(kpi: Kpi, value: float) -> str:
    """Return *value* as `number` does, with more digits where fewer would move it over a line.

    99.96 ms is not shown as 100 ms where the target is < 100ms.
    """
    metric = kpi.metric
    text = number(metric, value)
    if math.isinf(value):
        return text
    digits, unit, scale = _parts(metric, value, text)
    places = len(digits.partition(".")[2])
    for more in range(1, 16):
        shown = metric.parse_value(_written(metric, digits, unit).replace(" ", ""))
        if all(line.holds(shown) == line.holds(value) for line in (kpi.target, kpi.alert)):
            return text if more == 1 else _written(metric, digits, unit)
        digits = f"{value / scale:.{places + more}f}"
    return _written(metric, digits, unit)


def _written(metric: Metric, digits: str, unit: str) -> str:
    """Return *digits* with their *unit*."""
    if metric.unit == "dollars":
        return f"${digits}"
    return f"{digits} {unit}" if unit else digits


def _parts(metric: Metric, value: float, text: str) -> tuple[str, str, float]:
    """Return the digits and the unit of *text*, and what one of the unit is."""
    digits, _, unit = text.replace(",", "").removeprefix("$").partition(" ")
    if metric.unit in ("dollars", "count"):
        return digits, unit, metric.parse_value(f"1{unit}") if unit else 1.0
    if metric.unit == "ratio" or value == 0:
        return digits, unit, 0.01 if metric.unit == "ratio" else 1.0
    return digits, unit, metric.parse_value(f"1{unit}")


def interval(metric: Metric, value: float, ends: Interval, text: str = "") -> str:
    """Return *ends* in the unit of *value* ("23.4–24.9"), "" if they print as *value* does.

    text: how the value is shown, if not as `number` does.
    """
    if math.isinf(value):
        return "–".join(number(metric, end) for end in ends)
    digits, _, scale = _parts(metric, value, text or number(metric, value))
    places = len(digits.partition(".")[2])
    ends_text = ["∞" if math.isinf(end) else f"{end / scale:.{places}f}" for end in ends]
    return "" if ends_text == [digits, digits] else "–".join(ends_text)


def figure_and_interval(verdict: Verdict | None) -> tuple[str, str]:
    """Return the figure of *verdict* and its interval ("24.1 ms", "23.4–24.9"); a dash for None."""
    if verdict is None or verdict.value is None:
        return DASH, ""
    metric, text = verdict.kpi.metric, number_of(verdict.kpi, verdict.value)
    ends = interval(metric, verdict.value, verdict.interval, text) if verdict.interval else ""
    return text, ends


def with_interval(verdict: Verdict | None) -> str:
    """Return the figure of *verdict* as "24.1 ms (23.4–24.9)", a dash where it is missing."""
    text, ends = figure_and_interval(verdict)
    return f"{text} ({ends})" if ends else text


def signed(error: float | None, metric: Metric) -> str:
    """Return *error* as signed percent, for a ratio as signed percentage points."""
    if error is None:
        return DASH
    if metric.unit != "ratio":
        return signed_percent(error)
    return f"{_signed(100 * error, places=2 if abs(error) < 0.001 else 1)} pt"


def signed_percent(error: float) -> str:
    """Return *error* as percent with a sign ("−4.4 %")."""
    return f"{_signed(100 * error, places=1)} %"


def _signed(value: float, *, places: int) -> str:
    text = f"{abs(value):.{places}f}"
    if float(text) == 0:
        return "0.0"
    return f"{'−' if value < 0 else '+'}{text}"


def error_text(row: ComparisonRow) -> str:
    """Return the error of *row* with its interval, or the range that a flaw leaves open.

    "in doubt" in its place where the range decides whether the prediction is near enough.
    """
    text = "in doubt" if row.is_error_in_doubt else signed(row.error, row.kpi.metric)
    ends = row.error_interval if row.error_ends is None else row.error_ends
    if row.error is None or ends is None or any(map(math.isinf, ends)):
        return text
    low, high = (signed(end, row.kpi.metric) for end in ends)
    return text if low == high == text else f"{text} ({low.rpartition(' ')[0]} to {high})"


def decisive(row: ComparisonRow) -> Verdict | None:
    """Return the side of *row* that counts: the measured one where there is one."""
    return row.measured or row.predicted


def outcome_of(row: ComparisonRow) -> Outcome:
    """Return the outcome of the side that counts, NOT_MEASURED where there is none."""
    verdict = decisive(row)
    return verdict.outcome if verdict is not None else Outcome.NOT_MEASURED


def differing_prediction(row: ComparisonRow) -> str:
    """Return "predicted WARN" where the prediction came to another outcome than the measurement."""
    if row.measured is None or row.predicted is None:
        return ""
    if row.predicted.outcome is row.measured.outcome:
        return ""
    return f"predicted {word(row.predicted.outcome)}"


def verdict_text(row: ComparisonRow) -> str:
    """Return the outcome that counts, with the predicted one where the two differ."""
    other = differing_prediction(row)
    return f"{word(outcome_of(row))} ({other})" if other else word(outcome_of(row))


def used(kpi: Kpi, value: float) -> float:
    """Return how much of its target's allowance *value* uses: 1 at the target, more beyond it.

    value/target for an upper bound. For a ratio that is to stay high it is what is missing to 1,
    over what may be missing (97 % of 95 % uses 0.6); for any other lower bound target/value.
    """
    target = kpi.target.value
    if not kpi.target.is_upper and kpi.metric.unit == "ratio" and target < 1:
        value, target = 1 - value, 1 - target
    elif not kpi.target.is_upper:
        value, target = target, value
    if target == 0:
        return math.inf if value > 0 else 1.0
    return value / target


def axis_duration(seconds: float) -> str:
    """Return *seconds* for an axis: as few digits as it takes."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale * 0.9999:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds / 1e-9:.4g} ns"


def rate_text(rate: float) -> str:
    """Return an arrival rate with its unit ("1,210 requests/s")."""
    return f"{rate:,.0f} requests/s" if rate >= 10 else f"{rate:.3g} requests/s"


def all_of(number: int) -> str:
    """Return "All 8", or "Both" for 2."""
    return "Both" if number == 2 else f"All {number}"


def listed(names: Sequence[str]) -> str:
    """Return *names* as English lists them ("a, b and c")."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def distance(verdict: Verdict, *, is_predicted: bool = False) -> str:
    """Return where the figure lies, as a clause ("p95_track is 231 ms, target < 100ms")."""
    if verdict.value is None:
        return f"{verdict.kpi.name} could not be seen"
    value = number_of(verdict.kpi, verdict.value)
    if math.isinf(verdict.value):
        value = "beyond any limit, because requests failed"
    verb = "is predicted to be" if is_predicted else "is"
    return f"{verdict.kpi.name} {verb} {value}, target {verdict.kpi.target_text}"


def doubt(verdict: Verdict) -> str:
    """Return that the requests in doubt decide on *verdict*, as a sentence; "" if they do not."""
    if verdict.outcome is not Outcome.INVALID or verdict.possible is None:
        return ""
    kpi, outcomes = verdict.kpi, verdict.at_ends or (verdict.outcome, verdict.outcome)
    low, high = (number_of(kpi, end) for end in verdict.possible)
    of_runs = f", as a mean of {count_of(verdict.runs, 'run')}" if verdict.runs > 1 else ""
    return (
        f"{kpi.name} lies between {low} and {high}{of_runs}: {word(outcomes[0])} with the requests "
        f"in doubt at their best, {word(outcomes[1])} at their worst."
    )


def closeness(rows: Sequence[ComparisonRow]) -> str:
    """Return how far the prediction of times and sizes was off at most, "" if nothing compares.

    Of a flawed measurement at worst; "" if requests in doubt decide on one of them.
    """
    told = [row for row in rows if row.error is not None and _is_relative(row)]
    if any(row.is_error_in_doubt for row in told):
        return ""
    errors = {row.kpi.name: max(row.error_ends or (row.error or 0.0,), key=abs) for row in told}
    if not errors:
        return ""
    worst = max(errors, key=lambda name: abs(errors[name]))
    off = f"{abs(100 * errors[worst]):.1f} %"
    if len(errors) == 1:
        return f"{worst} was predicted {off} off"
    return (
        f"the predicted times and sizes lie within {off} of the measured ones, {worst} the farthest"
    )


def _is_relative(row: ComparisonRow) -> bool:
    return row.kpi.metric.unit != "ratio"


def outcome_sentence(rows: Sequence[ComparisonRow], found: Outcome | None = None) -> str:
    """Return one sentence on what the KPIs came to, naming those that do not meet their target.

    found: the outcome of the run, if it is not that of *rows* alone.
    """
    judged = [v for v in map(decisive, rows) if v is not None]
    seen = [v for v in judged if v.outcome is not Outcome.NOT_MEASURED]
    if not seen:
        return "Nothing could be judged"
    is_measured = any(row.measured is not None for row in rows)
    if (found or outcome(rows)) is Outcome.INVALID:
        where = "measured" if is_measured else "predicted"
        told = [v.kpi.name for v in seen if v.outcome is Outcome.INVALID and v.possible is not None]
        why = "its figures prove nothing"
        if told:
            why = f"its flaws could change the verdict on {listed(told)}"
        return f"The {where} run is invalid: {why}"
    good = [v for v in seen if v.outcome is Outcome.PASS]
    unseen = f" ({len(judged) - len(seen)} not seen)" if len(seen) < len(judged) else ""
    if len(good) == len(seen):
        one = len(seen) == 1
        who = seen[0].kpi.name if one else f"{all_of(len(seen))} KPIs"
        target = "its target" if one else "their targets"
        if is_measured:
            return f"{who} {'meets' if one else 'meet'} {target}, as measured{unseen}"
        return f"{who} {'is' if one else 'are'} predicted to meet {target}{unseen}"
    order = [Outcome.FAIL, Outcome.WARN, Outcome.INCONCLUSIVE, Outcome.INVALID]
    clauses = []
    for each in order:
        names = [v.kpi.name for v in seen if v.outcome is each]
        if names:
            clauses.append(f"{listed(names)} {verb(each, len(names), is_measured=is_measured)}")
    total = count_of(len(seen), "KPI")
    met = "met as measured" if is_measured else "predicted to be met"
    return f"{len(good)} of {total} {met}{unseen}: {'; '.join(clauses)}"


_VERBS = {
    Outcome.FAIL: ("crosses its alert line", "cross their alert lines"),
    Outcome.WARN: ("misses its target", "miss their targets"),
    Outcome.INCONCLUSIVE: (
        "is inconclusive, its interval straddles a line",
        "are inconclusive, their intervals straddle a line",
    ),
    Outcome.INVALID: (
        "cannot be told: the requests in doubt decide",
        "cannot be told: the requests in doubt decide",
    ),
}
_PREDICTED_VERBS = {
    Outcome.FAIL: (
        "is predicted to cross its alert line",
        "are predicted to cross their alert lines",
    ),
    Outcome.WARN: ("is predicted to miss its target", "are predicted to miss their targets"),
    Outcome.INCONCLUSIVE: _VERBS[Outcome.INCONCLUSIVE],
    Outcome.INVALID: _VERBS[Outcome.INVALID],
}


def verb(outcome: Outcome, number: int, *, is_measured: bool) -> str:
    """Return what *number* KPIs of *outcome* do, or are predicted to do."""
    verbs = _VERBS if is_measured else _PREDICTED_VERBS
    return verbs[outcome][number > 1]


_OF_ERROR = (
    " The error's interval is what chance in service times does to it: 95 % of two runs of the "
    "same requests, one predicted and one measured, lie so far apart."
)


def basis(rows: Sequence[ComparisonRow], *, one_more: bool = False) -> str:
    """Return what the figures of *rows* are, "" for one measured run alone.

    one_more: whether the predicted intervals are those for one more run.
    """
    predicted = [row.predicted for row in rows if row.predicted is not None]
    measured = [row.measured for row in rows if row.measured is not None]
    texts = []
    if predicted and max(verdict.runs for verdict in predicted) == 1:
        texts.append(
            "Predicted: one run, of the requests that were measured; it has no interval."
            f"{_OF_ERROR if any(row.error_interval for row in rows) else ''}"
            if measured
            else "Predicted: one run, without an interval."
        )
    elif predicted:
        texts.append(_of_several("Predicted", predicted, "replication", one_more=one_more))
    if measured and max(verdict.runs for verdict in measured) > 1:
        texts.append(_of_several("Measured", measured, "run"))
    return " ".join(texts)


def _of_several(
    side: str, verdicts: Sequence[Verdict], noun: str, *, one_more: bool = False
) -> str:
    runs = max(verdict.runs for verdict in verdicts)
    what = "prediction interval for one more run" if one_more else "confidence interval of the mean"
    text = f"{side}: mean of {runs} {noun}s, and the 95 % {what}."
    fewer = [v for v in verdicts if v.value is not None and v.runs < runs]
    if fewer:
        told = (f"{v.kpi.name} in {v.runs}" for v in fewer)
        text += f" Not every {noun} saw all of them: {listed(list(told))}."
    return text


def saturation_sentence(record: RunRecord) -> str:
    """Return which servers of a simulation are saturated, and what they can carry."""
    names = listed([f"the {name}" for name in record.saturated])
    is_one = len(record.saturated) == 1
    rate = rate_text(min(record.saturated.values()))
    text = f"{names[0].upper()}{names[1:]} {'is' if is_one else 'are'} saturated"
    return f"{text}: {'it' if is_one else 'they'} can carry about {rate}."


def servers(record: RunRecord) -> list[str]:
    """Return what is to be said of a simulation's servers and memory, a sentence each."""
    if record.engine != "simulate":
        return []
    lines = [] if record.saturated else _tiers(record)
    lines += [
        f"The {name} is asked for {record.utilisation[name]:.2f} seconds of work a second, so its "
        f"queue grows without bound; it can carry about {rate_text(carries)}."
        for name, carries in record.saturated.items()
    ]
    if record.saturated:
        return [
            *lines,
            f"The run was ended {record.duration:.3g} s after its warm-up: the figures are those "
            "of its beginning, and waiting times grow with its length.",
        ]
    if record.utilisation:
        name, most = max(record.utilisation.items(), key=lambda pair: pair[1])
        busy = f"at work {100 * most:.0f} % of the time"
        if most > 1:
            busy = f"asked for {most:.2f} seconds of work a second, more than it can do"
        lines.append(f"Busiest server: the {name}, {busy}.")
    growth, peak = record.memory_growth, record.memory_peak
    if growth and peak and growth * _TEN_MINUTES > _NOTABLE * peak:
        lines.append(
            f"peak_memory grows by {format_size(60 * growth)} a minute at the end of the run: "
            "journeys grow with every event, so a longer run has more."
        )
    return lines


def _tiers(record: RunRecord) -> list[str]:
    """Return who answered the cache reads."""
    told = []
    for name, ratio in (("L1", "l1"), ("L2", "l2"), ("the origin", "miss")):
        found = record.estimate(parse_metric(f"ratio({ratio})"))
        if found is not None:
            told.append(f"{name} {100 * found.value:.1f} %")
    return [f"Cache reads: {', '.join(told)}."] if told else []


def side_title(record: RunRecord) -> str:
    """Return what a report on *record* alone is about ("predicted, mean of 10 replications")."""
    if record.engine == "load":
        return "measured" if record.runs == 1 else f"measured, mean of {record.runs} runs"
    if record.runs == 1:
        return "predicted, one run"
    return f"predicted, mean of {record.runs} replications"


def tied(text: str) -> str:
    """Return *text* with a space that does not break between a number and its unit."""
    return re.sub(r"(?<=\d) (?=[^\W\d]|%)", "\u00a0", text)


def wrapped(text: str, width: int) -> str:
    """Return *text* broken into as few lines of at most *width* characters, about equally long."""
    text = tied(text)
    number = len(textwrap.wrap(text, width))
    narrower = range(max(1, len(text) // max(1, number)), width)
    fitting = (w for w in narrower if len(textwrap.wrap(text, w)) == number)
    return "\n".join(textwrap.wrap(text, next(fitting, width)))


def duration(seconds: float) -> str:
    """Return *seconds* with its unit, "failed" for the infinite time of a failed request."""
    return "failed" if math.isinf(seconds) else format_duration(seconds)


def state(outcome: Outcome) -> str:
    """Return the class under which a style sheet has *outcome*."""
    return outcome.value.lower().replace("_", "-")

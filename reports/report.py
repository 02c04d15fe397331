"""What a report is about: the rows, the records behind them, and what else a reader has to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.endpoints import CDP, EndpointTable
from core.metrics.capacity import CapacityPlan
from core.metrics.kpi import Kpi, Outcome
from core.metrics.record import RunRecord
from core.metrics.verdict import ComparisonRow, not_compared
from core.scenario.fault_kinds import BUILT_IN, FaultKinds
from reports import words
from reports.capacity_words import capacity_finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run, or a prediction and its measurement, or a capacity plan, ready to be written.

    kpis: needed for a plan without rows, otherwise those of the rows. model_verdict: a sentence on
    how far the prediction can be believed. facts: label and value. required: KPIs that count as
    failed where they were not measured. seconds: what the run took, None if that is not known.
    gate, strict, model_holds: what decided the command's exit code, for junit.xml to agree with it.
    answer: word and sentence of a report that is about another question than the KPIs.
    fault_kinds: what names the faults of the records, beside the kinds of installed packages.
    """

    title: str
    rows: Sequence[ComparisonRow]
    outcome: Outcome
    predicted: RunRecord | None = None
    measured: RunRecord | None = None
    plan: CapacityPlan | None = None
    kpis: Sequence[Kpi] = ()
    model_verdict: str | None = None
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    required: Sequence[str] = ()
    seconds: float | None = None
    gate: str = "target"
    strict: bool = False
    model_holds: bool = True
    fault_kinds: FaultKinds = BUILT_IN
    answer: tuple[str, str] | None = None

    @property
    def endpoints(self) -> EndpointTable:
        """The endpoints of the run that counts, the CDP's where there is none."""
        record = self.measured or self.predicted
        return CDP if record is None else record.endpoints

    @property
    def judged(self) -> Sequence[Kpi]:
        """The KPIs that the figures show."""
        return self.kpis or [row.kpi for row in self.rows]

    @property
    def invalid_reasons(self) -> list[str]:
        """Why a run cannot be trusted; empty if it can, or if its outcome holds in spite of it."""
        return self.flaws if self.outcome is Outcome.INVALID else []

    @property
    def flaws(self) -> list[str]:
        """What is wrong with the load that was measured."""
        records = [record for record in (self.measured, self.predicted) if record is not None]
        return [reason for r in records if r.audit is not None for reason in r.audit.invalid]

    @property
    def doubts(self) -> list[str]:
        """The flaws, which figures they leave open, and whether the outcome holds in spite of them.

        Empty for a run without flaws, and for one whose flaws leave every figure open.
        """
        if not self.flaws:
            return []
        told = [words.doubt(v) for v in map(words.decisive, self.rows) if v is not None]
        open_ones = [text for text in told if text]
        if self.outcome is Outcome.INVALID:
            return open_ones
        return [
            *(f"In doubt: {flaw}." for flaw in self.flaws),
            *open_ones,
            f"{words.word(self.outcome)} holds in spite of this: it is the outcome with the "
            "requests in doubt at their best and at their worst.",
        ]

    @property
    def missing(self) -> list[str]:
        """The required KPIs that nobody could see."""
        sides = [(row.kpi.name, words.decisive(row)) for row in self.rows]
        return [
            name
            for name, verdict in sides
            if name in self.required
            and (verdict is None or verdict.outcome is Outcome.NOT_MEASURED)
        ]

    def reason(self, row: ComparisonRow) -> tuple[Outcome, str]:
        """Return what *row* came to, and why in one clause."""
        verdict = words.decisive(row)
        if row.kpi.name in self.missing:
            return Outcome.FAIL, f"{row.kpi.name} is required and could not be measured"
        if verdict is None:
            return Outcome.NOT_MEASURED, words.MEANINGS[Outcome.NOT_MEASURED]
        if verdict.outcome is Outcome.INVALID:
            reasons = "; ".join(filter(None, [words.doubt(verdict).rstrip("."), *self.flaws]))
            return Outcome.INVALID, reasons or words.MEANINGS[Outcome.INVALID]
        distance = words.distance(verdict, is_predicted=row.measured is None)
        reason = f"{distance}, alert {row.kpi.alert_text}"
        if verdict.outcome in (Outcome.INCONCLUSIVE, Outcome.NOT_MEASURED):
            reason = f"{reason}; {words.MEANINGS[verdict.outcome]}"
        return verdict.outcome, reason

    @property
    def is_plan(self) -> bool:
        """Whether it tells of a plan, which is no verdict on a run."""
        return not self.rows and self.plan is not None

    @property
    def word(self) -> str:
        """What stands above all: the verdict, or the rate that a plan has found."""
        if self.answer is not None:
            return self.answer[0]
        if self.is_plan and self.plan is not None and self.plan.highest_rate is not None:
            knee = self.plan.knee
            return words.rate_text(self.plan.highest_rate if knee is None else knee.rate)
        return "NO RATE" if self.is_plan else words.word(self.outcome)

    @property
    def state(self) -> str:
        """The class of the style sheet that gives the word its colour."""
        if self.answer is not None:
            return words.state(Outcome.NOT_MEASURED)
        if not self.is_plan:
            return words.state(self.outcome)
        return words.state(Outcome.FAIL if self.word == "NO RATE" else Outcome.PASS)

    @property
    def symbol(self) -> str:
        """The sign before the word."""
        return "→" if self.is_plan or self.answer is not None else words.SYMBOLS[self.outcome]

    @property
    def sentence(self) -> str:
        """What happened, in one sentence."""
        if self.answer is not None:
            return self.answer[1]
        if not self.rows and self.plan is not None:
            return f"{capacity_finding(self.plan)}."
        if self.measured is None and self.predicted is not None and self.predicted.saturated:
            return words.saturation_sentence(self.predicted)
        text = words.outcome_sentence(self.rows, self.outcome)
        if self.missing:
            verb = "is" if len(self.missing) == 1 else "are"
            text += f"; {words.listed(self.missing)} {verb} required and could not be measured"
        return f"{text}."

    @property
    def basis(self) -> str:
        """What the predicted figures are: a mean with its interval, or one run; "" without any."""
        one_more = self.predicted is not None and self.predicted.one_more
        return words.basis(self.rows, one_more=one_more)

    @property
    def shows_one_run(self) -> bool:
        """Whether the figures judged are means, while reads and curves are those of one run."""
        record = self.measured or self.predicted
        return record is not None and record.runs > 1

    @property
    def all_notes(self) -> list[str]:
        """The notes of the report and of its records, each once."""
        sides = (("Prediction", self.predicted), ("Measurement", self.measured))
        notes = list(self.notes)
        if self.predicted is not None and self.measured is None:
            notes += words.servers(self.predicted)
        metrics = [kpi.metric for kpi in self.judged]
        notes += not_compared(metrics, self.predicted, self.measured)
        for side, record in sides:
            for note in record.notes if record is not None else ():
                # What a calibration found stands there already if this report's run learned it.
                if not {note, note.removeprefix("calibration: ")} & set(notes):
                    notes.append(f"{side}: {note}")
        return list(dict.fromkeys(notes))

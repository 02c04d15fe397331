"""edgeproof curve SCENARIO: who answers the reads over the size and the TTLs of its caches."""

from __future__ import annotations

import csv
import io
import json as json_module
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from core.texts import count_of
from edgeproof.asked import asked as asked_of
from edgeproof.finish import show_table
from edgeproof.options import tell_notes
from edgeproof.progress import Display
from edgeproof.runs import new_folder, run_facts, shown_facts, write_json
from edgeproof.scenario_curve_panels import (
    aim_table,
    answer_of,
    answers_table,
    axis_table,
    notes_of,
    panels_of,
    rows_of,
)

if TYPE_CHECKING:  # numba is slow to import
    from sim.curves.scenario_curve import ScenarioCurve

_AIM = (
    "The size at the scenario's TTLs, and the TTL at its size. In brackets what the place before "
    "reaches."
)

ISOLATES = ("1", "4", "16", "request")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfScenario:
    """What was asked for of a scenario; aim: a share of the reads that L1 is to answer."""

    isolates: tuple[str, ...]
    sizes: tuple[int, ...]
    ttls: tuple[float, ...]
    l2_factors: tuple[float, ...]
    shuffles: int
    replications: int
    aim: float | None
    is_quick: bool


def curve_of_scenario(
    scenario: Scenario, source: str, asked: OfScenario, *, out: Path | None, plain: bool, json: bool
) -> int:
    """Count, write and print the curves of *scenario*; return the exit code."""
    from sim.curves.scenario_curve import Asked, scenario_curve  # numba is slow to import

    workload = prepare_measured(scenario).workload
    tell_notes(workload)
    told = asked_of(scenario, source, workload=workload)
    started = monotonic()
    display = Display(plain=plain, quiet=json)
    with display.open():
        found = scenario_curve(
            scenario,
            Asked(
                isolates=asked.isolates or ISOLATES, sizes=asked.sizes, ttls=asked.ttls,
                l2_factors=asked.l2_factors, mixes=asked.shuffles,
                replications=asked.replications, check=not asked.is_quick,
            ),
            tell=lambda share, step: display.update("counting", share, step),
        )  # fmt: skip
        display.update("counting", 1.0)
    panels = panels_of(found)
    folder = new_folder(out, f"curve-{scenario.name}")
    facts = run_facts("curve", {"curve": monotonic() - started}, asked=told)
    from reports.document import write_exhibit
    from reports.exhibit import Exhibit, Section

    answer, answers = answer_of(found, asked.aim), answers_table(found)
    notes = [*workload.notes, *notes_of(found)]
    own = (
        f"At the scenario's {count_of(scenario.tiers.l1.max_entries, 'entry', 'entries')} of L1, "
        f"its TTL of {scenario.tiers.l1.ttl:g} s, and its TTLs of L2. * The scenario's own "
        "isolates; simulated: by whole simulations. Neither: a load from the database, or another "
        "read's that was waited for; loads: the first of these alone."
    )
    aimed = (
        {}
        if asked.aim is None
        else {f"What it takes for L1 to answer {100 * asked.aim:g} %": aim_table(found, asked.aim)}
    )
    tables = {
        "Misses over L1's size": axis_table(found, found.axis("size")),
        "Misses over L1's TTL": axis_table(found, found.axis("ttl")),
        "Misses over L2's TTLs": axis_table(found, found.axis("l2_ttl")),
    }
    exhibit = Exhibit(
        kind="Miss-ratio curves",
        title=f"{scenario.name}: {count_of(found.reads, 'cache read')} of "
        f"{count_of(found.keys, 'key')}",
        answer=answer,
        sections=[
            Section(heading="Who answers", text=own, table=answers),
            *(Section(heading=name, text=_AIM, table=table) for name, table in aimed.items()),
            *(Section(heading=panel.heading, panel=panel) for panel in panels),
            *(
                Section(heading=name, text="* the scenario's own.", table=table)
                for name, table in tables.items()
            ),
        ],
        notes=notes,
        facts=shown_facts(facts),
        data={
            "way": "simulation" if found.why else "pass", "reads": found.reads,
            "keys": found.keys, "replications": found.replications, "isolates": rows_of(found),
            "panels": [each.to_json() for each in panels],
        },
    )  # fmt: skip
    write_exhibit(folder, exhibit, "curve", {"curve.csv": _csv_of(found)})
    write_json(folder / "run.json", facts)
    if json:
        print(
            json_module.dumps(
                {"out": str(folder), "answer": answer, **exhibit.data, "notes": notes}
            )
        )
        return 0
    show_table(answers, plain=plain)
    for table in (*aimed.values(), tables["Misses over L1's size"], tables["Misses over L1's TTL"]):
        print()
        show_table(table, plain=plain)
    print(answer)
    for line in notes_of(found):
        print(line)
    print(f"Report: {folder / 'curve.html'}")
    return 0


def _csv_of(found: ScenarioCurve) -> bytes:
    """Return every share at every place, a row each, with its interval."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("over", "place", "isolates", "order", "answered_by", "share", "low", "high"))
    for axis in found.axes:
        base = next(iter(axis.real)) if axis.name == "l2_ttl" else found.base
        lines = [(name, "real", each) for name, each in axis.real.items()]
        lines += [(base, "random", axis.mixed)] if axis.mixed else []
        for name, order, each in lines:
            for place, shares in zip(axis.places, each, strict=True):
                for tier in ("l1", "l2", "origin", "loaded"):
                    estimate = getattr(shares, tier)
                    ends = ("", "") if estimate.interval is None else estimate.interval
                    start = (axis.name, f"{place:g}", name, order, tier)
                    rows.writerow((*start, repr(estimate.value), *ends))
        for place, (l1, both) in zip(axis.places, axis.theory, strict=False):
            for tier, share in (("l1", 1 - l1), ("l2", l1 - both), ("origin", both)):
                rows.writerow((axis.name, f"{place:g}", base, "theory", tier, repr(share), "", ""))
    return text.getvalue().encode()

"""The runs of a grid of scenarios, with progress, for the commands that need one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Annotated

import typer

from core.scenario.calibration import Calibration
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from edgeproof.progress import Display
from edgeproof.simulate import jobs
from sim.coverage import uncovered
from sim.engine_name import EngineName
from sim.engines import REFERENCE_RATE, WORTH_PROCESSES, Engine
from sim.grid import Listener, run_grid
from sim.kept_runs import KeptRuns
from sim.places import Places, local_places

REFERENCE_START = 0.05
"""Seconds that a run of the reference takes to begin, about."""

ReplicationsOption = Annotated[
    int,
    typer.Option(
        "--replications", min=1, max=200, metavar="N",
        help="Runs of every combination, the same random numbers in all.",
        rich_help_panel="Simulation",
    ),
]  # fmt: skip
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="ADDRESS",
        help="Simulate on the workers of the Dask scheduler at ADDRESS, such as "
        "tcp://10.0.0.5:8786 (needs pip install 'edgeproof[dask]').",
        rich_help_panel="Simulation",
    ),
]  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Grid:
    """Makes runs at *places*, and tells *display* how far it is.

    made: how many runs were made. phase: what the display calls them.
    """

    places: Places
    kept: KeptRuns
    display: Display
    phase: str
    made: int = 0

    def run(self, scenarios: Sequence[tuple[str, Scenario]], numbers: Sequence[int]) -> None:
        """Make the runs of *numbers* that are not known; Ctrl-C leaves those made in `kept`."""
        begun, before = monotonic(), self.made
        if all(len(self.kept.of(each, numbers)) == len(numbers) for _, each in scenarios):
            return

        def tell(done: int, total: int) -> None:
            self.made = before + done
            left = (monotonic() - begun) / done * (total - done)
            detail = f"{done:,} of {total:,} runs"
            if done < total:
                detail += f", {span(left)} left"
            self.display.update(self.phase, done / total, detail)

        self.display.update(self.phase, 0.0)
        run_grid(
            scenarios, numbers, self.places, self.kept,
            Listener(on_done=tell, on_lost=self.display.say),
        )  # fmt: skip


def span(seconds: float) -> str:
    """Return a time that is left, as people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which engine simulates the scenarios of a grid, and what a reader has to know of it."""

    engine: Engine
    asked: EngineName
    notes: tuple[str, ...]


def chosen_engine(
    asked: EngineName,
    scenarios: Sequence[Scenario],
    calibration: Calibration | None,
    *,
    runs: int,
    on_compiling: Callable[[], None],
) -> Chosen:
    """Return the engine for *runs* runs of each of *scenarios*, compiled where it has to be.

    Raise InputError if the compiled one was asked for and does not simulate one of them.
    """
    first = prepare_measured(scenarios[0])
    requests = float(len(first.workload) * len(scenarios) * runs)
    engine = Engine(asked=asked, requests=requests, on_compiling=on_compiling)
    reasons: dict[str, int] = {}
    covered: Scenario | None = None
    for scenario in scenarios:
        prepared = first if scenario is scenarios[0] else prepare_measured(scenario)
        if asked == "compiled":
            engine.prepare(scenario, prepared, calibration)
        elif asked == "auto":
            if reason := uncovered(scenario, prepared, calibration):
                reasons[reason] = reasons.get(reason, 0) + 1
            elif covered is None:
                covered = scenario
    if covered is not None:
        engine.prepare(covered, prepare_measured(covered), calibration)
    notes = tuple(
        f"The reference simulated {number} of {len(scenarios)}: the compiled engine does not "
        f"simulate {reason}."
        for reason, number in reasons.items()
    )
    # A reason of the machine, such as a run that is over before it is compiled, holds for all.
    is_reference = asked == "reference" or (asked == "auto" and (covered is None or engine.why))
    return Chosen(engine=engine, asked="reference" if is_reference else asked, notes=notes)


@contextmanager
def opened_grid(
    chosen: Chosen,
    kept: KeptRuns,
    calibration: Calibration | None,
    *,
    display: Display,
    runs: int,
    phase: str,
    cluster: str | None = None,
) -> Iterator[Grid]:
    """Yield a grid whose *runs* runs are spread over this machine's processors, or a *cluster*'s.

    Raise InputError as `cluster_places` does.
    """
    with ExitStack() as stack:
        if cluster is not None and runs:
            from sim.cluster import cluster_places

            remote = cluster_places(cluster, calibration, chosen.engine, asked=chosen.asked)
            places = stack.enter_context(remote)
            yield Grid(places=places, kept=kept, display=display, phase=phase)
            return
        count = min(chosen.engine.processes(jobs(), runs), max(1, runs))
        if chosen.asked == "reference":
            seconds = runs * REFERENCE_START + chosen.engine.requests / REFERENCE_RATE
            count = count if seconds > WORTH_PROCESSES else 1
        places = stack.enter_context(
            local_places(count, calibration, chosen.engine, asked=chosen.asked)
        )
        yield Grid(places=places, kept=kept, display=display, phase=phase)

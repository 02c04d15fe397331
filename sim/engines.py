"""The engines of a simulation: the readable reference, and a compiled one that equals it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from core.errors import InputError
from core.scenario.calibration import Calibration
from core.scenario.replay import Prepared
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState
from sim.clients import replication_of
from sim.coverage import NotCovered, uncovered
from sim.engine_name import EngineName
from sim.model import Played, ReplicationOutcome, SeededDatabase

REFERENCE_RATE = 15_000
"""Requests per second that the reference simulates, about."""
COMPILING = 20.0
"""Seconds that it takes to compile the other one, about."""
LOADING = 0.5
"""Seconds that it takes to load what was compiled before."""
COMPILED_RATE = 1_000_000
"""Requests per second that the compiled engine simulates, about."""
COMPILED_START = 0.15
"""Seconds that the compiled engine takes to begin a run, about."""
WORTH_PROCESSES = 4.0
"""Seconds of work that other processes are started for: a start takes about two."""


@dataclass(slots=True, kw_only=True)
class Engine:
    """The engine of one command's runs.

    asked: the user's choice. requests: of all its runs, about. on_compiling: called before the
    first compilation. used: which engine runs were simulated by. why: why the reference was used
    where the choice was left to the program, "" if it was not.
    """

    asked: EngineName = "reference"
    requests: float = 0.0
    on_compiling: Callable[[], None] = field(default=lambda: None)
    used: set[str] = field(default_factory=set)
    why: str = ""
    _is_fast: bool = False

    def run(
        self,
        scenario: Scenario,
        prepared: Prepared,
        state: WarmState,
        seeded: SeededDatabase,
        *,
        replication: int = 0,
        calibration: Calibration | None = None,
        played: Played | None = None,
        ends_early: bool = False,
        on_progress: Callable[[float], None] | None = None,
    ) -> ReplicationOutcome:
        """Simulate one replication; Saturated as `Replication.run` raises it.

        Raise InputError if the compiled engine was asked for and does not simulate all of it.
        """
        options: dict[str, Any] = {
            "replication": replication, "calibration": calibration, "played": played,
            "ends_early": ends_early, "on_progress": on_progress,
        }  # fmt: skip
        if self._is_compiled(scenario, prepared, calibration, played):
            from sim.compiled.replication import CompiledReplication

            try:
                outcome = CompiledReplication(scenario, prepared, state, seeded, **options).run()
            except NotCovered as reason:
                self._refuse(scenario, str(reason))
            else:
                self.used.add("compiled")
                return outcome
        self.used.add("reference")
        run = replication_of(scenario, prepared, state, seeded, **options)
        try:
            return run.run()
        finally:
            run.loop.close()

    @property
    def chosen(self) -> EngineName:
        """The user's choice; the reference once the compiled engine was found not to serve."""
        return "reference" if self.asked == "auto" and self.why else self.asked

    def prepare(
        self,
        scenario: Scenario,
        prepared: Prepared,
        calibration: Calibration | None = None,
        played: Played | None = None,
    ) -> None:
        """Compile, if these runs need it and it was not done before; the processes then load it.

        Raise InputError as `run` does.
        """
        self._is_fast = self._is_compiled(scenario, prepared, calibration, played)
        if self._is_fast:
            from sim.compiled.store import is_compiled, note_compiled

            if not is_compiled():
                from sim.compiled.replication import compile_all

                compile_all()
                note_compiled()

    def processes(self, most: int, runs: int) -> int:
        """Return how many processes, *most* at most, *runs* runs are worth, after `prepare`."""
        if not self._is_fast:
            return most
        seconds = runs * COMPILED_START + self.requests / COMPILED_RATE
        return most if seconds > WORTH_PROCESSES else 1

    def _is_compiled(
        self,
        scenario: Scenario,
        prepared: Prepared,
        calibration: Calibration | None,
        played: Played | None,
    ) -> bool:
        if self.asked == "reference":
            return False
        reason = uncovered(scenario, prepared, calibration, played)
        if reason:
            self._refuse(scenario, reason)
            return False
        if find_spec("numba") is None:
            if self.asked == "compiled":
                raise InputError(
                    "--engine compiled needs the package numba; install it (pip install numba), "
                    "or use --engine reference"
                )
            self.why = "numba is not installed"
            return False
        if "sim.compiled.loop" in sys.modules:
            return True
        return self._is_worth_it(len(prepared.workload))

    def _is_worth_it(self, planned: int) -> bool:
        from sim.compiled.store import is_compiled

        is_there = is_compiled()
        if self.asked == "auto":
            seconds = max(self.requests, planned) / REFERENCE_RATE
            if seconds < (LOADING if is_there else COMPILING):
                self.why = (
                    "the run is over before the compiled engine is loaded"
                    if is_there
                    else "compiling the other one takes longer than the run"
                )
                return False
        if not is_there:
            self.on_compiling()
        return True

    def _refuse(self, scenario: Scenario, reason: str) -> None:
        """Note why the reference runs; InputError if the compiled engine was asked for."""
        if self.asked == "compiled":
            raise InputError(
                f"{scenario.name}: the compiled engine does not simulate {reason}; use --engine "
                "reference, or auto, which does so by itself"
            )
        self.why = f"the compiled engine does not simulate {reason}"

    @property
    def line(self) -> str:
        """The sentence that says why the reference simulated what the other does not, or ""."""
        if self.asked != "auto" or "does not simulate" not in self.why:
            return ""
        return f"The reference simulated this: {self.why}."

    @property
    def told(self) -> str:
        """Which engine simulated, and why it was the reference, in one line."""
        name = " and ".join(sorted(self.used)) or "reference"
        return f"{name} ({self.why})" if self.why and "reference" in self.used else name

"""Claims about the runs of several scenarios: killed processes, and what is kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import BrokenExecutor, Future
from multiprocessing import connection
from pathlib import Path

import pytest

from core.errors import EdgeproofError
from core.scenario.scenario import Scenario
from sim.engines import Engine
from sim.grid import Listener, run_grid
from sim.kept_runs import KeptRuns
from sim.places import Here, local_places
from sim.replications import Found
from tests.sim.runs import small_scenario

NUMBERS = range(3)


def scenarios() -> list[tuple[str, Scenario]]:
    return [
        (f"L1 of {size}", small_scenario(rate=40.0, tiers={"l1": {"max_entries": size}}))
        for size in (1, 500)
    ]


def found_of(kept: KeptRuns) -> list[dict[int, Found]]:
    return [kept.of(scenario, NUMBERS) for _, scenario in scenarios()]


def same(one: list[dict[int, Found]], other: list[dict[int, Found]]) -> bool:
    def figures(found: list[dict[int, Found]]) -> list[object]:
        return [{n: (run.metrics, run.loads) for n, run in each.items()} for each in found]

    return figures(one) == figures(other)


@pytest.fixture(scope="module")
def undisturbed() -> list[dict[int, Found]]:
    kept = KeptRuns()
    run_grid(scenarios(), NUMBERS, Here(None, Engine()), kept)
    found = found_of(kept)
    assert [len(each) for each in found] == [3, 3]
    return found


def test_killed_process_loses_only_its_run(
    undisturbed: list[dict[int, Found]], tmp_path: Path
) -> None:
    others = set(multiprocessing.active_children())
    kept = KeptRuns(tmp_path)
    said: list[str] = []
    ended: list[bool] = []

    def kill_one(done: int, total: int) -> None:
        assert total == 6
        if done == 1:
            victim = next(p for p in multiprocessing.active_children() if p not in others)
            os.kill(victim.pid or 0, signal.SIGKILL)
            # Its exit code may go to the pool, which waits for it, too.
            ended.append(bool(connection.wait([victim.sentinel], 10.0)))

    listener = Listener(on_done=kill_one, on_lost=said.append)
    with local_places(2, None, Engine(), asked="reference") as places:
        run_grid(scenarios(), NUMBERS, places, kept, listener)
    assert ended == [True]
    # The process may have had nothing to do at that moment; then nothing is to be said.
    assert all("simulated again (try 2 of 3)" in line for line in said)
    assert len(said) <= 1
    assert same(found_of(kept), undisturbed)
    assert same(found_of(KeptRuns(tmp_path)), undisturbed)
    assert {p for p in multiprocessing.active_children() if p not in others} == set()


class Deadly:
    """A place at which the process of replication 1 always dies."""

    count = 2

    def __init__(self) -> None:
        self.inner = Here(None, Engine())
        self.renewed = 0

    def submit(self, place: int, scenario: Scenario, number: int) -> Future[Found]:
        if number != 1:
            return self.inner.submit(place, scenario, number)
        future: Future[Found] = Future()
        future.set_exception(BrokenExecutor("killed"))
        return future

    def renew(self, place: int) -> None:
        self.renewed += 1

    def is_lost(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor)

    def check(self) -> None: ...

    def cancel(self) -> None: ...


def test_run_that_always_kills_its_process_ends_the_command_and_others_are_kept() -> None:
    kept, places = KeptRuns(), Deadly()
    said: list[str] = []
    with pytest.raises(EdgeproofError, match=r"replication 2 of L1 of \d+: its process was killed"):
        run_grid(scenarios(), NUMBERS, places, kept, Listener(on_lost=said.append))
    assert len([line for line in said if "try 3 of 3" in line]) >= 1
    assert any(0 in found for found in found_of(kept))


def test_runs_are_taken_from_files_and_only_for_what_they_are_of(
    undisturbed: list[dict[int, Found]], tmp_path: Path
) -> None:
    first = KeptRuns(tmp_path, about="program 1")
    for (_, scenario), found in zip(scenarios(), undisturbed, strict=True):
        first.keep(scenario, found)
    for file in tmp_path.iterdir():
        with file.open("ab") as text:
            text.write(b'\n{"replication": 2, "metr')  # its process was killed
            text.write(b'\n\xff\x00{"replication": 1}\n[]\n')  # a damaged disk

    class Never(Deadly):
        def submit(self, place: int, scenario: Scenario, number: int) -> Future[Found]:
            raise AssertionError("a known run was made again")

    kept = KeptRuns(tmp_path, about="program 1")
    run_grid(scenarios(), NUMBERS, Never(), kept)
    assert kept.taken == 6
    assert same(found_of(kept), undisturbed)
    for stranger in (
        KeptRuns(tmp_path, about="program 2"),
        KeptRuns(tmp_path, about="program 1", is_fresh=True),
    ):
        assert found_of(stranger) == [{}, {}]
    seeded = small_scenario(rate=40.0, tiers={"l1": {"max_entries": 1}}, seed=9)
    assert KeptRuns(tmp_path, about="program 1").of(seeded, NUMBERS) == {}


def test_damaged_figure_is_no_known_run(tmp_path: Path) -> None:
    (_, scenario), _ = scenarios()
    KeptRuns(tmp_path).keep(
        scenario, {n: Found(metrics={"hit_ratio": 0.5}, loads={}) for n in range(2)}
    )
    (file,) = tmp_path.iterdir()
    text = file.read_text()
    place = text.rindex("0.5")
    file.write_text(f"{text[:place]}0.7{text[place + 3 :]}")
    kept = KeptRuns(tmp_path)
    assert {n: run.metrics for n, run in kept.of(scenario, NUMBERS).items()} == {
        0: {"hit_ratio": 0.5}
    }


def test_trace_that_changes_under_its_name_is_another_scenario(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("key\na\nb\n")
    scenario = small_scenario(rate=40.0, trace={"file": str(trace)})
    kept = KeptRuns(tmp_path / "runs")
    kept.keep(scenario, {0: Found(metrics={"hit_ratio": 0.5}, loads={})})
    assert set(kept.of(scenario, NUMBERS)) == {0}
    trace.write_text("key\na\nc\nd\n")
    assert KeptRuns(tmp_path / "runs").of(scenario, NUMBERS) == {}

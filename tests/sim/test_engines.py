"""Which engine simulates, what is refused by name, and where machine code is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sim.compiled.slots as s
from bench.golden import SCENARIOS, figures
from core.context import BATCH_SLOT_COUNT, BATCH_SLOTS, Purpose
from core.emulation import kv
from core.emulation.database import ROW_SHARE
from core.endpoint import STORE_SLOT
from core.errors import InputError
from core.ledger.stored_credits import TOUCHES_PER_ROW
from core.scenario.file import load_scenario, parse_scenario
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.streams import Stream
from scenarios.catalogue import shipped
from sim import coverage
from sim.compiled import store
from sim.compiled import tiers as compiled_tiers
from sim.compiled.replication import compile_all
from sim.engines import Engine
from sim.replications import Replications, SeededDatabases
from sim.simulate import simulate
from tests.sim.runs import small_scenario
from tests.sim.twins import both, differences


@pytest.mark.parametrize("name", SCENARIOS)
def test_engines_agree_on_shipped_scenario(name: str) -> None:
    scenario = load_scenario(shipped()[name])
    expected, found = both(scenario)
    assert differences(expected, found) == []


def test_golden_figures_do_not_depend_on_the_engine() -> None:
    scenario = small_scenario()
    assert figures(scenario, "compiled") == figures(scenario, "reference")


def test_further_replication_agrees() -> None:
    expected, found = both(small_scenario(rate=200.0), replication=3)
    assert differences(expected, found) == []


def test_record_has_the_same_bytes() -> None:
    records = [
        json.dumps(simulate(small_scenario(), replications=2, engine=engine).record.to_json())
        for engine in ("reference", "compiled")
    ]
    assert records[0] == records[1]


@pytest.mark.parametrize(
    "tiers",
    [
        {"early_refresh": 1.0, "retry_pause": "3s", "l1": {"ttl": "0.5s"}},
        {"stale_if_error": "2s", "retry_pause": "0.5s", "l1": {"ttl": "0.5s"}},
        {"stale_if_error": "2s", "l1": {"scope": "request"}},
    ],
)
def test_dead_database_agrees(tiers: dict[str, Any]) -> None:
    ttls = {"lookup_data": "0.8s", "user_journeys": "1.5s", "attribution": "1s"}
    dead = {"at": "1.5s", "for": "2s", "tier": "l3", "kind": "dead"}
    limits = {"l2": {"ttl": ttls}, "l3": {"timeout": "0.1s"}}
    expected, found = both(small_scenario(tiers=tiers | limits, faults=[dead], rate=200.0))
    assert differences(expected, found) == []
    assert json.loads(found["counters"])["l3_errors"] > 0


def test_parts_of_a_run_and_a_network_agree() -> None:
    scenario = small_scenario(
        network={"round_trip": "3ms"},
        kpis=[{"metric": "p95(track, 1s..3s)", "target": "< 1s", "alert": "> 2s"}],
    )
    expected, found = both(scenario)
    assert differences(expected, found) == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"traffic": {"channels": 64}}, r"more than 63 channels \(traffic.channels\)"),
        ({"tiers": {"l1": {"scope": "request", "max_entries": 1}}}, "an L1 of the request"),
        ({"attribution": {"fit_every": 1}}, "fit_every"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    scenario = small_scenario(**fields)
    with pytest.raises(InputError, match=f"does not simulate.*{named}"):
        simulate(scenario, replications=0, engine="compiled")


def test_auto_runs_the_reference_and_says_why() -> None:
    scenario = small_scenario(attribution={"fit_every": 1})
    found = simulate(scenario, replications=0, engine="auto")
    reason = "the compiled engine does not simulate the fit of a model (attribution.fit_every)"
    assert found.engine == f"reference ({reason})"
    assert any("fit_every" in line for line in found.lines)


def test_run_that_meets_a_fit_is_left_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = small_scenario(attribution={"fit_every": 1})
    monkeypatch.setattr(coverage, "_of_queue", lambda *_: "")  # as if it was not to be expected
    assert not coverage.uncovered(scenario, prepare(scenario))
    with pytest.raises(InputError, match="fit_every"):
        simulate(scenario, replications=0, engine="compiled")
    expected = simulate(scenario, replications=0, engine="reference")
    # The code is loaded by now, so that auto tries it.
    found = simulate(scenario, replications=0, engine="auto")
    assert found.record.to_json() == expected.record.to_json()
    assert "reference" in found.engine


def test_database_that_is_slower_than_its_limit_agrees() -> None:
    scenario = small_scenario(tiers={"l3": {"timeout": "14ms"}})
    expected, found = both(scenario)
    assert differences(expected, found) == []
    assert json.loads(found["counters"])["l3_errors"] > 0
    assert json.loads(found["counters"])["queue_given_up"] > 0


@pytest.mark.parametrize("stated", [{"queries": 0}, {"queries": 2}, {"queries": 1, "writes": 1}])
def test_endpoint_that_reads_no_cache_agrees(stated: dict[str, int]) -> None:
    work = {"path": "/work", "subject": "none", "cpu": "5ms", **stated}
    scenario = parse_scenario(
        {
            "name": "queue", "duration": "10s", "warm_up": "1s", "endpoints": {"work": work},
            "traffic": {"stages": [{"rate": 60.0}]},
            "kpis": [{"metric": "p95(work)", "target": "< 1s", "alert": "> 2s"}],
        },
        source="queue",
    )  # fmt: skip
    expected, found = both(scenario)
    assert differences(expected, found) == []


def test_short_run_is_not_worth_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = small_scenario()
    monkeypatch.setitem(__import__("sys").modules, "sim.compiled.loop", None)
    monkeypatch.delitem(__import__("sys").modules, "sim.compiled.loop")
    monkeypatch.setattr(store, "is_compiled", lambda: False)
    found = simulate(scenario, replications=0, engine="auto")
    assert found.engine == "reference (compiling the other one takes longer than the run)"


def test_machine_code_is_named_after_every_compiled_module(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text("A = 1\n")
    (tmp_path / "slots.py").write_text("B = 1\n")
    first = store.fingerprint(tmp_path)
    (tmp_path / "slots.py").write_text("B = 2\n")
    store.fingerprint.cache_clear()
    assert store.fingerprint(tmp_path) != first


def test_machine_code_is_loaded_without_the_compiler() -> None:
    compile_all()
    code = (
        "import sys; from sim.compiled.replication import compile_all; compile_all(); "
        "print(*sorted({'numba.np.linalg', 'scipy.linalg', 'matplotlib'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_constants_that_are_compiled_in_are_those_of_core() -> None:
    assert (s.P_L2_READ, s.P_L2_WRITE) == (Purpose.L2_READ, Purpose.L2_WRITE)
    assert (s.P_TRIP, s.P_EXECUTION) == (Purpose.L3_ROUND_TRIP, Purpose.L3_EXECUTION)
    assert (s.P_READ_FATE, s.P_WRITE_FATE) == (Purpose.L2_READ_FATE, Purpose.L2_WRITE_FATE)
    batches = (Purpose.BATCH_ROUND_TRIP, Purpose.BATCH_EXECUTION, Purpose.BATCH_FATE)
    assert batches == (s.P_BATCH_TRIP, s.P_BATCH_EXECUTION, s.P_BATCH_FATE)
    assert (s.P_DELIVERY, s.P_EVENTS) == (Purpose.DELIVERY, Purpose.EVENTS)
    assert (s.P_JITTER, s.P_EARLY) == (Purpose.TTL_JITTER, Purpose.EARLY_REFRESH)
    assert (s.TOUCHES_PER_ROW, s.ROW_SHARE) == (TOUCHES_PER_ROW, ROW_SHARE)
    assert (BATCH_SLOT_COUNT, BATCH_SLOTS["model"]) == (s.BATCH_WIDTH, s.MODEL_SLOT)
    assert (BATCH_SLOTS["batch-read"], BATCH_SLOTS["batch-write"]) == (0, 1)
    assert s.STORE_SLOT == STORE_SLOT
    assert compiled_tiers.HOT_KEYS == kv._HOT_KEYS


def traced(tmp_path: Path, keys: int = 60) -> Scenario:
    """Return a scenario over a trace with the mix of types of the e-commerce trace orm-busy."""
    drawn = Stream(5, Purpose.DATA).rows(0, 4_000)[:, 0]
    types = ("18", "20", "21", "25", "2", "3")
    lines = [
        f"k{int(keys * u**3)}-{types[i * 7 % 6]},{types[i * 7 % 6]}" for i, u in enumerate(drawn)
    ]
    file = tmp_path / "trace.csv"
    file.write_text("key,type\n" + "\n".join(lines) + "\n")
    named = {
        "18": {"endpoint": "attribution", "cache_type": "attribution"},
        "20": {"endpoint": "attribution", "cache_type": "attribution"},
        "21": {"endpoint": "journey", "cache_type": "user_journeys"},
        "25": {"endpoint": "journey", "cache_type": "user_journeys"},
    }
    return small_scenario(
        rate=300.0,
        trace={"file": str(file), "types": named, "offset": 2_000},
        tiers={"l1": {"ttl": "1s"}, "l2": {"ttl": {"user_journeys": "2s"}}},
    )


def test_trace_agrees_from_its_warm_caches(tmp_path: Path) -> None:
    expected, found = both(traced(tmp_path))
    assert differences(expected, found) == []


def test_every_replication_of_a_trace_has_the_subjects_that_it_asks_for(tmp_path: Path) -> None:
    scenario, databases = traced(tmp_path, keys=4_000), SeededDatabases()
    asked, seeded = [], []
    for replication in range(4):
        workload = prepare(scenario, replication=replication).workload
        database = databases.of(scenario, replication=replication)
        asked.append(workload.users)
        seeded += database.connection.execute("SELECT count(*) FROM users").fetchone()
    assert len(set(asked)) > 1
    assert seeded == asked
    engines = (Engine(asked="reference"), Engine(asked="compiled"))
    expected, found = (
        Replications(engine=engine).run(scenario, (0, 1, 2), lambda _: None) for engine in engines
    )
    assert [each.metrics for each in found] == [each.metrics for each in expected]


@pytest.mark.parametrize("is_shared", [True, False])
def test_endpoints_of_ones_own_agree(is_shared: bool) -> None:
    endpoints = {
        "preset": "cdp",
        "items": {
            "path": "/items/{item}", "weight": 1.0, "cpu": "1ms", "writes": 1,
            "reads": [
                {"type": "item", "ttl": "1s", "queries": 2, "size": "1kB"},
                {"type": "plain", "ttl": "1s", "queries": 0, "size": "2kB"},
            ],
        },
        "pages": {"path": "/pages/{item}", "weight": 0.5, "queries": 2, "writes": 2},
    }  # fmt: skip
    scenario = small_scenario(
        rate=200.0,
        endpoints=endpoints,
        subjects={"item": {"count": 40}},
        tiers={"single_flight": is_shared, "l1": {"ttl": "0.5s"}, "stale_while_revalidate": "1s"},
        topology={"points_of_presence": 2},
    )
    expected, found = both(scenario)
    assert differences(expected, found) == []


def test_recorded_trace_agrees(shared_traces: Path) -> None:
    file = shared_traces / "orm-busy.trace.xz"
    scenario = load_scenario(
        shipped()["baseline"], overrides=["duration=20s"], trace={"file": str(file)}
    )
    expected, found = both(scenario)
    assert differences(expected, found) == []


def test_processes_are_started_for_long_work_only(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Engine(asked="reference", requests=1e4)
    assert reference.processes(2, 10) == 2
    short, long = (Engine(asked="compiled", requests=requests) for requests in (1e5, 1e7))
    for engine in (short, long):
        monkeypatch.setattr(engine, "_is_fast", True)
    assert short.processes(2, 10) == 1
    assert long.processes(2, 10) == 2

"""Claims about recorded sets, deletes and TTLs in a simulation, beside what they must give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.metrics.record import Requests
from core.scenario.file import parse_scenario
from core.scenario.replay import prepare, reads_only
from core.scenario.scenario import Scenario
from core.wire import L1_HIT, MISS
from sim.model import Played
from sim.simulate import simulate


def scenario(file: Path, **trace: object) -> Scenario:
    return Scenario.model_validate(
        {
            "name": "r", "warm_up": "0s", "duration": "60s", "start": "cold",
            "topology": {"isolates": 1},
            "tiers": {"l1": {"ttl": "1000s"}},
            "trace": {
                "file": str(file), "time_unit": "s", "default": {"endpoint": "journey"}, **trace,
            },
        }
    )  # fmt: skip


def outcomes(requests: Requests) -> list[int]:
    """Return the outcome of each request's only read."""
    return [int(code) for code in np.asarray(requests.reads)[:, 0]]


def written(folder: Path, *rows: str) -> Path:
    file = folder / "t.csv"
    file.write_text("\n".join(["key,time,op,ttl", *rows]) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["a,0,get,0", "a,1,get,0"], [MISS, L1_HIT]),
        (["a,0,get,0", "a,1,delete,0", "a,2,get,0"], [MISS, MISS]),
        (["a,0,set,0", "a,1,get,0"], [L1_HIT]),  # a set is no read, and fills the cache
        (["a,0,get,5", "a,4,get,0", "a,6,get,0"], [MISS, L1_HIT, MISS]),
        (["a,0,get,0", "a,1,set,5", "a,5,get,0", "a,7,get,0"], [MISS, L1_HIT, MISS]),
        # Within one second the order of the file holds: the read comes before the set.
        (["a,3,get,0", "a,3,set,0", "a,4,delete,0", "a,4,get,0"], [MISS, MISS]),
        (["b,0,get,0", "a,1,set,0", "a,2,delete,0", "b,3,get,0"], [MISS, L1_HIT]),
    ],
)
def test_sets_fill_deletes_invalidate_and_a_ttl_ends_its_entry(
    tmp_path: Path, rows: list[str], expected: list[int]
) -> None:
    file = written(tmp_path, *rows)
    found = simulate(scenario(file), replications=0)
    assert outcomes(found.requests) == expected
    sets, deletes = (sum(f",{op}," in row for row in rows) for op in ("set", "delete"))
    unread = 2 if rows[0].startswith("b") else 0
    counters = found.record.counters
    assert counters.get("trace_sets", 0) + counters.get("trace_deletes", 0) == (
        sets + deletes - unread
    )
    assert counters.get("trace_writes_failed", 0) == 0


def test_reads_only_leaves_the_writes_and_ttls_out_and_the_requests_as_they_are(
    tmp_path: Path,
) -> None:
    asked = scenario(written(tmp_path, "a,0,get,5", "a,1,delete,0", "a,9,get,0"))
    prepared, plain = prepare(asked), prepare(reads_only(asked))
    assert prepared.has_effects
    assert not plain.has_effects
    assert plain.workload.identity() == prepared.workload.identity()
    found = simulate(reads_only(asked), replications=0)
    assert outcomes(found.requests) == [MISS, L1_HIT]
    assert "trace_sets" not in found.record.counters


def test_what_stands_before_the_window_warms_the_caches_as_it_was(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "a,0,get,0", "b,0,get,0", "c,0,get,3", "b,1,delete,0", "d,2,get,0",
        "a,9,get,0", "b,9,get,0", "c,9,get,0", "d,9,get,0",
    )  # fmt: skip
    asked = scenario(file, offset=4).model_copy(update={"start": "warm"})
    found = simulate(asked, replications=0)
    assert outcomes(found.requests) == [L1_HIT, MISS, MISS, L1_HIT]


def own(file: Path, *, reads: bool = True) -> Scenario:
    """Return a scenario whose one endpoint is its own, about items that the trace names."""
    items = {"path": "/items/{item}", "queries": 1}
    if reads:
        items = {"path": "/items/{item}", "reads": [{"type": "item", "ttl": "600s", "queries": 1}]}
    return parse_scenario(
        {
            "name": "own", "warm_up": "0s", "duration": "60s", "start": "cold",
            "topology": {"isolates": 1},
            "tiers": {"l1": {"ttl": "1000s"}},
            "subjects": {"item": {}},
            "endpoints": {"items": items},
            "trace": {
                "file": str(file), "time_unit": "s",
                "default": {"endpoint": "items", **({"cache_type": "item"} if reads else {})},
            },
        },
        source="own",
    )  # fmt: skip


def test_writes_and_ttls_reach_the_caches_of_an_endpoint_of_ones_own(tmp_path: Path) -> None:
    file = written(
        tmp_path, "b,0,get,0", "a,0,get,5", "a,1,delete,0", "a,2,get,0", "a,3,set,0", "a,4,get,0"
    )
    found = simulate(own(file), replications=0)
    assert outcomes(found.requests) == [MISS, MISS, MISS, L1_HIT]
    assert prepare(own(file)).workload.ids["item"] == ("b", "a")
    assert (found.record.counters["trace_sets"], found.record.counters["trace_deletes"]) == (1, 1)


def test_writes_about_an_endpoint_that_caches_nothing_are_left_out_and_said(tmp_path: Path) -> None:
    prepared = prepare(own(written(tmp_path, "a,0,get,5", "a,1,set,0"), reads=False))
    assert not prepared.has_effects
    assert any(
        "1 write of the trace left out: about endpoints" in n for n in prepared.workload.notes
    )


def test_effects_belong_to_the_requests_of_the_run_where_others_were_played_before(
    tmp_path: Path,
) -> None:
    file = written(
        tmp_path, "b,0,get,3", "a,1,get,0", "b,2,get,0", "a,2,delete,0", "a,3,get,0", "b,5,get,0",
    )  # fmt: skip
    asked = scenario(file)
    workload = prepare(asked).workload
    cold, late, soon = (
        simulate(asked, replications=0, played=played)
        for played in (
            None,
            Played(workload=workload, ahead=100_000.0),  # all of it is forgotten
            Played(workload=workload, ahead=30.0),
        )
    )
    assert outcomes(cold.requests) == [MISS, MISS, L1_HIT, MISS, MISS]
    assert outcomes(late.requests) == outcomes(cold.requests)
    assert (late.requests.intended == cold.requests.intended).all()
    # Both are held from before, without the trace's TTL; only the delete strikes.
    assert outcomes(soon.requests) == [L1_HIT, L1_HIT, L1_HIT, MISS, L1_HIT]
    assert all(each.record.counters["trace_deletes"] == 1 for each in (cold, late, soon))

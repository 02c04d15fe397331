"""Claims about workloads from traces: real keys in their own order, numbered as they appear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.application.seeding import seed_database
from core.endpoints import CDP
from core.errors import InputError
from core.query.database import SqliteDatabase
from core.scenario import trace_window
from core.scenario.population import MAX_PROFILE_BYTES, populate
from core.scenario.replay import DEFAULT_OFFSET, Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.trace import Trace, read_trace
from core.scenario.workload import generate_workload
from core.texts import count_of

TRACK, ATTRIBUTION, JOURNEY, _ = range(len(CDP.names))


def scenario(path: Path | None, rate: float = 20.0, **fields: Any) -> Scenario:
    trace = fields.pop("trace", {}) | ({} if path is None else {"file": str(path)})
    data = {"name": "r", "warm_up": "1s", "duration": "4s", "trace": trace}
    return Scenario.model_validate(data | {"traffic": {"stages": [{"rate": rate}]}} | fields)


def csv(path: Path, *columns: str, rows: list[tuple[Any, ...]]) -> Path:
    lines = [",".join(columns), *(",".join(str(value) for value in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def history_of(prepared: Prepared) -> Any:
    assert prepared.history is not None
    return prepared.history


def numbered(keys: list[str], kinds: list[str], offset: int) -> list[int]:
    """Number the keys of each kind by first appearance in the window, then before it."""
    numbers: dict[str, dict[str, int]] = {}
    for key, kind in [*zip(keys, kinds, strict=True)][offset:] + [*zip(keys, kinds, strict=True)][
        :offset
    ]:
        known = numbers.setdefault(kind, {})
        known.setdefault(key, len(known))
    return [numbers[kind][key] for key, kind in zip(keys, kinds, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


def test_large_trace_is_read_once_and_anew_when_it_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int | None] = []

    def counting(path: Path, *, stop: int | None, **asked: Any) -> Trace:
        read.append(stop)
        return read_trace(path, stop=stop, **asked)

    monkeypatch.setattr(trace_window, "read_trace", counting)
    path = csv(folder / "large.csv", "key", "time", rows=[(i, i / 10) for i in range(15_000)])
    first = [prepare(scenario(path), replication=number) for number in range(3)]
    assert read == [1, None]
    assert first[0].workload.identity() == first[2].workload.identity()
    csv(path, "key", "time", rows=[(i, i / 20) for i in range(16_000)])
    assert len(prepare(scenario(path)).workload) == 2 * len(first[0].workload)
    assert read == [1, None] * 2


def test_without_a_trace_requests_are_drawn() -> None:
    asked = scenario(None)
    prepared = prepare(asked, replication=2)
    assert prepared.history is None
    assert prepared.workload.identity() == generate_workload(asked, replication=2).identity()


@given(
    accesses=st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(CDP.names[:3])),
        min_size=150,
        max_size=150,
    ),
    offset=st.integers(0, 40),
)
def test_subjects_are_numbered_by_first_appearance_in_the_window_then_before_it(
    folder: Path, accesses: list[tuple[str, str]], offset: int
) -> None:
    path = csv(folder / "keys.csv", "key", "endpoint", rows=accesses)
    prepared = prepare(scenario(path, rate=10.0, trace={"offset": offset}))
    workload, history = prepared.workload, history_of(prepared)
    stop = offset + len(workload)
    keys = [key for key, _ in accesses[:stop]]
    endpoints = [endpoint for _, endpoint in accesses[:stop]]
    assert [*history.endpoint.tolist(), *workload.endpoint.tolist()] == [
        CDP.names.index(endpoint) for endpoint in endpoints
    ]
    kinds = ["conversion" if e == "attribution" else "user" for e in endpoints]
    assert [*history.subject.tolist(), *workload.subject.tolist()] == numbered(keys, kinds, offset)
    for kind, count in (("user", workload.users), ("conversion", workload.conversions)):
        assert count == max(1, len({k for k, c in zip(keys, kinds, strict=True) if c == kind}))


def test_a_window_holds_the_accesses_after_the_offset_at_the_drawn_times(tmp_path: Path) -> None:
    path = csv(tmp_path / "k.csv", "key", rows=[(f"k{i}",) for i in range(1_000)])
    asked = scenario(path, trace={"offset": 300})
    prepared = prepare(asked)
    workload, history = prepared.workload, history_of(prepared)
    drawn = generate_workload(asked)
    assert workload.intended_ns.tolist() == drawn.intended_ns.tolist()
    assert workload.isolate.tolist() == drawn.isolate.tolist()
    # Every key is new, so numbers count the window's accesses and then those before it.
    n = len(workload)
    assert workload.subject.tolist() == list(range(n))
    assert history.subject.tolist() == list(range(n, n + 300))
    assert np.all(np.diff(history.seconds) > 0)
    assert history.seconds[-1] < 0
    assert history.seconds[0] == pytest.approx(-300 * asked.total_time / n, rel=0.01)
    assert "accesses 301 to" in workload.notes[0]


@pytest.mark.parametrize(("start", "offset"), [("warm", None), ("cold", 0)])
def test_the_offset_leaves_a_warm_start_what_the_trace_has(
    tmp_path: Path, start: str, offset: int | None
) -> None:
    path = csv(tmp_path / "k.csv", "key", rows=[(i % 50,) for i in range(400)])
    prepared = prepare(scenario(path, start=start))
    expected = 400 - len(prepared.workload) if offset is None else offset
    assert history_of(prepared).seconds.size == expected < DEFAULT_OFFSET


def test_a_limit_bounds_the_window_to_the_first_arrivals(tmp_path: Path) -> None:
    path = csv(tmp_path / "k.csv", "key", rows=[(i,) for i in range(500)])
    workload = prepare(scenario(path, trace={"limit": 7, "offset": 5})).workload
    drawn = generate_workload(scenario(None))
    assert workload.intended_ns.tolist() == drawn.intended_ns[:7].tolist()


@pytest.mark.parametrize("offset", [0, 460, 499, 500, 10_000])
def test_a_trace_that_is_too_short_is_refused_with_what_it_has(tmp_path: Path, offset: int) -> None:
    path = csv(tmp_path / "k.csv", "key", rows=[(i,) for i in range(500)])
    asked = scenario(path, rate=20.0 if offset else 200.0, trace={"offset": offset})
    with pytest.raises(InputError) as caught:
        prepare(asked)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    assert f"from offset {offset:,} on" in message
    assert count_of(max(500 - offset, 0), "access") in message


def test_a_cold_start_reads_no_further_than_its_window(tmp_path: Path) -> None:
    path = csv(tmp_path / "k.csv", "key", rows=[(i,) for i in range(500)] + [("a", "b")])
    assert len(prepare(scenario(path, start="cold")).workload) > 0


TIMES = [0.0, 0.5, 0.5, 1.25, 4.75, 5.0, 6.0, 9.0]


@pytest.mark.parametrize(
    ("trace", "window"),
    [({}, (0, 5)), ({"offset": 3}, (3, 7)), ({"limit": 2}, (0, 2)), ({"offset": 7}, (7, 8))],
)
@pytest.mark.parametrize("start", ["warm", "cold"])
@pytest.mark.parametrize("rate", [0.0, 0.2, 100.0])
def test_a_timed_trace_keeps_its_times_whatever_the_rate(
    tmp_path: Path, trace: dict[str, int], window: tuple[int, int], start: str, rate: float
) -> None:
    path = csv(
        tmp_path / "t.csv", "key", "time", rows=[(i % 3, t + 50) for i, t in enumerate(TIMES)]
    )
    prepared = prepare(scenario(path, rate=rate, trace=trace, start=start))
    first, last = window
    since = [time - TIMES[first] for time in TIMES]
    assert prepared.workload.intended.tolist() == since[first:last]
    assert history_of(prepared).seconds.tolist() == since[:first]
    assert "rates are not used" in prepared.workload.notes[0]


def test_a_timed_trace_without_an_access_after_its_offset_is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "key", "time", rows=[(1, 1), (2, 2)])
    with pytest.raises(InputError, match="2 accesses, none after offset 2"):
        prepare(scenario(path, trace={"offset": 2}))


def test_types_become_endpoints_as_the_scenario_maps_them(tmp_path: Path) -> None:
    names = ["page", "order", "other", "page", "order"]
    path = csv(tmp_path / "k.csv", "key", "type", rows=[("k", name) for name in names])
    types = {"page": {"endpoint": "journey"}, "order": {"endpoint": "attribution"}}
    trace = {"offset": 0, "limit": 5, "types": types}
    workload = prepare(scenario(path, trace=trace)).workload
    assert workload.endpoint.tolist() == [JOURNEY, ATTRIBUTION, TRACK, JOURNEY, ATTRIBUTION]
    # The same key of two types is two keys; users and conversions are counted apart.
    assert workload.subject.tolist() == [0, 0, 1, 0, 0]
    assert (workload.users, workload.conversions) == (2, 1)


def test_without_types_and_endpoints_the_default_answers(tmp_path: Path) -> None:
    path = csv(tmp_path / "k.csv", "key", rows=[(i,) for i in range(9)])
    trace = {"offset": 0, "limit": 9, "default": {"endpoint": "journey"}}
    assert set(prepare(scenario(path, trace=trace)).workload.endpoint.tolist()) == {JOURNEY}


@pytest.mark.parametrize("endpoint", ["channels", "checkout"])
def test_an_endpoint_that_a_trace_cannot_ask_for_is_refused(tmp_path: Path, endpoint: str) -> None:
    path = csv(tmp_path / "k.csv", "key", "endpoint", rows=[(1, "track"), (2, endpoint)] * 99)
    with pytest.raises(InputError, match=f"endpoint is '{endpoint}', first at access 2; a trace"):
        prepare(scenario(path))


def test_size_beyond_a_row_of_the_database_is_refused(tmp_path: Path) -> None:
    def sized(size: int) -> Scenario:
        rows = [(f"k{i}", i / 10, size if i == 3 else 12) for i in range(50)]
        return scenario(csv(tmp_path / f"{size}.csv", "key", "time", "size", rows=rows))

    asked = sized(MAX_PROFILE_BYTES)
    connection = SqliteDatabase(None, inline=True).connection
    seed_database(connection, populate(asked, prepare(asked).workload))
    with pytest.raises(InputError, match=r"a size is 1,999,001 bytes, and a row .* 1,999,000"):
        prepare(sized(MAX_PROFILE_BYTES + 1))


def test_sizes_become_those_of_the_users_that_are_tracked(tmp_path: Path) -> None:
    rows = [("a", "track", 10), ("b", "journey", 99), ("c", "attribution", 7), ("a", "track", 12)]
    path = csv(tmp_path / "k.csv", "key", "endpoint", "size", rows=rows)
    workload = prepare(scenario(path, trace={"offset": 0, "limit": 4})).workload
    assert workload.profile_bytes is not None
    assert workload.profile_bytes.tolist() == [12, 0]


def test_rates_that_give_no_request_are_refused_where_the_trace_has_no_times(
    tmp_path: Path,
) -> None:
    path = csv(tmp_path / "k.csv", "key", rows=[(1,), (2,)])
    for start in ("cold", "warm"):
        with pytest.raises(InputError, match="no request"):
            prepare(scenario(path, rate=0.0, start=start))


@pytest.mark.parametrize("traced", [False, True])
def test_more_requests_than_a_run_holds_are_an_input_error(tmp_path: Path, traced: bool) -> None:
    path = csv(tmp_path / "k.csv", "key", rows=[(1,)]) if traced else None
    with pytest.raises(InputError, match="a run holds at most"):
        prepare(scenario(path, rate=1e6, duration="60s"))


def test_equal_scenarios_replay_equal_requests_and_another_seed_only_other_times(
    tmp_path: Path,
) -> None:
    path = csv(tmp_path / "k.csv", "key", rows=[(i % 7,) for i in range(900)])
    one, again, other = (
        prepare(scenario(path, trace={"limit": 50, "offset": 100}, seed=seed)).workload
        for seed in (1, 1, 2)
    )
    assert one.identity() == again.identity() != other.identity()
    assert one.subject.tolist() == other.subject.tolist()


def test_a_real_trace_replays_as_a_loop_over_its_accesses_numbers_it(shared_traces: Path) -> None:
    path = shared_traces / "orm-busy.trace.xz"
    types = {"17": {"endpoint": "journey"}, "3": {"endpoint": "attribution"}}
    asked = scenario(path, rate=1_000.0, trace={"offset": 20_000, "types": types})
    prepared = prepare(asked)
    stop = 20_000 + len(prepared.workload)
    trace = read_trace(path, stop=stop)
    assert trace.types is not None
    mapped = {"17": "journey", "3": "attribution"}
    endpoints = [mapped.get(trace.type_names[t], "track") for t in trace.types.tolist()]
    kinds = ["conversion" if e == "attribution" else "user" for e in endpoints]
    keys = [str(key) for key in trace.keys.tolist()]
    history = history_of(prepared)
    assert [*history.endpoint.tolist(), *prepared.workload.endpoint.tolist()] == [
        CDP.names.index(endpoint) for endpoint in endpoints
    ]
    assert [*history.subject.tolist(), *prepared.workload.subject.tolist()] == numbered(
        keys, kinds, 20_000
    )

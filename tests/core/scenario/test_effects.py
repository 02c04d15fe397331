"""Claims about what a scenario states in vain: an error that names it, unless it was turned off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.scenario.file import load_scenario
from core.scenario.replay import prepare_measured
from core.scenario.scenario import Scenario
from scenarios.catalogue import shipped

HEAD = 'name = "e"\nduration = "5s"\nwarm_up = "1s"\n'
FAULT = '[[faults]]\nat = "{at}"\nfor = "2s"\n'


def written(folder: Path, text: str = "") -> Path:
    path = folder / "e.toml"
    path.write_text(HEAD + text, encoding="utf-8")
    return path


def refused(path: Path, *overrides: str, **options: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_scenario(path, overrides=overrides, **options)
    return str(caught.value).splitlines()


def told(path: Path, *overrides: str, **options: Any) -> list[str]:
    notices: list[str] = []
    load_scenario(path, overrides=overrides, on_notice=notices.append, **options)
    return notices


@pytest.mark.parametrize("name", shipped())
def test_shipped_scenario_states_nothing_in_vain(name: str) -> None:
    assert told(shipped()[name]) == []


def test_deployment_without_effect_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert refused(path, 'deployments=[{at="6s"}]') == [
        '--set deployments=[{at="6s"}]: deployments[0] has no effect: it starts at 6 s and the run '
        "ends at 6 s; let it start earlier, raise the duration, or leave it out "
        "(--set deployments=[])"
    ]
    deployed = written(tmp_path, '[[deployments]]\nat = "2s"\n')
    assert told(deployed) == []
    assert "nothing outlives a request" in "".join(
        refused(written(tmp_path, '[[deployments]]\nat = "2s"\n[tiers.l1]\nscope = "request"\n'))
    )


def test_deployment_that_the_run_sees_only_a_part_of_is_told(tmp_path: Path) -> None:
    assert told(written(tmp_path, '[[deployments]]\nat = "0.5s"\nover = "0.5s"\n')) == [
        "deployments[0] ends within the warm-up of 1 s: only what it leaves behind is judged"
    ]
    assert told(written(tmp_path, '[[deployments]]\nat = "5s"\nover = "2s"\n')) == [
        "deployments[0] goes on until 7 s and the run ends at 6 s: the isolates behind that are "
        "not replaced"
    ]


def test_fault_beyond_the_end_is_named_with_its_times_and_the_remedy(tmp_path: Path) -> None:
    fault = '[{at="500s",for="5s",tier="l3",kind="dead"}]'
    assert refused(written(tmp_path), f"faults={fault}") == [
        f"--set faults={fault}: faults[0] (l3 dead) cannot strike: it starts at 500 s and the run "
        "ends at 6 s; let it start earlier, raise the duration, or leave it out (--set faults=[])"
    ]
    path = shipped()["kv-outage"]
    (line,) = refused(path, "duration=5s")
    assert line.startswith(f"{path}: faults[0] (l2 dead) cannot strike: it starts at 20 s and the")
    assert told(path, "duration=5s", "faults=[]") == []


@pytest.mark.parametrize("at", ["6s", "7s"])
def test_fault_at_the_end_or_later_is_refused_and_one_before_it_is_not(
    tmp_path: Path, at: str
) -> None:
    rest = 'tier = "l2"\nkind = "dead"\n'
    assert len(refused(written(tmp_path, FAULT.format(at=at) + rest))) == 1
    assert told(written(tmp_path, FAULT.format(at="5.9s") + rest)) == []


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ('tier = "l3"\nkind = "slow"', "value is 1, which is as fast as without it"),
        ('tier = "l3"\nkind = "error"\nvalue = 0', "its value is 0"),
        ('kind = "hot_key"\nvalue = 0.0', "its value is 0"),
        ('tier = "l2"\nkind = "dead"\nvalue = 0.5', "dead has no value, and it is 0.5"),
        ('kind = "hot_key"\nendpoint = "journey"\n[endpoints.journey]\nweight = 0',
         "endpoints.journey.weight is 0"),
        ('kind = "hot_key"\n[endpoints.track]\nweight = 0', "(track hot_key)"),
        ('tier = "destination"\nkind = "dead"\n[destination]\nurl = "local"\n'
         "[traffic]\nconversion_share = 0.0", "the traffic has no conversions"),
    ],
)  # fmt: skip
def test_fault_that_changes_nothing_is_named(tmp_path: Path, rest: str, words: str) -> None:
    (line,) = refused(written(tmp_path, FAULT.format(at="3s") + rest))
    assert line.startswith(f"{tmp_path / 'e.toml'}: faults[0] (")
    assert words in line


def test_every_fault_has_its_line(tmp_path: Path) -> None:
    rest = 'tier = "l3"\nkind = "slow"\n'
    text = FAULT.format(at="9s") + rest + FAULT.format(at="2s") + rest
    assert [line.split(": ")[1] for line in refused(written(tmp_path, text))] == [
        "faults[0] (l3 slow) cannot strike",
        "faults[1] (l3 slow) cannot strike",
    ]


def test_fault_within_the_warm_up_is_spoken_of(tmp_path: Path) -> None:
    text = '[[faults]]\nat = "0s"\nfor = "1s"\ntier = "l2"\nkind = "dead"\n'
    (line,) = told(written(tmp_path, text))
    assert line == (
        "faults[0] (l2 dead) ends within the warm-up of 1 s: only what it leaves behind is judged"
    )


def test_hot_key_without_a_request_of_its_endpoint_is_refused() -> None:
    data = {
        "name": "h", "duration": "5s", "warm_up": "0s", "traffic": {"stages": [{"rate": 5}]},
        "faults": [{"at": "2s", "for": "0.001s", "kind": "hot_key", "value": 1.0}],
    }  # fmt: skip
    with pytest.raises(InputError, match=r"faults\[0\] \(hot_key\) cannot strike: no track req"):
        prepare_measured(Scenario.model_validate(data))


def test_fault_after_the_last_access_of_a_trace_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("key,time\n" + "".join(f"k,{i / 10}\n" for i in range(40)))
    data = {
        "name": "h", "duration": "50s", "warm_up": "0s", "trace": {"file": str(trace)},
        "faults": [{"at": "20s", "for": "9s", "kind": "dead", "tier": "l3"}],
    }  # fmt: skip
    with pytest.raises(InputError, match=r"cannot strike: no request .* all arrives at 3.9 s"):
        prepare_measured(Scenario.model_validate(data))


def test_stage_that_never_begins_is_named(tmp_path: Path) -> None:
    text = '[traffic]\nstages = [{ rate = 9, duration = "6s" }, { rate = 0 }]\n'
    (line,) = refused(written(tmp_path, text))
    assert line.endswith(
        "traffic.stages[1] never begins: the stages before it last 6 s and the run 6 s; raise the "
        "duration, or leave it out"
    )
    assert told(written(tmp_path, text), "duration=6s") == []


@pytest.mark.parametrize(
    ("text", "override", "switch"),
    [
        ('[destination]\ntimeout = "9s"', "destination.timeout=9s", ""),
        ("[destination]\nlatency = '1ms'", "destination.latency=1ms", ""),
        (
            '[queue]\nmax_attempts = 1\nretry_delay = "2s"',
            "queue.retry_delay=2s",
            "queue.max_attempts=1",
        ),
        ("[tiers.query_cache]\nmax_entries = 9", "tiers.query_cache.max_entries=9",
         "tiers.query_cache.ttl=0s"),
        ('[tiers.l2.breaker]\nfailures = 0\nopen_for = "1s"', "tiers.l2.breaker.open_for=1s",
         "tiers.l2.breaker.failures=0"),
        ('[tiers.l2]\nsoft_timeout = "10ms"', "tiers.l2.soft_timeout=10ms",
         "tiers.stale_if_error=0s"),
        ('[tiers]\nretry_pause = "2s"', "tiers.retry_pause=2s", "tiers.stale_if_error=0s"),
        ('[traffic.popularity]\nlaw = "uniform"\nexponent = 1.1',
         "traffic.popularity.exponent=1.1", "traffic.popularity.law=uniform"),
    ],
)  # fmt: skip
def test_setting_that_nothing_reads_is_named_unless_the_command_line_turned_it_off(
    tmp_path: Path, text: str, override: str, switch: str
) -> None:
    field = override.partition("=")[0]
    table = field
    path = written(tmp_path, text)
    (line,) = refused(path)
    assert line.startswith(f"{path}: {table} has no effect: ")
    (line,) = refused(path, override)
    assert line.startswith(f"--set {override}: {table} has no effect: ")
    if switch:
        assert f"{table} has no effect" in told(path, switch)[0]


def test_endpoint_that_the_file_leaves_out_is_not_changed_on_the_command_line(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "[endpoints.journey]\npath = '/j'\nweight = 0")
    assert told(path) == []
    (line,) = refused(path, "endpoints.journey.path=/k")
    assert line.startswith("--set endpoints.journey.path=/k: endpoints.journey has no effect: ")
    assert told(written(tmp_path, "[endpoints.journey]\npath = '/j'"),
                "endpoints.journey.weight=0") == []  # fmt: skip


def test_default_that_is_written_out_is_no_fault_and_one_that_is_asked_for_is(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, '[destination]\ntimeout = "5s"\n')
    assert told(path) == []
    assert len(refused(path, "destination.timeout=5s")) == 1
    assert len(refused(shipped()["reference"], "tiers.query_cache.max_bytes=8MB")) == 1


@pytest.mark.parametrize(
    ("table", "more"),
    [
        ('traffic.popularity={law="uniform"', ",exponent=1.1}"),
        ('tiers.query_cache={ttl="0s"', ",max_entries=9}"),
        ("tiers.l2.breaker={failures=0", ',open_for="1s"}'),
        ("queue={max_attempts=1", ',retry_delay="2s"}'),
        ('destination={url="none"', ',timeout="9s"}'),
        ("traffic={users=50", ',popularity={law="uniform",exponent=1.1}}'),
    ],
)
def test_table_states_what_stands_in_it_and_not_what_it_leaves_out(
    tmp_path: Path, table: str, more: str
) -> None:
    path = written(tmp_path)
    load_scenario(path, overrides=[f"{table}}}"])
    (line,) = refused(path, f"{table}{more}")
    assert line.startswith(f"--set {table}{more}: ")
    assert "has no effect" in line


def test_destination_that_is_turned_off_keeps_its_settings(tmp_path: Path) -> None:
    path = written(tmp_path, '[destination]\nurl = "local"\ntimeout = "9s"\n')
    assert told(path) == []
    assert told(path, "destination.url=none") == []


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["endpoints.attribution.weight=0"],
         "p95_attribution cannot be measured: endpoints.attribution.weight is 0"),
        (["traffic.conversion_share=0"],
         "p95_queue cannot be measured: the traffic has no conversions"),
    ],
)  # fmt: skip
def test_kpi_of_what_is_never_asked_is_spoken_of(
    tmp_path: Path, overrides: list[str], line: str
) -> None:
    assert told(written(tmp_path), *overrides) == [line]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("endpoints.journey.weight=0.5", "the trace's accesses stand in for it"),
        ("traffic.users=5", "the trace's accesses stand in for it"),
        ("endpoints.channels.path=/c", "a trace asks for track, attribution and journey only"),
        ("traffic.stages[0].rate=7", "the trace has times of its own; scale them with --rate"),
    ],
)
def test_traffic_that_a_trace_replaces_is_refused_on_the_command_line_only(
    tmp_path: Path, override: str, words: str
) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("key,time\na,0\na,0.5\n")
    (line,) = refused(written(tmp_path), override, trace={"file": str(trace)})
    assert line.startswith(f"--set {override}: ")
    assert words in line
    text = "[traffic]\nusers = 5\nstages = [{ rate = 7 }]\n"
    assert told(written(tmp_path, text), trace={"file": str(trace)}) == []


@pytest.mark.parametrize(
    ("field", "value"), [("offset", 3), ("limit", 3), ("time_unit", "ms"), ("speed", 2.0)]
)
def test_part_of_a_trace_needs_one_where_it_is_asked_for(
    tmp_path: Path, field: str, value: object
) -> None:
    text = f"trace.{field}={value}"
    assert refused(written(tmp_path), text) == [
        f"--set {text}: trace.{field} needs a trace; give --trace FILE"
    ]
    # A file may say how the trace is read that --trace names.
    shown = f'"{value}"' if isinstance(value, str) else value
    assert told(written(tmp_path, f"[trace]\n{field} = {shown}\n")) == []


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("key,type\na,x\na,y\n", ()),
        ("key,type\na,x\n", "No access that was read of t.csv has the type y of trace.types."),
        ("key,type\na,z\n",
         "No access that was read of t.csv has the type x, y: each is of trace.default, track."),
        ("key,endpoint\na,track\n",
         "trace.types is not used: t.csv names the endpoints itself."),
        ("key\na\n", "trace.types is not used: t.csv has no types."),
    ],
)  # fmt: skip
def test_types_that_match_nothing_in_the_trace_are_spoken_of(
    tmp_path: Path, content: str, note: str | tuple[()]
) -> None:
    header, _, rows = content.partition("\n")
    (tmp_path / "t.csv").write_text(f"{header}\n{rows * 50}")
    types = {"x": {"endpoint": "journey"}, "y": {"endpoint": "attribution"}}
    trace = {"file": str(tmp_path / "t.csv"), "types": types, "offset": 0}
    data = {"name": "t", "duration": "4s", "warm_up": "0s", "start": "cold", "trace": trace}
    scenario = Scenario.model_validate(data | {"traffic": {"stages": [{"rate": 5}]}})
    assert prepare_measured(scenario).workload.notes[1:] == ((note,) if note else ())


def test_ttl_that_no_cache_type_takes_is_refused(tmp_path: Path) -> None:
    assert refused(written(tmp_path), "tiers.l2.ttl.default=1s") == [
        "--set tiers.l2.ttl.default=1s: tiers.l2.ttl.default has no effect: every cache type has a "
        "ttl of its own; set those, or leave it out"
    ]
    assert told(written(tmp_path, '[tiers.l2.ttl]\ndefault = "600s"\n')) == []


def test_memory_limit_that_no_kpi_is_held_against_is_refused(tmp_path: Path) -> None:
    kpi = 'kpis=[{metric="hit_ratio",target=">= 95%",alert="< 85%"}]'
    (line,) = refused(written(tmp_path), "topology.memory_limit=200MB", kpi)
    assert line.endswith("no KPI judges peak_memory; set that, or leave memory_limit out")
    assert told(written(tmp_path), "topology.memory_limit=200MB") == []
    limited = written(tmp_path, '[topology]\nmemory_limit = "200MB"\n')
    (line,) = told(limited, kpi)
    assert "topology.memory_limit has no effect" in line

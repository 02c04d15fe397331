"""Claims about scenario files: every fault is named with its place, and nothing is guessed."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.parameters import Parameters
from core.errors import InputError
from core.scenario.faults import Fault
from core.scenario.file import (
    MAX_FILE_BYTES,
    apply_override,
    load_scenario,
    parse_scenario,
    scenario_data,
    scenario_hash,
)
from core.scenario.pace import with_rate
from core.scenario.scenario import Scenario
from core.scenario.tiers import L2, Tiers

KNOWN_KEYS = "check its spelling against scenarios/reference.toml"
MINIMAL = 'name = "minimal"\n'


def write(folder: Path, text: str = MINIMAL) -> Path:
    path = folder / "s.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(data: dict[str, Any]) -> list[str]:
    """Return the lines that *data* is refused with, less the file's name."""
    with pytest.raises(InputError) as caught:
        parse_scenario(data, source="s.toml")
    lines = str(caught.value).split("\n")
    assert all(line.startswith("s.toml: ") and line.isprintable() for line in lines)
    return [line.removeprefix("s.toml: ") for line in lines]


def rich() -> Scenario:
    """Return a scenario in which no field has its default."""
    return Scenario.model_validate(
        {
            "name": "rich",
            "description": "all of it",
            "seed": 7,
            "duration": "20s",
            "warm_up": "10s",
            "start": "cold",
            "timeout": "5s",
            "traffic": {
                "stages": [{"rate": 1, "ramp_to": 5, "duration": "12s"}, {"rate": 5}],
                "mix": {"track": 1, "attribution": 0, "journey": 0.1, "channels": 0},
                "popularity": {"law": "uniform", "exponent": 0.0},
                "conversion_share": 0.5,
            },
            "tiers": {
                "l2": {
                    "read": "5ms",
                    "write": {"distribution": "exponential", "mean": "1ms"},
                    "consistency": "eventual",
                    "soft_timeout": "100ms",
                    "breaker": {"failures": 3, "open_for": "2s"},
                    "pubsub": False,
                },
                "l3": {"round_trip": {"table": ["1ms", "2ms", "2.5ms"]}, "readers": 2},
                "single_flight": False,
                "ttl_jitter": 0.1,
                "stale_while_revalidate": "10s",
                "stale_if_error": "20s",
                "retry_pause": "2s",
                "early_refresh": 1.0,
                "tags": True,
            },
            "destination": {"url": "https://example.com/in", "token_variable": "TOKEN"},
            "faults": [
                {"at": "1s", "for": "2s", "tier": "l2", "kind": "error", "value": 0.5},
                {"at": "3s", "for": "4s", "kind": "hot_key", "endpoint": "journey", "value": 0.5},
            ],
            "trace": {"types": {"17": {"endpoint": "journey"}}, "limit": 10},
            "kpis": [{"metric": "p99(journey)", "target": "<= 1s", "alert": "> 2s"}],
        }
    )


@pytest.mark.parametrize("scenario", [Scenario(name="plain"), rich()], ids=["plain", "rich"])
def test_a_scenario_reads_back_from_its_data(scenario: Scenario) -> None:
    data = json.loads(json.dumps(scenario_data(scenario)))
    again = parse_scenario(data, source="again")
    assert again == scenario
    assert scenario_data(again) == data
    assert scenario_hash(again) == scenario_hash(scenario)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"sede": 1}, "sede is not a known key; check its spelling"),
        ({"tiers": {"l1": {"size": 5}}}, "tiers.l1.size is not a known key"),
        ({"traffic": {"stages": [{"rat": 5, "rate": 5}]}}, "traffic.stages[0].rat is not a known"),
        ({"traffic": {"stages": [{"rate": -5}]}}, "traffic.stages[0].rate is -5; it must be at le"),
        ({"traffic": {"stages": [{}]}}, "traffic.stages[0].rate is missing; add it"),
        ({"traffic": {"users": "many"}}, 'traffic.users is "many"; a whole number is needed'),
        ({"duration": 50}, "duration: 50 has no unit; write a duration as text such as '30s'"),
        ({"duration": "50"}, "duration: '50' is not a duration"),
        ({"topology": {"memory_limit": 128}}, "topology.memory_limit: 128 has no unit"),
        ({"tiers": {"l2": {"read": 5}}}, "tiers.l2.read: 5 is not a latency"),
        ({"tiers": {"l2": {"put": "later"}}}, "tiers.l2.put is \"later\"; use 'background' or 'aw"),
        ({"kpis": [{"metric": "p95_trak", "target": "< 1s", "alert": "> 2s"}]}, "kpis[0]: 'p95_tr"),
        ({"trace": {"types": {"17": {"endpoint": "x"}}}}, 'trace.types.17.endpoint is "x"; use '),
        ({"faults": [{"at": "1s"}]}, "faults[0].for is missing; add it"),
        (
            {"faults": [{"at": "1s", "for": "1s", "kind": "dead"}]},
            'faults[0]: dead is a fault of a tier; add tier = "l2", "l3" or "destination"',
        ),
        (
            {"faults": [{"at": "1s", "for": "1s", "kind": "dead", "tier": "destination"}]},
            "faults[0] is of the destination, which has no URL; set destination.url",
        ),
        ({"tiers": {"ttl_jitter": 1}}, "tiers.ttl_jitter is 1; it must be less than 1"),
        ({"tiers": {"tags": 1}}, "tiers.tags is 1; true or false is needed"),
        ({"tiers": {"stale_if_error": 5}}, "tiers.stale_if_error: 5 has no unit; write a duration"),
        ({"tiers": {"l2": {"soft_timeout": "2s"}}}, "tiers.l2: soft_timeout is 2s, more than time"),
        ({"tiers": {"l2": {"breaker": {"failure": 1}}}}, "tiers.l2.breaker.failure is not a known"),
        ({"queue": 5}, "queue is 5; a table is needed"),
        ({"traffic": {"stages": 3}}, "traffic.stages is 3; a list in square brackets is needed"),
        ({"kpis": {"hit_ratio": {}}}, "kpis is a table and a list is needed; head each of its"),
        (
            {"kpis": [{"metric": "hit_ratio", "target": 0.9}]},
            "kpis[0].target is 0.9; a text in quotes is needed, such as '< 100ms' or '>= 95%'",
        ),
        ({"description": 3}, "description is 3; a text in quotes is needed"),
        ({"traffic": {"stages": [{"rate": "fast"}]}}, 'traffic.stages[0].rate is "fast"; a number'),
        ({"a\nb": 1}, "'a\\nb' is not a known key"),
        (
            {"tiers": {"l2": {"read": {"p50\nx": "5ms"}}}},
            "tiers.l2.read: 'p50\\nx' is not a quanti",
        ),
    ],
)
def test_a_fault_is_named_with_its_place_value_and_remedy(data: dict[str, Any], line: str) -> None:
    found = faults({"name": "x"} | data)
    assert [text for text in found if text.startswith(line)] != [], found


def test_every_fault_is_reported_in_one_go_and_none_twice() -> None:
    found = faults(
        {
            "seed": -1,
            "duration": 50,
            "traffic": {"stages": [{"rate": -5}, {"rate": 1, "durration": "1s"}], "users": 0},
            "kpis": [{"metric": "p95_track", "target": "< 1s"}],
            "colour": "red",
        }
    )
    places = [line.split(" ")[0].rstrip(":") for line in found]
    assert sorted(places) == sorted(
        [
            "name",
            "seed",
            "duration",
            "traffic.stages[0].rate",
            "traffic.stages[1].durration",
            "traffic.users",
            "kpis[0].alert",
            "colour",
        ]
    )


def test_a_faulty_item_is_not_reported_once_more_as_a_short_list() -> None:
    (line,) = faults({"name": "x", "traffic": {"stages": [{"rate": -5}]}})
    assert line.startswith("traffic.stages[0].rate is -5")


def test_a_list_that_is_too_short_is_reported_where_its_items_are_sound() -> None:
    (line,) = faults({"name": "x", "kpis": []})
    assert line.startswith("kpis is []; ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name = ", "not valid TOML"),
        ("name = 'a'\nname = 'b'", "not valid TOML"),
        ("[" * 200, "not valid TOML: line 1: brackets nest more than 32 deep"),
        ("x = " + "[" * 200, "not valid TOML: line 1: brackets nest more than 32 deep"),
        ("\n" + "a." * 200 + "a = 1", "not valid TOML: line 2: a key of more than 16 parts"),
        ("seed = " + "9" * 5_000, "not valid TOML: an integer has too many digits"),
        ("seed = 0x" + "f" * 5_000, 'not valid TOML: "seed" is an integer of more than 64 bits'),
        ("#" * (MAX_FILE_BYTES + 1), "larger than 256,000 bytes; is it a scenario?"),
    ],
)
def test_a_file_that_is_no_toml_is_a_one_line_error(tmp_path: Path, text: str, reason: str) -> None:
    assert_refused(write(tmp_path, text), reason)


def test_a_file_that_cannot_be_read_is_a_one_line_error(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.toml", "no such scenario")
    assert_refused(tmp_path, "cannot be read")
    (tmp_path / "latin.toml").write_bytes("name = 'ü'".encode("latin-1"))
    assert_refused(tmp_path / "latin.toml", "not valid TOML")


def test_device_is_read_no_further_than_a_scenario_may_be() -> None:
    assert_refused(Path("/dev/zero"), "larger than 256,000 bytes; is it a scenario?")


@pytest.mark.parametrize("number", [20, 21, 3_000])
def test_no_more_than_twenty_faults_are_shown_and_the_rest_counted(number: int) -> None:
    found = faults({"name": "x"} | {f"key{n}": n for n in range(number)})
    assert found[:20] == [f"key{n} is not a known key; {KNOWN_KEYS}" for n in range(20)]
    rest = [] if number == 20 else [f"{number - 20:,} more faults are not shown"]
    assert found[20:] == rest


@pytest.mark.parametrize(
    "data", [{"k" * 50_000: 1}, {"duration": "9" * 50_000 + "!"}, {"seed": "x" * 50_000}]
)
def test_line_of_a_fault_is_short_and_still_ends_with_the_remedy(data: dict[str, Any]) -> None:
    (line,) = faults({"name": "x"} | data)
    assert len(line) <= 500
    assert line.endswith((KNOWN_KEYS, "such as 30s or 20ms", "a whole number is needed"))


def assert_refused(path: Path, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("tiers.l1.max_entries=500", ("tiers", "l1", "max_entries"), 500),
        ("tiers.l1.max_entries = 500", ("tiers", "l1", "max_entries"), 500),
        ("duration=30s", ("duration",), "30s"),
        ('duration="30s"', ("duration",), "30s"),
        ("kpis[0].target=< 90ms", ("kpis", 0, "target"), "< 90ms"),
        ("kpis[1].target=>= 90%", ("kpis", 1, "target"), ">= 90%"),
        ("traffic.stages[0].rate=1e2", ("traffic", "stages", 0, "rate"), 100.0),
        ("traffic.stages=[{rate = 5.0}]", ("traffic", "stages"), [{"rate": 5.0}]),
        ("tiers.l2.read={p50='1ms', p99='2ms'}", ("tiers", "l2", "read", "p99"), "2ms"),
        ("tiers.single_flight=false", ("tiers", "single_flight"), False),
        ("traffic.new.table=1", ("traffic", "new", "table"), 1),
        ("description=", ("description",), ""),
        ("description=a=b", ("description",), "a=b"),
        ("trace.types.17={endpoint='track'}", ("trace", "types", "17", "endpoint"), "track"),
    ],
)
def test_an_override_sets_one_field_and_leaves_the_rest(
    override: str, place: tuple[str | int, ...], value: Any
) -> None:
    before: dict[str, Any] = {
        "name": "x",
        "traffic": {"stages": [{"rate": 1.0}]},
        "kpis": [{"target": "a"}, {"target": "b"}],
    }
    data = copy.deepcopy(before)
    apply_override(data, override)
    found: Any = data
    for step in place:
        found = found[step]
    assert found == value
    assert data["name"] == "x"
    assert {k: v for k, v in data.items() if k != place[0]} == {
        k: v for k, v in before.items() if k != place[0]
    }


@pytest.mark.parametrize(
    "override",
    [
        "tiers",
        "",
        "=5",
        " = 5",
        "kpis[9].target=1",
        "kpis[0][1]=5",
        "name.x=5",
        "kpis.x=1",
        "kpis[-1].target=1",
        "kpis[x]=1",
        "kpis[0=1",
        "kpis[]=1",
        "kpis[²]=1",
        "faults[0].at=1s",
        "name[0]=x",
        "kpis[0]x=1",
        f"kpis[{'9' * 5000}]=1",
        "a." * 16 + "a=1",
        "seed=" + "9" * 5_000,
        "seed=0x" + "f" * 100,
        "kpis=" + "[" * 200,
        "kpis={" + "a." * 200 + "a = 1}",
        "name=" + "x" * 20_000,
        "description='a'\nseed = 5",
        "seed=5\r",
    ],
)
def test_an_override_that_leads_nowhere_is_a_one_line_error(override: str) -> None:
    data: dict[str, Any] = {"name": "x", "kpis": [{"target": "a"}]}
    with pytest.raises(InputError) as caught:
        apply_override(data, override)
    assert str(caught.value).startswith("--set ")
    assert len(str(caught.value).splitlines()) == 1


def test_overrides_seed_rate_and_trace_reach_the_scenario(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "seed = 3\n[traffic]\nstages = [{ rate = 10.0 }]\n")
    keys = tmp_path / "keys.csv"
    keys.write_text("key\na\n")
    scenario = load_scenario(
        path,
        overrides=["tiers.l1.max_entries=5", "tiers.l1.max_entries=6"],
        seed=9,
        rate=40.0,
        trace={"file": str(keys), "offset": None},
    )
    assert scenario.tiers.l1.max_entries == 6
    assert scenario.seed == 9
    assert scenario.traffic.stages[0].rate == 40.0
    assert (scenario.trace.file, scenario.trace.offset) == (str(keys), None)
    assert load_scenario(path).seed == 3


def test_a_faulty_override_is_named_itself_and_a_faulty_file_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "seed = -1\n")
    with pytest.raises(InputError) as refused:
        load_scenario(path, overrides=["tiers.l1.max_entries=0", "traffic.users=7"])
    assert str(refused.value).splitlines() == [
        f"{path}: seed is -1; it must be at least 0",
        "--set tiers.l1.max_entries=0: tiers.l1.max_entries is 0; it must be at least 1",
    ]


@pytest.mark.parametrize("text", ["tiers.l1.size=5", "tiers.l1=5", "kpis=[{}]"])
def test_an_override_is_named_whatever_is_wrong_with_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as refused:
        load_scenario(write(tmp_path), overrides=[text])
    assert str(refused.value).startswith(f"--set {text}: ")


def test_overrides_are_named_beside_the_file_where_a_table_does_not_go_together(
    tmp_path: Path,
) -> None:
    path, texts = write(tmp_path), ["kpis[0].metric=p95_trak", "traffic.users=7"]
    with pytest.raises(InputError) as refused:
        load_scenario(path, overrides=texts)
    assert str(refused.value).startswith(f"{path} with --set {texts[0]}: kpis[0]: 'p95_trak' is ")


def test_a_trace_beside_a_faulty_trace_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trace is 5; it is a table"):
        load_scenario(write(tmp_path, MINIMAL + "trace = 5\n"), trace={"file": "x"})


@given(
    rates=st.lists(st.floats(0, 1e5), min_size=1, max_size=4).filter(lambda r: max(r) > 1e-3),
    rate=st.floats(1e-3, 1e6),
)
def test_scaling_makes_the_highest_rate_the_one_asked_for(rates: list[float], rate: float) -> None:
    stages = [{"rate": 0.0, "ramp_to": r, "duration": "1s"} for r in rates] + [{"rate": rates[0]}]
    scenario = Scenario.model_validate({"name": "x", "traffic": {"stages": stages}})
    scaled = with_rate(scenario, rate)
    highest = max(max(s.rate, s.ramp_to or 0) for s in scaled.traffic.stages)
    assert highest == pytest.approx(rate, rel=1e-12)
    for before, after in zip(scenario.traffic.stages, scaled.traffic.stages, strict=True):
        assert after.rate * max(rates) == pytest.approx(before.rate * rate)
        assert (after.ramp_to is None) == (before.ramp_to is None)
        assert after.duration == before.duration
    assert scaled.tiers == scenario.tiers


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e7, float("nan"), float("inf")])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="--rate"):
        with_rate(Scenario(name="x"), rate)


def test_a_scenario_without_any_rate_cannot_be_scaled() -> None:
    idle = Scenario.model_validate({"name": "idle", "traffic": {"stages": [{"rate": 0}]}})
    with pytest.raises(InputError, match="every stage of idle has the rate 0"):
        with_rate(idle, 5.0)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every plain value inside *value*."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        yield path
    for key, inner in items:
        yield from leaves(inner, (*path, key))


def altered(value: Any) -> list[Any]:
    """Return values near *value*, one of which its field will take."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value / 2]
    if value is None:
        return [1, "18s", "text", 0.5, "user_journeys", "ms", "raw", "lirs"]
    if written := re.fullmatch(r"([\d.]+(?:e-?\d+)?)([A-Za-z]+)", value):
        return [f"{float(written[1]) * 1.2:.9f}{written[2]}"]
    choices = ["warm", "zipf", "request", "await", "l3", "slow", "GET", "POST", "attribution"]
    choices += ["strong", "refuse", "ignore unless all direct", "none", "lirs"]
    return [f"{value}x", *choices, "< 1ms", "> 3000s", "p50(track)"]


DATA = scenario_data(rich())
BOUND = {
    ("tiers", "l2", "write", "distribution"),
    ("tiers", "l2", "min_ttl"),  # "refuse" needs longer TTLs
    ("traffic", "stages", 1, "ramp_to"),
    ("trace", "default", "endpoint"),
    ("trace", "default", "cache_type"),
    ("tiers", "query_cache", "ttl"),
    ("faults", 0, "endpoint"),
    ("faults", 1, "tier"),
    ("faults", 1, "kind"),
    *(("attribution", "u_shape", place) for place in range(3)),  # they sum to 1
    *(("attribution", "w_shape", place) for place in range(4)),
}
"""Fields with one legal value, or which change only together with another."""


@pytest.mark.parametrize("path", list(leaves(DATA)), ids=str)
def test_the_hash_changes_with_every_field_but_name_and_description(
    path: tuple[str | int, ...],
) -> None:
    changed = 0
    place: Any = DATA
    for step in path:
        place = place[step]
    for value in altered(place):
        data = copy.deepcopy(DATA)
        inside: Any = data
        for step in path[:-1]:
            inside = inside[step]
        inside[path[-1]] = value
        try:
            scenario = parse_scenario(data, source="altered")
        except InputError:
            continue
        if scenario == rich():
            continue
        changed += 1
        is_same = scenario_hash(scenario) == scenario_hash(rich())
        assert is_same == (path[0] in ("name", "description"))
    assert (changed > 0) == (path not in BOUND)


class WiderL2(L2):
    replicas: int = 3


class WiderTiers(Tiers):
    l2: WiderL2 = WiderL2()


class WiderFault(Fault):
    zone: str = "all"


class WiderScenario(Scenario):
    tiers: WiderTiers = WiderTiers()
    faults: tuple[WiderFault, ...] = ()
    region: str = "eu"


def test_new_fields_with_a_default_change_no_hash() -> None:
    data = {
        "name": "wider",
        "tiers": {"l2": {"put": "await"}},
        "faults": [{"at": "1s", "for": "2s", "tier": "l2", "kind": "error", "value": 0.5}],
    }
    plain, wider = Scenario.model_validate(data), WiderScenario.model_validate(data)
    assert scenario_data(plain) != scenario_data(wider)
    assert scenario_hash(plain) == scenario_hash(wider)
    elsewhere = {**data, "tiers": {"l2": {"put": "await", "replicas": 4}}}
    assert scenario_hash(WiderScenario.model_validate(elsewhere)) != scenario_hash(plain)


def test_fields_by_endpoint_count_only_where_they_differ_from_its_description() -> None:
    tables = {"traffic": {"mix": {"track": 0.5}}, "tiers": {"l2": {"ttl": {"attribution": "5s"}}}}
    short = parse_scenario({"name": "short", **tables}, source="short")
    tables = {
        "traffic": {"mix": {"track": 0.5, "journey": 0.08}},
        "tiers": {"l2": {"ttl": {"attribution": "5s", "lookup_data": "600s"}}},
    }
    long = parse_scenario({"name": "long", **tables}, source="long")
    assert scenario_hash(short) == scenario_hash(long)
    assert scenario_hash(short) != scenario_hash(Scenario(name="other"))


def test_defaults_that_are_written_out_have_the_hash_of_those_left_out() -> None:
    written = parse_scenario(scenario_data(Scenario(name="written")), source="written")
    assert scenario_hash(written) == scenario_hash(Scenario(name="left_out"))
    assert scenario_hash(written) == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        (("traffic", "stages", 1), {"ramp_to": 6.0, "duration": "18s"}),
        (("trace", "default"), {"endpoint": "journey", "cache_type": "user_journeys"}),
        (("tiers", "l2"), {"write": "1ms"}),
        (("tiers", "query_cache"), {"ttl": "30s"}),
        (("faults", 0), {"tier": None, "kind": "hot_key", "endpoint": "journey"}),
        (("faults", 1), {"tier": "l2", "kind": "error", "endpoint": None}),
    ],
)
def test_the_hash_changes_with_fields_that_only_change_together(
    place: tuple[str | int, ...], fields: dict[str, Any]
) -> None:
    data: Any = copy.deepcopy(DATA)
    inside = data
    for step in place:
        inside = inside[step]
    inside.update(fields)
    assert scenario_hash(parse_scenario(data, source="altered")) != scenario_hash(rich())


WRONG: dict[str, tuple[Any, str]] = {
    "half_life": ("0s", "attribution.half_life is"),
    "lookback": ("-1d", "attribution.lookback"),
    "direct": ("ignore", "use 'own channel' or 'ignore unless all direct'"),
    "u_shape": ([0.4, 0.4, 0.4], "3 shares of at least 0 that sum to 1"),
    "w_shape": ([0.5] * 4, "4 shares of at least 0 that sum to 1"),
    "milestones": (["offer", "offer"], "two different ones"),
    "order": (4, "attribution.order is 4; it must be at most 3"),
    "fit_every": (-1, "attribution.fit_every is -1; it must be at least 0"),
    "fit_events": (0, "attribution.fit_events is 0; it must be at least 1"),
    "min_conversions": (0, "attribution.min_conversions is 0"),
    "refresh": ("0s", "attribution.refresh is"),
    "half_live": ("7d", "attribution.half_live is not a known key"),
}


@pytest.mark.parametrize("field", WRONG)
def test_attribution_that_cannot_be_is_refused_by_name(field: str) -> None:
    value, message = WRONG[field]
    (line,) = faults({"name": "x", "attribution": {field: value}})
    assert message in line
    assert line.startswith("attribution")


def test_attribution_of_a_scenario_gives_the_parameters_of_its_models() -> None:
    table = {
        "half_life": "12h", "lookback": "90d", "direct": "ignore unless all direct",
        "u_shape": [0.5, 0.0, 0.5], "w_shape": [0.25, 0.25, 0.25, 0.25],
        "milestones": ["signup", "offer"], "order": 3,
    }  # fmt: skip
    read = parse_scenario({"name": "x", "attribution": table}, source="x")
    assert read.attribution.parameters() == Parameters(
        half_life_ms=12 * 3_600_000, lookback_ms=90 * 86_400_000, direct="ignore unless all direct",
        u_shape=(0.5, 0.0, 0.5), w_shape=(0.25, 0.25, 0.25, 0.25),
        milestones=("signup", "offer"), order=3,
    )  # fmt: skip
    assert scenario_hash(read) != scenario_hash(parse_scenario({"name": "x"}, source="x"))
    assert parse_scenario({"name": "x"}, source="x").attribution.parameters() == Parameters()

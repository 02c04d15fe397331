"""Claims about the scenario: its reference documents it, and what cannot be is refused."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

import scenarios
from core.endpoints import CDP
from core.metrics.kpi import ALIASES
from core.scenario.by_endpoint import ByEndpoint
from core.scenario.endpoint_tables import EndpointFields, ReadFields
from core.scenario.file import parse_scenario, scenario_data
from core.scenario.rates_file import with_rates
from core.scenario.scenario import Scenario
from core.scenario.schema import scenario_schema
from core.scenario.subjects import with_files
from core.scenario.targets import Targets
from core.scenario.tiers import Tiers, Ttls
from core.scenario.topology import Topology
from core.scenario.traffic import Mix

REFERENCE = Path(scenarios.__file__).parent / "reference.toml"


def scenario(**fields: Any) -> Scenario:
    return Scenario.model_validate({"name": "test"} | fields)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a field's type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def models(root: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every table of the scenario with its dotted path."""
    yield path, root
    for name, field in root.model_fields.items():
        for model in models_in(field.annotation):
            yield from models(model, f"{path}.{field.alias or name}".lstrip("."))


def test_the_reference_is_the_defaults() -> None:
    data = tomllib.loads(REFERENCE.read_text(encoding="utf-8"))
    assert parse_scenario(data, source="reference.toml") == scenario(name="reference")


def documented(text: str, path: str, key: str) -> bool:
    """Return whether *text* shows *key* in the section of *path*, commented out or not.

    A table has sections of its own; one that is written inline has none, and is looked for in
    its parent's.
    """
    if re.search(rf"^(# )?\[+{re.escape(f'{path}.{key}'.lstrip('.'))}[\].]", text, re.MULTILINE):
        return True
    sections = re.split(r"^(?=(?:# )?\[)", text, flags=re.MULTILINE)
    headed = [s for s in sections[1:] if re.match(rf"(# )?\[+{re.escape(path)}\]", s)]
    if not path:
        headed = sections[:1]
    if headed:
        return any(re.search(rf"^(# )?{key} = ", s, re.MULTILINE) for s in headed)
    parent = path.rpartition(".")[0]
    return any(re.search(rf"\b{key}\b", s) for s in sections if re.match(rf"(# )?\[+{parent}\]", s))


_MOVED = {
    "Scenario": ("targets",), "Traffic": ("mix",), "Topology": ("cpu",), "Subject": ("sha256",),
    "Targets": CDP.names, "Mix": CDP.names,
    "Cpu": (*CDP.names, "per_l2_operation", "per_l3_operation"),
}  # fmt: skip


def test_the_reference_documents_every_field_of_an_endpoint() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for key in EndpointFields.model_fields:
        assert documented(text, "endpoints.items", key), key
    for key in ReadFields.model_fields:
        assert re.search(rf"(# )?reads = .*\b{key}\b|^# {{20,}}.*\b{key}\b", text, re.M), key
    for tier in ("tiers.l2", "tiers.l3"):
        assert documented(text, tier, "cpu")


@pytest.mark.parametrize("model", list(dict.fromkeys(m for _, m in models(Scenario))))
def test_the_reference_documents_every_field_in_its_table(model: type[BaseModel]) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    paths = [path for path, m in models(Scenario) if m is model]
    paths = ["subjects.item" if path == "subjects" else path for path in paths]
    keys = [field.alias or name for name, field in model.model_fields.items()]
    if issubclass(model, ByEndpoint):
        keys += model().by_name
    # A file has these in the tables of its endpoints, and of the tiers.
    keys = [key for key in keys if key not in _MOVED.get(model.__name__, ())]
    for key in keys:
        shown = [documented(text, path, key) for path in paths]
        assert any(shown), f"{paths}: {key} does not stand in reference.toml"


def test_the_reference_names_no_field_that_there_is_not(tmp_path: Path) -> None:
    # What stands in comments too: with the comment signs off, it is still a scenario.
    text = REFERENCE.read_text(encoding="utf-8")
    text = re.sub(r"^# (?=\[|[a-z_0-9]+ = )", "", text, flags=re.MULTILINE)
    data = tomllib.loads(text)
    for field in ("count", "prefix"):
        del data["subjects"]["item"][field]  # ids stand for themselves
    (tmp_path / "ids.csv").write_text("sku,name\na,x\n")
    data["subjects"] = with_files(data["subjects"], tmp_path, "reference.toml")
    (tmp_path / "day.csv").write_text("time,rate\n0,5\n600,6\n")
    curves = {name: data["traffic"].pop(name) for name in ("stages", "daily", "rates")}
    for name, curve in curves.items():
        traffic = with_rates({**data["traffic"], name: curve}, tmp_path, "reference.toml")
        parsed = parse_scenario({**data, "traffic": traffic}, source="reference.toml")
        assert parsed.traffic.bursts is not None
    assert [fault.kind.name for fault in parsed.faults] == ["slow", "hot_key"]
    assert parsed.trace.file is not None
    assert parsed.trace.types


def test_every_scenario_judges_the_same_eight_metrics_by_default() -> None:
    assert {kpi.name for kpi in scenario().judged()} == set(ALIASES)


def test_the_memory_target_lies_below_the_alert_and_the_limit() -> None:
    (memory,) = [kpi for kpi in scenario().judged() if kpi.name == "peak_memory"]
    assert memory.target.value < memory.alert.value == scenario().topology.memory_limit


def test_total_time_is_warm_up_and_duration() -> None:
    assert scenario(warm_up="5s", duration="1min").total_time == 65.0


def test_weights_stand_in_the_order_of_the_endpoints() -> None:
    given = {"channels": 4, "journey": 3, "track": 1, "attribution": 2}
    assert Mix.model_validate(given).weights() == (1, 2, 3, 4)
    assert tuple(Mix().by_name) == CDP.names == tuple(Targets().by_name)


def test_every_cache_type_has_a_ttl_and_an_unknown_one_the_default() -> None:
    ttls = Ttls.model_validate(
        {"default": "1s"} | {name: f"{i}s" for i, name in enumerate(CDP.cache_types, 2)}
    )
    assert [ttls.of(name) for name in CDP.cache_types] == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert ttls.of("anything") == 1.0


@pytest.mark.parametrize(
    ("revalidate", "error", "bound"), [("0s", "0s", 0.0), ("7s", "3s", 7.0), ("3s", "7s", 7.0)]
)
def test_values_are_served_beyond_their_ttl_for_the_longer_of_both_bounds(
    revalidate: str, error: str, bound: float
) -> None:
    given = {"stale_while_revalidate": revalidate, "stale_if_error": error}
    assert Tiers.model_validate(given).stale_bound == bound


def test_by_default_nothing_is_served_beyond_its_ttl_and_nothing_is_drawn() -> None:
    tiers = scenario().tiers
    assert (tiers.stale_bound, tiers.ttl_jitter, tiers.early_refresh) == (0.0, 0.0, 0.0)
    assert tiers.l2.soft_timeout == 0.0
    assert (tiers.l2.consistency, tiers.tags) == ("strong", False)


@pytest.mark.parametrize("endpoint", [None, "track", "attribution", "journey"])
def test_a_hot_key_is_a_fault_of_the_traffic(endpoint: str | None) -> None:
    (fault,) = scenario(faults=[HOT_KEY | {"endpoint": endpoint, "value": 1}]).faults
    assert (fault.tier, fault.endpoint, fault.value) == (None, endpoint, 1.0)


def test_isolates_are_counted_over_processes_and_points_of_presence() -> None:
    topology = Topology(points_of_presence=3, processes=2, isolates=4)
    assert (topology.process_count, topology.isolate_count) == (6, 24)


def test_a_scenario_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        scenario().seed = 2


STAGES_OF_A_THIRD = [{"rate": 1.0, "duration": "1.1s"}, {"rate": 2.0, "duration": "2.2s"}]


def test_stages_that_fill_the_run_exactly_fit_whatever_floats_make_of_the_sum() -> None:
    fitting = scenario(warm_up="0s", duration="3.3s", traffic={"stages": STAGES_OF_A_THIRD})
    assert len(fitting.traffic.stages) == 2


HOT_KEY = {"at": "0s", "for": "1s", "kind": "hot_key"}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"traffic": {"stages": []}}, "at least 1 item"),
    ({"destination": {"url": "ftp://host/x"}}, "url is 'ftp://host/x'; write https://HOST/PATH"),
    ({"destination": {"url": "http://h:99999/x"}}, "write https://HOST/PATH"),
    ({"destination": {"url": "http://h/a b"}}, "write https://HOST/PATH"),
    ({"destination": {"url": "/conversions"}}, "write https://HOST/PATH"),
    ({"destination": {"url": "http://[::1"}}, "url is no URL"),
    ({"destination": {"url": "https://me:secret@host/"}}, "holds a name or password"),
    ({"destination": {"url": "local", "token_variable": "T"}}, "leave it out"),
    ({"destination": {"url": "http://host/", "token_variable": "T"}}, "use https"),
    ({"destination": {"url": "https://host/", "token_variable": "T=1"}}, "match pattern"),
    ({"destination": {"timeout": "0s"}}, "greater than 0"),
    ({"traffic": {"stages": [{"rate": -5.0}]}}, "greater than or equal to 0"),
    ({"traffic": {"stages": [{"rate": float("nan")}]}}, "finite"),
    ({"traffic": {"stages": [{"rate": float("inf")}]}}, "finite"),
    ({"traffic": {"stages": [{"rate": 2e6}]}}, "less than or equal to"),
    ({"traffic": {"stages": [{"rate": 1, "ramp_to": 2}]}}, "a ramp needs a duration"),
    ({"traffic": {"stages": [{"rate": 1, "duration": "0s"}]}}, "more than 0s"),
    ({"traffic": {"stages": [{"rate": 1}, {"rate": 2}]}}, r"stages\[0\] needs a duration"),
    ({"traffic": {"stages": [{"rate": 1, "duration": "5s"}]}}, "last 5s, warm_up and duration 55s"),
    ({"traffic": {"stages": [{"rate": 1, "duration": "1h"}, {"rate": 1}]}}, "longer than the run"),
    ({"traffic": {"mix": dict.fromkeys(CDP.names, 0)}}, "a weight above 0"),
    ({"traffic": {"mix": {"track": -1}}}, "greater than or equal to 0"),
    ({"traffic": {"mix": {"track": float("inf")}}}, "finite"),
    ({"traffic": {"users": 0}}, "greater than or equal to 1"),
    ({"traffic": {"conversion_share": 1.5}}, "less than or equal to 1"),
    ({"traffic": {"popularity": {"law": "pareto"}}}, "'zipf' or 'uniform'"),
    ({"traffic": {"popularity": {"exponent": float("nan")}}}, "finite"),
    ({"topology": {"points_of_presence": 100, "isolates": 1000}}, "at most 65536"),
    ({"topology": {"cpu": {"track": "-1ms"}}}, "negative"),
    ({"topology": {"memory_limit": "-1MB"}}, "negative"),
    ({"tiers": {"l1": {"ttl": "0s"}}}, "more than 0"),
    ({"tiers": {"l1": {"max_bytes": "0B"}}}, "more than 0"),
    ({"tiers": {"l2": {"ttl": {"lookup_data": "0s"}}}}, "a TTL is more than 0s"),
    ({"tiers": {"l2": {"timeout": "-1s"}}}, "negative"),
    ({"tiers": {"l2": {"timeout": "0s"}}}, "greater than 0"),
    ({"tiers": {"l2": {"soft_timeout": "-1s"}}}, "negative"),
    ({"tiers": {"l2": {"soft_timeout": "1001ms"}}}, r"soft_timeout is 1.001s, more than timeout"),
    (
        {"tiers": {"l2": {"consistency": "eventual", "cache_ttl": "29s"}}},
        r'cache_ttl is 29s; with consistency = "eventual" at least 30s',
    ),
    ({"tiers": {"l2": {"consistency": "weak"}}}, "'strong' or 'eventual'"),
    ({"tiers": {"l2": {"min_ttl": "cut"}}}, "'clamp' or 'refuse'"),
    (
        {"tiers": {"l2": {"min_ttl": "refuse"}}},
        r"negative_ttl is 30s; the edge store refuses a TTL under 60s: give more",
    ),
    (
        {
            "tiers": {
                "l2": {"min_ttl": "refuse", "ttl": {"lookup_data": "59s"}},
                "negative_ttl": "0s",
            }
        },
        r"l2\.ttl\.lookup_data is 59s; the edge store refuses",
    ),
    (
        {"tiers": {"l2": {"min_ttl": "refuse"}, "negative_ttl": "66s", "ttl_jitter": 0.1}},
        r"negative_ttl is 66s, down to 59.4s with ttl_jitter; the edge store refuses",
    ),
    ({"tiers": {"l2": {"pubsub": 1}}}, "valid boolean"),
    ({"tiers": {"l2": {"pubsub": "yes"}}}, "valid boolean"),
    ({"tiers": {"l2": {"breaker": {"failures": -1}}}}, "greater than or equal to 0"),
    ({"tiers": {"l2": {"breaker": {"failures": 1.5}}}}, "valid integer"),
    ({"tiers": {"l2": {"breaker": {"open_for": "0s"}}}}, "greater than 0"),
    ({"tiers": {"l2": {"breaker": {"open_for": 5}}}}, "has no unit"),
    ({"tiers": {"ttl_jitter": 1.0}}, "less than 1"),
    ({"tiers": {"ttl_jitter": -0.1}}, "greater than or equal to 0"),
    ({"tiers": {"ttl_jitter": float("nan")}}, "finite"),
    ({"tiers": {"early_refresh": 100.1}}, "less than or equal to 100"),
    ({"tiers": {"early_refresh": -1}}, "greater than or equal to 0"),
    ({"tiers": {"early_refresh": float("nan")}}, "finite"),
    ({"tiers": {"stale_while_revalidate": "-1s"}}, "negative"),
    ({"tiers": {"stale_if_error": "-1s"}}, "negative"),
    ({"tiers": {"retry_pause": "-1s"}}, "negative"),
    ({"tiers": {"tags": "true"}}, "valid boolean"),
    ({"tiers": {"single_flight": 0}}, "valid boolean"),
    ({"tiers": {"negative_ttl": "-1s"}}, "negative"),
    ({"queue": {"wait": "-1s"}}, "negative"),
    ({"queue": {"batch_size": 101}}, "less than or equal to 100"),
    ({"duration": "0s"}, "more than 0s"),
    ({"timeout": "0s"}, "more than 0s"),
    ({"seed": -1}, "greater than or equal to 0"),
    ({"seed": 2**63}, "less than"),
    ({"name": "a/b"}, "pattern"),
    ({"name": ""}, "pattern"),
    ({"start": "hot"}, "'cold' or 'warm'"),
    ({"targets": {"track": {"path": "track"}}}, "begin it with /"),
    ({"trace": {"default": {"endpoint": "channels"}}}, "'track', 'attribution' or 'journey'"),
    ({"trace": {"default": {"endpoint": "track", "cache_type": "attribution"}}}, "feeds 'lookup"),
    ({"trace": {"limit": 0}}, "greater than or equal to 1"),
    ({"kpis": []}, "at least 1 item"),
    ({"kpis": [{"metric": "p95(x)", "target": "< 1s", "alert": "> 2s"}]}, "is not a metric"),
    ({"kpis": [{"metric": "p95_cpu", "target": "< 2s", "alert": "> 1s"}]}, "inside target"),
    (
        {
            "kpis": [
                {"metric": "p95_track", "target": "< 1s", "alert": "> 2s"},
                {"metric": "p95(track)", "target": "< 1s", "alert": "> 2s"},
            ]
        },
        "judged twice",
    ),
    (
        {"faults": [{"at": "0s", "for": "1s", "tier": "l1", "kind": "slow"}]},
        "'l2', 'l3' or 'destination'",
    ),
    ({"faults": [{"at": "0s", "for": "0s", "tier": "l2", "kind": "slow"}]}, "lasts more than 0s"),
    (
        {"faults": [{"at": "0s", "for": "1s", "tier": "l2", "kind": "error", "value": 1.5}]},
        "not a share of operations",
    ),
    ({"faults": [HOT_KEY | {"value": 1.01}]}, "not a share of requests"),
    ({"faults": [HOT_KEY | {"value": -0.1}]}, "greater than or equal to 0"),
    ({"faults": [HOT_KEY | {"tier": "l2"}]}, r"leave out tier \('l2'\)"),
    ({"faults": [HOT_KEY | {"endpoint": "channels"}]}, "'track', 'attribution' or 'journey'"),
    ({"faults": [HOT_KEY | {"for": "0s"}]}, "lasts more than 0s"),
    (
        {"faults": [{"at": "0s", "for": "1s", "kind": "slow"}]},
        'add tier = "l2", "l3" or "destination"',
    ),
    (
        {"faults": [{"at": "0s", "for": "1s", "tier": "l2", "kind": "dead", "endpoint": "track"}]},
        "endpoint belongs to hot_key; leave it out for dead",
    ),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED, ids=[str(f)[:60] for f, _ in REFUSED])
def test_what_cannot_be_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        scenario(**fields)


@pytest.mark.parametrize(("path", "model"), list(models(Scenario)))
def test_no_table_takes_an_unknown_key(path: str, model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as raised:
        model.model_validate({"no_such_key": 1})
    faults = {fault["loc"]: fault["type"] for fault in raised.value.errors()}
    assert faults["no_such_key",] == "extra_forbidden", path


def test_the_schema_takes_the_reference() -> None:
    schema = scenario_schema()
    # These stand in its data, and in its hash, only where they say something.
    added = {"metrics", "subjects", "endpoints", "network", "prices", "deployments", "regions"}
    added.add("invalidation")
    assert {*scenario_data(scenario()), *added} - {"targets"} == set(schema["properties"])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "tiers",
    [
        {"negative_ttl": "60s"},
        {"negative_ttl": "0s"},  # absences are not kept
        {"stale_if_error": "30s"},  # L2 keeps them for so much longer
        {"negative_ttl": "80s", "ttl_jitter": 0.25},
    ],
)
@pytest.mark.parametrize("consistency", ["strong", "eventual"])
def test_ttls_that_the_edge_store_takes_are_not_refused(
    tiers: dict[str, Any], consistency: str
) -> None:
    l2 = {"min_ttl": "refuse", "consistency": consistency}
    scenario = Scenario.model_validate({"name": "a", "tiers": {"l2": l2, **tiers}})
    assert scenario.tiers.l2.min_ttl == "refuse"


def test_retries_are_deliveries_but_the_first() -> None:
    assert scenario(queue={"retries": 3}) == scenario(queue={"max_attempts": 4})
    assert scenario(queue={"retries": 3, "max_attempts": 4}).queue.max_attempts == 4
    assert scenario(queue={}).queue.max_attempts == 3
    assert "retries" not in scenario(queue={"retries": 0}).queue.model_dump()


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ({"retries": 3, "max_attempts": 3}, "retries is 3, which makes 4 deliveries"),
        ({"retries": 101}, "retries"),
        ({"max_attempts": 102}, "max_attempts"),
        ({"wait": "61s"}, "wait"),
        ({"batch_size": 101}, "batch_size"),
        ({"max_parallel": 251}, "max_parallel"),
        ({"retry_delay": "13h"}, "retry_delay"),
        ({"retry_backoff": "linear"}, "retry_backoff"),
    ],
)
def test_queue_beyond_the_bounds_of_the_platform_is_refused(
    queue: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        scenario(queue=queue)

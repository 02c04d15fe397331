"""Claims about /metrics: OpenMetrics, of every process apart, and the statistics' own figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families as older_format

from core.metrics.exposition import BOUNDS, rendered
from core.metrics.histogram import LatencyHistogram
from core.service.families import OF_COUNTERS, OF_STORES
from edgeproof.load_metrics import LoadMetrics
from tests.core.metrics.exposed import parsed
from tests.core.service.serving import NOW_MS, Visitor, problem, serving, small_scenario

Values = dict[tuple[tuple[str, str], ...], float]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Visitor]]:
    """Return clients of two workers, with a consumer and a destination, after some requests."""
    scenario = small_scenario(
        "measured", topology={"processes": 2, "isolates": 2}, destination={"url": "local"},
    )  # fmt: skip
    with serving(scenario, tmp_path_factory.mktemp("measured")) as visitors:
        for number, visitor in enumerate(visitors):
            for _ in range(3 + number):
                visitor.get("/journey/u1")
            visitor.attribution("c1")
        visitors[1].track(user_id="buyer", timestamp=NOW_MS - 1)
        visitors[1].track(user_id="buyer", conversion_id="bought", value=2.0)
        visitors[0].await_counters(lambda counters: counters.get("forwarded", 0) >= 1)
        yield visitors


def families_of(visitor: Visitor, query: str = "") -> dict[str, Metric]:
    """Return what an OpenMetrics parser reads, by name."""
    answer = visitor.http.get(f"/metrics{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    found = parsed(answer.text)
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def values(families: Mapping[str, Metric], sample: str) -> Values:
    """Return the values of *sample*, by labels."""
    return {
        tuple(sorted(one.labels.items())): one.value
        for family in families.values()
        for one in family.samples
        if one.name == sample
    }


def total(families: Mapping[str, Metric], sample: str, **labels: str) -> float:
    """Return the sum of *sample* over the series with *labels*."""
    found = [v for k, v in values(families, sample).items() if set(labels.items()) <= {*k}]
    assert found, sample
    return sum(found)


def test_metrics_of_all_workers_are_what_the_statistics_tell(pair: list[Visitor]) -> None:
    stats = pair[0].monitoring("stats", "service")["cumulative"]
    families = families_of(pair[1])
    counters = stats["counters"]
    for endpoint in pair[0].scenario.endpoints.names:
        name = "edgeproof_request_duration_seconds_count"
        assert total(families, name, endpoint=endpoint) == counters[f"requests_{endpoint}"]
    assert total(families, "edgeproof_responses_total", code="2xx") == counters["responses_2xx"]
    for counter, (name, _) in OF_COUNTERS.items():
        if counter in counters:
            assert total(families, f"edgeproof_{name}_total") == counters[counter]
    for counter, (store, what) in OF_STORES.items():
        assert total(families, f"edgeproof_store_{what}_total", store=store) == counters[counter]
    assert values(families, "edgeproof_queue_pending_conversions") == {(): 0.0}
    for kind in ("query", "queue", "external"):
        histogram = LatencyHistogram.from_json(stats["histograms"][kind])
        found = "edgeproof_stage_duration_seconds"
        assert total(families, f"{found}_count", stage=kind) == histogram.count > 0
        assert total(families, f"{found}_sum", stage=kind) == pytest.approx(
            1e-9 * histogram.total_ns
        )
        for bound, count in zip(BOUNDS, histogram.at_most(BOUNDS), strict=True):
            assert total(families, f"{found}_bucket", stage=kind, le=str(bound)) == count


def test_reads_by_outcome_are_those_of_the_cache_statistics(pair: list[Visitor]) -> None:
    cache = pair[0].monitoring("cache-stats", "service")["cache"]
    families = families_of(pair[0])
    for name, counts in cache["by_type"].items():
        for outcome in ("l1", "l2", "miss", "collapsed", "bypass"):
            found = total(families, "edgeproof_cache_reads_total", type=name, outcome=outcome)
            assert found == counts[outcome]
    assert total(families, "edgeproof_cache_reads_total") == cache["reads"] > 0
    assert total(families, "edgeproof_l1_entries") == cache["l1"]["entries"]
    assert total(families, "edgeproof_l1_bytes") == cache["l1"]["bytes"]


def test_every_counter_of_the_statistics_is_a_metric(pair: list[Visitor]) -> None:
    elsewhere = re.compile(
        r"requests_\w+|responses_.xx|queue_pending|l1_e(victed|xpired)|stale_served"
    )
    for counter in pair[0].monitoring("stats", "service")["cumulative"]["counters"]:
        assert counter in OF_COUNTERS or counter in OF_STORES or elsewhere.fullmatch(counter)


def test_each_process_has_series_of_its_own(pair: list[Visitor]) -> None:
    families = families_of(pair[0])
    everybody = {"0", "1", "consumer"}
    assert values(families, "edgeproof_worker_up") == {(("worker", w),): 1.0 for w in everybody}
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes"):
        assert {dict(k)["worker"] for k in values(families, name)} == everybody
        assert min(values(families, name).values()) > 0
    processed = values(families, "edgeproof_conversions_processed_total")
    assert processed == {
        (("worker", "0"),): 0.0, (("worker", "1"),): 0.0, (("worker", "consumer"),): 1.0,
    }  # fmt: skip
    alone = families_of(pair[1], "?scope=process")
    assert values(alone, "edgeproof_worker_up") == {(("worker", "1"),): 1.0}
    assert "edgeproof_queue_pending_conversions" not in alone
    assert "?scope=service or ?scope=process" in problem(pair[0].http.get("/metrics?x=1"), 400)


def test_names_follow_the_conventions_and_say_what_they_count(pair: list[Visitor]) -> None:
    families = families_of(pair[0])
    for name, family in families.items():
        assert re.fullmatch(r"(edgeproof|process)_[a-z0-9_]+", name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|milliseconds|kb|percent|total|count|sum|bucket)$", name)
        if family.type == "histogram":
            assert family.unit == "seconds"
            assert name.endswith("_seconds")
        if family.type == "counter":
            assert {one.name for one in family.samples} == {f"{name}_total"}
        assert {one for sample in family.samples for one in sample.labels} <= {
            "code", "endpoint", "le", "operation", "outcome", "reason", "scenario", "stage",
            "store", "type", "version", "worker",
        }  # fmt: skip


def test_no_visitor_makes_a_series(pair: list[Visitor]) -> None:
    def series() -> set[object]:
        return {
            (one.name, *sorted(one.labels.items()))
            for family in families_of(pair[0]).values()
            for one in family.samples
        }

    def visit() -> None:
        pair[0].get(f"/journey/{pair[0].fresh('user')}")
        pair[0].get(f"/{pair[0].fresh('path')}")
        pair[0].track(event_name=pair[0].fresh("name"), site_id="s1")

    visit()  # the first time, queries have no series yet
    before = series()
    for _ in range(20):
        visit()
    assert series() == before


def test_requests_before_the_first_are_counted_as_0_and_scrapes_not_at_all(
    visitor: Visitor,
) -> None:
    for _ in range(2):
        families = families_of(visitor)
        assert total(families, "edgeproof_request_duration_seconds_count") == 0
        assert total(families, "edgeproof_responses_total") == 0


def test_older_format_is_given_to_who_asks_for_it_alone(visitor: Visitor) -> None:
    answer = visitor.http.get("/metrics", headers={"Accept": "text/plain"})
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in older_format(answer.text)}
    assert "edgeproof_worker_up" in names
    both = visitor.http.get(
        "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=.5"}
    )
    assert both.text.endswith("# EOF\n")
    assert visitor.http.head("/metrics").headers["Content-Length"].isdecimal()


DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana-dashboard.json"
_WORDS = {
    "sum", "count", "max", "rate", "by", "or", "vector", "histogram_quantile", "label_values",
}  # fmt: skip


def labels_by_sample(pair: list[Visitor]) -> dict[str, set[str]]:
    """Return the labels of every sample that the service and a load expose."""
    load = LoadMetrics("small")
    counts = {"counts": [0] * (len(BOUNDS) + 1), "sum": 0.0}
    load.take({"figures": {
        "sent": {"track": 1}, "latency": {"track": counts}, "lag": counts,
        "failures": {"track": {"timeout": 1}}, "users": {"idle": 1},
    }})  # fmt: skip
    text = rendered(load.collect())[0].decode()
    found: dict[str, set[str]] = {}
    for family in [*families_of(pair[0]).values(), *parsed(text)]:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_dashboard_asks_for_what_is_exposed(pair: list[Visitor]) -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    exposed = labels_by_sample(pair)
    asked = [
        (target["expr"], target["legendFormat"])
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]
    asked += [(one["query"]["query"], "") for one in board["templating"]["list"][1:]]
    assert len(asked) > 25
    for expression, legend in asked:
        for name, text in re.findall(r"(\w+){([^{}]*)}", expression):
            assert set(re.findall(r"(\w+)=", text)) <= exposed[name] | {"job"}, expression
        grouped = {name.strip() for text in re.findall(r"by \(([^)]*)\)", expression)
                   for name in text.split(",")}  # fmt: skip
        bare = re.sub(r"{[^{}]*}|\[[^\]]*\]|by \([^)]*\)|, job", "", expression)
        names = set(re.findall(r"[a-z_][a-z0-9_]*", bare)) - _WORDS
        assert names
        assert names <= exposed.keys(), expression
        for name in names:
            assert grouped <= exposed[name] | {"job"}, expression
        shown = set(re.findall(r"{{(\w+)}}", legend))
        assert shown <= (grouped - {"le"} if grouped else set.union(*(exposed[n] for n in names)))


def test_dashboard_is_one_that_grafana_loads() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert board["schemaVersion"] >= 36
    assert "id" not in board  # that of a database
    source, job = board["templating"]["list"]
    assert (source["type"], source["query"], job["type"]) == ("datasource", "prometheus", "query")
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        its = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not its & cells, panel["title"]
        cells |= its
        if panel["type"] == "row":
            continue
        assert panel["type"] in ("timeseries", "stat")
        assert panel["fieldConfig"]["defaults"]["unit"]
        targets = panel["targets"]
        assert len({target["refId"] for target in targets}) == len(targets)
        for target in targets:
            assert target["datasource"] == panel["datasource"]
            assert target["datasource"]["uid"] == f"${{{source['name']}}}"
            assert all(f"${name}" in ("$job", "$__rate_interval")
                       for name in re.findall(r"\$(\w+)", target["expr"]))  # fmt: skip

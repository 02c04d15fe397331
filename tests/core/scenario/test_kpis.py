"""Claims about KPIs that the command line gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.metrics.kpi import Outcome, judge
from core.scenario.file import load_scenario, scenario_hash
from core.scenario.kpis import kpi_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "one.toml"
    file.write_text(
        'name = "one"\n[[kpis]]\nmetric = "p95_track"\ntarget = "< 100ms"\nalert = "> 200ms"\n'
        '[[kpis]]\nmetric = "hit_ratio"\ntarget = ">= 95%"\nalert = "< 85%"\n'
    )
    return file


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p95(track) < 300ms", ("p95(track)", "< 300ms", ">= 300ms")),
        ("p95(track)<=300ms", ("p95(track)", "<=300ms", "> 300ms")),
        ("hit_ratio >= 90 %", ("hit_ratio", ">= 90 %", "< 90 %")),
        ("p95(track, stage 2) < 3ms, alert > 6ms", ("p95(track, stage 2)", "< 3ms", "> 6ms")),
        ("ratio(hit, 5s..9s) > 0.9 ,alert<0.8", ("ratio(hit, 5s..9s)", "> 0.9", "<0.8")),
    ],
)
def test_one_text_holds_metric_target_and_alert(text: str, told: tuple[str, str, str]) -> None:
    spec = kpi_of(text)
    assert (spec.metric, spec.target, spec.alert) == told


def test_without_an_alert_line_every_miss_fails() -> None:
    kpi = kpi_of("p95(track) < 300ms").parsed()
    outcomes = [judge(kpi, value).outcome for value in (0.299, 0.3, 0.301)]
    assert outcomes == [Outcome.PASS, Outcome.FAIL, Outcome.FAIL]


def test_a_kpi_takes_the_place_of_that_of_its_metric_or_comes_last(path: Path) -> None:
    plain = load_scenario(path)
    changed = load_scenario(path, kpis=["p95(journey) < 1s", "p95(track) < 50ms"])
    told = [(kpi.name, kpi.target_text) for kpi in changed.judged()]
    assert told == [("p95_track", "< 50ms"), ("hit_ratio", ">= 95%"), ("p95(journey)", "< 1s")]
    assert scenario_hash(changed) != scenario_hash(plain)
    same = load_scenario(path, kpis=["p95_track < 100ms, alert > 200ms"])
    assert scenario_hash(same) == scenario_hash(plain)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["p95(track)"], "write it as 'p95(track) < 300ms'"),
        (["p95(track) < 5ms, 3"], "write it as"),
        (["p95(track) < 5"], "write it with its unit"),
        (["p95(nobody) < 5ms"], "is not a metric"),
        (["p95(track) < 5ms, alert > 3ms"], "lies inside target"),
        (["p95_track < 1s", "p95(track) < 2s"], "p95_track is given twice"),
        (["p95(track, stage 2) < 1s"], "there is 1 stage in traffic.stages"),
        (["peak_memory < 100MB, alert > 1GB"], "lies above topology.memory_limit"),
    ],
)
def test_what_is_no_kpi_is_one_line_that_names_the_option(
    path: Path, texts: list[str], told: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(path, kpis=texts)
    assert told in str(caught.value)
    assert f"--kpi {texts[-1]!r}" in str(caught.value)
    assert "\n" not in str(caught.value)

"""Claims about where a KPI stands in a scenario file."""

from __future__ import annotations

import pytest

from core.scenario.kpi_lines import kpi_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('name = "x"\n[[kpis]]\nmetric = "p95_track"\ntarget = "< 1ms"\n', {"p95_track": 3}),
        ("[[ kpis ]]\r\n'metric'='hit_ratio'\r\n", {"hit_ratio": 2}),
        (
            'kpis = [\n  {metric = "p95(track)"},\n  # "p95_query"\n'
            '  {target="", metric="p95_query"},\n]\n',
            {"p95_track": 2, "p95_query": 4},
        ),
        ('kpis = [{metric="p95_track"}, {metric="p95_query"}]', {"p95_track": 1, "p95_query": 1}),
        (
            'description = """\n[[kpis]]\nmetric = "p95_track"\n"""\n[other]\n'
            'metric = "p95_track"\n[[kpis]]\n# metric = "p95_track"\nmetric = """p95_track"""\n',
            {"p95_track": 9},
        ),
        (
            '[[kpis]]\nmetric = "p50(track)"\n[[kpis]]\nmetric = "p50(l1)"\n[[kpis]]\n'
            'metric = "p50(l2)"\n',
            {"p50(track)": 2, "p50(l1)": 4, "p50(l2)": 6},
        ),
        ('[[kpis]]\nmetric = "p95\\u005ftrack"\n', {}),  # written in a way that is not looked for
        ('[[kpis]]\nmetric = "no_metric"\n[[kpis]]\nmetric = 3\n', {}),
        ('kpis = "p95_track"\n', {}),
        ("kpis = [1, {}]\n", {}),
        ('name = "x"\n', {}),
        ("not toml", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_a_kpi_stands_where_its_metric_does(text: str, lines: dict[str, int]) -> None:
    assert kpi_lines(text) == lines


def test_a_file_full_of_the_name_ends_the_search() -> None:
    text = '# "p95_track"\n' * 500 + '[[kpis]]\nmetric = "p95_track"\n'
    assert kpi_lines(text) == {}

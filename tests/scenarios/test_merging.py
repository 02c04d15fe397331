"""Claims about one load that several processes carried out."""

from __future__ import annotations

from typing import Any

from core.scenario.workload import generate_workload
from core.secrets import Blotter
from scenarios.header_notes import HeaderCount
from scenarios.merging import Part, merged_result
from scenarios.result import LoadResult
from tests.scenarios.loads import all_answered, load_result, small_scenario


def part(*checks: str) -> LoadResult:
    workload = generate_workload(small_scenario())
    examples: list[dict[str, Any]] = [
        {"endpoint": "journey", "cause": "check", "of_status": None, "check": check}
        for check in checks
    ]
    return load_result(
        all_answered(workload), planned=len(workload), connections_used=1, ended_early="",
        headers=HeaderCount().facts(Blotter()), examples=examples,
    )  # fmt: skip


def test_each_failed_check_of_an_endpoint_keeps_its_example() -> None:
    parts = [Part(name="a", result=part("one")), Part(name="b", result=part("one", "two"))]
    merged = merged_result(part(), parts, ())
    assert [each["check"] for each in merged.audit["examples"]] == ["one", "two"]

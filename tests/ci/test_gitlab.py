"""Claims about the template in docs/ci/gitlab, on a player of GitLab's runner."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.gitlab import job, play, started
from tests.ci.projects import SCENARIO, checkout, recorded, recorder
from tests.edgeproof.commands import ROOT
from tests.reports.junit_schema import checked

PIPELINE: dict[str, Any] = yaml.safe_load(
    (ROOT / "docs" / "ci" / "gitlab" / "edgeproof.gitlab-ci.yml").read_text(encoding="utf-8")
)
BIN = str(Path(sys.executable).parent)
NIGHTLY = {"EDGEPROOF_HOST": "https://staging.example.com", "EDGEPROOF_SUITE": "benchmarks/"}


def test_a_missed_kpi_is_reported_at_its_line_and_as_a_test(tmp_path: Path) -> None:
    workspace = checkout(tmp_path / "w", {"load/my.toml": SCENARIO})
    played = play(
        PIPELINE, "edgeproof:simulate", workspace, path=BIN,
        variables={"EDGEPROOF_INSTALL": "none", "EDGEPROOF_SCENARIO": "load/my.toml"},
    )  # fmt: skip
    assert played.code == 1, played.err
    (quality,), (junit,) = played.reports["codequality"], played.reports["junit"]
    (entry,) = json.loads(quality.read_text(encoding="utf-8"))
    line = SCENARIO.splitlines().index('metric = "p95(track)"') + 1
    assert entry["location"] == {"path": "load/my.toml", "lines": {"begin": line}}
    assert (entry["check_name"], entry["severity"]) == ("edgeproof/kpi", "critical")
    assert re.fullmatch(r"[0-9a-f]{32}", entry["fingerprint"])
    assert "target < 1ms" in entry["description"]
    root = checked(junit.read_bytes())
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert "::error" not in played.out


def test_without_a_word_on_what_to_install_the_job_says_so(tmp_path: Path) -> None:
    played = play(
        PIPELINE, "edgeproof:simulate", checkout(tmp_path / "w", {}),
        path=str(recorder(tmp_path / "bin")), variables={},
    )  # fmt: skip
    assert played.code == 2
    assert "EDGEPROOF_INSTALL is empty" in played.err


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"CI_PIPELINE_SOURCE": "merge_request_event"}, ["simulate"]),
        (
            {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"},
            ["simulate"],
        ),
        (
            {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "try", "CI_DEFAULT_BRANCH": "main"},
            [],
        ),
        (
            {
                "CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main",
                "CI_DEFAULT_BRANCH": "main", **NIGHTLY,
            },
            ["load", "compare"],
        ),
        ({"CI_PIPELINE_SOURCE": "schedule"}, []),
    ],
)  # fmt: skip
def test_changes_are_simulated_and_nights_loaded_and_compared(
    variables: dict[str, str], names: list[str]
) -> None:
    assert started(PIPELINE, variables) == [f"edgeproof:{name}" for name in names]


def test_the_nightly_jobs_call_what_they_say(tmp_path: Path) -> None:
    workspace = checkout(tmp_path / "w", {"scenario.toml": SCENARIO}, is_repository=True)
    stub = recorder(tmp_path / "bin")
    for name in ("edgeproof:load", "edgeproof:compare"):
        played = play(
            PIPELINE, name, workspace, path=str(stub),
            variables={**NIGHTLY, "EDGEPROOF_INSTALL": "none"},
        )  # fmt: skip
        assert played.code == 0, played.err
    load, compare = recorded(stub)
    quality = ["--code-quality", "gl-code-quality-report.json"]
    assert load == [
        "load", "scenario.toml", "--host", "https://staging.example.com", "--gate", "alert",
        *quality,
    ]  # fmt: skip
    (first, _) = (workspace / "commits").read_text().split()
    assert compare == [
        "bench", "compare", "--suite", "benchmarks/", first, "--budget", "10m", "--junit",
        "compare.xml", *quality,
    ]  # fmt: skip


def test_the_comparison_fetches_the_history_and_reports_its_own_file() -> None:
    told = job(PIPELINE, "edgeproof:compare")
    assert told["variables"]["GIT_DEPTH"] == "0"
    assert told["artifacts"]["reports"] == {
        "junit": "compare.xml", "codequality": "gl-code-quality-report.json",
    }  # fmt: skip
    assert told["artifacts"]["when"] == "always"
    assert job(PIPELINE, "edgeproof:load")["resource_group"] == "staging"

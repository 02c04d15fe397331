"""Claims about comparing checkouts: each runs its own code, and what does not run is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.versions import Version, main, rates, version_of

ROOT = Path(__file__).parents[2]


def test_each_version_runs_the_code_of_its_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # A checkout whose simulation says who it is, and goes no further.
    (tmp_path / "sim").mkdir()
    (tmp_path / "core").symlink_to(ROOT / "core")
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    (tmp_path / "sim" / "__init__.py").write_text("raise SystemExit('another simulation')")
    with pytest.raises(ValueError, match="does not run"):
        rates([Version(tmp_path)], rounds=1)
    assert "another simulation" in capfd.readouterr().err


def test_versions_take_turns_and_fields_reach_the_scenario() -> None:
    short = ("duration=3s", "warm_up=1s")
    found = rates([Version(ROOT, short), version_of("@".join([str(ROOT), *short]))], rounds=2)
    assert [len(of_version) for of_version in found] == [2, 2]
    assert all(rate > 0 for of_version in found for rate in of_version)


@pytest.mark.parametrize("arguments", [[], ["/nowhere"]])
def test_what_cannot_be_compared_is_one_line(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_no_round_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rates([Version(ROOT)], rounds=0)

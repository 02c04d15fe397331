"""Claims about `simulate --isolates`: the split of the reads between the tiers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import InputError
from edgeproof.isolates import show_splits, splits_of
from tests.sim.runs import small_scenario


def test_more_isolates_share_fewer_hits_of_l1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = splits_of(small_scenario(duration="1s"), "1, 8, request")
    code = show_splits(splits, tmp_path, calibration=None, jobs=1, plain=True, as_json=True)
    assert code == 0
    rows = json.loads(capsys.readouterr().out)["isolates"]
    one, eight, request = (row["L1"]["share"] for row in rows)
    assert one > eight > request == 0
    for row in rows:
        assert sum(row[tier]["share"] for tier in ("L1", "L2", "origin")) == pytest.approx(1)
    assert json.loads((tmp_path / "isolates.json").read_text())["rows"] == rows


@pytest.mark.parametrize("text", ["0", "many", "1,,2", "4096", "-1"])
def test_what_is_no_number_of_isolates_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--isolates has"):
        splits_of(small_scenario(), text)

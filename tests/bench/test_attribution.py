"""Claims about `bench.attribution`: what cannot be measured is named with its reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import attribution, attribution_peer

PEER = Path(attribution_peer.__file__)


def asked(folder: Path, **modules: str) -> dict[str, object]:
    """Return what the peers' process says where *modules*, with their content, are importable."""
    for name, content in modules.items():
        (folder / f"{name}.py").write_text(content)
    paths = attribution.synthetic_paths(1_000)
    np.savez(
        folder / "paths.npz", channels=np.array(paths.channels), codes=paths.codes,
        offsets=paths.offsets, conversions=paths.conversions, nulls=paths.nulls,
        values=paths.values,
    )  # fmt: skip
    told = subprocess.run(
        [sys.executable, str(PEER), str(folder / "paths.npz")], input="", text=True,
        capture_output=True, check=True, env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    answer: dict[str, object] = json.loads(told.stdout.splitlines()[0])
    return answer


PANDAS = "class DataFrame:\n    def __init__(self, _): pass\n"


def test_peer_whose_import_fails_is_told_from_one_that_is_not_installed(tmp_path: Path) -> None:
    answer = asked(tmp_path, pandas=PANDAS, ChannelAttribution="import matplotlib_of_none")
    assert answer == {
        "peers": [],
        "absent": {
            "ChannelAttribution": "installed, but its import fails: No module named "
            "'matplotlib_of_none'; install matplotlib_of_none, too",
            "MAM": "not installed",
        },
    }


def test_peer_without_its_pandas_says_so(tmp_path: Path) -> None:
    answer = asked(tmp_path, pandas="raise ImportError('of another NumPy')", mam="MAM = None")
    reason = "pandas is installed, but its import fails: ImportError: of another NumPy"
    assert answer == {"peers": [], "absent": {"ChannelAttribution": reason, "MAM": reason}}


def test_peer_that_can_be_used_is_named(tmp_path: Path) -> None:
    answer = asked(tmp_path, pandas=PANDAS, ChannelAttribution="")
    assert answer == {
        "peers": ["ChannelAttribution, 3 heuristics", "ChannelAttribution, Markov 1"],
        "absent": {"MAM": "not installed"},
    }


def test_table_says_why_a_peer_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("pandas", PANDAS), ("ChannelAttribution", "import none_of_all")):
        (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(attribution, "CREDITS", 7_000)
    assert attribution.main(["--rounds", "1", "--touches", "1000"]) == 0
    lines = {line[:34].strip(): line[34:] for line in capsys.readouterr().out.splitlines()}
    assert lines["MAM, Markov 1"] == "not installed"
    for name in ("ChannelAttribution, 3 heuristics", "ChannelAttribution, Markov 1"):
        assert lines[name].startswith("installed, but its import fails: No module named 'none_of")


def test_python_that_cannot_be_run_is_one_line() -> None:
    with pytest.raises(SystemExit, match="--peers /nowhere/python: cannot be run"):
        attribution.main(["--rounds", "1", "--touches", "1000", "--peers", "/nowhere/python"])

"""Claims about what a worker of a cluster does, without a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from sim.cluster import Given, on_worker
from sim.kept_runs import digest_of
from sim.program import program
from tests.sim.runs import small_scenario


@pytest.mark.parametrize("text", ["key\na\nc\n", None])
def test_worker_with_another_trace_at_the_path_refuses_the_run(
    tmp_path: Path, text: str | None
) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("key\na\nb\n")
    scenario = small_scenario(rate=40.0, trace={"file": str(trace)})
    given: Given = (program(), None, "reference", 1.0)
    content = digest_of(trace)
    if text is None:
        trace.unlink()
    else:
        trace.write_text(text)
    with pytest.raises(InputError, match=r"t\.csv: a worker has no file there, or another one"):
        on_worker(given, scenario, 0, content)

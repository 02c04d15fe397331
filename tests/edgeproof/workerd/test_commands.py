"""Claims about `serve --on workerd` and `prove --on workerd`, as their users run them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from urllib.request import urlopen

import pytest

from core.metrics.kpi import parse_metric
from core.metrics.record import RunRecord
from scenarios.node import MODULES_VARIABLE, Node
from tests.edgeproof.commands import SMALL_SERVICE, Watched, called, descendants, running

ON = ("baseline", "--on", "workerd")
SMALL = (*SMALL_SERVICE, "--set", "topology.isolates=2")


def test_ctrl_c_ends_every_process(tmp_path: Path, node: Node) -> None:
    with running("serve", *ON, *SMALL, "--port", "0", cwd=tmp_path) as command:
        urls = [
            command.wait_for(r"Serving baseline on \S+ \(workerd\)", on_stdout=True).split()[-2]
            for _ in range(2)
        ]
        assert len(set(urls)) == 2
        with urlopen(f"{urls[1]}/channels?model=linear") as answer:
            assert "L1; fwd=uri-miss; read=channels" in answer.headers["Cache-Status"]
        command.said.clear()
        watched = Watched(descendants(command.process.pid))
        command.interrupt(group=True)
        code, _, said = command.end()
    assert (code, said) == (0, "")
    assert watched.left() == []


def test_killed_command_leaves_no_process_and_no_file(tmp_path: Path, node: Node) -> None:
    with running(
        "serve", *ON, *SMALL, "--port", "0", cwd=tmp_path, TMPDIR=str(tmp_path)
    ) as command:
        command.wait_for("Ctrl-C ends it", on_stdout=True)
        ours = descendants(command.process.pid)
        assert len(ours) >= 5
        watched = Watched(ours)
        assert [*tmp_path.glob("edgeproof-workerd-*")]
        os.kill(command.process.pid, signal.SIGKILL)
        assert watched.left() == []
    assert [*tmp_path.glob("edgeproof-*")] == []


def test_prediction_and_measurement_on_workerd_hit_alike(tmp_path: Path, node: Node) -> None:
    out = tmp_path / "run"
    ended = called(
        "prove", *ON, *SMALL, "--set", "duration=3s", "--set", "warm_up=1s", "--no-calibrate",
        "--out", str(out), "--json", cwd=tmp_path,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    predicted, measured = (
        RunRecord.from_json(json.loads((out / side / "record.json").read_text(encoding="utf-8")))
        for side in ("predicted", "measured")
    )
    assert predicted.workload_hash == measured.workload_hash
    assert "clean start: clean" in measured.notes
    ratios = [side.metric(parse_metric("hit_ratio")) for side in (predicted, measured)]
    assert ratios[1] == pytest.approx(ratios[0], abs=0.03)
    assert measured.metric(parse_metric("p50(query)")) is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serve", "baseline", "--on", "deno"), "--on deno: no such runtime; use workerd"),
        (("serve", *ON, "--redis", "redis://x"), "--redis has no effect on --on workerd"),
        (("serve", *ON, "--bind", "0.0.0.0"), "--bind 0.0.0.0 has no effect on --on workerd"),
        (("serve", *ON, "--workers", "2"), "--workers has no effect on --on workerd"),
        (("serve", *ON, "--port", "65535"), "--port 65535: 4 isolates take the ports up to 65538"),
        (("serve", *ON, "--set", "tiers.early_refresh=1.0"), "tiers.early_refresh"),
        (("serve", *ON, "--set", "topology.isolates=9"), "9 isolates"),
        (("serve", "slow-database", "--on", "workerd"), "slow-database: faults of tiers"),
        (("prove", *ON, "--host", "http://127.0.0.1:9"), "--host and --on contradict each other"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, node: Node, arguments: tuple[str, ...], said: str
) -> None:
    ended = called(*arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", ["serve", "prove"])
def test_missing_packages_are_named_with_the_remedy(tmp_path: Path, command: str) -> None:
    missing = {MODULES_VARIABLE: str(tmp_path / "nowhere")}
    ended = called(command, *ON, cwd=tmp_path, variables=missing)
    assert ended.returncode == 2
    assert ended.stderr.startswith("edgeproof: the npm package miniflare is not in")
    assert "npm ci" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == []

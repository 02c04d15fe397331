"""`edgeproof probe`: what it measures of the real engines, what it says first, what it leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bench.platform.operations import of_service
from bench.platform.runtime import TOKEN, Runtime, running
from bench.probe.steps import Kind, Level, Plan, dollars
from bench.probe.targets import NAMESPACE_VARIABLE, PREFIX, execution
from core.query.d1_schema import apply_schema
from core.scenario.calibration import Calibration
from core.scenario.calibration_file import read_calibration
from core.scenario.file import load_scenario
from core.service.launcher import running_service
from edgeproof.main import main
from scenarios.catalogue import shipped
from scenarios.node import Node
from tests.core.service.serving import small_scenario

FEW = ("--samples", "10", "--concurrency", "4", "--plain")


@pytest.fixture(scope="module")
def runtime(node: Node) -> Iterator[Runtime]:
    """Return a running workerd with a filled database, d0, and one without a schema, d1."""
    with running(node, databases=2) as found:

        async def fill() -> None:
            database = found.open(found.next_id())
            await apply_schema(database)
            await of_service(database)
            await database.close()

        asyncio.run(fill())
        yield found


@pytest.fixture
def environment(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the environment name the filled database and the namespace."""
    for name, value in {**runtime.environment("d0"), NAMESPACE_VARIABLE: "n"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def probed(
    capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str
) -> tuple[Calibration, str, str]:
    """Return the calibration, and what a probe printed on standard output and error."""
    out = folder / "out"
    assert main(["probe", *arguments, *FEW, "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert TOKEN not in shown.out + shown.err
    path = out / "calibration.toml"
    assert shown.out.endswith(f"Written: {path}\n")
    known = read_calibration(path)
    assert known.apply(load_scenario(shipped()["baseline"])).name == "baseline"
    return known, shown.out, shown.err


def test_d1_is_measured_and_left_as_it_was(
    runtime: Runtime, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    known, out, err = probed(capsys, tmp_path, "d1")
    # 4 kinds x (10 + 5 + 5), and two of the schema.
    assert "Probe d1: at most 82 operations in 2m, " in err
    assert " rows read, 20 rows written: up to $0.00002" in err
    assert {*known.tiers} == {"l3.round_trip", "l3.read_execution", "l3.write_execution"}
    assert known.tiers["l3.round_trip"].samples == 10
    assert known.requests == 80
    assert sum(line.startswith("conversion_journey") for line in out.splitlines()) == 3


def test_kv_is_measured_and_its_keys_are_deleted(
    runtime: Runtime, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    known, _, err = probed(capsys, tmp_path, "kv")
    # 16 keys put and deleted; 20 each of two reads, and of a write that is deleted, too.
    assert "Probe kv: at most 112 operations in 2m, 72 KV writes and deletes, 40 KV reads" in err
    assert "up to $0.000380" in err
    assert {*known.tiers} == {"l2.read", "l2.cold_read", "l2.write"}
    (page,) = runtime.binding([["list", {"prefix": PREFIX}]])
    assert page["value"]["keys"] == []


def test_redis_is_measured_and_its_keys_are_deleted(
    redis_server: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    known, _, err = probed(capsys, tmp_path, "redis", redis_server)
    assert "Probe redis: at most 112 operations in 1m.\n" in err
    assert 0 < known.tiers["l2.read"].times.mean < 1.0
    with redis.Redis.from_url(redis_server) as client:
        assert client.keys("*") == []


def test_a_service_is_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    scenario = small_scenario("probed", topology={"processes": 1})
    with running_service(scenario, token=None) as service:
        host = service.urls[0]
        assert main(["probe", "http", f"{host}/nowhere", *FEW]) == 2
        refused = capsys.readouterr().err
        assert refused.endswith(f"edgeproof: GET {host}/nowhere: status 404\n")
        known, out, err = probed(capsys, tmp_path, "http", f"{host}/journey/u{{n}}")
    assert "Probe http: at most 41 operations in 1m.\n" in err
    assert known.between["track"]["l1"].samples == 10
    assert f"a whole answer of {host}/journey/u0; give a path that does little" in out
    assert sum(line.startswith("other_get") for line in out.splitlines()) == 3


def test_json_has_the_levels(
    redis_server: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    options = ("--samples", "10", "--concurrency", "2", "--json", "--out", out)
    assert main(["probe", "redis", redis_server, *options]) == 0
    data = json.loads(capsys.readouterr().out)
    levels = [(each["operation"], each["at_a_time"], each["operations"]) for each in data["levels"]]
    assert levels == [
        (name, at, count) for at, count in ((1, 10), (2, 5))
        for name in ("read", "cold_read", "write")
    ]  # fmt: skip
    assert data["calibration"] == f"{out}/calibration.toml"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("http ftp://127.0.0.1/x", "give a URL such as http://127.0.0.1:8787/"),
        ("http http://[::1", "correct the URL"),
        (
            "http http://example.org/",
            "is not this machine; give --i-am-allowed-to-load example.org",
        ),
        (
            "http http://127.0.0.1:1/ --i-am-allowed-to-load example.org",
            "--i-am-allowed-to-load example.org: the URL names 127.0.0.1",
        ),
        ("http http://127.0.0.1:1/", "GET http://127.0.0.1:1/ failed: connection refused"),
        ("http http://127.0.0.1:1/ --time 0s", "--time 0s: give more than 0s"),
        ("http http://127.0.0.1:1/ --time soon", "--time: "),
        ("http http://127.0.0.1:1/ --samples 9000", "operations, at most 20,000 are made: lower"),
        ("redis redis://:word@127.0.0.1:1/0", "redis://...@127.0.0.1:1/0: cannot be reached"),
        ("redis nothing", "no URL"),
        ("d1", "the environment does not name the D1 database: set CLOUDFLARE_ACCOUNT_ID"),
        ("kv", "the environment does not name the KV namespace: set CLOUDFLARE_ACCOUNT_ID and"),
    ],
)
def test_what_cannot_be_probed_is_one_line(
    arguments: str, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCOUNT_ID", "DATABASE_ID", "API_TOKEN", "KV_NAMESPACE_ID"):
        monkeypatch.delenv(f"CLOUDFLARE_{name}", raising=False)
    assert main(["probe", *arguments.split()]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err.splitlines()[-1]
    assert len(shown.err.splitlines()) <= 2  # what it takes, and the fault


def test_money_and_operations_are_bounded(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["probe", "kv", "--samples", "300", "--max-cost", "0.01"]) == 2
    assert "would cost up to $0.0" in capsys.readouterr().err
    environment.setenv("CLOUDFLARE_API_BASE_URL", "https://api.cloudflare.com/client/v4")
    assert main(["probe", "d1", "--samples", "200"]) == 2
    assert "operations, at most 1,100 are made: lower --samples" in capsys.readouterr().err


def test_refused_token_and_missing_schema_are_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("CLOUDFLARE_DATABASE_ID", "d1")
    assert main(["probe", "d1", *FEW]) == 2
    assert "D1 database d1: it has no tables of edgeproof's service" in capsys.readouterr().err
    environment.setenv("CLOUDFLARE_API_TOKEN", "wrong")
    for target in ("d1", "kv"):
        assert main(["probe", target, *FEW]) == 2
        shown = capsys.readouterr().err
        assert "check CLOUDFLARE_API_TOKEN" in shown
        assert "wrong" not in shown


async def _nothing(_: int) -> None:
    pass


def test_execution_is_seen_where_more_at_a_time_bring_no_more() -> None:
    kind = Kind(name="user", keys="others", ask=_nothing)

    def levels(rates: dict[int, float]) -> list[Level]:
        return [
            Level(kind=kind, concurrency=at, seconds=(1.0,) * 100, elapsed=100 / rate, failures={})
            for at, rate in rates.items()
        ]

    seconds, is_saturated = execution(levels({1: 50.0, 2: 100.0, 4: 190.0, 8: 200.0}), "user")
    assert (round(seconds, 6), is_saturated) == (0.005, True)
    seconds, is_saturated = execution(levels({1: 50.0, 2: 100.0, 4: 200.0}), "user")
    assert (round(seconds, 6), is_saturated) == (0.005, False)


def test_plan_has_half_the_samples_at_further_levels() -> None:
    assert Plan(samples=60, most=32).levels == (
        (1, 60), (2, 30), (4, 30), (8, 30), (16, 30), (32, 32)
    )  # fmt: skip
    assert Plan(samples=60, most=5).levels == ((1, 60), (2, 30), (4, 30))
    assert dollars({"rows read": 1e6, "KV writes and deletes": 2e6}) == pytest.approx(10.001)

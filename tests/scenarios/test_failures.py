"""The reason of every failed request, from servers that misbehave on real sockets."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.metrics.failures import Cause
from core.metrics.record import RunRecord
from scenarios.driver import run_load
from scenarios.measurement import measure
from scenarios.result import Kind
from tests.scenarios.certificates import signed
from tests.scenarios.conftest import StartServer, misbehaving
from tests.scenarios.loads import small_plan, small_scenario


def loaded(url: str, folder: Path, **fields: Any) -> RunRecord:
    """Return the record of a small load on *url*; every failed request of it has a reason."""
    plan = small_plan(
        small_scenario(**{"rate": 40, "timeout": "0.5s", **fields}), [url], connections=80
    )
    # All wait from the start: a generator that is behind itself adds none, on a busy machine.
    plan = replace(plan, pool_size=80)
    result = run_load(plan, folder)
    record, _ = measure(plan.scenario, plan.workload, result)
    assert not result.interrupted
    failed = sum(histogram.failed for histogram in record.latencies.values())
    assert sum(failure.count for failure in record.failures) == failed
    early = np.count_nonzero(
        (result.rows.kind != Kind.ANSWERED)
        & (result.rows.intended_ns < plan.scenario.warm_up * 1e9)
    ) + np.count_nonzero(plan.workload.intended[result.rows.dropped] < plan.scenario.warm_up)
    assert sum(failure.in_warm_up for failure in record.failures) == early
    return record


_TOO_LARGE = "answer too large (head over 256 kB or body over 16 MB)"
_FEW = {"stages": [{"rate": 8}], "users": 50, "conversions": 20}


def reasons(record: RunRecord) -> set[str]:
    return {failure.text(0.5) for failure in record.failures}


REASONS = {
    "reset": "connection reset",
    "reset_within": "connection reset",
    "endless": "answer not complete after 1 s",
    "hang": "timed out after 1 s",
    "close": "connection closed before an answer",
    "half": "connection closed within the answer",
    "half_chunked": "connection closed within the answer",
    "empty": "body is empty, labelled JSON",
    "html": "body is not JSON",
    "status429": "status 429 (too many requests)",
    "status301": "status 301 (redirect, not followed)",
    "status204": "status 204 (no content)",
    "garbage": "answer is not valid HTTP",
    "bad_gzip": "body cannot be decoded",
    "bad_brotli": "body cannot be decoded",
    "unknown_encoding": "body cannot be decoded",
    "cut_gzip": "body cannot be decoded",
    "cut_brotli": "body cannot be decoded",
}
UNUSUAL = ("ok", "close_each", "big", "gzip", "deflate", "raw_deflate", "brotli")
MANNERS = (*REASONS, *UNUSUAL)


@pytest.fixture(scope="module")
def of_each(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunRecord]:
    """Return records of one load on servers of all MANNERS, each of the requests to one of them.

    The other requests stand there as if they had been answered.
    """
    scenario = small_scenario(
        rate=10 * len(MANNERS), timeout="1s",
        topology={"processes": len(MANNERS), "isolates": 1},
    )  # fmt: skip
    with misbehaving(",".join(MANNERS)) as ports:
        plan = small_plan(scenario, [f"http://127.0.0.1:{port}" for port in ports], connections=150)
        result = run_load(replace(plan, pool_size=150), tmp_path_factory.mktemp("each"))
    rows = result.rows
    assert rows.dropped.size == 0
    records = {}
    for host, manner in enumerate(MANNERS):
        mine = rows.host == host
        assert np.isfinite(rows.latency[mine]).all() == (manner in UNUSUAL)
        own = replace(
            rows,
            kind=np.where(mine, rows.kind, Kind.ANSWERED).astype(rows.kind.dtype),
            latency=np.where(mine, rows.latency, 0.005),
        )
        records[manner], _ = measure(scenario, plan.workload, replace(result, rows=own))
        assert (rows.kind[mine] == Kind.ANSWERED).all() == (manner in UNUSUAL)
        assert (rows.kind[mine] == Kind.ANSWERED).any() == (manner in UNUSUAL)
    return records


@pytest.mark.parametrize(("manner", "reason"), REASONS.items())
def test_failed_request_has_its_reason(
    manner: str, reason: str, of_each: dict[str, RunRecord]
) -> None:
    record = of_each[manner]
    assert {failure.text(1.0) for failure in record.failures} == {reason}
    assert {failure.endpoint for failure in record.failures} >= {"track"}
    failed = sum(histogram.failed for histogram in record.latencies.values())
    assert sum(failure.count for failure in record.failures) == failed > 0
    assert record.latencies["track"].failed > 0


@pytest.mark.parametrize("manner", UNUSUAL)
def test_answer_that_is_only_unusual_has_not_failed(
    manner: str, of_each: dict[str, RunRecord]
) -> None:
    assert of_each[manner].failures == ()


@pytest.mark.parametrize("manner", ["huge", "bomb", "brotli_bomb", "endless_head", "interim"])
def test_answer_beyond_the_bound_is_not_read_to_its_end(
    manner: str, start_server: StartServer, tmp_path: Path
) -> None:
    port = start_server(manner)
    record = loaded(f"http://127.0.0.1:{port}", tmp_path, traffic=_FEW, timeout="20s")
    assert reasons(record) == {_TOO_LARGE}
    assert record.latencies["track"].failed == record.latencies["track"].count > 0


@pytest.mark.parametrize("manner", ["status204", "status204_gzip"])
def test_expected_204_is_a_success_whatever_its_type_says(
    manner: str, start_server: StartServer, tmp_path: Path
) -> None:
    endpoints = ("track", "attribution", "journey", "channels")
    targets = {name: {"status": [204]} for name in endpoints}
    record = loaded(f"http://127.0.0.1:{start_server(manner)}", tmp_path, targets=targets)
    assert record.failures == ()
    assert record.latencies["track"].count > 0


def test_service_that_went_away_refuses_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenarios.driver.check_reachable", lambda *_: None)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        record = loaded(f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path)
    assert reasons(record) == {"connection refused"}


def test_an_unknown_host_name_fails_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenarios.driver.check_reachable", lambda *_: None)
    plan = small_plan(
        small_scenario(rate=40, timeout="5s"), ["http://nobody.invalid"],
        allowed_hosts=("nobody.invalid",),
    )  # fmt: skip
    record, _ = measure(plan.scenario, plan.workload, run_load(plan, tmp_path))
    assert {failure.cause for failure in record.failures} == {Cause.NAME}


def test_a_certificate_that_nobody_signed_fails_until_it_is_trusted(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPROOF_TOKEN", "test")
    certificate, key = signed(tmp_path, "server", names="IP:127.0.0.1")
    port = start_server("ok", certificate, key)
    record = loaded(f"https://127.0.0.1:{port}", tmp_path / "load", timeout="2s")
    assert {failure.cause for failure in record.failures} == {Cause.CERTIFICATE}
    note = "the host did not answer the request for it (certificate verify failed)"
    assert any(text.endswith(note) for text in record.notes)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    trusted = loaded(f"https://127.0.0.1:{port}", tmp_path / "trusted", timeout="2s")
    assert trusted.failures == ()
    monkeypatch.delenv("SSL_CERT_FILE")
    plain = loaded(f"http://127.0.0.1:{port}", tmp_path / "plain", timeout="2s")
    assert {failure.cause for failure in plain.failures} <= {Cause.CLOSED, Cause.RESET}
    assert plain.failures


def test_a_plain_service_asked_over_tls_fails(start_server: StartServer, tmp_path: Path) -> None:
    record = loaded(f"https://127.0.0.1:{start_server('garbage')}", tmp_path, timeout="2s")
    assert {f.cause for f in record.failures} <= {Cause.TLS, Cause.CLOSED, Cause.TIMEOUT}
    assert record.failures

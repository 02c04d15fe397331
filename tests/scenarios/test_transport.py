"""TLS, addresses and the requests sent ahead, against real servers on loopback."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.metrics.record import RunRecord
from scenarios.driver import run_load
from scenarios.hosts import checked_hosts
from scenarios.measurement import measure
from scenarios.transport import INSECURE, Transport, transport_of
from tests.conftest import find_program
from tests.scenarios.certificates import signed
from tests.scenarios.conftest import StartServer
from tests.scenarios.loads import small_plan, small_scenario

Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Files:
    return signed(folder, "authority")


@pytest.fixture(scope="module")
def server(folder: Path, authority: Files) -> Files:
    return signed(folder, "server", names="DNS:staging.test", authority=authority)


@pytest.fixture(scope="module")
def client(folder: Path, authority: Files) -> Files:
    return signed(folder, "client", authority=authority)


def loaded(url: str, folder: Path, transport: Transport, **fields: Any) -> RunRecord:
    """Return the record of a small load with a preflight."""
    plan = small_plan(
        small_scenario(rate=40, timeout="2s", **fields), [url], transport=transport,
        preflight=True,
    )  # fmt: skip
    result = run_load(plan, folder)
    return measure(plan.scenario, plan.workload, result)[0]


def test_name_port_prefix_authority_and_client_certificate(
    start_server: StartServer, server: Files, client: Files, authority: Files, tmp_path: Path
) -> None:
    port = start_server("ok", *server, authority[0])
    transport = transport_of(
        ca=authority[0], certificate=client[0], key=client[1],
        resolve=[f"staging.test:{port}:127.0.0.1"],
    )  # fmt: skip
    url = f"https://staging.test:{port}/v1"
    record = loaded(url, tmp_path / "all", transport)
    assert record.failures == ()
    assert record.latencies["track"].count > 0
    assert f"connections to staging.test:{port} went to 127.0.0.1 (--resolve)" in record.notes
    assert any(note.startswith("preflight: 4 requests were sent ahead") for note in record.notes)
    without = replace(transport, certificate=None, key=None)
    # TLS 1.3 tells it after the handshake, and a reset may come before it is read.
    with pytest.raises(InputError, match=r"client certificate|connection (reset|closed)"):
        loaded(url, tmp_path / "none", without)


def test_certificate_that_does_not_fit_ends_the_load_before_it_begins(
    start_server: StartServer, server: Files, authority: Files, tmp_path: Path
) -> None:
    port = start_server("ok", *server)
    url = f"https://127.0.0.1:{port}"
    with pytest.raises(InputError) as caught:  # another name than the certificate's
        loaded(url, tmp_path / "name", transport_of(ca=authority[0]))
    text = str(caught.value)
    assert text.startswith(f"preflight: track: POST /track to {url}: ")
    assert "certificate verify failed" in text
    assert "--ca FILE" in text
    assert "--no-preflight" in text
    assert "\n" not in text
    record = loaded(url, tmp_path / "insecure", transport_of(insecure=True))
    assert record.failures == ()
    assert INSECURE in record.notes


@pytest.fixture
def http2_only(server: Files) -> Iterator[int]:
    find_program("openssl", package="openssl")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-alpn", "h2", "-cert",
         str(server[0]), "-key", str(server[1])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    while b"ACCEPT" not in process.stdout.readline():
        pass
    yield port
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def test_host_that_speaks_http2_only_is_told_plainly(
    http2_only: int, start_server: StartServer, tmp_path: Path
) -> None:
    insecure = transport_of(insecure=True)
    with pytest.raises(InputError, match="host speaks HTTP/2 only"):
        loaded(f"https://127.0.0.1:{http2_only}", tmp_path / "alpn", insecure)
    with pytest.raises(InputError, match="host speaks HTTP/2 only"):
        loaded(f"http://127.0.0.1:{start_server('frames')}", tmp_path / "frames", Transport())


def test_ipv6_address(start_server: StartServer, tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    record = loaded(f"http://[::1]:{start_server('ok@::1')}", tmp_path, Transport())
    assert record.failures == ()


def test_any_method_is_sent_with_the_id_of_the_run(
    start_server: StartServer, tmp_path: Path
) -> None:
    methods = {"track": "PUT", "attribution": "PATCH", "journey": "DELETE", "channels": "HEAD"}
    targets = {name: {"method": method, "status": "2xx"} for name, method in methods.items()}
    url = f"http://127.0.0.1:{start_server('agent')}"
    record = loaded(url, tmp_path, Transport(), targets=targets)
    assert record.failures == ()
    assert record.latencies.keys() == methods.keys()


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("status401", '401 (unauthorized) ({"error":"no"}); endpoints.track.headers sends no'),
        (
            "status301",
            "status 301 (redirect, not followed) (to https://a/?...), as had 2 about other "
            "subjects; give --host and endpoints.track.path the address that it leads to",
        ),
        ("garbage", "answer is not valid HTTP"),
    ],
)  # fmt: skip
def test_refusal_of_every_request_ends_the_load(
    manner: str, reason: str, start_server: StartServer, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        loaded(f"http://127.0.0.1:{start_server(manner)}", tmp_path, Transport())
    assert reason in str(caught.value)
    assert not (tmp_path / "rows.npz").exists()


def test_failure_that_may_pass_only_becomes_a_note(
    start_server: StartServer, tmp_path: Path
) -> None:
    record = loaded(f"http://127.0.0.1:{start_server('status429')}", tmp_path, Transport())
    assert any("preflight: track: POST /track" in note for note in record.notes)
    example = record.failures[0].example
    assert example is not None
    assert (example.status, example.text) == (429, "{}")


def test_load_whose_first_seconds_all_failed_ends(
    start_server: StartServer, tmp_path: Path
) -> None:
    scenario = small_scenario(rate=40, duration="30s", timeout="1s")
    url = f"http://127.0.0.1:{start_server('status429')}"
    plan = small_plan(scenario, [url], keep_going=False)
    result = run_load(plan, tmp_path)
    record, _ = measure(plan.scenario, plan.workload, result)
    assert record.audit is not None
    reason = record.audit.invalid[0]
    assert "requests that had an outcome failed" in reason
    assert "status 429 (too many requests)" in reason
    assert record.audit.sent < record.audit.planned / 2
    assert sum(f.count + f.in_warm_up for f in record.failures) == record.audit.sent


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"ca": "missing.pem"}, r"--ca missing\.pem|--ca .*missing\.pem: cannot be read"),
        ({"ca": "text.pem"}, "give a PEM file of the authority's certificate"),
        ({"ca": "text.pem", "insecure": True}, "--ca .* has no effect"),
        ({"key": "text.pem"}, r"add --cert FILE"),
        ({"certificate": "text.pem"}, "unencrypted key"),
    ],
)
def test_unfit_file_is_named(options: dict[str, Any], fault: str, tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    options = {
        name: tmp_path / value if isinstance(value, str) else value
        for name, value in options.items()
    }
    with pytest.raises(InputError, match=fault):
        transport_of(**options)


def test_key_of_another_certificate_is_refused(client: Files, server: Files) -> None:
    with pytest.raises(InputError, match="key values mismatch"):
        transport_of(certificate=client[0], key=server[1])


@pytest.mark.parametrize(
    "text", ["a:b", "a:443", "a:0:127.0.0.1", "a:99999:127.0.0.1", "a:443:name", ":1:127.0.0.1"]
)
def test_faulty_override_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT:ADDRESS"):
        transport_of(resolve=[text])


def test_override_decides_whether_a_host_may_be_loaded() -> None:
    outside = transport_of(resolve=["localhost:80:192.0.2.1"])
    with pytest.raises(InputError, match=r"--resolve leads to 192\.0\.2\.1, which is not this"):
        checked_hosts(["http://localhost"], transport=outside)
    inside = transport_of(resolve=["staging.test:443:[::1]"])
    assert inside.address("STAGING.test", 443) == "::1"
    assert checked_hosts(["https://staging.test"], transport=inside)
    with pytest.raises(InputError, match=r"--resolve staging\.test:443: no --host asks for it"):
        checked_hosts(["https://staging.test:8443"], transport=inside, allowed=["staging.test"])


def test_transport_survives_the_plan(client: Files) -> None:
    transport = transport_of(
        insecure=True, certificate=client[0], key=client[1], resolve=["a:1:::1"]
    )
    assert Transport.from_json(transport.to_json()) == transport

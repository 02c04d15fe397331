"""Claims about `edgeproof check-headers`: its exit codes, and what it never shows."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeproof.main import main
from tests.scenarios.certificates import signed

GOOD = "Cache-Status: L1; hit; read=journey\r\nServer-Timing: total;dur=1\r\n"
Asked = list[bytes]


@contextmanager
def answering(
    head: str | None, *, status: str = "200 OK", certificate: tuple[Path, Path] | None = None
) -> Iterator[tuple[str, Asked]]:
    """Yield the URL of a service that answers one request with *head*, and what it was asked.

    Without a head it never answers. The body that it promises does not come. certificate: it
    speaks TLS with this one and its key.
    """
    asked: Asked = []
    is_over = threading.Event()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                client, _ = listener.accept()
                if context is not None:
                    client = context.wrap_socket(client, server_side=True)
            except OSError:
                return  # the client refused the certificate, or never came
            with client:
                asked.append(client.recv(65_536))
                if head is not None:
                    text = f"HTTP/1.1 {status}\r\n{head}Content-Length: 100\r\n\r\n"
                    client.sendall(text.encode("latin-1"))
                is_over.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/journey/u1", asked
        finally:
            is_over.set()
            listener.shutdown(socket.SHUT_RDWR)  # one that nobody has asked
            thread.join()


def test_url_is_asked_once_with_the_headers_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STAGING_TOKEN", "s3cr3t-of-ours")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    option = "Authorization: Bearer ${STAGING_TOKEN}"
    with answering(GOOD) as (url, asked):
        assert main(["check-headers", f"{url}?key=hidden", "--header", option]) == 0
    (request,) = asked
    assert request.startswith(b"GET /journey/u1?key=hidden HTTP/1.1\r\n")
    assert b"authorization: bearer s3cr3t-of-ours\r\n" in request.lower()
    shown = capsys.readouterr()
    assert shown.out.startswith(f"GET {url}?...: 200\n")
    assert "s3cr3t" not in shown.out + shown.err
    assert "hidden" not in shown.out + shown.err


@pytest.mark.parametrize(
    "head",
    [
        'Cache-Status: "edge s3cr3t-of-ours"; hit\r\n',
        'Cache-Status: "s3cr3t-of-ours"; hit=yes\r\n',
        "Cache-Status: L1; hit; read=s3cr3t-of-ours\r\n", "Server-Timing: s3cr3t-of-ours;dur=1\r\n",
        "CF-Cache-Status: s3cr3t-of-ours\r\nContent-Type: s3cr3t-of-ours\r\n",
        f'Cache-Status: "{"edge" * 1000}s3cr3t-of-ours"; hit\r\n',
        "Cache-Status: s3cr3t-of-ours\r\nContent-Length: s3cr3t-of-ours\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "option", ["Authorization: Bearer ${S}", "A: ${S}", "A: Token s3cr3t-of-ours"]
)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_secret_that_the_service_writes_back_is_not_shown(
    head: str, option: str, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("S", "s3cr3t-of-ours")
    with answering(head, status="200 s3cr3t-of-ours") as (url, _):
        assert main(["check-headers", url, "--header", option, *more]) in (1, 2)
    shown = capsys.readouterr()
    assert "s3cr3t" not in shown.out + shown.err
    assert 0 < len(shown.out + shown.err) < 5_000


@pytest.mark.parametrize(
    ("head", "status", "problem"),
    [
        ("", "200 OK", "PROBLEM: missing, so that no hit ratio can be seen; send Cache-Status"),
        (
            GOOD,
            "401 Unauthorized",
            "the answer is a 401, not the endpoint's; give a token",
        ),
        (
            GOOD,
            "302 Found",
            "the answer is a 302, not the endpoint's; ask for the address",
        ),
        ("Cache-Status: L1; hit; key=/é\r\n", "200 OK", "no structured field (RFC 9651)"),
        ("Cache-Status: edge; hit\r\n", "200 OK", '[caches] with "edge" = "l2"'),
    ],
)
def test_what_cannot_be_read_is_exit_code_1(
    head: str, status: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(head, status=status) as (url, _):
        assert main(["check-headers", url]) == 1
    shown = capsys.readouterr().out
    assert problem in shown
    assert shown.splitlines()[-1].endswith(" cannot be read.")


def test_refused_token_is_to_be_checked_not_given(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(GOOD, status="401 Unauthorized") as (url, _):
        assert main(["check-headers", url, "--header", "Authorization: Bearer abcdefgh"]) == 1
    assert "the endpoint's; check the token that --header gives" in capsys.readouterr().out


def test_scenario_names_the_tiers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "shop.toml"
    file.write_text('name = "shop"\n[caches]\nedge = "l2"\n', encoding="utf-8")
    head = "Cache-Status: edge; hit\r\nServer-Timing: total;dur=1\r\n"
    with answering(head) as (url, _):
        assert main(["check-headers", url, "--scenario", str(file), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["readable"] is True
    assert data["headers"][0]["read"] == [
        "cache read without a name: hit in L2; it counts as the endpoint's main one"
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["127.0.0.1:8787/a"], "not an http or https URL"),
        (["ftp://127.0.0.1/a"], "not an http or https URL"),
        (["http://[::1/"], "not a URL (Invalid IPv6 URL)"),
        (["http://user:pw@127.0.0.1/"], "127.0.0.1: the URL holds credentials"),
        (["http://127.0.0.1/", "-H", "no header"], "--header no header: not a header"),
        (["http://127.0.0.1/", "-H", "A: ${UNSET_HERE}"], "the variable UNSET_HERE is not set"),
        (["http://127.0.0.1/", "-H", "A: b\r\nC: d"], "more than printable ASCII"),
        (["http://127.0.0.1/", "--timeout", "soon"], "--timeout: 'soon'"),
        (["http://127.0.0.1/", "--timeout", "0s"], "--timeout 0s: give more than 0s"),
        (["http://127.0.0.1/", "--scenario", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-headers", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert len(shown.err.splitlines()) == 1
    assert "pw" not in shown.err


def test_service_that_cannot_be_asked_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:  # takes no connection
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/a"
        assert main(["check-headers", url]) == 2
    assert f"{url} cannot be asked (connection refused)" in capsys.readouterr().err
    with answering(None) as (url, _):
        assert main(["check-headers", url, "--timeout", "50ms"]) == 2
    assert f"{url} gave no answer within 0.05 s" in capsys.readouterr().err


def test_https_host_is_reached_as_a_load_reaches_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = signed(tmp_path, "staging", names="DNS:staging.test")
    with answering(GOOD, certificate=(certificate, key)) as (url, asked):
        port = url.split(":")[2].partition("/")[0]
        place = ["--resolve", f"staging.test:{port}:127.0.0.1"]
        arguments = ["check-headers", f"https://staging.test:{port}/journey/u1", *place]
        assert main([*arguments, "--ca", str(certificate)]) == 0
    (request,) = asked
    assert f"\r\nhost: staging.test:{port}\r\n".encode() in request.lower()
    for option, remedy in (([], "name its authority with --ca"), (place, "URL asks for 127.0.0.1")):
        with answering(GOOD, certificate=(certificate, key)) as (url, _):
            assert main(["check-headers", url.replace("http:", "https:"), *option]) == 2
        assert remedy in capsys.readouterr().err
    with answering(GOOD, certificate=(certificate, key)) as (url, _):
        assert main(["check-headers", url.replace("http:", "https:"), "--insecure"]) == 0
    assert "--insecure: no TLS certificate is verified" in capsys.readouterr().err

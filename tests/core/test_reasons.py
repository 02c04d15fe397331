"""Claims about reasons: the system's word for what failed, as one line."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import subprocess
from pathlib import Path

import httpx
import pytest

from core.texts import MOST_SHOWN, one_line, reason_of
from tests.conftest import find_program


def reason_over(url: str) -> str:
    """Return why a request to *url* failed."""

    async def main() -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.HTTPError) as caught:
                await client.post(url)
        return reason_of(caught.value)

    return asyncio.run(main())


def reason_at(*, abort: bool, tls: ssl.SSLContext | None = None) -> str:
    """Return why a request to a server failed that hangs up, or that speaks *tls*."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if abort:  # a close that lingers for 0 s is a reset
            line = writer.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async def main() -> str:
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        scheme = "http" if tls is None else "https"
        async with server, httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.HTTPError) as caught:
                await client.post(f"{scheme}://127.0.0.1:{port}/")
        return reason_of(caught.value)

    return asyncio.run(main())


def test_refused_connection_is_called_so() -> None:
    assert reason_over("http://127.0.0.1:1/") == "connection refused"


def test_unknown_name_is_called_so() -> None:
    assert "name" in reason_over("http://no-such-host.invalid/")


def test_connection_that_breaks_off_is_called_so() -> None:
    assert reason_at(abort=True) == "connection reset by peer"


def test_certificate_that_nobody_signed_is_called_so(tmp_path: Path) -> None:
    find_program("openssl", package="openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    assert reason_at(abort=False, tls=tls) == "certificate verify failed: self-signed certificate"


def test_error_without_a_cause_says_what_it_says_itself_or_its_type() -> None:
    assert reason_of(httpx.RemoteProtocolError("Server disconnected")) == "Server disconnected"
    assert reason_of(httpx.ReadError("")) == "ReadError"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb\t c", "a b c"), ("a\x1b[2Jb", "a?[2Jb"), ("x" * 9_999, "x" * (MOST_SHOWN - 3) + "...")],
)
def test_line_from_outside_is_short_and_moves_no_cursor(text: str, line: str) -> None:
    assert one_line(text) == line

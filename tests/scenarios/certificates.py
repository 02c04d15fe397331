"""Certificates for tests, made with openssl as they run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import find_program


def signed(
    folder: Path, name: str, *, names: str = "", authority: tuple[Path, Path] | None = None
) -> tuple[Path, Path]:
    """Return the files of a certificate and its key; without an authority it signs itself.

    names: what it is for, such as "DNS:staging.test" or "IP:127.0.0.1".
    """
    find_program("openssl", package="openssl")
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", str(key), "-out", str(certificate)),
    ]
    if names:
        command += ["-addext", f"subjectAltName={names}"]
    if authority is not None:
        command += ["-CA", str(authority[0]), "-CAkey", str(authority[1])]
        command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key

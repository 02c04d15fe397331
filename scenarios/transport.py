"""How a host is reached: whom TLS trusts, who the generator says it is, and at which address."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from core.errors import InputError

INSECURE = "TLS certificates were not verified (--insecure): anybody could have answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """What connections need beside a URL.

    ca: a PEM file of the only authorities that are trusted, None for the system's. insecure:
    certificates are not verified. certificate, key: PEM files of the client's own; a certificate
    alone holds its key, too. resolve: the address of a host and port, instead of its name's.
    """

    ca: str | None = None
    insecure: bool = False
    certificate: str | None = None
    key: str | None = None
    resolve: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def address(self, host: str, port: int) -> str:
        """Return where connections to *host* and *port* go."""
        return self.resolve.get((host.lower(), port), host)

    def context(self) -> ssl.SSLContext:
        """Return the TLS context of every connection; InputError names a file that is unfit.

        It offers HTTP/1.1 only: a host that speaks nothing but HTTP/2 then says so.
        """
        context = self._trusting()
        if self.certificate is not None:
            try:
                # An empty password: OpenSSL would ask for one on the terminal.
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
            except (OSError, ssl.SSLError) as error:
                files = self.certificate if self.key is None else f"{self.certificate}, {self.key}"
                option = "--cert" if self.key is None else "--cert, --cert-key"
                raise InputError(
                    f"{option} {files}: {_why(error)}; give PEM files of a certificate and of its "
                    "unencrypted key" + (", that with --cert-key" if self.key is None else "")
                ) from None
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _trusting(self) -> ssl.SSLContext:
        if self.ca is not None:
            try:
                return ssl.create_default_context(cafile=self.ca)
            except (OSError, ssl.SSLError) as error:
                raise InputError(
                    f"--ca {self.ca}: {_why(error)}; give a PEM file of the authority's certificate"
                ) from None
        context = ssl.create_default_context()
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif not _system_has_authorities():
            import certifi  # the HTTP client comes with it, for such systems

            context.load_verify_locations(certifi.where())
        return context

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the report has to know."""
        found = [INSECURE] if self.insecure else []
        for (host, port), address in self.resolve.items():
            found.append(f"connections to {host}:{port} went to {address} (--resolve)")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the names of files, and none of their content."""
        return {
            "ca": self.ca,
            "insecure": self.insecure,
            "certificate": self.certificate,
            "key": self.key,
            "resolve": [[*place, address] for place, address in self.resolve.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave; KeyError, TypeError or ValueError if it is none."""
        resolve = {(host, port): address for host, port, address in data["resolve"]}
        return cls(**{**data, "resolve": resolve})


def transport_of(
    *,
    ca: Path | None = None,
    insecure: bool = False,
    certificate: Path | None = None,
    key: Path | None = None,
    resolve: Iterable[str] = (),
) -> Transport:
    """Return the transport of the command line's options; InputError names one that is unfit."""
    if insecure and ca is not None:
        raise InputError(
            f"--insecure: no certificate is verified, so --ca {ca} has no effect; leave one out"
        )
    if key is not None and certificate is None:
        raise InputError(f"--cert-key {key}: a key without its certificate; add --cert FILE")
    found = Transport(
        ca=None if ca is None else str(ca.absolute()),
        insecure=insecure,
        certificate=None if certificate is None else str(certificate.absolute()),
        key=None if key is None else str(key.absolute()),
        resolve=dict(_override(text) for text in resolve),
    )
    found.context()
    return found


def _override(text: str) -> tuple[tuple[str, int], str]:
    """Return the host, the port and the address of *text*, brackets around an IPv6 address."""
    remedy = "write HOST:PORT:ADDRESS, such as staging.example.com:443:127.0.0.1"
    host, _, rest = text.rpartition("]:") if text.startswith("[") else text.partition(":")
    port, _, address = rest.partition(":")
    host, address = host.removeprefix("["), address.removeprefix("[").removesuffix("]")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536 and address):
        raise InputError(f"--resolve {text}: not an override; {remedy}")
    try:
        ip_address(address)
    except ValueError:
        raise InputError(f"--resolve {text}: {address} is no IP address; {remedy}") from None
    return (host.lower(), int(port)), address


def _system_has_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    if paths.cafile is not None:
        return True
    return paths.capath is not None and any(os.scandir(paths.capath))


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").replace("_", " ").lower()
        return reason or "not a PEM file that can be read"
    return f"cannot be read ({(error.strerror or str(error)).lower()})"

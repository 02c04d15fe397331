"""Which hosts may be loaded and how hard: this machine only, unless a host is named on purpose."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

import numpy as np

from core.errors import EdgeproofError, InputError
from core.scenario.addresses import is_loopback
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from scenarios.transport import Transport

ALLOWED_HOSTS = "EDGEPROOF_ALLOWED_HOSTS"
"""Environment variable: host names that may be loaded, separated by commas."""

MAX_RATE = 2000.0
MAX_ANSWER_BYTES = 16_000_000
"""Of a body, as it was sent and as it is decoded; with many requests in flight memory holds."""
MAX_DURATION = 3600.0
_CONNECT_SECONDS = 3.0
_RATE_SPAN_NS = 1_000_000_000


class HostUnreachable(EdgeproofError):
    """A host that does not take connections."""


def named_hosts(options: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the hosts named by --i-am-allowed-to-load and by the environment variable."""
    names = [*options, *os.environ.get(ALLOWED_HOSTS, "").split(",")]
    return tuple(dict.fromkeys(name.strip().lower() for name in names if name.strip()))


def checked_hosts(
    urls: Iterable[str], *, allowed: Collection[str] = (), transport: Transport | None = None
) -> tuple[str, ...]:
    """Return *urls* without a closing slash, if every one of them may be loaded.

    Raise InputError for a URL that is none, holds credentials, a query or a fragment, or names a
    host that is neither this machine nor in *allowed*. Where *transport* has an address for it,
    that is where the load goes, and it decides.
    """
    transport = transport or Transport()
    checked = tuple(_checked(url.strip(), allowed, transport) for url in urls)
    places = {_place(url) for url in checked}
    for host, port in transport.resolve:
        if (host, port) not in places:
            asked = ", ".join(f"{name}:{at}" for name, at in sorted(places))
            raise InputError(
                f"--resolve {host}:{port}: no --host asks for it, but for {asked}; correct it or "
                "leave it out"
            )
    if not checked:
        raise InputError("no host is given; name one with --host http://127.0.0.1:8787")
    return checked


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _checked(url: str, allowed: Collection[str], transport: Transport) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"--host {url}: not a URL ({error}); write http://host:port") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"--host {url}: not an http or https URL; write http://host:port")
    if "@" in parts.netloc:
        raise InputError(f"--host {host}: the URL holds credentials; leave them out")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        bare = re.split(r"[?#]", url)[0]  # a query may hold a secret
        raise InputError(
            f"--host {bare}: a query or fragment; give the address of the service only"
        )
    if any(c.isspace() or not c.isprintable() for c in parts.path):
        raise InputError(f"--host {url!r}: a character that no address may hold; write it as %20")
    address = transport.address(*_place(url))
    if not is_loopback(address) and not {host, address} & {name.lower() for name in allowed}:
        if address != host:
            raise InputError(
                f"--host {url}: --resolve leads to {address}, which is not this machine; load only "
                f"what you may, and say so with --i-am-allowed-to-load {host}"
            )
        raise InputError(
            f"--host {url}: {host} is not this machine; load only what you may, and say so with "
            f"--i-am-allowed-to-load {host}"
        )
    return url.rstrip("/")


def peak_rate(scenario: Scenario, workload: Workload) -> float:
    """Return the highest arrival rate in requests/s: of the stages, or of a trace's own times."""
    staged = max(max(stage.rate, stage.ramp_to or 0.0) for stage in scenario.traffic.stages)
    if scenario.traffic.bursts is not None:
        staged *= max(scenario.traffic.bursts.factors)
    if scenario.trace.file is None:
        return staged
    span = max(1, min(_RATE_SPAN_NS, round(scenario.total_time * 1e9)))
    ends = np.searchsorted(workload.intended_ns, workload.intended_ns + span)
    busiest = int((ends - np.arange(len(workload))).max(initial=0))
    return busiest / span * 1e9 if workload.is_timed else max(staged, busiest / span * 1e9)


def check_bounds(
    scenario: Scenario,
    workload: Workload,
    *,
    max_rate: float = MAX_RATE,
    max_duration: float = MAX_DURATION,
) -> None:
    """Raise InputError for a load above *max_rate* requests/s or of more than *max_duration* s."""
    if (rate := peak_rate(scenario, workload)) > max_rate:
        raise InputError(
            f"{scenario.name}: {rate:g} requests/s is above the bound of {max_rate:g}; "
            "lower it with --rate or raise the bound with --max-rate"
        )
    if scenario.total_time > max_duration:
        raise InputError(
            f"{scenario.name}: {scenario.total_time:g} s of load is above the bound of "
            f"{max_duration:g} s; shorten warm_up and duration or raise it with --max-duration"
        )


def check_reachable(urls: Iterable[str], transport: Transport | None = None) -> None:
    """Open and close a TCP connection to each of *urls*; HostUnreachable names a dead one."""
    for url in urls:
        host, port = _place(url)
        address = (transport or Transport()).address(host, port)
        try:
            socket.create_connection((address, port), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise HostUnreachable(
                f"{url} takes no connection ({reason.lower()}); start the service there, "
                "or name its address with --host"
            ) from None

"""Which addresses are this machine's own, that nobody else can reach."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Return whether *host* is localhost, in 127.0.0.0/8, or ::1; no other name is looked up."""
    if host == "localhost":
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return False
        return all(ipaddress.ip_address(address[4][0]).is_loopback for address in found)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""How far a load generator may be off before its figures prove nothing."""

from __future__ import annotations

MAX_DROPPED = 0.001
"""Share of the planned requests that may be dropped, or fail through the generator's own fault."""
MAX_CPU_SHARE = 0.9
"""Share of one CPU core that the generator may use."""
MAX_DELAY_ERROR = 0.0001
"""Seconds by which the service's emulated delays may be off on average."""

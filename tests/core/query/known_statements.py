"""Every statement that the code runs, by its name."""

from __future__ import annotations

from bench.platform.known import MODULES, STATEMENTS

__all__ = ["MODULES", "STATEMENTS"]

"""Sweeps of a small scenario to test with."""

from __future__ import annotations

import json
from pathlib import Path

from core.metrics.sweep import Sweep

FEW = (
    "--set", "duration=3s", "--set", "warm_up=1s", "--set", "traffic.users=60",
    "--set", "traffic.conversions=30",
)  # fmt: skip
SMALL = (*FEW, "--rate", "30")
SIZES = "tiers.l1.max_entries=1,500"


def swept(folder: Path) -> Sweep:
    """Return the sweep that a command wrote into *folder*."""
    return Sweep.from_json(json.loads((folder / "sweep.json").read_text()))

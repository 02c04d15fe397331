"""The same world happens again byte for byte, whatever surrounds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.sim.cache_world import happen

ROOT = Path(__file__).resolve().parents[2]
WORLDS = 40

_PROGRAM = """
import random, sys
import numpy
ambient, worlds = int(sys.argv[1]), int(sys.argv[2])
random.seed(ambient)
numpy.random.seed(ambient)
waste = [object() for _ in range(ambient * 1000)]  # other addresses
from tests.sim.cache_world import happen
for seed in range(worlds):
    sys.stdout.write(happen(seed).log())
"""


def log_of(hash_seed: int, zone: str, folder: Path) -> bytes:
    """Return the logs of the first worlds from a process of its own."""
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONPATH": str(ROOT),
        "TZ": zone,
        "LC_ALL": "C" if hash_seed else "C.UTF-8",
    }
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(hash_seed), str(WORLDS)],
        cwd=folder, env=environment, capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    return ran.stdout


def test_worlds_happen_again_byte_for_byte_in_other_surroundings(tmp_path: Path) -> None:
    first = log_of(0, "UTC", ROOT)
    assert first.count(b"answered") > 50 * WORLDS
    assert log_of(1, "Asia/Tokyo", tmp_path) == first


def test_worlds_happen_again_in_the_same_process() -> None:
    # What one world leaves behind, such as a context, must not reach the next.
    backwards = [happen(seed).log() for seed in range(20, 10, -1)]
    assert [happen(seed).log() for seed in range(11, 21)] == backwards[::-1]


def test_another_seed_is_another_world() -> None:
    logs = {happen(seed).log() for seed in range(20)}
    assert len(logs) == 20

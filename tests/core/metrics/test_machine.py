"""Claims about what a process can learn of itself and of its machine."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from core.metrics import machine

ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
BALLAST = 128 * 1024 * 1024


def test_fixed_work_takes_time_and_cpu() -> None:
    before = machine.process_cpu_seconds()
    seconds = [machine.fixed_work() for _ in range(50)]
    assert min(seconds) > 0
    assert machine.process_cpu_seconds() > before


def test_cpu_time_never_goes_back() -> None:
    seen = [machine.process_cpu_seconds() for _ in range(1_000)]
    assert seen == sorted(seen)


def test_resident_memory_is_bytes_of_this_process() -> None:
    resident = machine.resident_bytes()
    assert 10e6 < resident < 64e9
    assert machine.peak_resident_bytes() >= resident * 0.9  # pages may come and go in between


@ONLY_LINUX
def test_resident_memory_grows_and_shrinks_and_its_peak_stays() -> None:
    before = machine.resident_bytes()
    ballast = bytearray(os.urandom(1)) * BALLAST
    grown = machine.resident_bytes()
    assert grown - before > BALLAST * 0.9
    del ballast
    assert machine.resident_bytes() < before + BALLAST / 2
    assert machine.peak_resident_bytes() >= grown * 0.9


@ONLY_LINUX
def test_peak_starts_anew_where_the_kernel_allows_it() -> None:
    ballast = bytearray(os.urandom(1)) * BALLAST
    del ballast
    high = machine.peak_resident_bytes()
    assert high > BALLAST
    if not machine.reset_peak():
        pytest.skip("this kernel does not reset the peak")
    assert machine.peak_resident_bytes() < high - BALLAST / 2


def test_peak_that_cannot_start_anew_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    assert not machine.reset_peak()


def test_memory_is_known_without_proc_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_STATUS", tmp_path / "status")
    peak = machine.peak_resident_bytes()
    assert machine.resident_bytes() == peak
    assert 10e6 < peak < 64e9


def test_status_is_read_in_kibibytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t   45678 kB\nVmRSS:\t   12345 kB\nThreads:\t1\n")
    monkeypatch.setattr(machine, "_STATUS", status)
    assert machine.resident_bytes() == 12_345 * 1024
    assert machine.peak_resident_bytes() == 45_678 * 1024


def test_description_holds_no_name_of_host_or_user() -> None:
    described = machine.description()
    assert set(described) == {"system", "machine", "processors"}
    assert isinstance(described["processors"], int)
    assert described["processors"] >= 1
    text = str(described)
    for secret in (socket.gethostname(), os.environ.get("USER"), os.path.expanduser("~")):
        assert not secret or len(secret) < 4 or secret not in text

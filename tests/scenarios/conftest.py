"""A fake service per test, in a process of its own on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.fake_service import TOKEN

ROOT = Path(__file__).resolve().parents[2]
StartService = Callable[[str], str]
StartServer = Callable[..., int]


def inspect(url: str) -> dict[str, Any]:
    """Return what the fake service at *url* was asked."""
    with urllib.request.urlopen(f"{url}/inspect") as answer:
        data: dict[str, Any] = json.load(answer)
        return data


@pytest.fixture
def start_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartService]:
    """Return what starts a fake service in a mode and returns its URL."""
    monkeypatch.setenv("EDGEPROOF_TOKEN", TOKEN)
    processes: list[subprocess.Popen[bytes]] = []

    def start(mode: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.fake_service", "--mode", mode],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        processes.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    yield start
    for process in processes:
        process.kill()  # a hanging request would hold up a gentler end
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Return what starts a server in a manner, and returns its port."""
    with ExitStack() as stack:
        yield lambda manner, *certificate: stack.enter_context(misbehaving(manner, *certificate))[0]


@contextmanager
def misbehaving(manners: str, *certificate: Path) -> Iterator[list[int]]:
    """Run a server for each of *manners*, which commas part, in one process; yield their ports."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scenarios.misbehaving", manners, *map(str, certificate)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            yield [int(process.stdout.readline()) for _ in manners.split(",")]
        finally:
            process.kill()
            process.wait()

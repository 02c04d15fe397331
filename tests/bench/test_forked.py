"""Claims about copies: they are processes as those that begin anew are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.forked import ForkedChild, forked
from core.child import PARENT_VARIABLE

SAYING = """
import atexit, os, sys
def main(arguments):
    atexit.register(lambda: print("last", file=sys.stderr, flush=True))
    print(os.environ["WORD"], os.environ.get("PATH"), os.getsid(0) == os.getpid(), *arguments)
    print("fault", file=sys.stderr)
    sys.stdout.flush()
    os.write(int(arguments[1]), b"held")
    os.read(int(arguments[2]), 1)
    return 7
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "saying_module.py").write_text(SAYING)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return "saying_module"


def begin(module: str, folder: Path, held: int, end: int) -> ForkedChild:
    with (folder / "log").open("wb") as log:
        return forked(
            [module, "one", str(held), str(end)],
            environment={"WORD": "said", PARENT_VARIABLE: str(os.getpid())}, log=log,
            descriptors=(held, end),
        )  # fmt: skip


def test_copy_has_the_environment_the_files_and_the_end_of_a_child(
    module: str, tmp_path: Path
) -> None:
    held_read, held = os.pipe()
    end, ends = os.pipe()
    child = begin(module, tmp_path, held, end)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline().decode() == f"said None True one {held} {end}\n"
        assert os.read(held_read, 9) == b"held"
        assert child.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.0)
        os.close(ends)
        os.close(end)
        assert child.wait(30.0) == child.poll() == 7
        assert child.stdout.read() == b""
    assert (tmp_path / "log").read_text() == "fault\nlast\n"
    for one in (held_read, held):
        os.close(one)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_copy_that_is_ended_tells_the_signal(
    module: str, tmp_path: Path, number: signal.Signals
) -> None:
    end, ends = os.pipe()
    held_read, held = os.pipe()
    child = begin(module, tmp_path, held, end)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline()
        child.kill() if number == signal.SIGKILL else child.terminate()
        assert child.wait(30.0) == -number
    for one in (end, ends, held_read, held):
        os.close(one)

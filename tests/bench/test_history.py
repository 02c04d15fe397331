"""A history of runs is appended to whole, read up to where it was cut off, and shown by machine."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench import history
from bench.history import Benchmark, Entry, Machine, Version, append, entry, read
from bench.micro import Run, figure
from core.errors import InputError
from edgeproof.main import main
from tests.edgeproof.commands import edgeproof

DAY = datetime(2026, 10, 1, tzinfo=UTC)
HERE = Machine(cpu="A", cores=2, python="CPython 3.11.2", system="Linux x86_64")


def run(number: int, *times: float, machine: Machine = HERE, work: float = 6e5) -> Entry:
    """Return the run of day *number*, whose benchmarks took *times*."""
    return Entry(
        date=DAY + timedelta(days=number),
        version=Version(package="1", revision=f"{number:010x}" + 30 * "0", is_dirty=False),
        machine=machine,
        work_ns=work,
        halves=1.0,
        benchmarks=tuple(
            Benchmark(
                name=f"b{index}", median=time, low=time, high=time, mean=time, margin=0.01,
                rounds=50, iterations=1,
            )
            for index, time in enumerate(times)
        ),
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a history of two runs in the working folder."""
    monkeypatch.chdir(tmp_path)
    found = tmp_path / "h.jsonl"
    append(found, run(1, 1e-6, 2.0))
    append(found, run(2, 1.1e-6, 2.1))
    return found


def test_runs_are_read_as_they_were_appended(path: Path) -> None:
    found = read(path)
    assert found.entries == (run(1, 1e-6, 2.0), run(2, 1.1e-6, 2.1))
    assert found.notes == ()
    lines = path.read_text().splitlines()
    assert [json.loads(line)["schema_version"] for line in lines] == [1, 1]


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_run_that_was_cut_off_is_left_out_and_said(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:-cut])
    found = read(path)
    if cut == 1:  # the line's end alone is missing
        assert (len(found.entries), found.notes) == (2, ())
    else:
        assert found.entries == (run(1, 1e-6, 2.0),)
        assert found.notes == (f"{path}: line 2 is no JSON (cut off?) and is left out",)
    append(path, run(3, 1.2e-6, 2.2))
    assert read(path).entries == (*found.entries, run(3, 1.2e-6, 2.2))
    assert read(path).notes == found.notes


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema_version": 2}, "a newer edgeproof wrote schema_version 2: upgrade edgeproof"),
        ({"schema_version": "1"}, "mend the line, or move it into another file to keep it"),
        ({"work_ns": float("nan")}, "mend the line, or move it into another file to keep it"),
    ],
)
def test_line_that_cannot_be_used_is_not_told_to_be_thrown_away(
    path: Path, change: dict[str, object], told: str
) -> None:
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{json.dumps(json.loads(second) | change)}\n")
    with pytest.raises(InputError) as caught:
        read(path)
    (name,) = change
    assert str(caught.value).startswith(f"{path}: line 2 is no run of a history ({name}: ")
    assert str(caught.value).endswith(f"); {told}")


def test_history_without_any_json_says_that_its_lines_were_left_out(path: Path) -> None:
    path.write_text("one\n\ntwo\n")
    with pytest.raises(
        InputError, match="holds no run; lines that are no JSON and were left out: 2;"
    ):
        read(path)


def test_run_that_finds_no_room_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:30]))
    with pytest.raises(InputError, match=r"h\.jsonl: the run cannot be appended \(No space left"):
        append(path, run(3, 1.0))
    assert path.read_bytes() == before


def test_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be appended"):
        append(tmp_path / "no" / "h.jsonl", run(1, 1.0))
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "h.jsonl")


def change(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(data: dict[str, Any]) -> None:
        *parts, last = place.split(".")
        for part in parts:
            data = data[part][0] if part == "benchmarks" else data[part]
        data[last] = value

    return apply


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("benchmarks.median", math.nan),
        ("benchmarks.low", math.inf),
        ("benchmarks.median", 0),
        ("benchmarks.median", "1"),
        ("work_ns", -1.0),
        ("date", "yesterday"),
        ("date", "2026-10-01T00:00:00"),
        ("schema_version", 2),
        ("machine", None),
    ],
)
def test_line_that_is_no_run_is_refused_by_number_and_place(
    path: Path, place: str, value: object
) -> None:
    first, second = path.read_text().splitlines()
    data = json.loads(second)
    change(place, value)(data)
    path.write_text(f"{first}\n{json.dumps(data)}\n")
    with pytest.raises(InputError) as caught:
        read(path)
    first_part = place.partition(".")[0]
    assert f"{path}: line 2 is no run of a history ({first_part}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_entry_holds_figures_machine_version_and_speed() -> None:
    measured = Run(
        figures=(figure("b", [1.0, 1.1] * 10), figure("once", [2.0])), failed=(),
        not_measured=(), is_interrupted=False, work=5e5, halves=1.02, line="",
    )  # fmt: skip
    found = entry(measured, DAY)
    assert (found.date, found.work_ns, found.halves) == (DAY, 5e5, 1.02)
    assert found.benchmarks[0].median == measured.figures[0].median
    assert found.benchmarks[1].margin is None  # one round has no margin
    assert found.machine.cpu
    assert found.machine.cores == os.cpu_count()
    assert Entry.model_validate_json(found.model_dump_json()) == found


def test_version_is_that_of_the_repository_that_keeps_the_code(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        name = ("-c", "user.name=n", "-c", "user.email=e@example.com")
        return subprocess.run(
            ["git", *name, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    code = tmp_path / "history.py"
    code.write_text("1\n")
    assert history.measured_version(tmp_path).revision is None  # not kept by this repository
    git("add", ".")
    git("commit", "-qm", "x")
    found = history.measured_version(tmp_path)
    assert (found.revision, found.is_dirty) == (git("rev-parse", "HEAD"), False)
    code.write_text("2\n")
    assert history.measured_version(tmp_path).is_dirty


def steps(path: Path, *, factor: float = 1.3, count: int = 20) -> None:
    """Append runs on a machine whose speed varies by 40 %; b0 takes *factor* from the 11th on."""
    for number in range(count):
        speed = 1 + 0.4 * (number * 7 % 10) / 10
        noise = 1 + 0.01 * (number * 3 % 7) / 7
        b0 = 1e-6 * speed * noise * (factor if number >= 10 else 1)
        append(path, run(number, b0, 2e-3 * speed * noise, work=6e5 * speed))


def test_change_is_shown_at_its_version_in_text_json_and_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps(tmp_path / "bench-history.jsonl")
    assert main(["bench", "history"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("A, 2 cores, CPython 3.11.2, Linux x86_64: 20 runs\n")
    (told,) = [line for line in out.splitlines() if ": slower" in line or ": faster" in line]
    assert told.startswith("b0: slower, ×1.299, from ")
    assert f"from {10:010x} (" in told
    assert "(2026-10-11) on, run 11 of 20" in told
    row = next(line for line in out.splitlines() if line.startswith("b0 "))
    assert row.split()[-1].index("|") == 10

    assert main(["bench", "history", "bench-history.jsonl", "--json", "--out", "h.html"]) == 0
    data = json.loads(capsys.readouterr().out)
    b0, b1 = data["series"]
    (found,) = b0["changes"]
    assert (found["run"], b1["changes"]) == (10, [])
    assert found["ratio"] == pytest.approx(1.3, rel=0.02)
    page = (tmp_path / "h.html").read_text()
    assert "Latest change: 1 slower, of 2 benchmarks" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for name in ("h.svg", "h.png"):
        assert main(["bench", "history", "--out", name]) == 0
        assert (tmp_path / name).stat().st_size > 5_000
    capsys.readouterr()
    # As measured, the machine's speed hides what the fixed work shows.
    assert main(["bench", "history", "--absolute", "-k", "b1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["times"] == "as measured"
    assert [one["benchmark"] for one in data["series"]] == ["b1"]


def test_output_without_the_letters_has_question_marks(tmp_path: Path) -> None:
    steps(tmp_path / "h.jsonl")
    done = edgeproof("bench", "history", "h", cwd=tmp_path, variables={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "b0: slower, ?1.299" in done.stdout


def test_machines_are_never_mixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = HERE.model_copy(update={"cpu": "B"})
    for number in range(20):
        machine = HERE if number < 10 else other
        append(tmp_path / "h.jsonl", run(number, 1.0 if number < 10 else 2.0, machine=machine))
    assert main(["bench", "history", "h", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [len(one["points"]) for one in data["series"]] == [10, 10]
    assert [one["changes"] for one in data["series"]] == [[], []]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_runs_are_shown_and_said_to_be_few(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps(tmp_path / "h.jsonl", count=count)
    assert main(["bench", "history", "h", "--out", "h.svg"]) == 0
    out = capsys.readouterr().out
    assert f"Too few runs to tell a change: {count}, and it takes 6 or more." in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "bench-history.jsonl: cannot be read (No such file"),
        ("h -k nothing", "-k nothing: no benchmark's name in h.jsonl holds that"),
        ("h --out h.pdf", "--out h.pdf: give a file that ends in .svg, .png or .html"),
        ("h --out no/h.svg", "--out no/h.svg: cannot be written"),
        ("h --at-least x", "bench history: --at-least x: is no share"),
        ("empty.jsonl", "empty.jsonl: holds no run"),
        (".", ".: is no file"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    arguments: str, words: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.with_name("empty.jsonl").write_text("")
    assert main(["bench", "history", *arguments.split()]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"edgeproof: {words}")
    assert (shown.out, shown.err.count("\n")) == ("", 1)


def test_figures_are_shown_and_each_file_without_room_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Run(
        figures=(figure("b.py::hit", [1e-6] * 30),), failed=(), not_measured=(),
        is_interrupted=False, work=1e6, halves=None, line="", json=b"{}",
    )  # fmt: skip
    monkeypatch.setattr("edgeproof.benchmarks.run_benchmarks", lambda **_: measured)
    folder = tmp_path / "gone"
    monkeypatch.setattr("edgeproof.benchmarks.check_writable", lambda *_: None)
    arguments = ["--json", "/dev/full", "--save", str(folder / "h.jsonl")]
    assert main(["bench", "run", *arguments]) == 2
    shown = capsys.readouterr()
    assert "b.py::hit" in shown.out
    save, written = shown.err.splitlines()
    assert save.startswith(f"edgeproof: --save {folder / 'h.jsonl'}: the run cannot be appended")
    assert written.startswith("edgeproof: --json /dev/full: cannot be written (No space left")

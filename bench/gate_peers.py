"""The gates on speed that `bench.gates` compares, ours and other tools', behind one interface."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

UNITS = 2_000
"""Units of work in a call: some 90 µs."""
PINS = {
    "asv": "0.6.6",
    "pyperf": "2.11.0",
    "pytest": "9.2.0",
    "pytest-benchmark": "5.3.1",
    "pytest-codspeed": "5.0.4",
    "virtualenv": "21.15.11",
}
"""The packages of the peers' environment; asv makes its own with virtualenv."""
LIMITS = (5, 4)
"""Per cent. A line at 5 % reads a slowdown of exactly 5 % as smaller in half of all runs, however
well it is measured; ours lies at four fifths of the limit, so the others have that one, too."""
_SIDES = ("base", "head")

_PACKAGE = """
def loop():
    total = 0
    for number in range({units}):
        total += number & 7
    return total
"""
_SUITE = "import subject\n\n\ndef test_loop(benchmark):\n    benchmark(subject.loop)\n"
_PYPERF = "import pyperf\nimport subject\n\npyperf.Runner().bench_func('loop', subject.loop)\n"
_ASV_SUITE = "import subject\n\n\ndef time_loop():\n    subject.loop()\n"
# In place of a build from an index: the bytecode of two versions may agree in size and time.
_ASV_INSTALL = """
import shutil, sysconfig
target = sysconfig.get_path("purelib") + "/subject"
shutil.rmtree(target, ignore_errors=True)
shutil.copytree("subject", target, ignore=shutil.ignore_patterns("__pycache__"))
"""

Verdicts = dict[str, bool]
"""Whether a gate reports that the head is slower, by setting."""


class Failed(Exception):
    """A gate that cannot be run here; one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A tool that compares two versions; *needs*: its packages in the peers' environment."""

    name: str
    needs: tuple[str, ...]
    settings: tuple[str, ...]
    compare: Callable[[Path, str], Verdicts]
    """Takes the folder that `write` filled and the peers' Python."""


def write(folder: Path, slowdown: float) -> None:
    """Write two versions of a package whose head does *slowdown* more, for every gate.

    Raise Failed if git cannot be run.
    """
    sources = {
        side: _PACKAGE.format(units=round(UNITS * (1 + share)))
        for side, share in zip(_SIDES, (0.0, slowdown), strict=True)
    }
    for side, source in sources.items():
        _put(folder / side / "subject" / "__init__.py", source)
        _put(folder / side / "benchmarks" / "test_subject.py", _SUITE)
        _put(folder / side / "run_pyperf.py", _PYPERF)
    repository = folder / "asv"
    settings = {
        "version": 1, "project": "subject", "repo": ".", "branches": ["head"],
        "environment_type": "virtualenv", "benchmark_dir": "benchmarks", "build_command": [],
        "install_command": ["python {build_dir}/install.py"],
        "uninstall_command": ["python -c pass"],
        "env_dir": "../asv-environments", "results_dir": "../asv-results",
    }  # fmt: skip
    _put(repository / "asv.conf.json", json.dumps(settings))
    _put(repository / "pyproject.toml", '[project]\nname = "subject"\nversion = "1"\n')
    _put(repository / "install.py", _ASV_INSTALL)
    _put(repository / "benchmarks" / "__init__.py", "")
    _put(repository / "benchmarks" / "bench_subject.py", _ASV_SUITE)
    git = partial(_run, folder=repository)
    git(["git", "init", "--quiet", "--initial-branch=base"])
    for side, source in sources.items():
        if side == "head":
            git(["git", "checkout", "--quiet", "-b", side])
        _put(repository / "subject" / "__init__.py", source)
        git(["git", "add", "--all"])
        who = ("-c", "user.name=gates", "-c", "user.email=gates@example.com")
        git(["git", *who, "commit", "--quiet", "--allow-empty", f"--message={side}"])


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def python_of_peers(say: Callable[[str], None]) -> str:
    """Return the Python of an environment with PINS, made by pip once and kept in the cache.

    Raise Failed with pip's last words.
    """
    base = os.environ.get("XDG_CACHE_HOME") or ""
    cache = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    pins = [f"{name}=={version}" for name, version in PINS.items()]
    identity = hashlib.sha256(json.dumps([sys.version, sys.prefix, pins]).encode()).hexdigest()
    folder = cache / "edgeproof" / "gates" / identity[:16]
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.is_file():
        say(f"installing {', '.join(pins)} into {folder}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], folder.parent)
        quiet = ("--quiet", "--no-input", "--disable-pip-version-check")
        _run([str(python), "-m", "pip", "install", *quiet, *pins], folder)
        complete.touch()
    return str(python)


def versions(python: str) -> dict[str, str]:
    """Return *python*'s versions of the tools in PINS. Raise Failed if it is not a Python."""
    code = (
        "import json, sys\nfrom importlib.metadata import distributions\n"
        "print(json.dumps({d.name.lower(): d.version for d in distributions() if d.name}))"
    )
    try:
        found = json.loads(_run([python, "-c", code], Path.cwd()))
    except (OSError, json.JSONDecodeError) as error:
        raise Failed(f"--peers {python}: cannot be run ({error}); name a python") from None
    return {name: found[name] for name in PINS if name in found}


def _run(
    command: Sequence[str],
    folder: Path,
    *,
    codes: Sequence[int] = (0,),
    variables: Mapping[str, str] | None = None,
) -> str:
    """Return the output of *command*. Raise Failed for an exit code that is not in *codes*."""
    # The user's settings, and those of a service that a tool would talk to.
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "CODSPEED", "GIT_", "PYTHONPATH"))
    }  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, env={**kept, **(variables or {})}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode not in codes:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        told = " ".join(lines[-3:])[-400:]
        raise Failed(f"{' '.join(command)[:200]}: exit code {done.returncode}: {told}")
    return f"exit code {done.returncode}\n{done.stdout}{done.stderr}" if codes != (0,) else (
        done.stdout
    )  # fmt: skip


def _edgeproof(folder: Path, _: str, *, options: Sequence[str] = ()) -> Verdicts:
    told = _run(
        [sys.executable, "-m", "edgeproof", "bench", "compare", "./base", "./head",
         "--suite", "benchmarks", "--max-regression", "5%", "--json", *options],
        folder, codes=(0, 1),
        # The plugins of the peers' environment, not the user's.
        variables={
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_benchmark.plugin",
        },
    )  # fmt: skip
    return {"--max-regression 5%": told.startswith("exit code 1")}


def _pytest_benchmark(folder: Path, python: str) -> Verdicts:
    storage = folder / "pytest-benchmark"
    checks = [f"{field}:{limit}%" for field in ("median", "min") for limit in LIMITS]
    suite = [
        python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:codspeed", "benchmarks",
        "--benchmark-only", f"--benchmark-storage=file://{storage}",
    ]  # fmt: skip
    _run([*suite, "--benchmark-save=base"], folder / "base")
    (saved,) = storage.rglob("*_base.json")
    told = _run(
        # One option for all: pytest-benchmark keeps only the last of several.
        [*suite, f"--benchmark-compare={saved}", "--benchmark-compare-fail", *checks],
        folder / "head", codes=(0, 1),
    )  # fmt: skip
    saved.unlink()
    failed = re.findall(
        r"Field '(\w+)' has failed PercentageRegressionCheck: \S+ > (\d+)\.0+$", told, re.MULTILINE
    )
    if (not failed) != told.startswith("exit code 0") or "(NOW)" not in told:
        raise Failed("pytest-benchmark: its report does not say which check failed")
    return {check: tuple(check.rstrip("%").split(":")) in failed for check in checks}


def _asv(folder: Path, python: str) -> Verdicts:
    repository = folder / "asv"
    home = {"HOME": str(folder)}  # stores a description of the machine there
    if not (folder / ".asv-machine.json").is_file():
        _run([python, "-m", "asv", "machine", "--yes"], repository, variables=home)
    # It exits with the number of what became slower, after as many words on it.
    told = _run(
        [python, "-m", "asv", "continuous", "base", "head"], repository, codes=(0, 1),
        variables=home,
    )  # fmt: skip
    if ("PERFORMANCE DECREASED" in told) != told.startswith("exit code 1"):
        raise Failed(f"asv: {' '.join(told.splitlines()[-3:])}")
    found = {"factor 1.1": told.startswith("exit code 1")}
    for limit in LIMITS:
        factor = f"{1 + limit / 100:.2f}"
        table = _run(
            [python, "-m", "asv", "compare", "--factor", factor, "base", "head"], repository,
            variables=home,
        )  # fmt: skip
        (row,) = [line for line in table.splitlines() if "time_loop" in line]
        found[f"factor {factor}"] = row.split("|")[1].strip() == "+"
    return found


def _pyperf(folder: Path, python: str) -> Verdicts:
    files = []
    for side in _SIDES:
        files.append(str(folder / f"pyperf-{side}.json"))
        Path(files[-1]).unlink(missing_ok=True)
        _run([python, "run_pyperf.py", "--quiet", "-o", files[-1]], folder / side)
    found = {}
    for setting, options in (
        ("significant", ()),
        *((f"and --min-speed {limit}", (f"--min-speed={limit}",)) for limit in LIMITS),
    ):
        told = _run([python, "-m", "pyperf", "compare_to", "-v", *options, *files], folder)
        found[setting] = "slower" in told and "Not significant" not in told
    return found


def _codspeed(folder: Path, python: str) -> Verdicts:
    times: list[Mapping[str, float]] = []
    for side in _SIDES:
        profile = folder / f"codspeed-{side}"
        _run(
            [python, "-m", "pytest", "-p", "no:cacheprovider", "benchmarks", "--codspeed",
             "--codspeed-mode", "walltime"],
            folder / side, variables={"CODSPEED_PROFILE_FOLDER": str(profile)},
        )  # fmt: skip
        (file,) = (profile / "results").glob("*.json")
        (one,) = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
        times.append(one["stats"])
        file.unlink()
    base, head = times
    return {
        f"{field} {limit} %": head[f"{field}_ns"] > base[f"{field}_ns"] * (1 + limit / 100)
        for field in ("median", "min")
        for limit in (10, *LIMITS)
    }


def _settings(*fields: str, limits: Sequence[int] = LIMITS) -> tuple[str, ...]:
    return tuple(field.format(limit) for field in fields for limit in limits)


GATES = (
    Gate(
        name="edgeproof bench compare", needs=(), settings=("--max-regression 5%",),
        compare=_edgeproof,
    ),
    Gate(
        name="edgeproof, --apart", needs=(), settings=("--max-regression 5%",),
        compare=partial(_edgeproof, options=("--apart",)),
    ),
    Gate(
        name="pytest-benchmark", needs=("pytest", "pytest-benchmark"),
        settings=_settings("median:{}%", "min:{}%"), compare=_pytest_benchmark,
    ),
    Gate(
        name="asv continuous", needs=("asv", "virtualenv"),
        settings=("factor 1.1", "factor 1.05", "factor 1.04"), compare=_asv,
    ),
    Gate(
        name="pyperf compare_to", needs=("pyperf",),
        settings=("significant", *_settings("and --min-speed {}")), compare=_pyperf,
    ),
    Gate(
        name="pytest-codspeed walltime", needs=("pytest", "pytest-codspeed"),
        settings=_settings("median {} %", "min {} %", limits=(10, *LIMITS)), compare=_codspeed,
    ),
)  # fmt: skip

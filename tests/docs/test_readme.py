"""Claims about README.md: its example prints what it says, and its commands are there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

from tests.conftest import ROOT

TEXT = Path(ROOT, "README.md").read_text(encoding="utf-8")


def test_scenario_prints_what_the_readme_says(tmp_path: Path) -> None:
    found = re.search(r"```toml\n(.*?)```.*?```text\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    scenario, printed = found.groups()
    assert len(scenario.splitlines()) == 8
    Path(tmp_path, "shop.toml").write_text(scenario, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "edgeproof", "simulate", "shop.toml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, encoding="utf-8",
    )  # fmt: skip
    assert (done.stdout, done.returncode) == (printed, 1), done.stderr


def test_first_block_installs_the_release_that_make_wheel_builds() -> None:
    project = tomllib.loads(Path(ROOT, "pyproject.toml").read_text(encoding="utf-8"))["project"]
    block = TEXT.split("```")[1]
    wheel = f"{project['name']}-{project['version']}-py3-none-any.whl"
    assert f"pip install --constraint constraints.txt {wheel}\n" in block


def test_modules_that_the_readme_runs_exist() -> None:
    modules = set(re.findall(r"python -m ([\w.]+)", TEXT))
    assert modules
    assert sorted(name for name in modules if find_spec(name) is None) == []

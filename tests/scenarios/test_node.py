"""Claims about Node.js and its packages: pinned, found, and asked for in one line."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from core.errors import InputError
from scenarios.node import MODULES_VARIABLE, WORKER, Node, find_node, pinned


def test_lock_holds_every_pin_with_its_hash_and_no_address() -> None:
    text = (WORKER / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert all("integrity" in found for name, found in packages.items() if name)
    assert {name: packages[f"node_modules/{name}"]["version"] for name in pinned()} == pinned()
    assert [name for name in packages if name.endswith("/workerd")] == ["node_modules/workerd"]


def test_found_node_runs_the_pinned_packages(node: Node) -> None:
    script = (
        "import { createRequire } from 'node:module';"
        f"const require = createRequire(process.env.{MODULES_VARIABLE} + '/');"
        "const { Miniflare } = require('miniflare');"
        "console.log(typeof Miniflare, process.versions.node);"
    )
    said = subprocess.run(
        [node.program, "--input-type=module", "--eval", script],
        env=node.environment(), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.split() == ["function", dict(node.versions)["node"]]


def test_missing_package_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MODULES_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=r"the npm package miniflare is not in .*npm ci"):
        find_node()


def test_package_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MODULES_VARIABLE, str(tmp_path))
    for name in pinned():
        (tmp_path / name).mkdir()
        (tmp_path / name / "package.json").write_text('{"version": "1.2.3"}')
    with pytest.raises(InputError, match=re.escape(f"is 1.2.3, not {pinned()['miniflare']}; run")):
        find_node()

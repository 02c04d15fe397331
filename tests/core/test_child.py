"""Claims about the children of the service that are no service themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("module", ["core.service.fake_redis", "core.service.local_destination"])
def test_l2_and_destination_start_without_the_service(module: str) -> None:
    heavy = "'uvicorn', 'starlette', 'numpy', 'pydantic', 'httpx', 'core.service.app'"
    code = f"import sys, {module}; print([name for name in ({heavy}) if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"

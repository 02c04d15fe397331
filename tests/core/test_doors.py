"""Claims about the rooms' front doors: every public name is there, and loads only what it needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = sorted(path.parent.name for path in Path(ROOT, "core").glob("*/__init__.py"))
HEAVY = (
    "apsw", "fakeredis", "gevent", "httpx", "jinja2", "locust", "matplotlib", "numba", "numpy",
    "pydantic", "redis", "rich", "scipy", "simpy", "starlette", "uvicorn",
)  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there(room: str) -> None:
    module = import_module(f"core.{room}")
    for name in module.__all__:
        assert name in dir(module)
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module 'core.{room}' has no attribute 'Nothing'"):
        _ = module.Nothing


@pytest.mark.parametrize("room", ROOMS)
def test_types_and_places_name_the_same(room: str) -> None:
    """What mypy reads, what Python loads, and what `*` takes are one list."""
    path = Path(ROOT, "core", room, "__init__.py")
    (choice,) = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If))
    typed = {
        alias.name: (node.module or "").rpartition(".")[2]
        for node in choice.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (places,) = (node for node in ast.walk(choice) if isinstance(node, ast.Dict))
    assert ast.literal_eval(places) == typed
    assert sorted(typed) == sorted(import_module(f"core.{room}").__all__)
    assert not {*typed} & {file.stem for file in path.parent.iterdir()}, "a module would hide it"


def loads(statement: str) -> set[str]:
    """Return the heavy packages that *statement* loads in a fresh process."""
    script = f"{statement}\nimport sys\nprint(*{{*{HEAVY!r}}} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {*done.stdout.split()}


def test_rooms_alone_load_nothing_heavy() -> None:
    assert loads(f"import {', '.join(f'core.{room}' for room in ROOMS)}") == set()


def test_cache_and_models_load_nothing_heavy() -> None:
    cache = "from core.caching import CachePolicy, CacheType, Json, MemoryCache, MemoryKV"
    assert loads(f"{cache}, TieredCache\nfrom core.attribution import MODELS, Parameters") == set()


def test_attribution_of_paths_is_the_account_of_them() -> None:
    import numpy as np

    from core.attribution import MODELS, Parameters, Paths, attribute
    from core.attribution.account import account_of

    paths = Paths(
        channels=("google", "email"), codes=np.array([0, 1, 1], np.int32),
        offsets=np.array([0, 2, 3]), conversions=np.array([2.0, 1.0]),
        nulls=np.zeros(2), values=np.array([20.0, 5.0]),
    )  # fmt: skip
    account = attribute(paths, models=("linear",))
    assert {row.channel: row.conversions for row in account.rows} == {"google": 1.0, "email": 2.0}
    assert attribute(paths) == account_of(paths, Parameters())
    assert {*attribute(paths).models} == {*MODELS} - {"time_decay"}

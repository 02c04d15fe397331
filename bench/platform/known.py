"""Every named statement of the product, found where statements stand."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

import core.query
from core.query.statement import Statement


def _statements_of(module: ModuleType) -> list[Statement]:
    return [value for value in vars(module).values() if isinstance(value, Statement)]


MODULES: tuple[ModuleType, ...] = tuple(
    filter(
        _statements_of,
        (
            import_module(f"core.query.{module.name}")
            for module in pkgutil.iter_modules(core.query.__path__)
            if module.name.endswith("statements")
        ),
    )
)
STATEMENTS: dict[str, Statement] = {
    statement.name: statement for module in MODULES for statement in _statements_of(module)
}

OF_FILES: dict[str, str] = {
    "own_events": "D1 has no temporary views",
    "own_conversions": "D1 has no temporary views",
}
"""Statements that D1 refuses, with the reason: only connections to a file run them."""

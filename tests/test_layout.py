"""Claims about the tests themselves: none imports another, and they stand as the code does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

TESTS = ROOT / "tests"
OF_NO_PACKAGE = {"ci", "docs", "packaging"}
"""Folders of tests about what is no package: configuration of CI systems, pages, the wheel."""


def imported_tests(source: str) -> list[str]:
    """Return the test modules that *source* imports, as it names them."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [
        name
        for name in names
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))
    ]


def test_no_test_module_is_imported() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): imported
        for path in TESTS.rglob("*.py")
        if (imported := imported_tests(path.read_text(encoding="utf-8")))
    }
    assert found == {}, "what tests share belongs into a module that is named after what it makes"


@pytest.mark.parametrize(
    "source",
    [
        "from tests.edgeproof.paired.test_versions import wheel",
        "from tests.edgeproof.paired import projects, test_versions",
        "import tests.core.test_wire",
        "def late():\n    from tests.core.test_wire import NAMES",
    ],
)
def test_an_import_of_a_test_module_is_found(source: str) -> None:
    assert len(imported_tests(source)) == 1
    assert imported_tests("from tests.edgeproof.paired.projects import repository") == []


def test_every_folder_of_tests_stands_as_a_package_of_the_code_does() -> None:
    folders = {file.parent.relative_to(TESTS) for file in TESTS.rglob("*.py")}
    elsewhere = {
        folder.as_posix()
        for folder in folders - {Path()}
        if folder.parts[0] not in OF_NO_PACKAGE and not (ROOT / folder / "__init__.py").exists()
    }
    assert elsewhere == set()


def test_every_room_of_core_has_its_tests() -> None:
    rooms = {path.parent.name for path in (ROOT / "core").glob("*/__init__.py")}
    tested = {path.parent.name for path in (TESTS / "core").glob("*/test_*.py")}
    assert rooms == tested

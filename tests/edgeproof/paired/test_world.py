"""Claims about what is a version's own and what both share."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.paired.world import World, mapped_paths


def test_an_environment_inside_the_version_is_shared(tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    world = World("head", tmp_path, [str(tmp_path)], tmp_path / "c", [str(packages)])
    installed = [str(packages)]
    assert world._is_installed(str(packages / "numpy" / "core.py"), installed)
    assert not world._is_installed(str(tmp_path / "numpy" / "core.py"), installed)


def test_a_version_inside_of_an_installed_folder_is_its_own(tmp_path: Path) -> None:
    world = World("base", tmp_path / "a", [str(tmp_path / "a")], tmp_path / "c", [])
    assert not world._is_installed(str(tmp_path / "a" / "core.py"), [str(tmp_path)])
    assert world._is_installed(str(tmp_path / "b.py"), [str(tmp_path)])


@pytest.mark.parametrize(
    ("baseline", "own", "shared"),
    [
        ([], ["{root}/src", "{root}"], []),
        (["{project}/python"], ["{root}/python", "{root}/src", "{root}"], []),
        (["{project}"], ["{root}", "{root}/src"], []),
        (["/opt/x"], ["{root}/src", "{root}"], ["/opt/x"]),
        (
            ["{project}/.venv/lib/python3.11/site-packages"],
            ["{root}/src", "{root}"],
            ["{project}/.venv/lib/python3.11/site-packages"],
        ),
    ],
)
def test_paths_of_the_project_become_the_version_s(
    tmp_path: Path, baseline: list[str], own: list[str], shared: list[str]
) -> None:
    project, root = tmp_path / "project", tmp_path / "root"
    (root / "src").mkdir(parents=True)

    def at(paths: list[str]) -> list[str]:
        return [path.format(project=project, root=root) for path in paths]

    assert mapped_paths(at(baseline), project, root, {}) == (at(own), at(shared))


def test_packages_that_an_editable_install_names_one_by_one_are_found(tmp_path: Path) -> None:
    finders = {"kernel": str(tmp_path / "project" / "lib" / "kernel"), "other": "/opt/other"}
    own, shared = mapped_paths([], tmp_path / "project", tmp_path / "root", finders)
    assert own == [str(tmp_path / "root" / "lib"), str(tmp_path / "root")]
    assert shared == []

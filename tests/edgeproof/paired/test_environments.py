"""Claims about dependencies: one environment where it suits both versions, else one for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.paired.requirements import needs
from edgeproof.paired.versions import Unusable, Version, find_version
from tests.edgeproof.paired.projects import TOTAL, quick, repeated, repository, write
from tests.edgeproof.paired.wheels import wheel

INSTALLED = {"redis": "8.1.0", "numpy": "2.4.1"}


def project(folder: Path, dependencies: str, **files: str) -> Version:
    written = {name.replace("_", "."): text for name, text in files.items()}
    write(folder, {"pyproject.toml": f"[project]\nname='p'\ndependencies = {dependencies}\n"})
    write(folder, written)
    return Version(label="x", root=folder, identity="x", kind="folder")


@pytest.mark.parametrize(
    ("base", "head", "of_base", "of_head"),
    [
        ("['redis>=8']", "['redis>=8']", (), ()),
        ("['redis>=8']", "['redis>=8.1']", (), ()),  # what is installed suits both
        ("['redis<8']", "['redis>=8.1']", ("redis<8",), ()),
        ("['redis<8']", "['redis<8']", (), ()),  # as wrong for both: nothing differs
        ("[]", "['turnip==2']", (), ("turnip==2",)),
        ("[]", "['redis']", (), ()),
        ("['turnip; python_version < \"3\"']", "[]", (), ()),
    ],
)
def test_an_environment_of_its_own_is_for_what_differs_and_is_not_here(
    tmp_path: Path, base: str, head: str, of_base: tuple[str, ...], of_head: tuple[str, ...]
) -> None:
    versions = project(tmp_path / "a", base), project(tmp_path / "b", head)
    found = needs(*versions, installed=INSTALLED)
    assert (found.base, found.head) == (of_base, of_head)
    assert bool(found) == bool(of_base or of_head)


def test_pins_count_where_the_package_is_installed(tmp_path: Path) -> None:
    pins = "# pinned\n-r other.txt\nredis==7.0 ; python_version > '3'  # why\nturnip==1\n"
    base = project(tmp_path / "a", "['redis']", constraints_txt=pins)
    head = project(tmp_path / "b", "['redis']", constraints_txt="redis==8.1.0\nturnip==2\n")
    assert needs(base, head, installed=INSTALLED).base == ("redis==7.0",)
    lock = '[[package]]\nname = "numpy"\nversion = "2.0.0"\n'
    base, head = project(tmp_path / "c", "[]", uv_lock=lock), project(tmp_path / "d", "[]")
    assert needs(base, head, installed=INSTALLED).base == ("numpy==2.0.0",)


def test_a_wheel_says_what_it_needs(tmp_path: Path) -> None:
    old = wheel(tmp_path / "p-1-py3-none-any.whl", {}, "redis (<8)", "x; extra == 'more'")
    new = wheel(tmp_path / "p-2-py3-none-any.whl", {}, "redis>=8")
    base, head = (find_version(path.name, tmp_path, tmp_path / "cache") for path in (old, new))
    found = needs(base, head, installed=INSTALLED)
    assert (found.base, found.head) == (("redis<8",), ())


def test_settings_that_are_no_toml_are_named(tmp_path: Path) -> None:
    base = project(tmp_path / "a", "[")
    with pytest.raises(Unusable, match=r"pyproject\.toml: is no TOML"):
        needs(base, base)


def test_versions_with_other_dependencies_have_environments_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, tmp_path / "cache")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for number in (1, 2):
        wheel(wheels / f"turnip-{number}-py3-none-any.whl", {"turnip.py": f"SIZE = {number}\n"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    settings = "[project]\nname = 'p'\ndependencies = ['turnip=={0}']\n"
    suite = """
        import pydantic, turnip

        def test_size(benchmark):
            benchmark.extra_info["size_count"] = benchmark(lambda: turnip.SIZE)
    """
    files = {**TOTAL, "benchmarks/test_size.py": suite}
    folder = repository(tmp_path / "p", {**files, "pyproject.toml": settings.format(1)})
    write(folder, {"pyproject.toml": settings.format(2)})
    for _ in range(2):
        found = repeated(folder)
        assert [found.number(s, "test_size", "size_count") for s in ("base", "head")] == [1, 2]
        assert found.pairs.keys() == {"test_size", "test_total"}
        for path in wheels.iterdir():  # the second time nothing is left to install from
            path.unlink()
    write(folder, {"pyproject.toml": settings.format(3)})
    with pytest.raises(Unusable, match="cannot install turnip==3"):
        repeated(folder)

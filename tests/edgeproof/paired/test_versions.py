"""Claims about versions: what a text names, and that finding one changes nothing of the user's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgeproof.paired.request import Request, prepared
from edgeproof.paired.versions import Unusable, content_hash, find_version, tidy
from tests.edgeproof.paired.projects import TOTAL, commit, git, quick, repeated, repository, write
from tests.edgeproof.paired.wheels import wheel


def test_a_revision_is_checked_out_without_touching_the_folder_or_the_index(
    tmp_path: Path,
) -> None:
    # What is kept from releases is part of a version all the same.
    files = {**TOTAL, ".gitattributes": "benchmarks export-ignore\n"}
    project = repository(tmp_path / "p", files)
    first = git(project, "rev-parse", "HEAD")
    write(project, {"core/__init__.py": "x = 2\n"})
    git(project, "add", "core/__init__.py")
    write(project, {"core/__init__.py": "x = 3\n", "new.txt": "?"})
    before = git(project, "status", "--porcelain"), (project / ".git" / "index").read_bytes()
    found = find_version("main", project, tmp_path / "cache")
    assert (found.root / "core" / "__init__.py").read_text() == TOTAL["core/__init__.py"]
    assert (found.root / "benchmarks" / "bench_total.py").is_file()
    assert found.identity == first
    after = git(project, "status", "--porcelain"), (project / ".git" / "index").read_bytes()
    assert after == before
    assert find_version(first[:8], project, tmp_path / "cache").root == found.root


def test_a_folder_inside_a_repository_is_compared_with_itself(tmp_path: Path) -> None:
    repository(tmp_path / "p", {"service/a.py": "1\n", "b.py": "2\n"})
    found = find_version("main", tmp_path / "p" / "service", tmp_path / "cache")
    assert [path.name for path in found.root.iterdir()] == ["a.py"]


def test_a_variable_of_a_hook_does_not_point_git_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = repository(tmp_path / "p", TOTAL)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert find_version("main", project, tmp_path / "cache").kind == "revision"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nope", "no git revision, folder or wheel"),
        ("--all", "no git revision"),
        ("main; touch x", "no git revision"),
        ("", "no git revision"),
        ("./nowhere", "no git revision, folder"),
        ("nowhere.whl", "no such file"),
    ],
)
def test_what_is_no_version_is_named(tmp_path: Path, text: str, told: str) -> None:
    project = repository(tmp_path / "p", TOTAL)
    with pytest.raises(Unusable, match=told) as raised:
        find_version(text, project, tmp_path / "cache")
    assert "\n" not in str(raised.value)
    assert not (project / "x").exists()


def test_a_shallow_clone_is_named_with_the_fetch_to_do(tmp_path: Path) -> None:
    origin = repository(tmp_path / "origin", TOTAL)
    git(origin, "branch", "before")
    write(origin, {"core/__init__.py": "x = 2\n"})
    commit(origin)
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{origin}", "clone")
    clone = tmp_path / "clone"
    for text, remedy in (
        ("before", "git fetch --depth=1 origin before"),
        ("HEAD~1", "git fetch --deepen"),
    ):
        with pytest.raises(Unusable, match="shallow") as raised:
            find_version(text, clone, tmp_path / "cache")
        assert remedy in str(raised.value)
    git(clone, "fetch", "--quiet", "--depth=1", "origin", "before")  # as it says
    assert find_version("FETCH_HEAD", clone, tmp_path / "cache").kind == "revision"


def test_a_branch_that_only_the_remote_has_is_named(tmp_path: Path) -> None:
    origin = repository(tmp_path / "origin", TOTAL)
    git(origin, "branch", "before")
    git(tmp_path, "clone", "--quiet", f"file://{origin}", "clone")
    with pytest.raises(Unusable, match="use origin/before"):
        find_version("before", tmp_path / "clone", tmp_path / "cache")


def test_a_folder_without_git_says_so(tmp_path: Path) -> None:
    write(tmp_path / "p", TOTAL)
    with pytest.raises(Unusable, match="no git repository"):
        find_version("main", tmp_path / "p", tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_another_owner_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path))
    project = repository(tmp_path / "p", TOTAL)
    for place in (project, project / ".git"):
        os.chown(place, 12345, 12345)
    with pytest.raises(Unusable, match=r"dubious ownership.*safe\.directory"):
        find_version("main", project, tmp_path / "cache")


def test_one_version_twice_is_refused(tmp_path: Path) -> None:
    project = repository(tmp_path / "p", TOTAL)
    with pytest.raises(Unusable, match="name two"):
        prepared(
            Request(base=".", head=None, project=project, suite=("benchmarks",)), lambda _: None
        )


def test_an_environment_without_pytest_benchmark_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pytest_benchmark", None)
    with pytest.raises(Unusable, match=r"edgeproof\[bench\]"):
        repeated(repository(tmp_path / "p", TOTAL))


def test_a_version_without_the_suite_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, tmp_path / "cache")
    project = repository(tmp_path / "p", {"core/__init__.py": TOTAL["core/__init__.py"]})
    write(project, TOTAL)
    with pytest.raises(Unusable, match=r"main .* has no benchmarks.*--same-suite"):
        repeated(project)
    with pytest.raises(Unusable, match=r"working tree of p: has no nowhere; .* --suite$"):
        repeated(project, suite=("nowhere",))
    with pytest.raises(Unusable, match="no such file or folder"):
        repeated(project, suite=(str(tmp_path / "elsewhere"),))


def test_the_content_of_a_folder_makes_its_identity(tmp_path: Path) -> None:
    plain, kept = write(tmp_path / "a", TOTAL), repository(tmp_path / "b", TOTAL)
    for folder in (plain, kept):
        before = content_hash(folder)
        write(folder, {"__pycache__/x.pyc": "?"} if folder is plain else {})
        assert content_hash(folder) == before
        stat = (folder / "core" / "__init__.py").stat()
        text = (folder / "core" / "__init__.py").read_text()
        (folder / "core" / "__init__.py").write_text(text.replace("1", "2"))
        os.utime(folder / "core" / "__init__.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert content_hash(folder) != before


def test_wheels_are_compared_with_the_suite_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, tmp_path / "cache")
    project = write(
        tmp_path / "p",
        {
            "benchmarks/bench_kernel.py": """
                import kernel

                def test_kernel(benchmark):
                    benchmark.extra_info["count"] = benchmark(kernel.rows)
            """
        },
    )
    for number in (1, 2):
        wheel(
            project / f"kernel-{number}.0-py3-none-any.whl",
            {"kernel/__init__.py": f"def rows():\n    return {number}\n"},
        )
    found = repeated(project, "kernel-1.0-py3-none-any.whl", head="./kernel-2.0-py3-none-any.whl")
    assert [found.number(s, "test_kernel", "count") for s in ("base", "head")] == [1, 2]


def test_a_file_that_is_no_wheel_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"a-1-py3-none-any.whl": "?"})
    with pytest.raises(Unusable, match="no wheel"):
        find_version("a-1-py3-none-any.whl", tmp_path, tmp_path / "cache")
    assert not [*(tmp_path / "cache" / "wheels").iterdir()]


def test_the_cache_keeps_what_is_new_or_in_use(tmp_path: Path) -> None:
    folders = [tmp_path / "compiled" / str(number) for number in range(30)]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        if number >= 3:  # the first are of today
            os.utime(folder, (1_000_000 + number, 1_000_000 + number))
    tidy(tmp_path)
    left = {int(folder.name) for folder in (tmp_path / "compiled").iterdir()}
    assert left == {0, 1, 2, *range(13, 30)}
    tidy(tmp_path / "nowhere")

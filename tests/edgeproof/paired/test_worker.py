"""Claims about measuring processes: each version runs its own code, with its own fixtures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeproof.paired.calibration import ALONE
from edgeproof.paired.request import OWN_SUITE
from edgeproof.paired.versions import Unusable
from tests.edgeproof.commands import ROOT
from tests.edgeproof.paired.projects import TOTAL, commit, git, quick, repeated, repository, write

SLOW = (
    "def total(n):\n    return [sum(range(n)) for _ in range(9)][0]\n\ndef rows():\n    return 9\n"
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    quick(monkeypatch, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("apart", [False, True])
def test_each_version_runs_its_own_code(tmp_path: Path, number: int, apart: bool) -> None:
    project = repository(tmp_path / "p", TOTAL)
    write(project, {"core/__init__.py": SLOW})
    found = repeated(project, number=number, apart=apart)
    assert found.number("base", "test_total", "rows_count") == 1
    assert found.number("head", "test_total", "rows_count") == 9
    assert found.ratio("test_total") > 3
    assert any(str(project) in name for name in found.files["head"])
    assert not any(str(project) in name for name in found.files["base"])
    assert git(project, "status", "--porcelain") == "M core/__init__.py"


@pytest.mark.parametrize("number", [0, 1])
def test_imports_inside_functions_and_of_names_find_the_version(
    tmp_path: Path, number: int
) -> None:
    files = {
        "core/late.py": "VERSION = 1\n",
        "benchmarks/test_late.py": """
            import importlib

            def test_late(benchmark):
                def call():
                    from core import late
                    import core.late
                    return late.VERSION + core.late.VERSION + importlib.import_module(
                        "core.late"
                    ).VERSION
                benchmark.extra_info["version_count"] = benchmark(call)
                benchmark.extra_info["counts"] = {"doubled": 2 * benchmark.extra_info[
                    "version_count"]}
        """,
    }
    project = repository(tmp_path / "p", {**TOTAL, **files})
    write(project, {"core/late.py": "VERSION = 2\n"})
    found = repeated(project, number=number)
    assert found.number("base", "test_late", "version_count") == 3
    assert found.number("head", "test_late", "version_count") == 6
    assert found.number("head", "test_late", "doubled") == 12


def test_fixtures_loops_threads_and_parameters_of_both_are_alive_at_once(tmp_path: Path) -> None:
    suite = """
        import asyncio, contextvars, signal, sqlite3
        import pytest

        seen = contextvars.ContextVar("seen")

        @pytest.fixture
        def database():
            connection = sqlite3.connect(":memory:")
            connection.execute("CREATE TABLE t (a)")
            yield connection
            connection.close()

        def test_database(benchmark, database):
            benchmark(database.execute, "SELECT count(*) FROM t")

        def test_inside_a_loop(benchmark):
            async def main():
                task = asyncio.current_task()
                result = benchmark(asyncio.current_task)
                assert asyncio.current_task() is task
                return result is task
            assert asyncio.run(main())

        def test_own_loop(benchmark):
            with asyncio.Runner() as runner:
                assert benchmark(lambda: runner.run(asyncio.sleep(0, 7))) == 7

        @pytest.mark.benchmark(group="context")
        @pytest.mark.parametrize("value", [1, 2])
        def test_context(benchmark, value):
            seen.set(value)
            assert benchmark(seen.get) == value
            assert benchmark.stats.stats.median > 0

        def test_signal(benchmark):
            before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            benchmark(len, "")
            signal.signal(signal.SIGUSR1, before)

        def test_pedantic(benchmark):
            calls = []
            result = benchmark.pedantic(
                lambda n: calls.append(n) or n, setup=lambda: ((5,), {}),
                teardown=lambda n: None, rounds=10, warmup_rounds=2,
            )
            assert (result, len(calls)) == (5, 12)

        def test_once(benchmark):
            left = iter([1])
            benchmark.pedantic(lambda: next(left))
    """
    project = repository(tmp_path / "p", {**TOTAL, "benchmarks/test_many.py": suite})
    found = repeated(project)
    assert found.told("base", "broken") == found.told("head", "broken") == {}
    assert len(found.pairs) == 8
    assert len(found.pairs["test_pedantic"]) == 9  # one call was watched
    assert "test_once" not in found.pairs  # its one call was watched
    unwatched = repeated(project, number=2)
    assert len(unwatched.pairs["test_once"]) == 1
    assert len(unwatched.pairs["test_pedantic"]) == 10


@pytest.mark.parametrize("apart", [False, True])
def test_a_test_that_fails_is_the_fault_of_its_own_version(tmp_path: Path, apart: bool) -> None:
    suite = """
        import core, pytest

        def test_raises(benchmark):
            assert benchmark(core.rows) == 1

        def test_wrong(benchmark):
            assert benchmark(core.total, 3) == 3

        def test_skips(benchmark):
            pytest.skip("not here")

        def test_never(benchmark):
            pass

        def test_after(benchmark):
            benchmark(len, "")
    """
    project = repository(tmp_path / "p", {**TOTAL, "benchmarks/test_faults.py": suite})
    write(project, {"core/__init__.py": TOTAL["core/__init__.py"].replace("return 1", "1 / 0")
                    .replace("range(n)", "range(n + 1)")})  # fmt: skip
    found = repeated(project, apart=apart, suite=("benchmarks/test_faults.py",))
    assert found.told("base", "broken").keys() == {"test_never"}
    faults = found.told("head", "broken")
    assert faults.keys() == {"test_raises", "test_wrong", "test_never"}
    assert "ZeroDivisionError" in faults["test_raises"]
    assert found.told("head", "skipped") == found.told("base", "skipped") == {
        "test_skips": "not here"
    }  # fmt: skip
    assert "test_after" in found.pairs


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    project = repository(tmp_path / "p", TOTAL)
    write(project, {"benchmarks/test_new.py": "import nowhere_to_be_found\n"})
    (why,) = repeated(project).told("head", "broken").values()
    assert "nowhere_to_be_found" in why


def test_settings_of_the_project_neither_switch_benchmarks_off_nor_write(tmp_path: Path) -> None:
    options = "--benchmark-skip --benchmark-autosave --benchmark-json=out.json -n 2 -x"
    settings = f'[tool.pytest.ini_options]\naddopts = "{options}"\n'
    project = repository(tmp_path / "p", {**TOTAL, "pyproject.toml": settings})
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
        patch.delenv("PYTEST_PLUGINS")
        found = repeated(project)
    assert found.pairs.keys() == {"test_total"}
    assert git(project, "status", "--porcelain", "--ignored") == ""


def test_code_of_the_working_folder_is_never_measured_as_the_base(tmp_path: Path) -> None:
    # Its package lies where no version's import path begins, and is found as installed.
    conftest = """
        import sys
        {0}
        import pytest

        @pytest.fixture
        def size():
            return 100
    """
    files = {
        name.replace("core", "python/kernel"): text.replace("core", "kernel")
        for name, text in TOTAL.items()
    }
    elsewhere = f"sys.path.append({str(tmp_path / 'p' / 'python')!r})"
    project = repository(
        tmp_path / "p", {**files, "benchmarks/conftest.py": conftest.format(elsewhere)}
    )
    with pytest.raises(Unusable, match=r"not its own.*--path"):
        repeated(project)
    write(project, {"benchmarks/conftest.py": conftest.format("")})
    commit(project)
    assert repeated(project, paths=("python",), base="HEAD").pairs.keys() == {"test_total"}


def test_an_installed_copy_is_not_measured_as_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "pyproject.toml": "[project]\nname = 'the.kernel'\n",
        "python/kernel/__init__.py": "",
        "benchmarks/test_kernel.py": "import kernel\ndef test_it(benchmark): benchmark(len, '')\n",
    }
    project = repository(tmp_path / "p", files)
    write(project, {"python/kernel/__init__.py": "x = 1\n"})
    installed = write(
        tmp_path / "site-packages",
        {
            "kernel/__init__.py": "",
            "the_kernel-1.dist-info/METADATA": "Name: The-Kernel\nVersion: 1\n",
            "the_kernel-1.dist-info/top_level.txt": "kernel\n",
        },
    )
    monkeypatch.setenv("PYTHONPATH", str(installed))
    with pytest.raises(Unusable, match=r"installed kernel from .*--path"):
        repeated(project)
    assert repeated(project, paths=("python",)).pairs.keys() == {"test_it"}


def test_our_own_benchmarks_are_compared_with_those_of_another_checkout(tmp_path: Path) -> None:
    packages = ("bench", "core", "edgeproof", "reports", "scenarios", "sim")
    for package in packages:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    options = (*ALONE, "-k", "peek_without")
    found = repeated(ROOT, str(tmp_path), suite=(OWN_SUITE,), options=options)
    assert found.pairs.keys() == {"test_peek_without_a_span"}
    assert found.told("base", "broken") == found.told("head", "broken") == {}
    for side, root in (("base", tmp_path), ("head", ROOT)):
        assert found.files[side]
        assert all(Path(file).is_relative_to(root) for file in found.files[side])


@pytest.mark.parametrize("number", [0, 1])
def test_a_registry_that_both_share_does_not_serve_one_version_s_code_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    installed = write(
        tmp_path / "site-packages",
        {"registry.py": "known = {}\n\ndef call(n): return known.setdefault('f', n)()\n"},
    )
    suite = """
        import core, registry

        def test_registered(benchmark):
            benchmark(registry.call, core.rows)
    """
    project = repository(tmp_path / "p", {**TOTAL, "benchmarks/test_registered.py": suite})
    write(project, {"core/__init__.py": SLOW})
    monkeypatch.setenv("PYTHONPATH", str(installed))
    with pytest.raises(Unusable, match=r"runs .*core/__init__\.py, which is not its own.*--apart"):
        repeated(project, number=number)
    assert "test_registered" in repeated(project, number=number, apart=True).pairs


@pytest.mark.parametrize("apart", [False, True])
def test_a_suite_inside_a_package_runs_on_both_versions(tmp_path: Path, apart: bool) -> None:
    files = {
        **TOTAL,
        "core/suite/__init__.py": "",
        "core/suite/bench_rows.py": "def test_old(benchmark):\n    benchmark(len, '')\n",
        "core/suite/fixtures.py": "",
    }
    project = repository(tmp_path / "p", files)
    suite = """
        import core
        from core.suite.fixtures import call

        def test_rows(benchmark):
            benchmark.extra_info["rows_count"] = benchmark(call, core.rows)
    """
    beside = "def call(function):\n    return function()\n"
    write(project, {"core/suite/bench_rows.py": suite, "core/suite/fixtures.py": beside})
    write(project, {"core/__init__.py": TOTAL["core/__init__.py"].replace("return 1", "return 2")})
    found = repeated(
        project,
        suite=("core/suite",),
        same_suite=True,
        apart=apart,
        options=("--import-mode=importlib",),
    )
    assert (found.sides["head"]["broken"], found.sides["base"]["broken"]) == ({}, {})
    assert [*found.pairs] == ["test_rows"]
    counts = [found.number(side, "test_rows", "rows_count") for side in ("base", "head")]
    assert counts == [1, 2]


def test_compiled_code_of_a_helper_is_not_taken_from_another_version(tmp_path: Path) -> None:
    # Numba judges a cached function by its own file; its helper's old code would stay in use.
    helper = "import numba\n\n@numba.njit\ndef cost(n):\n    return {0}\n"
    files = {
        "core/__init__.py": "",
        "core/helper.py": helper.format(1),
        "core/compiled.py": """
            import numba
            from core.helper import cost

            @numba.njit(cache=True)
            def total(n):
                return cost(n)
        """,
        "benchmarks/test_compiled.py": """
            from core.compiled import total

            def test_compiled(benchmark):
                benchmark.extra_info["cost_count"] = benchmark(total, 3)
        """,
    }
    project = repository(tmp_path / "p", files)
    write(project, {"core/helper.py": helper.format(2)})
    for cost in (2, 3):
        write(project, {"core/helper.py": helper.format(cost)})
        found = repeated(project)
        assert found.number("base", "test_compiled", "cost_count") == 1
        assert found.number("head", "test_compiled", "cost_count") == cost
    assert git(project, "status", "--porcelain", "--ignored") == "M core/helper.py"

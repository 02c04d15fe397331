"""A version's pytest session, which runs its benchmarks one by one on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from edgeproof.paired.timing import Call
from edgeproof.paired.world import World

NAMES = ("bench_*.py", "benchmark_*.py", "*_bench.py", "*_benchmark.py")
"""Files that hold benchmarks, in addition to those in the project's settings."""

# Would write into the project, or keep benchmarks from being run.
_OFF = (
    "save", "autosave", "save_data", "json", "csv", "histogram", "compare", "compare_fail",
    "skip", "disable", "only", "cprofile", "cprofile_dump",
)  # fmt: skip


class Side:
    """One version's session: its benchmarks, and the outcome of each."""

    def __init__(
        self,
        world: World,
        suite: Sequence[str],
        options: Sequence[str],
        on_loop: Callable[[], None],
    ) -> None:
        self.world = world
        self.benchmarks: dict[str, pytest.Item] = {}
        self.broken: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.extra: dict[str, dict[str, Any]] = {}
        self.has_started = False
        self._arguments, self._suite = [*options, *suite], suite
        self._on_loop = on_loop
        self._at: str = ""
        self._has_called = False

    def run(self) -> int:
        """Run the session; its benchmarks wait for *on_loop* to ask for them."""
        self._load_own_packages()
        return int(pytest.main(self._arguments, plugins=[self]))

    def _load_own_packages(self) -> None:
        """Load this version's packages around a suite that lies in another version.

        Otherwise pytest would load them from the suite's version. The suite's own modules still
        come from there.
        """
        for text in self._suite:
            place = Path(text.partition("::")[0])
            suite = place if place.is_dir() else place.parent
            folder, names = suite, list[str]()
            while not suite.is_relative_to(self.world.root) and (folder / "__init__.py").is_file():
                names.insert(0, folder.name)
                folder = folder.parent
            if names:
                with suppress(ImportError):  # a version without the package uses the suite's
                    import_module(".".join(names)).__path__.insert(0, str(suite))

    def test(self, name: str, following: str | None) -> None:
        """Run the benchmark *name* with its fixtures; keep those that *following* needs, too."""
        item = self.benchmarks[name]
        self._at, self._has_called = name, False
        later = None if following is None else self.benchmarks.get(following)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=later)
        if not self._has_called and name not in self.skipped:
            self.broken.setdefault(name, "it never calls its benchmark fixture")

    def called(self) -> str:
        """Note that the benchmark at hand called its fixture, and return its name."""
        self._has_called = True
        return self._at

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        for name in _OFF:
            if hasattr(config.option, f"benchmark_{name}"):
                setattr(config.option, f"benchmark_{name}", None)
        patterns = config.getini("python_files")
        patterns += [name for name in NAMES if name not in patterns]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken[report.nodeid or str(self.world.root)] = _reason(report)
        elif report.skipped:
            self.skipped[report.nodeid] = _reason(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.has_started = True
        self.benchmarks = {
            item.nodeid: item
            for item in session.items
            if "benchmark" in getattr(item, "fixturenames", ())
        }
        self._on_loop()
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.broken[report.nodeid] = f"{report.when} fails: {_reason(report)}"
        elif report.skipped and report.nodeid not in self.broken:
            self.skipped[report.nodeid] = _reason(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        fixture = getattr(item, "funcargs", {}).get("benchmark")
        self.extra[item.nodeid] = dict(getattr(fixture, "extra_info", None) or {})


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return one line that says why a test failed or was skipped."""
    told = report.longrepr
    if isinstance(told, tuple):  # a skip: file, line, reason
        return str(told[2]).removeprefix("Skipped: ")
    crash = getattr(told, "reprcrash", None)
    if crash is not None:
        text = f"{crash.message} ({Path(crash.path).name}:{crash.lineno})"
    else:
        lines = [line for line in str(told).splitlines() if line.strip()]
        errors = [line[1:].strip() for line in lines if line.startswith("E  ")]
        text = (errors or lines or ["no reason was given"])[-1]
    return " ".join(text.split())[:300]


def replace_timing(fixture: type[Any], measure: Callable[[Call], Any]) -> None:
    """Run *measure* in place of pytest-benchmark's *fixture*, and return the test's answer."""

    def plain(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        _once(self, "benchmark(...)")
        return _answer(self, measure, Call(function, args, kwargs), 1)

    def pedantic(
        self: Any,
        target: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
        iterations: int = 1,
    ) -> Any:
        _once(self, "benchmark.pedantic(...)")
        call = Call(
            target, args, kwargs or {}, setup=setup, teardown=teardown,
            most_calls=rounds * iterations, warm_ups=warmup_rounds,
        )  # fmt: skip
        return _answer(self, measure, call, iterations)

    fixture.__call__ = plain
    fixture.pedantic = pedantic


def _once(fixture: Any, mode: str) -> None:
    if fixture._mode:
        raise RuntimeError(f"a benchmark fixture can be used once; it was used as {fixture._mode}")
    fixture._mode = mode


def _answer(fixture: Any, measure: Callable[[Call], Any], call: Call, iterations: int) -> Any:
    """Return the answer of *call*; the fixture has statistics, as some tests read them."""
    times = measure(call)
    make = getattr(fixture, "_make_stats", None)
    if make is not None:
        stats = make(iterations)
        for nanoseconds in times:
            stats.update(nanoseconds * iterations / 1e9)
    return call.result
